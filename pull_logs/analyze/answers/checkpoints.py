"""Many checkpoints side by side: the metrics of their runs at the step at which each was taken.

A checkpoint's step is looked for on the axis that its tool logs it on: Lightning's
`WandbLogger` logs `trainer/global_step` and Hugging Face's `Trainer`
`train/global_step`, while `_step` then only counts the rows (`log_metrics` in
`lightning.pytorch.loggers.wandb`, `WandbCallback` in `transformers.integrations`).
A run that logs a column of the very name under which the checkpoint keeps its step is
read on that. Everything else is on `_step`. A checkpoint that tells its epoch alone is looked for
on the epochs that were logged.

A value is the last one at or before that place, because metrics are logged less
often than checkpoints are saved; the `_step` that it is from is told with it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from pull_logs.analyze.frames import Column, Frame, RunLike, Steps
from pull_logs.analyze.questions import Checkpoint, Selection, Slice, is_internal
from pull_logs.analyze.statistics import is_held_out, outcome_end
from pull_logs.errors import MetricNotFoundError
from pull_logs.rows.canonical import STEP, spell

if TYPE_CHECKING:
    from pull_logs.analyze.statistics import Direction

STEP_AXES = ("trainer/global_step", "train/global_step")
"""Columns that Lightning and Hugging Face's `Trainer` write the step on; nothing else is called so."""

EPOCH_AXES = ("epoch", "train/epoch", "trainer/epoch")

MAX_METRICS = 6
"""Metrics that are shown where nobody chose any."""


class CheckpointedRun(Protocol):
    """A run and its checkpoints, as `answers.Subject` has them."""

    @property
    def label(self) -> str:
        """What the answer calls the run."""

    @property
    def run(self) -> RunLike:
        """The run."""

    @property
    def checkpoint_step(self) -> int | None:
        """The step of its furthest checkpoint, which alone is known where `checkpoints` is empty."""

    @property
    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """Its checkpoints."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a history a checkpoint was taken.

    Attributes:
        axis: The column that its step or epoch was looked for on.
        until: The `_step` of the last row at or before it; None where there is none.
    """

    axis: str
    until: int | None


def place_of(frame: Frame, checkpoint: Checkpoint) -> Place | None:
    """Where in a history a checkpoint was taken; None where it tells nothing that the history knows.

    Raises:
        DamageError: A column is damaged.
    """
    if checkpoint.step is not None:
        key = checkpoint.step_key.rpartition(".")[2].rpartition(":")[2]
        axis = _first_axis(frame, [*STEP_AXES, key])
        if axis is None:
            return Place(STEP, _last_at_most(frame.steps, frame.steps, checkpoint.step))
        return Place(axis, _last_at_most(_filled(frame.column(axis)), frame.steps, checkpoint.step))
    if checkpoint.epoch is None:
        return None
    axis = _first_axis(frame, EPOCH_AXES)
    if axis is None:
        return None
    return Place(axis, _last_at_most(_filled(frame.column(axis)), frame.steps, checkpoint.epoch))


def steps_of(frame: Frame, subject: CheckpointedRun) -> list[int | None]:
    """For each checkpoint of a run, the `_step` up to which rows are before it; the furthest one is last."""
    if not subject.checkpoints:
        return [subject.checkpoint_step]
    places = [place_of(frame, checkpoint) for checkpoint in sorted(subject.checkpoints, key=progress_of)]
    return [place.until if place else None for place in places]


def _first_axis(frame: Frame, names: Iterable[str]) -> str | None:
    for name in names:
        if name and name != STEP and name in frame and bool(frame.column(name).numbers()[1].any()):
            return name
    return None


def _filled(column: Column) -> np.typing.NDArray[np.float64]:
    """The numbers of an axis; a row that has none is where the row before it is."""
    values, present = column.numbers()
    rows = np.maximum.accumulate(np.where(present, np.arange(len(present)), -1))
    return np.where(rows < 0, np.nan, values[rows]) if len(rows) else values


