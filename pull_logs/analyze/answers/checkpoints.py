"""Many checkpoints side by side: the metrics of their runs at the step at which each was saved.

The step of a checkpoint is looked up on the axis on which its tool logs it: Lightning's `WandbLogger` logs
`trainer/global_step` and Hugging Face's `Trainer` `train/global_step`, while `_step` then only counts the
rows (`log_metrics` in `lightning.pytorch.loggers.wandb`, `WandbCallback` in `transformers.integrations`). If
a run logs a column with exactly the name under which the checkpoint keeps its step, that column is the axis;
otherwise it is `_step`. A checkpoint that has only an epoch is looked up on the epochs that were logged.

A value is the last one at or before that position, because metrics are logged less often than checkpoints are
saved; the answer has the `_step` of each value.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from pull_logs.analyze.questions import Checkpoint, HistoryQuery, Subject, is_internal
from pull_logs.analyze.results import BestCheckpoint, CheckpointEnd, CheckpointResult
from pull_logs.analyze.statistics import Goal, is_held_out, outcome_end
from pull_logs.errors import MetricNotFoundError
from pull_logs.frames import Column, Floats, History, Steps, names_of, open_frames
from pull_logs.rows.canonical import STEP, canon_number, spell
from pull_logs.suggestions import counted, joined

STEP_AXES = ("trainer/global_step", "train/global_step")
"""Columns to which Lightning and Hugging Face's `Trainer` log the step; no other column has such a name."""

EPOCH_AXES = ("epoch", "train/epoch", "trainer/epoch")

MAX_METRICS = 6
"""How many metrics are shown unless the user chooses them."""

Axis: TypeAlias = Floats | Steps


@dataclass(frozen=True, slots=True)
class CheckpointPosition:
    """The position of a checkpoint in the history of its run.

    Attributes:
        axis: The column on which its step or epoch was looked up.
        until: The `_step` of the last row at or before it; None where there is none.
        end: The last position on the axis, if the checkpoint is further after it than rows of the run are
            apart, so that the history that was read may not be all of it.
    """

    axis: str
    until: int | None
    end: float | None = None


@dataclass(frozen=True, slots=True)
class CheckpointComparison:
    """Checkpoints side by side.

    Attributes:
        checkpoints: An entry per checkpoint, by run, then by step.
        best: The best one, if a metric decides and any checkpoint has a finite value of it.
        notes: What a reader should know.
    """

    checkpoints: list[CheckpointResult] = field(default_factory=list)
    best: BestCheckpoint | None = None
    notes: tuple[str, ...] = ()


def position_of(frame: History, checkpoint: Checkpoint) -> CheckpointPosition | None:
    """Find a checkpoint in a history; None where its step and epoch, or their axis, are unknown.

    Raises:
        DamageError: A column is damaged.
    """
    if checkpoint.step is not None:
        key = checkpoint.step_key.rpartition(".")[2].rpartition(":")[2]
        axis = _first_axis(frame, [*STEP_AXES, key])
        values: Axis = frame.steps if axis is None else _filled(frame.column(axis))
        return _position(axis or STEP, values, frame.steps, checkpoint.step)
    if checkpoint.epoch is None:
        return None
    axis = _first_axis(frame, EPOCH_AXES)
    if axis is None:
        return None
    return _position(axis, _filled(frame.column(axis)), frame.steps, checkpoint.epoch)


def checkpoint_steps(frame: History, subject: Subject) -> list[int | None]:
    """Return the `_step` of the last row at or before each checkpoint of a run; the furthest is last."""
    if not subject.checkpoints:
        return [subject.checkpoint_step]
    positions = [
        position_of(frame, checkpoint) for checkpoint in sorted(subject.checkpoints, key=progress_of)
    ]
    return [position.until if position else None for position in positions]


def _first_axis(frame: History, names: Iterable[str]) -> str | None:
    for name in names:
        if name and name != STEP and name in frame and bool(frame.column(name).numbers()[1].any()):
            return name
    return None


def _filled(column: Column) -> Floats:
    """Return the numbers of an axis; a row without one is at the position of the row before it."""
    values, present = column.numbers()
    rows = np.maximum.accumulate(np.where(present, np.arange(len(present)), -1))
    return np.where(rows < 0, np.nan, values[rows]) if len(rows) else values


def _position(axis: str, values: Axis, steps: Steps, wanted: float) -> CheckpointPosition:
    return CheckpointPosition(axis, _last_at_most(values, steps, wanted), _end_before(values, wanted))


