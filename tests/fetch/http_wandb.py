"""The scripted W&B on a real port of loopback, for commands that run in a process of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread

import httpx
from scripted_wandb import ScriptedWandb

Answering = Callable[[httpx.Request], None]


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_request: object) -> None:
        """Write nothing when the other side was interrupted."""


@contextmanager
def serve_scripted(
    wandb: ScriptedWandb,
    *,
    before: Answering = lambda _request: None,
    headers: Mapping[str, str] | None = None,
) -> Iterator[dict[str, str]]:
    """Serve a scripted W&B, and yield the environment with which the SDK and this package find it.

    Args:
        wandb: It answers one request at a time; its runs must have live rows only, which need no storage.
        before: Called with each request before it is answered, and may block.
        headers: Sent with each answer.
    """
    lock = Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            request = httpx.Request(
                "POST", f"http://127.0.0.1{self.path}", headers=dict(self.headers), content=body
            )
            before(request)
            with lock:
                answer = wandb.handle(request)
            self.send_response(answer.status_code)
            sent = {**(headers or {}), **answer.headers, "Content-Length": str(len(answer.content))}
            for name, value in sent.items():
                self.send_header(name.title(), value)
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the signature of the library
            """Write nothing."""

    server = _Server(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield {
            "WANDB_BASE_URL": f"http://127.0.0.1:{server.server_port}",
            "WANDB_API_KEY": "k" * 40,
        }
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
