"""The scripted W&B on a real port of loopback, for commands in other processes and for the real SDK."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread

import httpx
from scripted_wandb import API, STORAGE, ScriptedWandb

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
        wandb: It answers one request at a time; its storage is at the same address.
        before: Called with each request before it is answered, and may block.
        headers: Sent with each answer.
    """
    lock = Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            stored = self.path.startswith("/storage/")
            url = STORAGE + self.path.removeprefix("/storage") if stored else API + self.path
            request = httpx.Request(
                self.command, url, headers=dict(self.headers), content=_with_operation(body)
            )
            before(request)
            with lock:
                answer = _viewer(request) or wandb.handle(request)
            content = answer.content.replace(STORAGE.encode(), f"{address}/storage".encode())
            content = content.replace(API.encode(), address.encode())
            self.send_response(answer.status_code)
            sent = {**(headers or {}), **answer.headers, "content-length": str(len(content))}
            for name, value in sent.items():
                self.send_header(name.title(), value.replace(STORAGE, f"{address}/storage"))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = answer  # noqa: N815 - the names of the library

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the signature of the library
            """Write nothing."""

    server = _Server(("127.0.0.1", 0), Handler)
    address = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield {
            "WANDB_BASE_URL": address,
            "WANDB_API_KEY": "k" * 40,
        }
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _with_operation(body: bytes) -> bytes:
    """Name the operation of a query of the SDK, which leaves the name empty."""
    if not body:
        return body
    asked = json.loads(body)
    found = re.search(r"query (\w+)", asked["query"])
    name = asked.get("operationName") or (found[1] if found else "")
    return json.dumps({**asked, "operationName": name}).encode()


def _viewer(request: httpx.Request) -> httpx.Response | None:
    """Answer the question of the SDK whose key it has."""
    if request.method != "POST" or json.loads(request.content)["operationName"] not in (
        "Viewer",
        "GetViewer",
    ):
        return None
    viewer = {"id": "1", "entity": "acme", "username": "ada", "flags": "{}", "teams": {"edges": []}}
    return httpx.Response(200, json={"data": {"viewer": viewer}})