def _end_before(axis: Axis, wanted: float) -> float | None:
    """Return the last position on an axis if another one is further after it than any two are apart."""
    reached = np.unique(axis[np.isfinite(axis)])
    if not len(reached):
        return None
    apart = max(1, np.diff(reached).max(initial=0))
    return float(reached[-1]) if wanted - reached[-1] > apart else None


def _last_at_most(axis: Axis, steps: Steps, limit: float) -> int | None:
    """Return the step of the last row that is not after a position; an axis may go back after a restart."""
    rows = np.flatnonzero(axis <= limit)
    return int(steps[rows[-1]]) if len(rows) else None


def compare_checkpoints(
    runs: Sequence[Subject],
    *,
    select: str | None = None,
    where: str | None = None,
    evals: Sequence[tuple[str, str]] = (),
    best: Goal | None = None,
) -> CheckpointComparison:
    """Compare the checkpoints of runs; each history is read once.

    Args:
        runs: Runs with their checkpoints; those without are left out.
        select: A regular expression that is searched for in the names of the metrics; without it, see
            `shown_metrics`.
        where: An expression that a row must meet.
        evals: Names and expressions of columns to compute.
        best: The metric that makes a checkpoint the best.

    Raises:
        UsageError: `select` is not a valid regular expression.
        ExpressionError: An expression does not parse, resolve or fit.
        MetricNotFoundError: `select` or `best` names no metric of any run.
        DamageError: A history is damaged.
    """
    runs = [item for item in runs if item.checkpoints]
    frames = open_frames([item.run for item in runs])
    names = names_of(frames)
    selection = HistoryQuery.settle(names, select=select, where=where, evals=evals)
    if best is not None and best.metric not in names and best.metric not in dict(selection.evals):
        raise MetricNotFoundError(
            f"no metric is named {best.metric!r}", hint="--schema lists them; name one with --best METRIC:min"
        )
    notes = list(selection.notes)
    if selection.selected is None:
        shown, left_out = shown_metrics(frames, best=best, most=MAX_METRICS - len(selection.evals))
        notes += left_out
    else:
        shown = selection.selected | ({best.metric} if best else set())
    entries: list[CheckpointResult] = []
    for item, frame in zip(runs, frames, strict=True):
        with item.named_in_errors():
            part = selection.restricted(shown).apply(frame)
        entries += read_checkpoints(item, frame, part.columns, part.steps)
        frame.forget()
    return summarize(entries, best=best, notes=notes)


def summarize(
    entries: list[CheckpointResult], *, best: Goal | None, notes: Iterable[str] = ()
) -> CheckpointComparison:
    """Return the comparison of checkpoints that were read.

    Args:
        entries: The checkpoints, in the order to show.
        best: The metric that makes one the best.
        notes: Notes on what was read.
    """
    return CheckpointComparison(entries, _best(entries, best), (*notes, *_notes(entries)))


def shown_metrics(
    frames: Sequence[History], *, best: Goal | None, most: int = MAX_METRICS
) -> tuple[frozenset[str], list[str]]:
    """Choose the metrics to show where the user chose none, and say how many are left out.

    The metric of `best` is shown; then those of held-out data, outcomes first; without held-out data,
    outcomes such as losses; without outcomes, any.
    """
    named = [best.metric] if best is not None else []
    names = names_of(frames)
    metrics = [
        name for name in names if name not in (STEP, *STEP_AXES, *EPOCH_AXES) and not is_internal(name)
    ]
    held_out = [name for name in metrics if is_held_out(name)]
    preferred = [name for name in held_out or metrics if outcome_end(name)]
    preferred += [name for name in held_out if not outcome_end(name)]
    if frames:
        # Most of them are in the first run, which is to be read once.
        frames[0].load([*named, *(preferred or metrics)[:most]])
    chosen: dict[str, None] = {}
    for name in [*named, *(preferred or metrics)]:
        if len(chosen) < max(most, len(named)) and _has_numbers(frames, name):
            chosen[name] = None
    left = len(set(metrics) - set(chosen))
    notes = (
        [f"[CHECKPOINTS] leaves {counted(left, 'more metric')} out; --select REGEX chooses"] if left else []
    )
    return frozenset(chosen), notes


def _has_numbers(frames: Sequence[History], name: str) -> bool:
    return any(name in frame and bool(frame.column(name).numbers()[1].any()) for frame in frames)


