"""Which connection a request uses, also after a server closed one while it was idle."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import anyio
import anyio.abc
import httpx
import pytest

from pull_logs.fetch.api.http_library import TrustedCertificates, http_clients

pytestmark = pytest.mark.anyio

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """Answers some requests on each connection, and then closes it; `/silent` is not answered.

    Attributes:
        answered: The answers on each connection, in the order in which the connections were opened.
        silent: Set when a request arrived that is not answered.
    """

    def __init__(self, per_connection: int) -> None:
        self.answered: list[int] = []
        self.silent = anyio.Event()
        self._per_connection = per_connection
        self._closed = anyio.Event()

    async def _answer(self, stream: anyio.abc.SocketStream) -> None:
        number = len(self.answered)
        self.answered.append(0)
        async with stream:
            with suppress(anyio.EndOfStream):
                while self.answered[number] < self._per_connection:
                    if b"/silent" in await stream.receive():
                        self.silent.set()
                        continue
                    self.answered[number] += 1
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


def new_client() -> httpx.AsyncClient:
    (client,) = http_clients(1, None, certificates=TrustedCertificates(used=False), timeout=10)
    return client


async def test_a_connection_that_the_server_closed_is_not_used_again() -> None:
    server = Server(per_connection=2)
    async with server.serving() as url, new_client() as client:
        for _ in range(3):
            for _ in range(2):
                response = await client.get(url)
                assert (response.status_code, response.text) == (200, "ok")
            await server.closed()
    assert server.answered == [2, 2, 2]


async def test_the_connection_that_was_used_last_is_used_again() -> None:
    server = Server(per_connection=99)
    async with server.serving() as url, new_client() as client:
        answers = [await client.send(client.build_request("GET", url), stream=True) for _ in range(3)]
        for answer in answers:
            await answer.aread()
        for _ in range(5):
            await client.get(url)
        assert server.answered == [1, 1, 6]


@pytest.mark.parametrize("before", [0, 1])
async def test_the_connection_of_a_request_that_was_cancelled_is_closed(before: int) -> None:
    server = Server(per_connection=99)
    async with server.serving() as url, new_client() as client:
        for _ in range(before):
            await client.get(url)
        async with anyio.create_task_group() as group:
            group.start_soon(client.get, f"{url}silent")
            await server.silent.wait()
            group.cancel_scope.cancel()
        await server.closed()
        assert (await client.get(url)).text == "ok"
        assert server.answered == [before, 1]


async def test_an_answer_that_was_not_read_is_closed_with_its_client() -> None:
    server = Server(per_connection=99)
    async with server.serving() as url:
        async with new_client() as client:
            await client.send(client.build_request("GET", url), stream=True)
        await server.closed()
