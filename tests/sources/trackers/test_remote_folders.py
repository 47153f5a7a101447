"""Runs of other trackers on object storage, against a real S3 server on loopback."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from eventkit import event_file, scalars, version, write_events
from objectserver import SECRET, ObjectServer, every_service, lab_server

from pull_logs.cli.main import main
from pull_logs.errors import (
    BucketMissingError,
    FileMissingError,
    MachineLimitError,
    NetworkError,
    PullLogsError,
    SignInError,
    UsageError,
)
from pull_logs.snapshot import open_bundle
from pull_logs.sources import import_locations, locate, remote_folders

NAME = event_file(Path()).name
LARGE = 48 * 2**20


@pytest.fixture(scope="module")
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ObjectServer, Path]]:
    """A server with runs, and those of `s3://lab/team/runs` in a local folder."""
    folder = tmp_path_factory.mktemp("local") / "runs"
    for number, name in enumerate(("exp1", "exp2/train")):
        events = [scalars(step, {"loss": 1.0 / (step + 1 + number)}) for step in range(30)]
        write_events(event_file(folder / name), [version(), *events])
    with lab_server(getattr(request, "param", "s3")) as server:
        system = server.system()
        system.put(str(folder), "lab/team/runs", recursive=True)
        for path, content in {
            "team/runs/exp1/checkpoints/model.pt": bytes(1_000_000),
            "team/runs/exp1/hparams.yaml": b"lr: 0.5\n",
            "csv/version_0/metrics.csv": b"epoch,step,loss\n0,1,0.5\n0,2,0.25\n",
            "csv/version_0/hparams.yaml": b"lr: 0.5\n",
            "nosteps/metrics.csv": b"loss\n1\n",
            "models/model.pt": b"x",
            f"odd/run/{NAME}": b"",
            f"odd/{'x' * 300}/{NAME}": b"",
        }.items():
            system.pipe_file(f"lab/{path}", content)
        if server.kind != "s3":
            yield server, folder
            return
        for name, size in (("small", 2**20), ("large", LARGE)):
            system.pipe_file(f"lab/{name}/{NAME}", bytes(size))
        system.call_s3("put_object", Bucket="lab", Key=f"odd/../../escaped/{NAME}", Body=b"")
        yield server, folder


@pytest.fixture
def server(running: tuple[ObjectServer, Path], monkeypatch: pytest.MonkeyPatch) -> ObjectServer:
    found, _ = running
    for name, value in found.environment().items():
        monkeypatch.setenv(name, value)
    found.fault = lambda _method, _path: ""
    found.requests.clear()
    found.sent = 0
    return found


@pytest.fixture
def runs(running: tuple[ObjectServer, Path]) -> Path:
    return running[1]


def _imported(location: str, out: Path, kind: str | None = None) -> tuple[str, list[str]]:
    import_locations([locate(location, kind)], out=out)
    with open_bundle(out) as bundle:
        return bundle.content_id, [str(path) for path in bundle.run_paths]


@every_service
def test_a_folder_of_event_files_gives_the_bundle_of_its_local_copy(
    server: ObjectServer, runs: Path, tmp_path: Path
) -> None:
    near = _imported(str(runs), tmp_path / "near.wandb.zip")
    assert near[1] == ["local/runs/exp1", "local/runs/exp2~train"]
    assert _imported(server.at("team/runs"), tmp_path / "far.wandb.zip") == near
    assert server.sent < 50_000
    assert not [path for _, path in server.requests if "model.pt" in path]


def test_one_file_is_the_run_of_its_folder(server: ObjectServer, tmp_path: Path) -> None:
    _, paths = _imported(f"s3://lab/team/runs/exp1/{NAME}", tmp_path / "far.wandb.zip")
    assert paths == ["local/runs/exp1"]
    assert server.requests


@every_service
def test_questions_take_urls(server: ObjectServer, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--select", "^loss$", "--at", "10"]
    url = server.at("team/runs")
    assert main(["compare", "--tensorboard", url, *asked]) == 0
    answer = capsys.readouterr().out
    assert main(["compare", "--tensorboard", str(runs), *asked]) == 0
    assert answer.replace(url, "PATH") == capsys.readouterr().out.replace(str(runs), "PATH")
    assert main(["-r", f"{url}/exp1", "--schema"]) == 0
    assert "exp1 state=finished rows=30" in capsys.readouterr().out
    assert server.requests


def test_files_of_metrics_have_their_settings(server: ObjectServer, tmp_path: Path) -> None:
    _imported("s3://lab/csv", tmp_path / "far.wandb.zip")
    with open_bundle(tmp_path / "far.wandb.zip") as bundle:
        (run,) = bundle.runs()
        assert (str(run.path), run.config) == ("local/csv/version_0", {"lr": 0.5})
        assert [row["loss"] for row in run.scan_history()] == [0.5, 0.25]
    assert server.requests


NO_BUCKET = "there is no bucket 'absent' for 's3://absent/runs'; make the bucket, or check its name"
NO_RUN = (
    "no run in 's3://lab/models': no event file of TensorBoard, and no file of metrics; download the runs of"
    " other kinds, and name the local folder"
)
NO_FILE = "no file of tensorboard in 's3://lab/models'; check the URL, and its kind"
NO_STEPS = (
    "no run of metric-files in 's3://lab/nosteps'; name a file, or a folder above metrics.csv, metrics.jsonl,"
    " metrics.ndjson, trainer_state.json"
)
NOT_REMOTE = (
    "runs of mlflow cannot be read from 's3://lab/team/runs'; download the folder, and name the local one"
)


def _error(location: str, tmp_path: Path, kind: str | None = None) -> PullLogsError:
    with pytest.raises(PullLogsError) as caught:
        _imported(location, tmp_path / "far.wandb.zip", kind)
    assert not (tmp_path / "far.wandb.zip").exists()
    assert SECRET not in str(caught.value)
    return caught.value


def test_errors_name_the_url_and_what_is_missing(server: ObjectServer, tmp_path: Path) -> None:
    expected = [
        ("s3://lab/team/nothing", None, FileMissingError, "there is no file at 's3://lab/team/nothing'"),
        ("s3://absent/runs", None, BucketMissingError, NO_BUCKET),
        ("s3://lab/models", None, FileMissingError, NO_RUN),
        ("s3://lab/models", "tensorboard", FileMissingError, NO_FILE),
        ("s3://lab/nosteps", None, FileMissingError, NO_STEPS),
        ("s3://lab/team/runs", "mlflow", UsageError, f"{NOT_REMOTE}, or name the URL of its server"),
        ("s3://lab/team/runs", "trackio", UsageError, NOT_REMOTE.replace("mlflow", "trackio")),
    ]
    for location, kind, error, message in expected:
        found = _error(location, tmp_path, kind)
        assert (type(found), str(found)) == (error, message)
    assert server.requests


def test_an_answer_that_breaks_off_and_missing_credentials(
    server: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.fault = lambda method, path: "cut" if method == "GET" and "tfevents" in path else ""
    found = _error("s3://lab/team/runs", tmp_path)
    assert isinstance(found, NetworkError)
    assert str(found).startswith("'s3://lab/team/runs' cannot be read: ")
    server.fault = lambda _method, _path: ""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    found = _error("s3://lab/team/runs", tmp_path)
    assert isinstance(found, SignInError)


def test_a_folder_that_is_too_large_is_refused(
    server: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(remote_folders, "MOST_LISTED", 4)
        found = _error("s3://lab/team", tmp_path)
    assert (type(found), str(found)) == (
        UsageError,
        "there are more than 4 objects in 's3://lab/team'; name a folder below it that has the runs",
    )
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: usage)
    found = _error("s3://lab/team/runs", tmp_path)
    assert isinstance(found, MachineLimitError)
    assert str(found).startswith(
        "the files of 's3://lab/team/runs' have 0.0 MB, and the disk has 0.0 MB left"
    )
    assert not [path for _, path in server.requests if "tfevents" in path and "list-type" not in path]


def test_names_that_no_file_can_have_are_left_out(server: ObjectServer, tmp_path: Path) -> None:
    report = import_locations([locate("s3://lab/odd")], out=tmp_path / "far.wandb.zip")
    assert report.notes[0] == "2 objects of 's3://lab/odd' have names that no file can have"
    with open_bundle(tmp_path / "far.wandb.zip") as bundle:
        assert list(map(str, bundle.run_paths)) == ["local/odd/run"]
    assert server.requests


_DOWNLOAD = """
import resource, sys
from pathlib import Path
from pull_logs.sources.locations import remote_trackers
from pull_logs.sources.remote_folders import RemoteFolder
tracker = remote_trackers()[0]
def download(url, folder):
    RemoteFolder.open(url, [tracker]).download(tracker, Path(folder))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
before = download("s3://lab/small", sys.argv[1] + "/small")
print(download("s3://lab/large", sys.argv[1] + "/large") - before)
"""


def test_a_large_file_is_not_kept_in_memory(server: ObjectServer, tmp_path: Path) -> None:
    program = [sys.executable, "-c", _DOWNLOAD, str(tmp_path)]
    done = subprocess.run(
        program, env={**os.environ, **server.environment()}, capture_output=True, text=True, check=True
    )
    assert (tmp_path / "large" / "lab" / "large" / NAME).stat().st_size == LARGE
    assert int(done.stdout) < 16


def test_offline_refuses_urls(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        ["--tensorboard", "s3://lab/runs"],
        ["-r", "gs://lab/runs"],
        ["--mlflow", "http://127.0.0.1:9"],
    ):
        assert main([*words, "--offline"]) == 2
        assert capsys.readouterr().err == (
            f"pull-logs: error: {words[1]!r} is read over the network and --offline never uses it; omit"
            " --offline, or name a local copy\n"
        )