def read_checkpoints(
    subject: Subject, frame: History, columns: Mapping[str, Column], steps: Steps
) -> list[CheckpointResult]:
    """Read the metrics of a run at each of its checkpoints, in the order of their steps.

    Args:
        subject: The run with its checkpoints.
        frame: Its history.
        columns: The metrics to read.
        steps: The step of each row of these columns.
    """
    checkpoints = sorted(subject.checkpoints, key=progress_of)
    positions = [position_of(frame, checkpoint) for checkpoint in checkpoints]
    untils = [position.until if position is not None else None for position in positions]
    values = {name: _Values(column, steps) for name, column in columns.items()}
    at = {name: found.at(untils) for name, found in values.items()}
    final = {name: found.final for name, found in values.items() if found.final is not None}
    return [
        {
            "file": checkpoint.file,
            "run": subject.label,
            "step": checkpoint.step,
            "epoch": spell(checkpoint.epoch),
            "step_key": checkpoint.step_key or None,
            "epoch_key": checkpoint.epoch_key or None,
            "axis": position.axis if position is not None else None,
            **_end_of(position),
            "at": {name: cell for name, found in at.items() if (cell := found[index][0]) is not None},
            "at_step": {name: step for name, found in at.items() if (step := found[index][1]) is not None},
            "final": final,
        }
        for index, (checkpoint, position) in enumerate(zip(checkpoints, positions, strict=True))
    ]


def _end_of(position: CheckpointPosition | None) -> CheckpointEnd:
    return {} if position is None or position.end is None else {"axis_end": canon_number(position.end)}


def progress_of(checkpoint: Checkpoint) -> tuple[float, float]:
    """Return how far a checkpoint is, for comparison; one without step and epoch counts as the last."""
    step = math.inf if checkpoint.step is None else checkpoint.step
    return step, math.inf if checkpoint.epoch is None else checkpoint.epoch


class _Values:
    """The cells of a metric that are present, to be looked up by step.

    Attributes:
        final: The last one.
    """

    def __init__(self, column: Column, steps: Steps) -> None:
        self._rows: npt.NDArray[np.intp] = np.flatnonzero(column.vector.present)
        self._steps = steps[self._rows]
        self._column = column
        self.final: Any = spell(column.cell(int(self._rows[-1]))) if len(self._rows) else None

    def at(self, untils: Sequence[int | None]) -> list[tuple[Any, int | None]]:
        """Return the last cell at or before each of these steps, and the step of that cell, or None."""
        found: list[tuple[Any, int | None]] = [(None, None)] * len(untils)
        for index, until in enumerate(untils):
            before = 0 if until is None else int(np.searchsorted(self._steps, until, side="right"))
            if before:
                cell = self._column.cell(int(self._rows[before - 1]))
                found[index] = spell(cell), int(self._steps[before - 1])
        return found


def _best(entries: Sequence[CheckpointResult], best: Goal | None) -> BestCheckpoint | None:
    """Return the first of the checkpoints with the best finite value."""
    if best is None:
        return None
    usable = [entry for entry in entries if _is_finite(entry["at"].get(best.metric))]
    if not usable:
        return None
    sign = 1 if best.direction == "min" else -1
    found = min(usable, key=lambda entry: sign * entry["at"][best.metric])
    return {
        "file": found["file"],
        "run": found["run"],
        "step": found["step"],
        "metric": best.metric,
        "direction": best.direction,
        "value": found["at"][best.metric],
        "at_step": found["at_step"][best.metric],
    }


def _is_finite(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _notes(entries: Sequence[CheckpointResult]) -> Iterable[str]:
    named = sum("name" in (entry["step_key"], entry["epoch_key"]) for entry in entries)
    if named:
        yield (
            f"the step or epoch of {counted(named, 'checkpoint')} is known from the names of files and"
            " folders alone"
        )
    unplaced = [entry for entry in entries if entry["axis"] is None]
    if unplaced:
        verb, whose, show = ("have", "their", "they show") if unplaced[1:] else ("has", "its", "it shows")
        yield (
            f"{counted(len(unplaced), 'checkpoint')} {verb} no step and no epoch that {whose} run logged,"
            f" so {show} final values only: {unplaced[0]['file']!r}{' ...' if unplaced[1:] else ''}"
        )
    late = [entry for entry in entries if "axis_end" in entry]
    if late:
        first = late[0]
        where = first["step"] if first["step"] is not None else f"epoch {first['epoch']}"
        yield (
            f"{counted(len(late), 'checkpoint')} {'are' if late[1:] else 'is'} after the last row of"
            f" {'their runs' if late[1:] else 'its run'}, whose values are shown: {first['file']!r} is at"
            f" {where}, the run ends at {first['axis_end']}; if it went on, `pull-logs refresh` gets its rows"
        )
    axes = dict.fromkeys(axis for entry in entries if (axis := entry["axis"]) not in (None, STEP))
    if axes:
        quoted = joined([repr(axis) for axis in axes], most=len(axes))
        yield f"steps and epochs of checkpoints are looked up on {quoted}, not on _step"
