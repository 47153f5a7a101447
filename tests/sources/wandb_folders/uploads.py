"""A server on loopback that takes what W&B's SDK uploads of a run, and keeps the configs."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_NOTHING_ELSE = {
    "viewer": {"id": "v", "entity": "team", "username": "u", "flags": "{}", "teams": {"edges": []}},
    "serverInfo": {"features": []},
}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    configs: list[dict[str, Any]]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if self.path == "/graphql":
            asked = json.loads(body)
            self._answer({"data": self._graphql(asked["query"], asked.get("variables") or {})})
        else:
            self._answer({})

    def _graphql(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        if "createRunFiles" in query:
            return {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": []}}
        if "upsertBucket" not in query:
            return _NOTHING_ELSE
        if variables.get("config"):
            self.server.configs.append(json.loads(variables["config"]))
        project = {"id": "p", "name": "proj", "entity": {"id": "e", "name": "team"}}
        bucket = {"id": "b", "name": variables["name"], "config": "{}", "project": project}
        return {"upsertBucket": {"bucket": bucket, "inserted": True}}

    def _answer(self, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def uploads() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The address of a server, and the configs that it was sent, the latest last."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.configs = []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", server.configs
        finally:
            server.shutdown()
            thread.join()
