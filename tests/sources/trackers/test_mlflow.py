"""Stores of MLflow: what is stored twice, deleted, nested or damaged, and a server page by page."""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trackerkit import FILES, database

from pull_logs.errors import DamageError, FileMissingError, SignInError, UsageError
from pull_logs.rows.batches import batch_rows
from pull_logs.sources.mlflow import Mlflow
from pull_logs.sources.mlflow.stores import parameter
from pull_logs.sources.tracked_runs import ReadOptions, TrackedRun


def _read(location: str, scratch: Path) -> dict[str, TrackedRun]:
    found = {}
    for number, run in enumerate(Mlflow().find(location)):
        folder = scratch / str(number)
        folder.mkdir(parents=True)
        found[run.run.name] = run.read(folder, ReadOptions())
    return found


def _column(run: TrackedRun, key: str) -> list[tuple[int, Any]]:
    rows = (row for batch in run.run.batches() for row in batch_rows(batch))
    return [(row["_step"], row[key]) for row in rows if key in row]


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return database(tmp_path / "mlflow.db", "mlflow")


def _execute(db: Path, *statements: str) -> None:
    with closing(sqlite3.connect(db)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


FAST = "(SELECT run_uuid FROM runs WHERE name = 'fast')"


def test_facts_of_a_run(db: Path, tmp_path: Path) -> None:
    _execute(
        db,
        "UPDATE runs SET status = 'KILLED' WHERE name = 'fast'",
        f"INSERT INTO tags VALUES ('team', 'vision', {FAST}), ('mlflow.note.content', 'a note', {FAST})",
        f"INSERT INTO tags SELECT 'mlflow.parentRunId', {FAST}, run_uuid FROM runs WHERE name = 'slow'",
    )
    found = _read(f"sqlite:///{db}", tmp_path / "scratch")
    info = found["fast"].run.info
    assert (info.path.entity, info.path.project, info.name) == ("local", "oracle", "fast")
    assert (info.state, info.tags, info.notes, info.user) == (
        "killed",
        ("team=vision",),
        "a note",
        "somebody",
    )
    assert info.metadata["tracker"] == {"name": "mlflow", "version": "dc11669786a5", "run": info.path.run_id}
    assert str(tmp_path) not in json.dumps(info.metadata)
    assert (found["slow"].run.info.group, info.group) == ("fast", None)


def test_values_of_one_step_and_special_numbers(db: Path, tmp_path: Path) -> None:
    _execute(
        db,
        f"INSERT INTO metrics VALUES ('train/loss', 7.5, 9999999999999, {FAST}, 3, 0)",
        f"INSERT INTO metrics VALUES ('odd', 0, 9999999999999, {FAST}, 4, 1)",
        f"INSERT INTO metrics VALUES ('_step', 1, 9999999999999, {FAST}, 5, 0)",
    )
    run = _read(str(db), tmp_path / "scratch")["fast"]
    assert dict(_column(run, "train/loss"))[3] == 7.5
    ((_, odd),) = _column(run, "odd")
    assert odd != odd
    assert _column(run, "mlflow/_step") == [(5, 1)]
    path = run.run.info.path
    assert run.notes == (
        f"{path}: the metrics _step are named mlflow/NAME, because all runs have columns of these names",
        f"{path}: 1 value of 47 have a later value of the same metric and step, which is kept",
    )
    assert run.run.coverage.complete


def test_deleted_runs_are_left_out(db: Path, tmp_path: Path) -> None:
    _execute(db, "UPDATE runs SET lifecycle_stage = 'deleted' WHERE name = 'slow'")
    (run,) = _read(str(db), tmp_path / "scratch").values()
    assert run.notes == (f"{run.run.info.path}: 1 deleted run of the store were left out",)


def test_a_damaged_database_is_an_error(db: Path, tmp_path: Path) -> None:
    db.write_bytes(db.read_bytes()[:5000])
    with pytest.raises(DamageError, match=r"^the database '.*mlflow.db' cannot be read: "):
        _read(f"sqlite:///{db}", tmp_path / "scratch")


def test_a_database_that_does_not_exist_is_not_made(tmp_path: Path) -> None:
    file = tmp_path / "none.db"
    with pytest.raises(FileMissingError) as caught:
        Mlflow().find(f"sqlite:///{file}")
    assert str(caught.value) == f"no database {str(file)!r}; write sqlite:///PATH, or the path of the file"
    assert not file.exists()


def test_other_databases_need_a_server() -> None:
    with pytest.raises(UsageError) as caught:
        Mlflow().find("postgresql://host/db")
    assert str(caught.value) == (
        "postgresql: is not a store of MLflow that can be read; start `mlflow server` on it, and name the"
        " URL of the server"
    )


@pytest.fixture
def mlruns(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FILES / "mlruns", tmp_path / "mlruns"))


def _metric_file(mlruns: Path, name: str) -> Path:
    (run,) = (file.parent for file in mlruns.glob("*/*/meta.yaml") if f"run_name: {name}" in file.read_text())
    return run / "metrics" / "train" / "loss"


