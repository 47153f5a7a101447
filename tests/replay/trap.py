"""A server on loopback that no client should reach; it counts those that do."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Trap(socketserver.ThreadingTCPServer):
    """Counts connections and answers none."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), socketserver.BaseRequestHandler)
        self.caught: list[bytes] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def finish_request(self, request: object, client_address: object) -> None:
        self.caught.append(request.recv(200))  # type: ignore[attr-defined]  # a socket, typed loosely there


@contextmanager
def trap() -> Iterator[Trap]:
    """A trap that is listening."""
    with Trap() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