def _last_at_most(axis: np.typing.NDArray[Any], steps: Steps, limit: float) -> int | None:
    """The step of the last row that is not behind a place; after a restart the axis may go back."""
    rows = np.flatnonzero(axis <= limit)
    return int(steps[rows[-1]]) if len(rows) else None


def compare_checkpoints(
    runs: Sequence[CheckpointedRun],
    *,
    select: str | None = None,
    where: str | None = None,
    evals: Sequence[tuple[str, str]] = (),
    best: tuple[str, Direction] | None = None,
) -> tuple[list[dict[str, Any]], dict[str, Any] | None, list[str]]:
    """The checkpoints of runs side by side; each history is read once.

    Args:
        runs: Runs with their checkpoints; those without are left out.
        select: A regular expression that is searched for in the names of the metrics; without it the metric
            of `best` and those of held-out data are shown, else losses and the like, at most `MAX_METRICS`.
        where: An expression that a row must meet.
        evals: Names and expressions of columns to compute.
        best: The metric that makes a checkpoint the best, and which end of it is good.

    Returns:
        An entry per checkpoint, by run, then by step: `file`, `run`, `step`, `epoch`, `step_key`,
        `epoch_key`, `axis`, and by metric `at` (its value at the checkpoint), `at_step` (the `_step` which
        that is from) and `final` (its last value). The best one: `file`, `run`, `step`, `metric`,
        `direction`, `value`, `at_step`. Notes.

    Raises:
        UsageError: `select` is no regular expression.
        ExpressionError: An expression does not parse, resolve or fit.
        MetricNotFoundError: `select` or `best` names no metric of any run.
        DamageError: A history is damaged.
    """
    runs = [item for item in runs if item.checkpoints]
    frames = {item.label: Frame(item.run) for item in runs}
    names = dict.fromkeys(name for frame in frames.values() for name in frame.names)
    selection = Selection.settle(names, select=select, where=where, evals=evals)
    if best is not None and best[0] not in names and best[0] not in dict(selection.evals):
        raise MetricNotFoundError(
            f"no metric is named {best[0]!r}", hint="--schema lists them; name one with --best METRIC:min"
        )
    shown, notes = _shown(list(frames.values()), selection, best, select)
    entries: list[dict[str, Any]] = []
    for item in runs:
        frame = frames[item.label]
        part = selection.restricted(shown).apply(frame)
        entries += _entries(item, frame, part)
        frame.forget()
    return entries, _best(entries, best), [*selection.notes, *notes, *_notes(entries)]


def _shown(
    frames: Sequence[Frame], selection: Selection, best: tuple[str, Direction] | None, select: str | None
) -> tuple[frozenset[str], list[str]]:
    """The columns of histories to show, and what to say about the others."""
    named = {best[0]} if best is not None else set()
    if select is not None:
        return frozenset({*(selection.selected or ()), *named}), []
    names = dict.fromkeys(name for frame in frames for name in frame.names)
    dull = {STEP, *STEP_AXES, *EPOCH_AXES}
    metrics = [name for name in names if name not in dull and not is_internal(name)]
    held_out = [name for name in metrics if is_held_out(name)]
    telling = [name for name in held_out or metrics if outcome_end(name)]
    telling += [name for name in held_out if not outcome_end(name)]
    room = max(MAX_METRICS - len(selection.evals), len(named))
    chosen: dict[str, None] = {}
    for name in [*named, *(telling or metrics)]:
        if len(chosen) < room and any(
            name in frame and bool(frame.column(name).numbers()[1].any()) for frame in frames
        ):
            chosen[name] = None
    left = len(set(metrics) - set(chosen))
    notes = [f"[CHECKPOINTS] leaves {left} more metrics out; --select REGEX chooses"] if left else []
    return frozenset(chosen), notes


