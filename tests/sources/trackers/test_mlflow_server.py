"""A real MLflow server: what it gives over HTTP is what its database and folders have.

    pytest -m slow -n 0 tests/sources/trackers/test_mlflow_server.py

The server is installed once into an environment of its own, in pytest's cache, which takes about two minutes.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import record_trackers
from environments import environment

from pull_logs.rows.canonical import canon_row, same
from pull_logs.snapshot import FileSelection, Run, open_bundle
from pull_logs.sources import import_locations, locate
from pull_logs.sources.locations import ImportOptions
from pull_logs.sources.tracked_runs import ReadOptions

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
PACKAGE = "mlflow==3.17.2"
FILES = {"notes.txt": b"hello", "model/weights \u00fc.bin": bytes(range(256)) * 4000, "model/empty": b""}
EVERYTHING = ImportOptions(read=ReadOptions(files=FileSelection(("*",))))


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def _server(commands: Path, folder: Path) -> Iterator[str]:
    """Run a server with a database and artifacts in a folder."""
    port = _free_port()
    options = {
        "--host": "127.0.0.1",
        "--port": str(port),
        "--workers": "1",
        "--backend-store-uri": f"sqlite:///{folder / 'mlflow.db'}",
        "--default-artifact-root": "mlflow-artifacts:/",
        "--artifacts-destination": str(folder / "mlartifacts"),
    }
    words = [word for option in options.items() for word in option]
    with (folder / "server.log").open("wb") as log:
        running = subprocess.Popen(
            [commands / "mlflow", "server", *words],
            env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(url, running, folder / "server.log")
        yield url
    finally:
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGTERM)
        running.wait(60)


def _wait(url: str, running: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 300
    while time.monotonic() < end:
        assert running.poll() is None, log.read_text()
        with suppress(httpx.HTTPError):
            if httpx.get(f"{url}/version").status_code == 200:
                return
    raise AssertionError(log.read_text())


def _log(url: str, folder: Path) -> None:
    """Log the training of `record_trackers`, and artifacts."""
    import mlflow

    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    for name, config in record_trackers.RUNS.items():
        record_trackers._mlflow(name, config, url)
    client = mlflow.MlflowClient(url)
    experiment = client.get_experiment_by_name("oracle")
    for run in client.search_runs([experiment.experiment_id]):
        client.log_artifacts(run.info.run_id, str(folder))


def _files(run: Run) -> dict[str, tuple[int, str]]:
    return {name: (file.record.bytes, file.record.hash) for name, file in run.files.items()}


def _imported(location: str, out: Path) -> tuple[str, dict[str, Any]]:
    report = import_locations([locate(location, "mlflow")], out=out, options=EVERYTHING)
    assert (report.notes, report.seal.incomplete) == ((), ())
    with open_bundle(out) as bundle:
        found = {run.name: (list(run.scan_history()), _files(run)) for run in bundle.runs()}
        return bundle.content_id, found


def test_a_server_gives_what_its_database_and_folders_have(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = request.config.cache
    assert cache is not None
    commands = environment(cache.mkdir("sdk-releases"), "mlflow-server", PACKAGE)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.chdir(tmp_path)
    with _server(commands, tmp_path) as url:
        _log(url, tmp_path / "logged")
        served = _imported(url, tmp_path / "served.wandb.zip")
    stored = _imported(str(tmp_path / "mlflow.db"), tmp_path / "stored.wandb.zip")
    assert served == stored
    assert served[1].keys() == record_trackers.RUNS.keys()
    for name, config in record_trackers.RUNS.items():
        rows, files = served[1][name]
        logged = [canon_row({"_step": step, **row}) for step, row in record_trackers.metrics(config)]
        without = [
            {key: value for key, value in row.items() if key[0] != "_" or key == "_step"} for row in rows
        ]
        assert same(without, logged)
        assert {file: size for file, (size, _) in files.items()} == {
            file: len(content) for file, content in FILES.items()
        }
