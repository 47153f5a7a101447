"""The checks that the replay server makes before it reads the body of a request.

A web page that a user visits must not read a bundle through the server on the same machine. So the `Host`
must be this server's (against DNS rebinding), a foreign `Origin` is refused, and a query must be JSON, which
no HTML form can send, and carry the server's own key. See docs/replay.md, "Security".
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection
from contextlib import aclosing
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

MAX_BODY = 1_000_000
"""The most bytes of the body of a request."""

_LOOPBACK_NAMES = frozenset({"localhost", "ip6-localhost"})


class BodyTooLargeError(Exception):
    """The body of a request is larger than `MAX_BODY`."""


def is_loopback(host: str) -> bool:
    """Return whether a host, given without its port, is a loopback address or name."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() in _LOOPBACK_NAMES


def host_of(authority: str) -> str:
    """Return the host of `host:port`, in lower case and without brackets; empty if there is none."""
    try:
        return urlsplit(f"//{authority}").hostname or ""
    except ValueError:
        return ""


class HostGuard:
    """ASGI middleware that refuses requests for other servers and from foreign web pages.

    A client that uses this server as its proxy sends the complete URL; requests for this server are
    answered, and all others are refused and never forwarded.
    """

    def __init__(
        self, app: ASGIApp, *, hosts: Collection[str] = (), on_refusal: Callable[[str], None] | None = None
    ) -> None:
        self.app = app
        self.hosts = frozenset(host_of(host) or host for host in hosts)
        self.on_refusal = on_refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 403 to a request that is not for this server."""
        if scope["type"] == "http":
            authority = _proxied_authority(scope)
            refusal = self._refusal(scope, authority)
            if refusal:
                if authority and self.on_refusal:
                    self.on_refusal(authority)
                await JSONResponse({"error": refusal}, status_code=403)(scope, receive, send)
                return
            if authority:
                scope = _direct(scope, authority)
        await self.app(scope, receive, send)

    def _refusal(self, scope: Scope, proxied: str) -> str:
        headers = Headers(scope=scope)
        authority = proxied or headers.get("host", "")
        host = host_of(authority)
        server = scope.get("server") or ("", None)
        elsewhere = bool(proxied) and _port_of(authority) != server[1]
        if elsewhere or not (is_loopback(host) or host in self.hosts):
            return f"this server does not answer for host {authority!r}"
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != authority.lower():
            return f"this server does not answer pages of {origin!r}"
        return ""


def _proxied_authority(scope: Scope) -> str:
    """Return the `host:port` that a client requests of its proxy; empty for an ordinary request."""
    if scope["method"] == "CONNECT":
        return str(scope["path"])
    return _authority(scope["path"]) if not scope["path"].startswith("/") else ""


def _authority(url: str) -> str:
    try:
        return urlsplit(url).netloc
    except ValueError:
        return url


def _port_of(authority: str) -> int | None:
    try:
        return urlsplit(f"//{authority}").port or 80
    except ValueError:
        return None


def _direct(scope: Scope, authority: str) -> Scope:
    """Return the request as it would be sent without a proxy."""
    path = scope["path"].partition(authority)[2] or "/"
    raw_path = scope["raw_path"].partition(authority.encode())[2] or b"/"
    headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
    return {
        **scope,
        "path": path,
        "raw_path": raw_path,
        "headers": [(b"host", authority.encode()), *headers],
    }


async def read_body(request: Request) -> bytes:
    """Read the body of a request.

    Raises:
        BodyTooLargeError: It has, or declares, more than `MAX_BODY` bytes; the rest is not read.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > 18 or int(declared) > MAX_BODY):
        raise BodyTooLargeError
    body = bytearray()
    async with aclosing(request.stream()) as chunks:
        async for chunk in chunks:
            body += chunk
            if len(body) > MAX_BODY:
                raise BodyTooLargeError
    return bytes(body)