def _entries(item: CheckpointedRun, frame: Frame, part: Slice) -> list[dict[str, Any]]:
    placed = [(checkpoint, place_of(frame, checkpoint)) for checkpoint in item.checkpoints]
    untils = [place.until if place is not None else None for _, place in placed]
    order = sorted(range(len(placed)), key=lambda index: progress_of(placed[index][0]))
    values = {name: _Values(column, part.steps) for name, column in part.columns.items()}
    at = {name: found.at(untils) for name, found in values.items()}
    final = {name: found.final for name, found in values.items() if found.final is not None}
    return [
        {
            "file": checkpoint.file,
            "run": item.label,
            "step": checkpoint.step,
            "epoch": spell(checkpoint.epoch),
            "step_key": checkpoint.step_key or None,
            "epoch_key": checkpoint.epoch_key or None,
            "axis": place.axis if place is not None else None,
            "at": {name: cell for name, found in at.items() if (cell := found[index][0]) is not None},
            "at_step": {name: step for name, found in at.items() if (step := found[index][1]) is not None},
            "final": final,
        }
        for index in order
        for checkpoint, place in (placed[index],)
    ]


def progress_of(checkpoint: Checkpoint) -> tuple[float, float]:
    """How far a checkpoint is, to be compared; one that does not tell is taken for the last."""
    step = math.inf if checkpoint.step is None else checkpoint.step
    return step, math.inf if checkpoint.epoch is None else checkpoint.epoch


class _Values:
    """The cells of a metric that are present, to be looked up by step.

    Attributes:
        final: The last one.
    """

    def __init__(self, column: Column, steps: Steps) -> None:
        rows = np.flatnonzero(column.vector.present)
        self._steps = steps[rows]
        self._rows = rows
        self._column = column
        self.final: Any = spell(column.cells(rows[-1:])[0]) if len(rows) else None

    def at(self, untils: Sequence[int | None]) -> list[tuple[Any, int | None]]:
        """The last cell at or before each of these steps and the step that has it; None without one."""
        found: list[tuple[Any, int | None]] = [(None, None)] * len(untils)
        places = [
            (index, place)
            for index, until in enumerate(untils)
            if until is not None
            and (place := int(np.searchsorted(self._steps, until, side="right")) - 1) >= 0
        ]
        cells = self._column.cells(self._rows[[place for _, place in places]]) if places else []
        for (index, place), cell in zip(places, cells, strict=True):
            found[index] = spell(cell), int(self._steps[place])
        return found


def _best(entries: Sequence[Mapping[str, Any]], best: tuple[str, Direction] | None) -> dict[str, Any] | None:
    """The first of the checkpoints with the best finite value."""
    if best is None:
        return None
    metric, direction = best
    usable = [entry for entry in entries if _is_finite(entry["at"].get(metric))]
    if not usable:
        return None
    sign = 1 if direction == "min" else -1
    found = min(usable, key=lambda entry: sign * entry["at"][metric])
    return {
        "file": found["file"],
        "run": found["run"],
        "step": found["step"],
        "metric": metric,
        "direction": direction,
        "value": found["at"][metric],
        "at_step": found["at_step"][metric],
    }


def _is_finite(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _notes(entries: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    named = sum("name" in (entry["step_key"], entry["epoch_key"]) for entry in entries)
    if named:
        yield f"the step or epoch of {named} checkpoints is known from the names of files and folders alone"
    placeless = [entry for entry in entries if entry["axis"] is None]
    if placeless:
        yield (
            f"{len(placeless)} checkpoints tell no step and no epoch that their run logged,"
            f" so only final values stand there: {placeless[0]['file']!r}{' ...' if placeless[1:] else ''}"
        )
    axes = dict.fromkeys(entry["axis"] for entry in entries if entry["axis"] not in (None, STEP))
    if axes:
        yield f"steps and epochs of checkpoints are looked for on {', '.join(map(repr, axes))}, not on _step"
