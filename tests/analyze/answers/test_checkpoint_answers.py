"""Checkpoints side by side: the right row of the right axis, each history read once, the best one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from fakeruns import FakeRun, subjects
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.analyze import Checkpoint, Subject, View, answer, compare_checkpoints
from pull_logs.analyze.answers.checkpoints import MAX_METRICS, position_of
from pull_logs.analyze.answers.comparison import Comparison, compare_runs
from pull_logs.analyze.statistics.ranking import Criterion, Goal
from pull_logs.errors import MetricNotFoundError
from pull_logs.frames.frame import Frame


def subject(rows: Sequence[Mapping[str, Any]], *checkpoints: Checkpoint) -> Subject:
    return replace(subjects(FakeRun(rows))[0], checkpoints=checkpoints)


def at(step: int, *, key: str = "step", epoch: float | None = None) -> Checkpoint:
    return Checkpoint(file=f"s{step}.pt", step=step, step_key=key, epoch=epoch)


ROWS: Any = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "loss": st.sampled_from([0.5, -1.25, 3.0, math.nan]),
            "trainer/global_step": st.integers(0, 9),
        },
    ),
    max_size=12,
)


def naive(rows: Sequence[Mapping[str, Any]], name: str, axis: str, limit: float) -> tuple[Any, int | None]:
    """The last value at or before a place, row by row."""
    here, until = None, -1
    for place, row in enumerate(rows):
        here = row.get(axis, here)
        if here is not None and here <= limit:
            until = place
    found: tuple[Any, int | None] = (None, None)
    for row in rows[: until + 1]:
        if name in row:
            found = ("NaN" if math.isnan(row[name]) else row[name]), row["_step"]
    return found


@given(
    ROWS,
    st.lists(st.integers(0, 12), min_size=1, max_size=4),
    st.sampled_from(["_step", "trainer/global_step"]),
)
def test_a_value_is_the_last_one_at_or_before_the_checkpoint(
    cells: list[dict[str, Any]], limits: list[int], logged_on: str
) -> None:
    rows = [{**row, "_step": 2 * place} for place, row in enumerate(cells) if row]
    if logged_on == "_step":
        for row in rows:
            row.pop("trainer/global_step", None)
    axis = "trainer/global_step" if any("trainer/global_step" in row for row in rows) else "_step"
    asked = subject(rows, *(at(limit) for limit in limits))
    has_loss = any("loss" in row for row in rows)
    entries = compare_checkpoints([asked], select="loss" if has_loss else None).checkpoints
    assert [entry["step"] for entry in entries] == sorted(limits)
    for entry in entries:
        assert entry["axis"] == axis
        value, step = naive(rows, "loss", axis, entry["step"] or 0)
        assert (entry["at"].get("loss"), entry["at_step"].get("loss")) == (value, step)


@pytest.mark.parametrize(
    ("column", "checkpoint", "axis"),
    [
        ("trainer/global_step", at(20), "trainer/global_step"),
        ("train/global_step", at(20, key="trainer_state.json:global_step"), "train/global_step"),
        ("global_step", at(20, key="global_step"), "global_step"),
        ("iteration", at(20, key="wandb.iteration"), "iteration"),
        ("iteration", at(2, key="step"), "_step"),
        ("other", at(2), "_step"),
        ("epoch", Checkpoint(file="e.pt", epoch=20), "epoch"),
        ("epoch", at(2, epoch=0), "_step"),
    ],
)
def test_the_axis_is_the_one_that_the_step_was_logged_on(
    column: str, checkpoint: Checkpoint, axis: str
) -> None:
    frame = Frame(FakeRun([{"_step": step, column: step * 10, "loss": step} for step in range(5)]))
    position = position_of(frame, checkpoint)
    assert position is not None
    assert (position.axis, position.until) == (axis, 2)


def test_a_checkpoint_that_tells_nothing_the_run_logged_has_final_values_alone() -> None:
    asked = subject([{"_step": 0, "loss": 2}, {"_step": 1, "loss": 1}], Checkpoint(file="x.pt", epoch=3))
    found = compare_checkpoints([asked], best=Goal("loss", "min"))
    assert found.checkpoints == [
        {
            "file": "x.pt",
            "run": "A",
            "step": None,
            "epoch": 3,
            "step_key": None,
            "epoch_key": None,
            "axis": None,
            "at": {},
            "at_step": {},
            "final": {"loss": 1},
        }
    ]
    assert found.best is None
    assert found.notes == (
        "1 checkpoint has no step and no epoch that its run logged, so it shows final values only: 'x.pt'",
    )


@pytest.mark.parametrize(
    ("steps", "checkpoint", "end"),
    [
        (range(5), 4, None),
        (range(5), 5, None),  # saved after the last step
        (range(5), 6, 4),
        (range(0, 500, 100), 500, None),  # not every step is logged
        (range(0, 500, 100), 501, 400),
        ([3], 4, None),
        ([3], 5, 3),
        ([-9, -3], 0, None),
    ],
)
def test_a_checkpoint_after_the_end_of_its_run_is_reported(
    steps: Sequence[int], checkpoint: int, end: int | None
) -> None:
    rows = [{"_step": step, "loss": step} for step in steps]
    found = compare_checkpoints([subject(rows, at(checkpoint))])
    assert found.checkpoints[0].get("axis_end") == end
    expected = (
        f"1 checkpoint is after the last row of its run, whose values are shown: 's{checkpoint}.pt' is at"
        f" {checkpoint}, the run ends at {end}; if it went on, `pull-logs refresh` gets its rows"
    )
    assert found.notes == (() if end is None else (expected,))
    assert found.checkpoints[0]["at"] == {"loss": steps[-1]}


def test_checkpoints_after_the_end_are_found_on_the_axis_of_each() -> None:
    rows = [{"_step": step, "trainer/global_step": 10 * step, "epoch": step / 2} for step in range(5)]
    late = (at(70, key="global_step"), Checkpoint(file="e.pt", epoch=9), Checkpoint(file="f.pt", epoch=3))
    found = compare_checkpoints([subject(rows, at(50, key="global_step"), *late)])
    assert [entry.get("axis_end") for entry in found.checkpoints] == [None, 40, None, 2]
    assert found.notes[-2] == (
        "2 checkpoints are after the last row of their runs, whose values are shown: 's70.pt' is at 70, the"
        " run ends at 40; if it went on, `pull-logs refresh` gets its rows"
    )


def test_a_history_is_read_once_whatever_the_number_of_its_checkpoints() -> None:
    rows = [{"_step": step, "val/loss": 1 / (step + 1), "lr": 0.1} for step in range(400)]
    one, many = subject(rows, at(3)), subject(rows, *(at(step) for step in range(300)))
    counts = []
    for asked in (one, many):
        entries = compare_checkpoints([asked]).checkpoints
        assert len(entries) == len(asked.checkpoints)
        assert isinstance(asked.run, FakeRun)
        counts.append(asked.run.reads)
    assert counts[0] == counts[1]
    assert all(columns is not None and "lr" not in columns for columns in counts[0])


def test_the_best_checkpoint_is_the_first_with_the_best_finite_value() -> None:
    rows = [{"_step": step, "loss": value} for step, value in enumerate([3, math.nan, 1, 1, -math.inf])]
    asked = subject(rows, *(at(step) for step in range(5)))
    for direction, step, value in (("min", 2, 1), ("max", 0, 3)):
        best = compare_checkpoints([asked], best=Goal("loss", "max" if direction == "max" else "min")).best
        assert best == {
            "file": f"s{step}.pt",
            "run": "A",
            "step": step,
            "metric": "loss",
            "direction": direction,
            "value": value,
            "at_step": step,
        }
    with pytest.raises(MetricNotFoundError):
        compare_checkpoints([asked], best=Goal("acc", "max"))


def test_held_out_metrics_are_shown_where_nobody_chose() -> None:
    names = ["train/loss", "val/loss", "eval_acc", "evaluate", "model.test.f1", "_runtime"]
    asked = subject([{"_step": 0, **dict.fromkeys(names, 1.0)}], at(0))
    found = compare_checkpoints([asked])
    assert set(found.checkpoints[0]["at"]) == {"val/loss", "model.test.f1", "eval_acc"}
    assert found.notes[0].startswith("[CHECKPOINTS] leaves ")
    many = subject([{"_step": 0, **{f"val/{n}": n for n in range(50)}}], at(0))
    assert len(compare_checkpoints([many]).checkpoints[0]["at"]) == MAX_METRICS
    chosen = compare_checkpoints([asked], select="train", best=Goal("val/loss", "min")).checkpoints
    assert set(chosen[0]["at"]) == {"train/loss", "val/loss"}


def test_names_alone_and_other_axes_are_told() -> None:
    rows = [{"_step": step, "trainer/global_step": 10 * step, "loss": 1} for step in range(5)]
    found = compare_checkpoints([subject(rows, at(20, key="name"), at(30, key="global_step"))])
    assert found.notes == (
        "the step or epoch of 1 checkpoint is known from the names of files and folders alone",
        "steps and epochs of checkpoints are looked up on 'trainer/global_step', not on _step",
    )


def test_the_bare_view_shows_a_run_once_and_its_checkpoints_in_a_section() -> None:
    rows = [{"_step": step, "val/loss": 10 - step} for step in range(5)]
    told = answer([subject(rows, at(1), at(3))], View())
    assert [entry["at"]["val/loss"] for entry in told["checkpoints"]] == [9, 7]
    assert list(told["history"]) == ["A"]
    assert "checkpoints" not in answer([subject(rows, at(1))], View())
    assert "checkpoints" not in answer([subject(rows, at(1), at(3))], View(stats=True))


def test_the_rows_of_all_checkpoints_stay_in_a_sampled_history() -> None:
    rows = [{"_step": step, "loss": step} for step in range(1000)]
    steps = [123, 456, 789]
    told = answer([subject(rows, *map(at, steps))], View(max_rows=20))
    assert set(steps) <= {row[0] for row in told["history"]["A"]["rows"]}


def test_compare_reads_runs_at_the_axis_of_their_checkpoint() -> None:
    from pull_logs.analyze.questions.alignment import Position

    rows = [{"_step": step, "trainer/global_step": 10 * step, "loss": -step} for step in range(5)]
    question = Comparison(at=Position("checkpoint"), best=Criterion("loss", "min"))
    told = compare_runs([subject(rows, at(20), at(30))], question)
    assert told["comparison"][0]["value"] == {"A": -3}
    assert told["best_checkpoint"]["file"] == "s30.pt"
    assert [entry["at"]["loss"] for entry in told["checkpoints"]] == [-2, -3]
    assert "checkpoints" not in compare_runs(subjects(FakeRun(rows)), Comparison())
