"""The requests of a client that have no answer yet: the end of its input waits for them.

The `mcp` package ends a server with its input, and drops what it has not answered by then. A program that
writes its requests and closes its output, as a shell does with a file, would get the first answers only.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

import anyio
from mcp_types import JSONRPCError, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse

if TYPE_CHECKING:
    from contextvars import Context

    from mcp.shared._stream_protocols import ReadStream, WriteStream
    from mcp.shared.message import SessionMessage


class OpenRequests:
    """The two streams of a server, which count the requests that have no answer.

    Attributes:
        messages: What the client sends. It ends when every request before the end has its answer, or was
            cancelled by the client.
        answers: What the server sends.
    """

    def __init__(
        self, messages: ReadStream[SessionMessage | Exception], answers: WriteStream[SessionMessage]
    ) -> None:
        self._open: set[str] = set()
        self._settled = anyio.Event()
        self.messages = _Messages(messages, self)
        self.answers = _Answers(answers, self)

    def note_message(self, received: SessionMessage | Exception) -> None:
        """Note a message of the client."""
        message = None if isinstance(received, Exception) else received.message
        if isinstance(message, JSONRPCRequest):
            self._open.add(str(message.id))
        elif isinstance(message, JSONRPCNotification) and message.method == "notifications/cancelled":
            self._settle((message.params or {}).get("requestId"))

    def note_answer(self, sent: SessionMessage) -> None:
        """Note a message of the server."""
        if isinstance(sent.message, JSONRPCResponse | JSONRPCError):
            self._settle(sent.message.id)

    def _settle(self, request: object) -> None:
        self._open.discard(str(request))
        self._settled.set()

    async def wait(self) -> None:
        """Wait until no request is open."""
        while self._open:
            self._settled = anyio.Event()
            await self._settled.wait()


class _Stream:
    """A stream that is closed with the one that it reads or writes."""

    def __init__(self, inner: ReadStream[SessionMessage | Exception] | WriteStream[SessionMessage]) -> None:
        self._closed = inner

    async def aclose(self) -> None:
        await self._closed.aclose()

    async def __aenter__(self) -> Self:
        await self._closed.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._closed.__aexit__(kind, error, trace)


class _Messages(_Stream):
    """What the client sends."""

    def __init__(self, inner: ReadStream[SessionMessage | Exception], requests: OpenRequests) -> None:
        super().__init__(inner)
        self._inner, self._requests = inner, requests

    @property
    def last_context(self) -> Context | None:
        """The context in which the last message was sent, for the `mcp` package."""
        found: Context | None = getattr(self._inner, "last_context", None)
        return found

    async def receive(self) -> SessionMessage | Exception:
        """Return the next message.

        Raises:
            anyio.EndOfStream: There is none, and nothing is left to answer.
        """
        try:
            received = await self._inner.receive()
        except anyio.EndOfStream:
            await self._requests.wait()
            raise
        self._requests.note_message(received)
        return received

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None


class _Answers(_Stream):
    """What the server sends."""

    def __init__(self, inner: WriteStream[SessionMessage], requests: OpenRequests) -> None:
        super().__init__(inner)
        self._inner, self._requests = inner, requests

    async def send(self, item: SessionMessage, /) -> None:
        """Send a message."""
        try:
            await self._inner.send(item)
        finally:
            self._requests.note_answer(item)
