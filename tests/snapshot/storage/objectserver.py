"""Object storage on loopback, which counts its requests and fails on demand: S3 is moto, others are ours."""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from cloudserver import AzureStorage, GoogleStorage
from emulators import azurite, fake_gcs_server
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

from pull_logs.snapshot.storage import object_at

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

SECRET = "s3cr3t-K3y-of-the-lab"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIACANARYCANARY",
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_MAX_ATTEMPTS": "1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "NO_GCE_CHECK": "true",
}
KINDS = ("s3", "gs", "az")
EMULATORS = {"gs-emulator": fake_gcs_server, "az-emulator": azurite}
"""Programs of others, which slow tests use."""

every_service = pytest.mark.parametrize(
    "running",
    [*KINDS, *(pytest.param(kind, marks=pytest.mark.slow) for kind in EMULATORS)],
    indirect=True,
)
"""Runs a test that uses the fixture `running` with each service, otherwise with S3."""

every_service_slowly = pytest.mark.parametrize(
    "running",
    ["s3", *(pytest.param(kind, marks=pytest.mark.slow) for kind in (*KINDS[1:], *EMULATORS))],
    indirect=True,
)
"""The same, where only S3 is not slow."""

LARGE_BODIES = pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
"""What aiohttp thinks of the requests of Azure's library."""

AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The documented key of the one account of Azurite."""


class _Quiet(WSGIRequestHandler):  # type: ignore[misc]
    def log(self, *_arguments: Any) -> None:
        """Print nothing."""

    def make_environ(self) -> dict[str, Any]:
        """Keep the names of headers as they were sent: WSGI has no underscore there, and Azure signs one."""
        return {**super().make_environ(), "sent.headers": list(self.headers.items())}


@dataclass
class ObjectServer:
    """The server.

    Attributes:
        kind: `s3`, `gs` or `az`, with `-emulator` if it is the program of others.
        url: Its address.
        requests: The method and the path of each request.
        conditions: The same, with its `If-Match` or `If-None-Match`.
        sent: The bytes of the answers.
        fault: Called with method and path; returns a status, `cut`, `lost`, `reset` or `wait`, or an
            empty text.
        waiting: Set when a request waits.
    """

    kind: str = "s3"
    url: str = ""
    requests: list[tuple[str, str]] = field(default_factory=list)
    conditions: list[tuple[str, str, str]] = field(default_factory=list)
    sent: int = 0
    fault: Callable[[str, str], str] = lambda _method, _path: ""
    waiting: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)

    def environment(self) -> dict[str, str]:
        """The variables with which programs use it."""
        key = AZURITE_KEY if self.kind == "az-emulator" else base64.b64encode(SECRET.encode()).decode()
        return {
            **ENVIRONMENT,
            "AWS_ENDPOINT_URL": self.url,
            "STORAGE_EMULATOR_HOST": self.url,
            "AZURE_STORAGE_CONNECTION_STRING": "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;"
            f"AccountKey={key};BlobEndpoint={self.url}/devstoreaccount1;",
        }

    @property
    def scheme(self) -> str:
        """The scheme of its URLs."""
        return self.kind.removesuffix("-emulator")

    def at(self, name: str) -> str:
        """Return the URL of an object."""
        return f"{self.scheme}://lab/{name}"

    def system(self) -> Any:
        """Return its file system."""
        return object_at(self.at(""), shown="").system

    def clear(self) -> None:
        """Remove all objects."""
        system = self.system()
        for name in system.find("lab"):
            system.rm_file(name)

    def wrap(self, application: Application) -> Application:
        """Return the application with faults and counts."""

        def call(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
            method, query = environ["REQUEST_METHOD"], environ.get("QUERY_STRING", "")
            path = f"{environ['PATH_INFO']}?{query}" if query else environ["PATH_INFO"]
            if method == "POST" and path.startswith("/upload/"):  # Google's writes have the name in the body
                body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
                environ["wsgi.input"] = BytesIO(body)
                named = re.search(rb'"name": "([^"]+)"', body[:1000])
                method, path = "PUT", f"{path}&name={named[1].decode() if named else ''}"
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


def _application(kind: str) -> AbstractContextManager[Application]:
    if kind in EMULATORS:
        return EMULATORS[kind]()
    own = {"gs": GoogleStorage, "az": AzureStorage}
    return nullcontext(own[kind]() if kind in own else DomainDispatcherApplication(create_backend_app))


@contextmanager
def object_server(kind: str = "s3") -> Iterator[ObjectServer]:
    """Run the server."""
    with _application(kind) as application:
        yield from _served(ObjectServer(kind), application)


def _served(server: ObjectServer, application: Application) -> Iterator[ObjectServer]:
    running = make_server("127.0.0.1", 0, server.wrap(application), threaded=True, request_handler=_Quiet)
    server.url = f"http://127.0.0.1:{running.server_port}"
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        if server.kind == "s3":  # moto keeps buckets in the process, also those of a server that has ended
            httpx.post(f"{server.url}/moto-api/reset", trust_env=False).raise_for_status()
        server.requests.clear()
        yield server
    finally:
        server.released.set()
        running.shutdown()
        thread.join()
        with suppress(OSError):
            running.server_close()


async def _instant(_seconds: float) -> None:
    """Wait for nothing."""


@contextmanager
def lab_server(kind: str = "s3") -> Iterator[ObjectServer]:
    """Run a server with the bucket `lab`, which programs find by the variables of the environment.

    The libraries of Google and Azure storage repeat requests at once.
    """
    with object_server(kind) as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment().items():
            patch.setenv(name, value)
        if server.scheme == "gs":
            patch.setattr("gcsfs.retry.asyncio", SimpleNamespace(sleep=_instant))
        if server.scheme == "az":
            patch.setattr(
                "azure.storage.blob._shared.policies_async.ExponentialRetry.get_backoff_time",
                lambda *_arguments: 0,
            )
        server.system().mkdir("lab")
        server.requests.clear()
        yield server
