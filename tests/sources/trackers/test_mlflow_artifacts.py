"""Artifacts of MLflow's runs as files: selected, hashed, and never those of another folder."""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest
from trackerkit import FILES, database

from pull_logs.cli.main import main
from pull_logs.errors import NetworkError
from pull_logs.snapshot import FileSelection, open_bundle
from pull_logs.sources.mlflow import Mlflow, artifacts
from pull_logs.sources.tracked_runs import ReadOptions, TrackedRun

SELECTED = {"a.txt": b"one", "model/weights.bin": bytes(300), "model/MLmodel": b"flavors: {}\n"}


def _read(location: str, scratch: Path, selection: FileSelection) -> dict[str, TrackedRun]:
    found = {}
    for number, run in enumerate(Mlflow().find(location)):
        folder = scratch / str(number)
        folder.mkdir(parents=True)
        found[run.run.name] = run.read(folder, ReadOptions(files=selection))
    return found


def _files(run: TrackedRun) -> dict[str, bytes]:
    found = {file.record.name: b"".join(file.chunks()) for file in run.run.files}
    for file in run.run.files:
        assert file.record.hash == f"sha256:{sha256(found[file.record.name]).hexdigest()}"
    return found


def _notes(run: TrackedRun) -> list[str]:
    return [note.removeprefix(f"{run.run.info.path}: ") for note in run.notes]


def _write(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


@pytest.fixture
def mlruns(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FILES / "mlruns", tmp_path / "mlruns"))


def _run_folder(mlruns: Path, name: str) -> Path:
    (run,) = (file.parent for file in mlruns.glob("*/*/meta.yaml") if f"run_name: {name}" in file.read_text())
    return run


ALL = FileSelection(("*",))


def test_a_file_store_has_them_in_the_folder_of_the_run(mlruns: Path, tmp_path: Path) -> None:
    folder = _run_folder(mlruns, "fast") / "artifacts"
    _write(folder, SELECTED)
    (folder / "link").symlink_to(tmp_path)
    (folder / "passwords").symlink_to("/etc/passwd")
    found = _read(str(mlruns), tmp_path / "scratch", ALL)
    assert _files(found["fast"]) == SELECTED
    assert _notes(found["fast"]) == [
        "left out 2 files (symbolic links are not followed): 'link', 'passwords'"
    ]
    assert _files(found["slow"]) == {}
    place = f".../{_run_folder(mlruns, 'slow').parent.name}/{_run_folder(mlruns, 'slow').name}/artifacts"
    assert _notes(found["slow"]) == [f"no artifacts were found: there is no local folder {place!r}"]
    assert all(run.run.coverage.complete for run in found.values())


def test_they_are_selected_by_name_and_size(mlruns: Path, tmp_path: Path) -> None:
    _write(_run_folder(mlruns, "fast") / "artifacts", SELECTED)
    selection = FileSelection(("model/*",), max_bytes=100)
    run = _read(str(mlruns), tmp_path / "scratch", selection)["fast"]
    assert _files(run) == {"model/MLmodel": SELECTED["model/MLmodel"]}
    assert _notes(run) == ["left out 1 file (larger than --max-file-size): 'model/weights.bin'"]


