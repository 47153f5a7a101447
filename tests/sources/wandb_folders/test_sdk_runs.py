"""What W&B's own SDK wrote to the disk is what comes out, for every way a run can end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sdkruns
from uploads import uploads

from pull_logs.rows.batches import batch_rows
from pull_logs.rows.canonical import canon_record, canon_row, same
from pull_logs.snapshot.write.run_sources import BundleRun
from pull_logs.sources import LocalImport, read_run_dirs

Recorder = Callable[[str], Path]


@pytest.fixture(scope="session")
def record_run(tmp_path_factory: pytest.TempPathFactory) -> Recorder:
    """Records a run of `sdkruns` once a session; gives the folder around its `wandb/`."""
    done: dict[str, Path] = {}

    def recorded(name: str) -> Path:
        if name not in done:
            done[name] = tmp_path_factory.mktemp(name)
            _record(name, done[name])
        return done[name]

    return recorded


def _record(name: str, folder: Path, **more: str) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
    # A session of its own, so that a run that kills its process group kills no other process.
    done = subprocess.run(
        [sys.executable, sdkruns.__file__, name, str(folder)],
        env=environment | {"HOME": str(folder), "WANDB_ERROR_REPORTING": "false"} | more,
        cwd=folder,
        start_new_session=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == (-9 if name in ("killed", "stillborn") else 0), done.stderr.decode()


def _read(folder: Path, scratch: Path) -> LocalImport:
    return read_run_dirs([folder], scratch=scratch)


def _rows(run: BundleRun) -> list[dict[str, Any]]:
    return [row for batch in run.batches() for row in batch_rows(batch)]


def _logged(row: dict[str, Any]) -> dict[str, Any]:
    """A row without what the SDK adds."""
    return {key: value for key, value in row.items() if key not in ("_timestamp", "_runtime")}


def test_every_kind_of_value_comes_out_as_it_was_logged(record_run: Recorder, tmp_path: Path) -> None:
    (run,) = _read(record_run("kinds"), tmp_path).runs
    rows = [_logged(row) for row in _rows(run)]
    expected = [canon_row({**sdkruns.kinds_row(step), "_step": step}) for step in range(5)]
    assert same(rows[:5], expected)
    assert rows[5:] == [
        {"_step": 7, "hist": {"_type": "histogram", "values": [2, 3], "bins": [1, 3, 5]}},
        {"_step": 9, "part": 1, "rest": 2},
    ]


def test_config_summary_and_facts_of_an_offline_run(record_run: Recorder, tmp_path: Path) -> None:
    (run,) = _read(record_run("kinds"), tmp_path).runs
    info = run.info
    assert str(info.path) == "team/proj/kinds"
    assert (info.name, info.state, info.tags, info.group, info.job_type, info.notes, info.host) == (
        "a name", "finished", ("b", "a"), "g", "t", "n", None,
    )  # fmt: skip
    assert same(dict(info.config), canon_record({**sdkruns.CONFIG, "late": 1}))
    assert set(info.config_internal) == {"_wandb"}
    assert info.summary["val/acc"] == {"max": 0.4}
    assert info.summary["kept"] == {"q": 1}
    assert "gone" not in info.summary
    assert (info.summary["_step"], info.summary["rest"]) == (9, 2)
    assert {"_runtime", "_timestamp", "_wandb"} <= set(info.summary)
    assert info.metadata["program"] == sdkruns.__file__
    assert info.metadata["disk"]["/"]["total"].isdecimal()
    assert info.created_at is not None
    assert info.heartbeat_at is not None
    assert info.created_at < info.heartbeat_at


def _without_order(definitions: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Definitions by name, their step metrics by name too: the SDK lists them as its hash tables fall."""
    names = [entry.get("1") for entry in definitions]
    return {
        entry.get("1") or entry["2"]: {
            **{key: sorted(value) if isinstance(value, list) else value for key, value in entry.items()},
            **({"5": names[entry["5"] - 1]} if "5" in entry else {}),
        }
        for entry in definitions
    }


