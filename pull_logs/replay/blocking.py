"""Refusing W&B to code that is not to reach it: by the SDK, and by connections to W&B's hosts.

The SDK is pointed at a server that answers everything with one error, which the SDK shows. Other code in this
process is stopped where it looks up, or connects to, a host of W&B. See docs/ci.md, "Tests without a bundle".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from pull_logs.replay.http import host_of, is_loopback
from pull_logs.replay.server import ReplayServer, serve_open_bundles

_DOMAINS = ("wandb.ai", "wandb.me", "forge.coreweave.com")


class ConnectionWatch:
    """An audit hook that raises an error where this process reaches for a host of W&B, while it is active.

    Args:
        refusal: Makes the error, from the host.
        own_host: The host of a W&B server of one's own; loopback is never refused.

    Attributes:
        active: Whether connections are refused now; a hook cannot be removed.
    """

    def __init__(self, refusal: Callable[[str], BaseException], *, own_host: str = "") -> None:
        self._refusal = refusal
        self._own_host = own_host
        self.active = False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Look at an event of the interpreter.

        Raises:
            BaseException: The error that `refusal` makes, for a host of W&B.
        """
        __tracebackhide__ = True  # pytest shows the code that reached for the host
        if not self.active:
            return
        host = None
        if event in ("socket.getaddrinfo", "socket.gethostbyname"):
            host = arguments[0]
        elif event == "socket.connect" and isinstance(arguments[1], tuple):
            host = arguments[1][0]
        if isinstance(host, bytes):
            host = host.decode("ascii", "replace")
        if isinstance(host, str) and self._is_wandb(host.lower().rstrip(".")):
            raise self._refusal(host)

    def _is_wandb(self, host: str) -> bool:
        if host and host == self._own_host:
            return not is_loopback(host)
        return any(host == domain or host.endswith(f".{domain}") for domain in _DOMAINS)


def own_host(base_url: str) -> str:
    """Return the host of a base URL; empty if it has none."""
    return host_of(base_url.partition("://")[2].partition("/")[0])


@contextmanager
def serve_refusal(message: str) -> Iterator[ReplayServer]:
    """Serve an error instead of W&B, from a thread while the block runs.

    Yields:
        The server; its `environment` points an unmodified SDK at it.

    Raises:
        NetworkError: The server cannot listen on a port.
    """
    with serve_open_bundles((), middleware=[Middleware(_Refusing, message=message)]) as server:
        yield server


class _Refusing:
    """ASGI middleware that answers each request with an error that the SDK shows and does not retry."""

    def __init__(self, app: ASGIApp, *, message: str) -> None:
        self._app, self._message = app, message

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["app"].state.requests.add("(blocked)")
        content = {"error": self._message, "errors": [{"message": self._message}], "data": None}
        await JSONResponse(content, 403)(scope, receive, send)