def test_the_command_imports_them_with_files(
    mlruns: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _write(_run_folder(mlruns, "fast") / "artifacts", SELECTED)
    out = tmp_path / "a.wandb.zip"
    assert main(["import", str(mlruns), "-o", str(out), "--files", "model/*"]) == 0
    assert "2 files of 0.00 MB" in capsys.readouterr().err
    with open_bundle(out) as bundle:
        (run,) = (run for run in bundle.runs() if run.name == "fast")
        assert set(run.files) == {"model/weights.bin", "model/MLmodel"}
    assert main(["verify", str(out)]) == 0


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return database(tmp_path / "store" / "mlflow.db", "mlflow")


def _place(db: Path, template: str) -> str:
    """Let the database name a location of the artifacts of one run, and return the id of that run."""
    with closing(sqlite3.connect(db)) as connection:
        ((run_id,),) = connection.execute("SELECT run_uuid FROM runs WHERE name = 'fast'")
        place = template.format(run_id=run_id)
        connection.execute("UPDATE runs SET artifact_uri = ? WHERE name = 'fast'", (place,))
        connection.commit()
    return str(run_id)


@pytest.mark.parametrize("beside", ["mlruns", "mlartifacts", "."])
@pytest.mark.parametrize("start", ["/srv/oracle/mlruns", "mlflow-artifacts:", "s3://lab/mlflow"])
def test_those_of_a_database_that_was_moved_are_beside_it(
    db: Path, tmp_path: Path, beside: str, start: str
) -> None:
    run_id = _place(db, f"{start}/1/{{run_id}}/artifacts")
    _write(db.parent / beside / "1" / run_id / "artifacts", SELECTED)
    assert _files(_read(str(db), tmp_path / "scratch", ALL)["fast"]) == SELECTED


@pytest.mark.parametrize("start", ["{folder}", "file://{folder}"])
def test_those_of_a_database_are_where_it_says(db: Path, tmp_path: Path, start: str) -> None:
    elsewhere = tmp_path / "else where"
    run_id = _place(db, start.format(folder=str(elsewhere)) + "/7/{run_id}/artifacts")
    _write(elsewhere / "7" / run_id / "artifacts", SELECTED)
    assert _files(_read(str(db), tmp_path / "scratch", ALL)["fast"]) == SELECTED


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        ("private", ".../private"),
        ("{folder}/x/../private/{run_id}/artifacts", ".../private/{run_id}/artifacts"),
        ("{folder}/private/{run_id}/artifacts/..", ".../{run_id}/artifacts/.."),
        ("file://{folder}/x/private/artifacts", ".../x/private/artifacts"),
        ("s3://name:key@lab/1/{run_id}/artifacts", "s3://..."),
        ("http://[", "http://..."),
        ("", "..."),
    ],
)
def test_another_folder_is_never_read(db: Path, tmp_path: Path, place: str, shown: str) -> None:
    given = place.replace("{folder}", str(tmp_path))
    run_id = _place(db, given)
    _write(tmp_path / "private", {"key": b"secret", f"{run_id}/artifacts/key": b"secret"})
    _write(tmp_path / "private" / "artifacts", {"key": b"secret"})
    run = _read(str(db), tmp_path / "scratch", ALL)["fast"]
    assert _files(run) == {}
    (note,) = _notes(run)
    expected = shown.replace("{run_id}", run_id)
    assert note == f"no artifacts were found: there is no local folder {expected!r}"
    assert str(tmp_path) not in note
    assert "key" not in note