def test_defined_metrics_are_what_the_sdk_uploads_of_the_same_run(tmp_path: Path) -> None:
    with uploads() as (address, configs):
        _record("defined", tmp_path, WANDB_BASE_URL=address, WANDB_API_KEY="a" * 40)
    uploaded = _without_order(configs[-1]["_wandb"]["value"]["m"])
    (run,) = _read(tmp_path, tmp_path).runs
    assert _without_order(run.info.config_internal["_wandb"]["m"]) == uploaded
    assert set(uploaded) == {"epoch", "val/acc", "train/*", "batch", "quiet", "over"}


def test_system_metrics_get_the_names_that_the_api_gives_them(record_run: Recorder, tmp_path: Path) -> None:
    (run,) = _read(record_run("kinds"), tmp_path).runs
    assert run.system is not None
    names = set(run.system.column_names)
    assert {"_timestamp", "_runtime", "system.memory_percent"} <= names
    assert all(name.startswith("system.") for name in names - {"_timestamp", "_runtime"})
    assert "system.memory_percent" in run.info.system_summary


def test_a_finished_run_is_complete_and_nothing_is_noted(record_run: Recorder, tmp_path: Path) -> None:
    found = _read(record_run("kinds"), tmp_path)
    coverage = found.runs[0].coverage
    assert found.notes == ()
    assert (coverage.complete, coverage.reason, coverage.received_rows, coverage.received_last_step) == (
        True, "", 7, 9,
    )  # fmt: skip
    assert (coverage.promised_rows, coverage.promised_last_step) == (None, None)


def test_segments_go_on_start_over_and_go_on_again(record_run: Recorder, tmp_path: Path) -> None:
    found = _read(record_run("segments"), tmp_path)
    (run,) = found.runs
    rows = [(row["_step"], row["x"], row["last"]) for row in _rows(run)]
    first = [(step, step, 5) for step in range(3)]
    second = [(step, step, 9) for step in range(3, 9)]
    again = [(9, 0, 2), (10, 1, 2), (11, 2, 4), (12, 3, 4)]
    assert rows == [*first, *second, *again]
    assert run.info.config == {"from0": 2, "from3": 9, "from2": 4, "last": 4}
    assert (run.info.summary["_step"], run.info.summary["x"]) == (12, 3)
    assert (run.coverage.received_rows, run.coverage.received_last_step) == (15, 12)
    told = [note.split(": ", 2)[2] for note in found.notes if note.count(": ") > 1]
    assert told == [
        "steps 3 to 4 may be logged twice; of two values the later is kept",
        "starts over at step 0",
        "its steps 0 to 1 are kept as 9 to 10",
        "its steps 2 to 3 are kept as 11 to 12",
    ]
    assert found.notes[-1] == "local/proj/segments: put together from 4 folders"


@pytest.mark.parametrize(("name", "state"), [("failed", "failed"), ("preempted", "preempted")])
def test_a_run_that_exits_with_an_error(record_run: Recorder, tmp_path: Path, name: str, state: str) -> None:
    (run,) = _read(record_run(name), tmp_path).runs
    assert (run.info.state, run.coverage.complete, len(_rows(run))) == (state, True, 1)


def test_a_killed_run_keeps_all_rows_that_reached_the_disk(record_run: Recorder, tmp_path: Path) -> None:
    found = _read(record_run("killed"), tmp_path)
    (run,) = found.runs
    rows = _rows(run)
    assert run.info.state == "crashed"
    assert 100 < len(rows) <= sdkruns.KILLED_ROWS
    assert [row["x"] for row in rows] == list(range(len(rows)))
    assert found.notes[-1].endswith(
        "the log ends without an exit record: the run was interrupted, or is still running"
    )
    # Where the cut falls is up to the moment: a record may be torn, or none.
    assert run.coverage.complete or "could not be read" in run.coverage.reason


def test_a_run_killed_at_once_is_known_by_its_file_name(record_run: Recorder, tmp_path: Path) -> None:
    found = _read(record_run("stillborn"), tmp_path)
    (run,) = found.runs
    reason = "the log holds nothing but its header: W&B was stopped before it wrote"
    assert str(run.info.path) == "local/uncategorized/stillborn"
    assert (run.info.state, _rows(run), run.coverage.complete) == ("crashed", [], False)
    assert run.coverage.reason.endswith(f"-stillborn: {reason}")
    assert [note.rpartition("-stillborn: ")[2] for note in found.notes] == [reason]
