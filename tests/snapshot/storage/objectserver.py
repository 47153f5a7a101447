"""A real S3 server (moto) on loopback, which counts its requests and fails on demand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import fsspec
import httpx
import pytest
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

SECRET = "s3cr3t-K3y-of-the-lab"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIACANARYCANARY",
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_MAX_ATTEMPTS": "1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


class _Quiet(WSGIRequestHandler):  # type: ignore[misc]
    def log(self, *_arguments: Any) -> None:
        """Print nothing."""


@dataclass
class ObjectServer:
    """The server.

    Attributes:
        url: Its address.
        requests: The method and the path of each request.
        conditions: The same, with its `If-Match` or `If-None-Match`.
        sent: The bytes of the answers.
        fault: Called with method and path; returns a status, `cut`, `lost`, `reset` or `wait`, or an
            empty text.
        waiting: Set when a request waits.
    """

    url: str = ""
    requests: list[tuple[str, str]] = field(default_factory=list)
    conditions: list[tuple[str, str, str]] = field(default_factory=list)
    sent: int = 0
    fault: Callable[[str, str], str] = lambda _method, _path: ""
    waiting: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)

    def environment(self) -> dict[str, str]:
        """The variables with which programs use it."""
        return {**ENVIRONMENT, "AWS_ENDPOINT_URL": self.url}

    def wrap(self, application: Application) -> Application:
        """Return the application with faults and counts."""

        def call(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
            method, query = environ["REQUEST_METHOD"], environ.get("QUERY_STRING", "")
            path = f"{environ['PATH_INFO']}?{query}" if query else environ["PATH_INFO"]
            self.requests.append((method, path))
            condition = environ.get("HTTP_IF_MATCH") or environ.get("HTTP_IF_NONE_MATCH") or ""
            self.conditions.append((method, path, condition))
            fault = self.fault(method, path)
            if fault.isdigit():
                start(f"{fault} Fault", [("Content-Length", "0")])
                return [b""]
            if fault == "reset":
                environ["werkzeug.socket"].close()
                return []
            if fault == "wait":
                self.waiting.set()
                self.released.wait(60)
            if fault == "lost":
                b"".join(application(environ, lambda *_: None))
                start("503 Lost", [("Content-Length", "0")])
                return [b""]
            body = b"".join(application(environ, start))
            self.sent += len(body)
            return [body[: len(body) // 2]] if fault == "cut" else [body]

        return call


@contextmanager
def object_server() -> Iterator[ObjectServer]:
    """Run the server."""
    server = ObjectServer()
    application = DomainDispatcherApplication(create_backend_app)
    running = make_server("127.0.0.1", 0, server.wrap(application), threaded=True, request_handler=_Quiet)
    server.url = f"http://127.0.0.1:{running.server_port}"
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        # moto keeps buckets in the process, also those of a server that has ended.
        httpx.post(f"{server.url}/moto-api/reset", trust_env=False).raise_for_status()
        server.requests.clear()
        yield server
    finally:
        server.released.set()
        running.shutdown()
        thread.join()
        with suppress(OSError):
            running.server_close()


@contextmanager
def lab_server() -> Iterator[ObjectServer]:
    """Run a server with the bucket `lab`, which programs find by the variables of the environment."""
    with object_server() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment().items():
            patch.setenv(name, value)
        fsspec.filesystem("s3", skip_instance_cache=True).mkdir("lab")
        server.requests.clear()
        yield server