class _Server(BaseHTTPRequestHandler):
    """A tracking server with one run, whose artifacts are listed two at a time."""

    FILES: ClassVar[dict[str, bytes]] = SELECTED
    LISTED: ClassVar[list[dict[str, Any]]] = []
    BROKEN: ClassVar[dict[str, int]] = {}
    requests: ClassVar[list[str]] = []

    def _answer(self, what: str, query: dict[str, list[str]]) -> Any:
        if what == "experiments/search":
            return {"experiments": [{"experiment_id": "1", "name": "exp"}]}
        if what == "runs/search":
            return {
                "runs": [{"info": {"run_id": "abc", "run_name": "one", "experiment_id": "1"}, "data": {}}]
            }
        folder = query.get("path", [""])[0]
        start = int(query.get("page_token", ["0"])[0])
        entries = self._entries(f"{folder}/" if folder else "") + ([] if folder else self.LISTED)
        more = {"next_page_token": str(start + 2)} if start + 2 < len(entries) else {}
        return {"files": entries[start : start + 2], **more}

    def _entries(self, prefix: str) -> list[dict[str, Any]]:
        below = {
            name[len(prefix) :]: content for name, content in self.FILES.items() if name.startswith(prefix)
        }
        folders = sorted({name.partition("/")[0] for name in below if "/" in name})
        files = [
            {"path": prefix + name, "is_dir": False, "file_size": len(data)}
            for name, data in below.items()
            if "/" not in name
        ]
        return [*files, *({"path": prefix + name, "is_dir": True} for name in folders)]

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        status, length = 200, 0
        if parts.path == "/version":
            body = b"3"
        elif parts.path == "/get-artifact":
            assert query["run_uuid"] == ["abc"]
            (name,) = query["path"]
            self.requests.append(name)
            body = self.FILES.get(name, b"")
            status = self.BROKEN.get(name, 200)
            length = self.BROKEN.get(name, 0) // 1000
        else:
            body = json.dumps(self._answer(parts.path.removeprefix("/api/2.0/mlflow/"), query)).encode()
        self.send_response(status if status < 1000 else 200)
        self.send_header("Content-Length", str(len(body) + length))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps(
            self._answer(urlsplit(self.path).path.removeprefix("/api/2.0/mlflow/"), {})
        ).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(_Server, "requests", [])
    with ThreadingHTTPServer(("127.0.0.1", 0), _Server) as served:
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{served.server_address[1]}"
        served.shutdown()
        thread.join()


def test_a_server_is_asked_for_the_selected_ones(server: str, tmp_path: Path) -> None:
    assert _files(_read(server, tmp_path / "all", ALL)["one"]) == SELECTED
    _Server.requests.clear()
    run = _read(server, tmp_path / "some", FileSelection(("model/*",), max_bytes=100))["one"]
    assert _files(run) == {"model/MLmodel": SELECTED["model/MLmodel"]}
    assert _notes(run) == ["left out 1 file (larger than --max-file-size): 'model/weights.bin'"]
    assert _Server.requests == ["model/MLmodel"]


def test_paths_of_a_server_that_leave_the_run_are_not_requested(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = ["../../etc/passwd", "/etc/passwd", "a/../../b", "", "x" * 5000]
    listed = [{"path": path, "is_dir": number == 0, "file_size": "5"} for number, path in enumerate(odd)]
    monkeypatch.setattr(_Server, "LISTED", listed)
    run = _read(server, tmp_path / "scratch", ALL)["one"]
    assert _files(run) == SELECTED
    (note,) = _notes(run)
    assert note == (
        "left out 5 files (no bundle can hold such a name): '../../etc/passwd', '/etc/passwd', 'a/../../b'"
        " and 2 more"
    )
    assert sorted(_Server.requests) == sorted(SELECTED)


def test_what_a_server_does_not_have_is_reported_and_the_rows_are_read(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Server, "BROKEN", {"model/weights.bin": 404})
    run = _read(server, tmp_path / "scratch", ALL)["one"]
    assert _files(run) == {name: data for name, data in SELECTED.items() if name != "model/weights.bin"}
    host = urlsplit(server).netloc
    assert _notes(run) == [
        f"left out 1 file (the MLflow server {host} answered 404): 'model/weights.bin'",
    ]
    assert run.run.coverage.complete


def test_an_artifact_that_breaks_off_is_an_error(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Server, "BROKEN", {"a.txt": 5000})
    with pytest.raises(NetworkError) as caught:
        _read(server, tmp_path / "scratch", ALL)
    assert str(caught.value).startswith(
        f"the artifact 'a.txt' did not arrive from {urlsplit(server).netloc}: "
    )


def test_a_run_with_too_many_is_reported(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "MOST_ARTIFACTS", 2)
    run = _read(server, tmp_path / "scratch", ALL)["one"]
    assert list(_files(run)) == ["a.txt"]
    assert _notes(run) == ["the list of artifacts is not complete: the run has more than 2 artifacts"]