def test_a_file_store_is_found_from_every_level(mlruns: Path, tmp_path: Path) -> None:
    run = _metric_file(mlruns, "fast").parent.parent.parent
    for number, path in enumerate((mlruns.parent, mlruns, run.parent, run)):
        assert Mlflow().recognizes(str(path))
        found = _read(str(path), tmp_path / f"scratch{number}")
        assert found["fast"].run.info.path.project == "oracle"
        assert len(found) == (1 if path == run else 2)


def test_every_cut_of_a_metric_file_loses_only_its_last_line(mlruns: Path, tmp_path: Path) -> None:
    file = _metric_file(mlruns, "fast")
    whole = file.read_bytes()
    lines = whole.splitlines(keepends=True)
    for cut in range(len(whole) - 60, len(whole)):
        file.write_bytes(whole[:cut])
        run = _read(str(mlruns), tmp_path / f"scratch{cut}")["fast"]
        complete = sum(1 for end in range(1, len(lines) + 1) if sum(map(len, lines[:end])) <= cut)
        assert [step for step, _ in _column(run, "train/loss")] == list(range(complete))
        torn = sum(map(len, lines[:complete])) < cut
        assert run.run.coverage.complete == (not torn)
        if torn:
            assert run.run.coverage.reason.startswith(f"metrics/train/loss, line {complete + 1}: ")


def test_a_line_that_is_not_valid_is_located(mlruns: Path, tmp_path: Path) -> None:
    file = _metric_file(mlruns, "fast")
    lines = file.read_text().splitlines()
    lines[4] = "not a value"
    file.write_text("\n".join(lines) + "\n")
    run = _read(str(mlruns), tmp_path / "scratch")["fast"]
    assert run.run.coverage.reason == (
        "metrics/train/loss, line 5: 'not a value' is not a time, a number and a step"
    )
    assert len(_column(run, "train/loss")) == 39


@given(st.one_of(st.integers(-(10**17), 10**17), st.floats(allow_nan=False), st.booleans(), st.none()))
def test_parameters_have_the_values_that_were_logged(value: Any) -> None:
    found = parameter(str(value))
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", ["007", "1_000", "v1", "1e", "[1, 2]", "", "true"])
def test_other_parameters_are_text(text: str) -> None:
    found = parameter(text)
    assert found == (7.0 if text == "007" else text)


class _Server(BaseHTTPRequestHandler):
    """A tracking server with one run, which answers in pages of two."""

    HISTORY: ClassVar = [
        {
            "key": "loss",
            "value": 1 / (step + 1),
            "timestamp": str(1_700_000_000_000 + step),
            "step": str(step),
        }
        for step in range(5)
    ]
    KEY = "Bearer secret"

    def _answer(self, what: str, query: dict[str, Any]) -> tuple[int, Any]:
        if self.headers.get("Authorization") != self.KEY:
            return 401, {}
        if what == "experiments/search":
            return 200, {"experiments": [{"experiment_id": "1", "name": "exp"}]}
        if what == "runs/search":
            assert query["experiment_ids"] == ["1"]
            if "page_token" not in query:
                return 200, {"next_page_token": "more"}
            info = {
                "run_id": "abc",
                "run_name": "one",
                "experiment_id": "1",
                "status": "FAILED",
                "start_time": 5,
            }
            data = {"metrics": [self.HISTORY[-1]], "params": [{"key": "lr", "value": "0.5"}]}
            return 200, {"runs": [{"info": info, "data": data}]}
        start = int(query.get("page_token", ["0"])[0])
        page: dict[str, Any] = {"metrics": self.HISTORY[start : start + 2]}
        return 200, page | ({"next_page_token": str(start + 2)} if start + 2 < len(self.HISTORY) else {})

    def _send(self, query: dict[str, Any]) -> None:
        path = urlsplit(self.path).path
        if path == "/version":
            status, body = 200, b"3.1.4"
        else:
            status, found = self._answer(path.removeprefix("/api/2.0/mlflow/"), query)
            body = json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self._send(parse_qs(urlsplit(self.path).query))

    def do_POST(self) -> None:
        self._send(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Server) as served:
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{served.server_address[1]}"
        served.shutdown()
        thread.join()


def test_a_server_is_read_page_by_page(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "secret")
    run = _read(server, tmp_path / "scratch")["one"]
    assert _column(run, "loss") == [(step, 1 / (step + 1)) for step in range(5)]
    assert (run.run.info.state, dict(run.run.info.config)) == ("failed", {"lr": 0.5})
    assert run.run.info.metadata["tracker"]["version"] == "3.1.4"
    assert (run.run.coverage.complete, run.notes) == (True, ())


def test_a_server_whose_history_lacks_the_last_step_is_incomplete(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "secret")
    (found,) = Mlflow().find(server)
    monkeypatch.setattr(_Server, "HISTORY", _Server.HISTORY[:4])
    run = found.read(tmp_path, ReadOptions())
    assert run.run.coverage.reason == "the server has step 4 of 'loss', and its history did not arrive"


def test_a_server_that_wants_a_key(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_TOKEN", raising=False)
    with pytest.raises(SignInError) as caught:
        Mlflow().find(server)
    host = urlsplit(server).netloc
    assert str(caught.value) == (
        f"the MLflow server {host} refused access (401); set MLFLOW_TRACKING_TOKEN, or"
        " MLFLOW_TRACKING_USERNAME and _PASSWORD"
    )
