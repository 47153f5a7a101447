"""ASGI middleware between client and server: latency, a rate limit, and counts of traffic."""

from __future__ import annotations

import math
import time
from collections.abc import MutableMapping
from dataclasses import asdict, dataclass
from typing import Any

import anyio
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SCALE = 1000
"""The value of `RateLimit-Remaining` at the start of a window.

See docs/protocol.md, "Errors, retries and limits".
"""


@dataclass(slots=True)
class Traffic:
    """The traffic since the last reset.

    Attributes:
        requests: All requests, refused ones included.
        graphql: The GraphQL requests.
        refused: The requests that were answered 429.
        sent: The bytes of the answers' bodies.
        busiest: The most requests in progress at once.
        first: When the first request came in, on the clock of `time.monotonic`; 0 before.
    """

    requests: int = 0
    graphql: int = 0
    refused: int = 0
    sent: int = 0
    busiest: int = 0
    first: float = 0.0


class FaultNet:
    """Delays and refuses requests, and counts them.

    The limit is like W&B's, as far as that is documented: a number of GraphQL requests in a fixed window, for
    all connections together. A request beyond it is answered 429 and does not count. Each answer has the
    remaining requests, on a scale of `SCALE`, and the seconds to the end of the window, rounded up. Windows
    follow each other without a gap; the first begins with the first request after a reset.
    """

    def __init__(
        self, app: ASGIApp, *, latency: float, quota: int | None, window: float, meter: TrafficMeter
    ) -> None:
        self._app = app
        self._latency = latency
        self._quota = quota
        self._window = window
        self._meter = meter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        traffic = self._meter.traffic
        traffic.first = traffic.first or time.monotonic()
        queried = scope["path"] == "/graphql"
        traffic.requests += 1
        traffic.graphql += queried
        self._meter.under_way += 1
        traffic.busiest = max(traffic.busiest, self._meter.under_way)
        try:
            if self._latency:
                await anyio.sleep(self._latency)
            await self._limited(scope, receive, send, queried=queried)
        finally:
            self._meter.under_way -= 1

    async def _limited(self, scope: Scope, receive: Receive, send: Send, *, queried: bool) -> None:
        meter, headers = self._meter, dict[str, str]()
        allowed = True
        if queried and self._quota is not None:
            allowed, headers = meter.charge(self._quota, self._window)

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.body":
                meter.traffic.sent += len(message.get("body", b""))
            elif allowed:
                _add_headers(message, headers)
            await send(message)

        if allowed:
            await self._app(scope, receive, counted)
            return
        meter.traffic.refused += 1
        answer = JSONResponse({"error": "rate limit exceeded"}, 429, headers=headers)
        await answer(scope, receive, counted)


class TrafficMeter:
    """The counters and the window of a server, shared by all its requests."""

    def __init__(self) -> None:
        self.traffic = Traffic()
        self.under_way = 0
        self._began: float | None = None
        self._window = -1
        self._spent = 0

    def reset(self) -> dict[str, float]:
        """Return the counts and start again from zero."""
        counted, self.traffic = asdict(self.traffic), Traffic()
        self._began, self._window = None, -1
        return counted

    def charge(self, quota: int, seconds: float) -> tuple[bool, dict[str, str]]:
        """Count a request if the window allows it; return whether it does, and the headers of the answer."""
        now = time.monotonic()
        if self._began is None:
            self._began = now
        window = int((now - self._began) // seconds)
        if window != self._window:
            self._window, self._spent = window, 0
        allowed = self._spent < quota
        self._spent += allowed
        reset = math.ceil(self._began + (window + 1) * seconds - now)
        headers = {
            "RateLimit-Remaining": str((quota - self._spent) * SCALE // quota),
            "RateLimit-Reset": str(reset),
        }
        return allowed, headers if allowed else {**headers, "Retry-After": str(reset)}


def _add_headers(message: MutableMapping[str, Any], headers: dict[str, str]) -> None:
    named = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    message["headers"] = [*message.get("headers", []), *named]
