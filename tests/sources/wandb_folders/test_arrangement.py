"""How the logs of a run are put together: rewinds, forks, copies, concurrent processes, and summaries."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logwriting import item, record, row, run, write_log, write_run_folder

from pull_logs.rows.batches import batch_rows
from pull_logs.runs import RunParts, RunPoint
from pull_logs.snapshot.write.run_sources import BundleRun
from pull_logs.sources import LocalImport, read_run_dirs
from pull_logs.sources.wandb_folders.arrangement import OnRestart

EXIT = record(exit={"exit_code": 0, "runtime": 7})


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def _summary(**values: object) -> bytes:
    return record(summary={"update": [item(key, json.dumps(value)) for key, value in values.items()]})


def _attempt(
    folder: Path, number: int, steps: Iterable[int], *, run_id: str = "abc", every: float = 0.1, **fields: Any
) -> Path:
    """Write a log that starts after `number` minutes; its rows and its summary have `x`, `ATTEMPT:STEP`."""
    start = 1000 + 60 * number
    steps = list(steps)
    rows = [
        row(step, x=f"{number}:{step}", _timestamp=start + every * (index + 1))
        for index, step in enumerate(steps)
    ]
    end = [_summary(x=f"{number}:{steps[-1]}", _step=steps[-1])] if steps else []
    name = f"offline-run-20260101_00{number:02}00-{run_id}"
    return write_run_folder(folder, name, [run(run_id, start=start, **fields), *rows, *end, EXIT])


def _branch(run_id: str, step: int) -> dict[str, Any]:
    return {"branch_point": {"run": run_id, "metric": "_step", "value": step}}


def _values(found: BundleRun) -> dict[int, Any]:
    return {row["_step"]: row.get("x") for batch in found.batches() for row in batch_rows(batch)}


def _notes(found: LocalImport) -> list[str]:
    return [note.partition(": ")[2] for note in found.notes]


# Parts


def _parts(run: BundleRun) -> RunParts | None:
    return run.info.parts


def test_a_resumed_run_has_its_parts_and_where_each_goes_on(tmp_path: Path, scratch: Path) -> None:
    for number, steps in enumerate((range(5), range(5, 9), range(8, 12))):
        _attempt(tmp_path / "wandb", number, steps)
    (one,) = read_run_dirs([tmp_path / "wandb"], scratch=scratch).runs
    assert _parts(one) == RunParts(3, (RunPoint("resumed", 5), RunPoint("resumed", 8)))


def test_a_run_of_one_folder_has_no_parts(tmp_path: Path, scratch: Path) -> None:
    _attempt(tmp_path / "wandb", 0, range(5))
    _attempt(tmp_path / "wandb", 1, [])
    (one,) = read_run_dirs([tmp_path / "wandb"], scratch=scratch).runs
    assert _parts(one) is None


def test_a_resumed_run_without_its_first_folder_has_an_unknown_number_of_parts(
    tmp_path: Path, scratch: Path
) -> None:
    config = {"update": [item("_wandb", '{"t":{"3":[2,5,16]}}')]}
    _attempt(tmp_path / "wandb", 1, range(7, 9), config=config)
    (one,) = read_run_dirs([tmp_path / "wandb"], scratch=scratch).runs
    assert _parts(one) == RunParts(None, (RunPoint("resumed", 7),))


@pytest.mark.parametrize(
    ("on_restart", "parts"),
    [("offset", RunParts(2, (RunPoint("restarted", 5),))), ("overwrite", None)],
)
def test_a_run_that_starts_over_was_restarted_unless_it_replaces_its_old_rows(
    tmp_path: Path, scratch: Path, on_restart: OnRestart, parts: RunParts | None
) -> None:
    _attempt(tmp_path / "wandb", 0, range(5))
    _attempt(tmp_path / "wandb", 1, range(3))
    (one,) = read_run_dirs([tmp_path / "wandb"], scratch=scratch, on_restart=on_restart).runs
    assert _parts(one) == parts


# Rewinds


def test_a_rewound_run_is_cut_at_its_branch_point(tmp_path: Path, scratch: Path) -> None:
    _attempt(tmp_path / "wandb", 0, range(50))
    _attempt(tmp_path / "wandb", 1, range(21, 30), **_branch("abc", 20))
    found = read_run_dirs([tmp_path / "wandb"], scratch=scratch)
    (one,) = found.runs
    expected = {step: f"0:{step}" for step in range(21)} | {step: f"1:{step}" for step in range(21, 30)}
    assert _values(one) == expected
    assert _parts(one) == RunParts(2, (RunPoint("rewound", 20),))
    assert (one.info.summary["x"], one.info.summary["_step"]) == ("1:29", 29)
    assert (one.coverage.received_rows, one.coverage.received_last_step, one.coverage.complete) == (
        30,
        29,
        True,
    )
    assert _notes(found) == [
        "offline-run-20260101_000100-abc: rewound to step 20; 29 rows after it are left out",
        "put together from 2 folders",
    ]


def test_a_branch_point_in_the_config_alone_counts_too(tmp_path: Path, scratch: Path) -> None:
    _attempt(tmp_path / "wandb", 0, range(5))
    config = {"update": [item("_wandb", '{"branch_point":{"run_id":"abc","step":1}}')]}
    _attempt(tmp_path / "wandb", 1, [2], config=config)
    (one,) = read_run_dirs([tmp_path / "wandb"], scratch=scratch).runs
    assert _values(one) == {0: "0:0", 1: "0:1", 2: "1:2"}


def test_a_metric_of_the_rows_that_were_cut_is_that_of_the_branch_point(
    tmp_path: Path, scratch: Path
) -> None:
    _attempt(tmp_path / "wandb", 0, range(50))
    _attempt(tmp_path / "wandb", 1, [], **_branch("abc", 20))
    (one,) = read_run_dirs([tmp_path / "wandb"], scratch=scratch).runs
    assert (one.info.summary["x"], one.info.summary["_step"]) == ("0:20", 20)
    assert list(_values(one)) == list(range(21))


def test_a_rewind_without_the_folder_before_it_says_which_rows_are_missing(
    tmp_path: Path, scratch: Path
) -> None:
    _attempt(tmp_path / "wandb", 1, range(21, 30), **_branch("abc", 20))
    (one,) = read_run_dirs([tmp_path / "wandb"], scratch=scratch).runs
    assert not one.coverage.complete
    assert _parts(one) == RunParts(None, (RunPoint("rewound", 20),))
    assert one.coverage.reason == (
        "offline-run-20260101_000100-abc: rewound to step 20, and the rows up to this step are in an earlier "
        "folder of the run, which is not in this import"
    )


# Forks


def test_a_fork_has_the_rows_of_its_parent_up_to_the_branch_point(tmp_path: Path, scratch: Path) -> None:
    folder = tmp_path / "wandb"
    _attempt(folder, 0, range(10), run_id="parent")
    _attempt(folder, 1, range(6, 9), run_id="child", **_branch("parent", 5))
    # What the parent did after the fork does not change the fork.
    _attempt(folder, 2, range(3, 5), run_id="parent", **_branch("parent", 2))
    _attempt(folder, 3, [8], run_id="grandchild", **_branch("child", 7))
    found = read_run_dirs([folder], scratch=scratch)
    child, grandchild, parent = found.runs
    shared = {step: f"0:{step}" for step in range(6)}
    assert _values(child) == shared | {step: f"1:{step}" for step in range(6, 9)}
    assert _values(grandchild) == shared | {6: "1:6", 7: "1:7", 8: "3:8"}
    assert _values(parent) == {0: "0:0", 1: "0:1", 2: "0:2", 3: "2:3", 4: "2:4"}
    assert _parts(child) == RunParts(1, (RunPoint("forked", 5, "parent"),))
    assert _parts(parent) == RunParts(2, (RunPoint("rewound", 2),))
    assert (child.info.summary["x"], child.coverage.received_rows, child.coverage.complete) == (
        "1:8",
        9,
        True,
    )
    assert found.notes[0] == (
        "local/proj/child: offline-run-20260101_000100-child: forked from local/proj/parent at step 5; "
        "its 6 rows up to this step come first"
    )


def test_a_fork_whose_parent_is_missing_names_it_and_is_incomplete(tmp_path: Path, scratch: Path) -> None:
    _attempt(tmp_path / "wandb", 1, range(6, 9), run_id="child", **_branch("parent", 5))
    found = read_run_dirs([tmp_path / "wandb"], scratch=scratch)
    reason = (
        "offline-run-20260101_000100-child: forked from local/proj/parent at step 5, and the rows up to this "
        "step are in the folder of that run, which is not in this import"
    )
    assert (found.runs[0].coverage.complete, found.runs[0].coverage.reason) == (False, reason)
    assert found.notes == (f"local/proj/child: {reason}",)
    assert list(_values(found.runs[0])) == [6, 7, 8]


def test_a_fork_and_its_parent_need_not_both_name_the_entity(tmp_path: Path, scratch: Path) -> None:
    _attempt(tmp_path / "wandb", 0, range(3), run_id="parent", entity="acme")
    _attempt(tmp_path / "wandb", 1, [2], run_id="child", **_branch("parent", 1))
    found = read_run_dirs([tmp_path / "wandb"], scratch=scratch)
    assert [str(one.info.path) for one in found.runs] == ["acme/proj/parent", "local/proj/child"]
    assert _values(found.runs[1]) == {0: "0:0", 1: "0:1", 2: "1:2"}


def test_two_runs_that_name_each_other_as_parents_end(tmp_path: Path, scratch: Path) -> None:
    _attempt(tmp_path / "wandb", 0, [6], run_id="a", **_branch("b", 5))
    _attempt(tmp_path / "wandb", 1, [6], run_id="b", **_branch("a", 5))
    assert [run.coverage.complete for run in read_run_dirs([tmp_path / "wandb"], scratch=scratch).runs] == [
        False, False,
    ]  # fmt: skip


# Copies


def test_a_copied_folder_counts_once(tmp_path: Path, scratch: Path) -> None:
    log = _attempt(tmp_path / "wandb", 0, range(4)).resolve()
    copy = tmp_path / "backup" / "renamed" / "anything.wandb"
    copy.parent.mkdir(parents=True)
    shutil.copy(log, copy)
    found = read_run_dirs([tmp_path / "wandb", copy], scratch=scratch)
    assert found.runs[0].coverage.received_rows == 4
    assert list(_values(found.runs[0])) == [0, 1, 2, 3]
    kept, left = sorted([log.parent, copy.parent.resolve()], key=lambda path: len(path.name), reverse=True)
    assert found.notes in (
        (f"local/proj/abc: {left}: a copy of {kept}, and was left out",),
        (f"local/proj/abc: {kept}: a copy of {left}, and was left out",),
    )


@given(st.integers(0, 8), st.integers(0, 400), st.integers(0, 1))
def test_an_older_half_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, rows: int, cut: int, first: int
) -> None:
    folder = tmp_path_factory.mktemp("law")
    log = _attempt(folder / "b", 0, range(rows))
    half = folder / ("a" if first else "c") / log.parent.name / log.name
    half.parent.mkdir(parents=True)
    half.write_bytes(log.read_bytes()[: max(7, len(log.read_bytes()) - cut)])
    (folder / "s1").mkdir()
    (folder / "s2").mkdir()
    (alone,) = read_run_dirs([log], scratch=folder / "s1").runs
    (both,) = read_run_dirs([log, half], scratch=folder / "s2").runs
    assert (_values(both), both.info, both.coverage) == (_values(alone), alone.info, alone.coverage)


def test_two_damaged_copies_have_the_rows_of_both(tmp_path: Path, scratch: Path) -> None:
    log = _attempt(tmp_path / "one", 0, range(700))
    records = [run("abc", start=1000)]
    records += [row(step, x=f"0:{step}", _timestamp=1000 + 0.1 * (step + 1)) for step in range(700)]
    _, spans = write_log([*records, _summary(x="0:699", _step=699), EXIT])
    data = log.read_bytes()
    other = tmp_path / "two" / log.parent.name / log.name
    other.parent.mkdir(parents=True)
    for file, index in ((log, 600), (other, 100)):
        damaged = bytearray(data)
        damaged[spans[index][0] + 10] ^= 1
        file.write_bytes(damaged)
    (one,) = read_run_dirs([tmp_path], scratch=scratch).runs
    assert list(_values(one)) == list(range(700))


# Processes at the same time


def test_two_ranks_at_the_same_time_are_merged_and_reported(tmp_path: Path, scratch: Path) -> None:
    folder = tmp_path / "wandb"
    _attempt(folder, 0, range(30), every=10)
    _attempt(folder, 1, range(30), every=10)
    found = read_run_dirs([folder], scratch=scratch)
    (one,) = found.runs
    assert _values(one) == {step: f"1:{step}" for step in range(30)}
    assert (one.info.summary["x"], one.info.summary["_step"]) == ("1:29", 29)
    assert _notes(found)[0] == (
        "offline-run-20260101_000100-abc: was logged at the same time as offline-run-20260101_000000-abc: "
        "two processes wrote to one run id; their rows are merged, "
        "and of two values of a step the later is kept"
    )


def test_a_restart_of_two_ranks_is_one_restart(tmp_path: Path, scratch: Path) -> None:
    folder = tmp_path / "wandb"
    for number in (0, 1, 20, 21):
        _attempt(folder, number, range(3), every=100)
    (one,) = read_run_dirs([folder], scratch=scratch).runs
    assert _values(one) == {0: "1:0", 1: "1:1", 2: "1:2", 3: "21:0", 4: "21:1", 5: "21:2"}


# A shorter resume


def test_after_a_shorter_resume_summary_and_history_agree(tmp_path: Path, scratch: Path) -> None:
    _attempt(tmp_path / "wandb", 0, range(100))
    _attempt(tmp_path / "wandb", 1, range(50, 70))
    found = read_run_dirs([tmp_path / "wandb"], scratch=scratch)
    (one,) = found.runs
    values = _values(one)
    assert values[69] == "1:69"
    assert (one.info.summary["x"], one.info.summary["_step"]) == (values[99], 99) == ("0:99", 99)
    assert _notes(found)[0] == (
        "offline-run-20260101_000100-abc: steps 50 to 69 may be logged twice; of two values the later is "
        "kept; steps 70 to 99 are those that were logged before it"
    )


# A log without an entity


@pytest.mark.parametrize("entities", [("", "acme"), ("acme", "")])
def test_a_log_without_an_entity_joins_the_run_with_one(
    tmp_path: Path, scratch: Path, entities: tuple[str, str]
) -> None:
    for number, entity in enumerate(entities):
        _attempt(tmp_path / "wandb", number, [2 * number, 2 * number + 1], entity=entity)
    found = read_run_dirs([tmp_path / "wandb"], scratch=scratch)
    assert [str(one.info.path) for one in found.runs] == ["acme/proj/abc"]
    assert list(_values(found.runs[0])) == [0, 1, 2, 3]
    folder = f"offline-run-20260101_000{entities.index('')}00-abc"
    assert found.notes[0] == (
        f"acme/proj/abc: {folder}: its log names no entity, and it was joined with acme/proj/abc, "
        "which has the same project and id"
    )


def test_a_log_without_an_entity_joins_none_of_two(tmp_path: Path, scratch: Path) -> None:
    for number, entity in enumerate(["", "acme", "other"]):
        _attempt(tmp_path / "wandb", number, [0], entity=entity)
    assert [str(one.info.path) for one in read_run_dirs([tmp_path / "wandb"], scratch=scratch).runs] == [
        "acme/proj/abc", "local/proj/abc", "other/proj/abc",
    ]  # fmt: skip


# A summary that was not written


def _metric(**fields: object) -> bytes:
    return record(metric=fields)


def test_the_last_values_stand_in_for_the_summary_of_a_killed_run(tmp_path: Path, scratch: Path) -> None:
    rows = [row(0, acc=0.5, loss=2, best=1, quiet=1), row(1, acc=0.9, none=None), row(2, loss=1, acc=None)]
    definitions = [
        _metric(name="best", summary={"max": True}),
        _metric(glob_name="qu*", summary={"none": True}),
    ]
    write_run_folder(tmp_path, "run-20260101_000000-abc", [run("abc"), *definitions, *rows])
    found = read_run_dirs([tmp_path], scratch=scratch)
    assert found.runs[0].info.summary == {
        "acc": 0.9, "loss": 1, "_step": 2, "_timestamp": 1002, "_wandb": {"derived": ["acc", "loss"]},
    }  # fmt: skip
    assert _notes(found)[0] == (
        "run-20260101_000000-abc: the log has no summary of acc, loss: the last values of the history are "
        "used, and are listed in summary._wandb.derived"
    )


def test_a_later_log_with_a_summary_ends_the_mark(tmp_path: Path, scratch: Path) -> None:
    write_run_folder(tmp_path, "run-20260101_000000-abc", [run("abc", start=1000), row(0, acc=0.5)])
    later = [run("abc", start=2000), row(1, acc=0.9), _summary(acc=0.9), EXIT]
    write_run_folder(tmp_path, "run-20260101_010000-abc", later)
    summary = read_run_dirs([tmp_path], scratch=scratch).runs[0].info.summary
    assert (summary["acc"], summary["_wandb"]) == (0.9, {"runtime": 7})
