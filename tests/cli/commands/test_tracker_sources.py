"""Runs of other trackers on the command line: imported, viewed, and compared with bundles."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from checkout import RECORDED
from eventkit import event_file, scalars, version, write_events
from trackerkit import stores

from pull_logs import compare, open_bundle
from pull_logs.cli.main import main


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    exit_code: int
    stdout: str
    stderr: str


def pull_logs(*words: str | Path) -> Done:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(word) for word in words])
    return Done(code, out.getvalue(), err.getvalue())


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """A folder with two runs of TensorBoard."""
    for name, rate in (("exp1", 0.5), ("exp2", 0.25)):
        events = [scalars(step, {"val/loss": rate / (step + 1)}) for step in range(50)]
        write_events(event_file(tmp_path / "tb" / name), [version(), *events])
    return tmp_path / "tb"


def test_a_folder_of_event_files_is_imported(logs: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.wandb.zip"
    done = pull_logs("import", logs, "-o", out)
    assert done.exit_code == 0
    assert "note" not in done.stderr
    with open_bundle(out) as bundle:
        assert list(bundle.run_paths) == ["local/tb/exp1", "local/tb/exp2"]
        run = bundle["exp2"]
        assert run.metadata["tracker"] == {
            "files": 1,
            "name": "tensorboard",
            "run": "exp2",
            "version": "brain.Event:2",
        }
        assert str(tmp_path) not in json.dumps(run.metadata)
        assert [row["val/loss"] for row in run.scan_history()][:2] == [0.25, 0.125]


def test_the_same_files_give_the_same_bundle(logs: Path, tmp_path: Path) -> None:
    found = []
    for name in ("a.wandb.zip", "b.wandb.zip"):
        assert pull_logs("import", logs, "-o", tmp_path / name).exit_code == 0
        found.append((tmp_path / name).read_bytes())
    assert found[0] == found[1]


def test_runs_of_a_tracker_and_of_a_bundle_are_compared(logs: Path) -> None:
    done = pull_logs("compare", "--tensorboard", logs, "-b", RECORDED, "--at", "20", "--json")
    assert done.exit_code == 0, done.stderr
    paths = [run["path"] for run in json.loads(done.stdout)["runs"]]
    assert paths[-2:] == ["local/tb/exp1", "local/tb/exp2"]
    assert len(paths) == 18


def test_a_folder_is_viewed_directly_and_beside_a_run_of_a_bundle(logs: Path) -> None:
    alone = pull_logs("-r", logs / "exp1", "--stats")
    assert "exp1 state=finished rows=50 last_step=49 complete=yes" in alone.stdout.splitlines()
    both = pull_logs("compare", "-r", logs / "exp1", "-r", "kill1e2s", "-b", RECORDED, "--json")
    assert both.exit_code == 0, both.stderr
    assert sorted(run["path"] for run in json.loads(both.stdout)["runs"]) == [
        "acme/digits/kill1e2s",
        "local/tb/exp1",
    ]
    every = pull_logs("compare", "-r", logs / "exp1", "-b", RECORDED, "--json")
    assert len(json.loads(every.stdout)["runs"]) == 17


def test_python_takes_trackers(logs: Path) -> None:
    answer = compare(RECORDED, tensorboard=logs, at="20")
    assert [run["path"] for run in answer["runs"]][-2:] == ["local/tb/exp1", "local/tb/exp2"]


def test_hints_name_the_source(logs: Path) -> None:
    done = pull_logs("overview", "--tensorboard", logs)
    assert done.stderr.splitlines() == [
        f"pull-logs: next: pull-logs compare --tensorboard {logs} --best val/loss:min"
    ]


def test_a_folder_with_runs_of_several_kinds_is_read_as_one_of_them(logs: Path, tmp_path: Path) -> None:
    from logwriting import row, run, write_run_folder

    write_run_folder(logs / "wandb", "offline-run-20260101_000000-abc", [run("abc"), row(0, loss=0.5)])
    out = tmp_path / "a.wandb.zip"
    done = pull_logs("import", logs, "-o", out)
    note = f"{str(logs)!r} has runs of wandb and tensorboard; `--from tensorboard` reads those of tensorboard"
    assert f"pull-logs: note: {note} instead" in done.stderr.splitlines()
    with open_bundle(out) as bundle:
        assert list(bundle.run_paths) == ["local/proj/abc"]
    assert pull_logs("import", logs, "--from", "tensorboard", "-o", tmp_path / "b.wandb.zip").exit_code == 0
    with open_bundle(tmp_path / "b.wandb.zip") as bundle:
        assert list(bundle.run_paths) == ["local/tb/exp1", "local/tb/exp2"]


def test_two_runs_of_one_path_are_refused(logs: Path, tmp_path: Path) -> None:
    done = pull_logs("import", logs, logs / "exp1", "-o", tmp_path / "a.wandb.zip")
    assert done.exit_code == 2
    assert done.stderr == (
        "pull-logs: error: two of the runs have the path 'local/tb/exp1'; import them into two bundles, one"
        " of them with another --project\n"
    )


def test_fetch_refuses_other_trackers(logs: Path, tmp_path: Path) -> None:
    done = pull_logs("fetch", "--tensorboard", logs, "-o", tmp_path / "a.wandb.zip")
    assert done.exit_code == 2
    assert done.stderr == (
        "pull-logs: error: --tensorboard names runs of another tracker, and fetch downloads from W&B; write:"
        f" pull-logs import {logs} -o FILE.wandb.zip\n"
    )


def test_a_url_of_unknown_kind_is_refused(tmp_path: Path) -> None:
    done = pull_logs("import", "http://127.0.0.1:1", "-o", tmp_path / "a.wandb.zip")
    assert done.exit_code == 2
    assert done.stderr == (
        "pull-logs: error: the kind of 'http://127.0.0.1:1' is not known; `--from mlflow` (--mlflow in a"
        " question) reads a tracking server of MLflow\n"
    )


def test_databases_are_known_by_their_content(tmp_path: Path) -> None:
    found = stores(tmp_path / "stores")
    done = pull_logs(
        "compare", "-r", f"sqlite:///{found['mlflow']}", "-r", found["trackio"], "-b", RECORDED, "--json"
    )
    assert done.exit_code == 0, done.stderr
    paths = [run["path"] for run in json.loads(done.stdout)["runs"]]
    assert sum(path.startswith("local/oracle/") for path in paths) == 4
    assert len(paths) == 20
