"""Connections that a server closed while they were idle, without having said so."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.abc
import pytest

from pull_logs.fetch.api.http_library import TrustedCertificates, http_clients

pytestmark = pytest.mark.anyio

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """Answers some requests on each connection, and then closes it."""

    def __init__(self, per_connection: int) -> None:
        self.connections = 0
        self._per_connection = per_connection
        self._closed = anyio.Event()

    async def _answer(self, stream: anyio.abc.SocketStream) -> None:
        self.connections += 1
        async with stream:
            for _ in range(self._per_connection):
                await stream.receive()
                await stream.send(ANSWER)
        self._closed.set()

    async def closed(self) -> None:
        """Wait until a connection was closed since the last call."""
        await self._closed.wait()
        self._closed = anyio.Event()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serve while the block runs, and yield the address."""
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with listener, anyio.create_task_group() as group:
            group.start_soon(listener.serve, self._answer)
            yield f"http://127.0.0.1:{port}/"
            group.cancel_scope.cancel()


async def test_a_connection_that_the_server_closed_is_not_used_again() -> None:
    server = Server(per_connection=2)
    (client,) = http_clients(1, None, certificates=TrustedCertificates(used=False), timeout=10)
    async with server.serving() as url, client:
        for _ in range(3):
            for _ in range(2):
                response = await client.get(url)
                assert (response.status_code, response.text) == (200, "ok")
            await server.closed()
    assert server.connections == 3
