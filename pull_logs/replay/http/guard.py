"""The checks that the replay server makes before it reads the body of a request.

A web page that a user visits must not read a bundle through the server on the same machine. So the `Host`
must be this server's (against DNS rebinding), a foreign `Origin` is refused, and a query must be JSON, which
no HTML form can send, and carry the server's own key. See docs/replay.md, "Security".
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from pull_logs.replay.http.hosts import AllowedHosts, host_of, port_of

MAX_BODY = 1_000_000
"""The most bytes of the body of a request."""


class BodyTooLargeError(Exception):
    """The body of a request is larger than `MAX_BODY`."""


class HostGuard:
    """ASGI middleware that refuses requests for other servers and from foreign web pages.

    The GraphQL errors of an answer are what the SDK shows its user.
    A client that uses this server as its proxy sends the complete URL; requests for this server are
    answered, and all others are refused and never forwarded.
    """

    def __init__(
        self, app: ASGIApp, *, hosts: AllowedHosts, on_refusal: Callable[[str], None] | None = None
    ) -> None:
        self.app = app
        self.hosts = hosts
        self.on_refusal = on_refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 403 to a request that is not for this server."""
        if scope["type"] == "http":
            authority = _proxied_authority(scope)
            refusal = self._refusal(scope, authority)
            if refusal:
                if authority and self.on_refusal:
                    self.on_refusal(authority)
                shown = {} if authority else {"errors": [{"message": refusal}], "data": None}
                content = {"error": refusal, **shown}
                await JSONResponse(content, status_code=403)(scope, receive, send)
                return
            if authority:
                scope = _direct(scope, authority)
        await self.app(scope, receive, send)

    def _refusal(self, scope: Scope, proxied: str) -> str:
        headers = Headers(scope=scope)
        authority = proxied or headers.get("host", "")
        server = scope.get("server") or ("", None)
        elsewhere = bool(proxied) and port_of(authority) not in {server[1], *self.hosts.ports}
        if elsewhere or not self.hosts.allows(authority):
            host = host_of(authority)
            hint = f"; `pull-logs serve --allow-host {host}` would" if host and not proxied else ""
            return f"this server does not answer for host {authority!r}{hint}"
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
