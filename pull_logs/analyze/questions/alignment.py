"""The position in a history at which a run's metrics are read, so that runs can be compared.

    last         the last number of each metric
    best         the last number at or before the step at which one metric was best
    checkpoint   the last number at or before the step of the run's checkpoint
    STEP         the number at that position of the x axis

The x axis is `_step`, any metric, or the one that each metric was defined over
(`run.define_metric(..., step_metric=...)`). Where a metric was not logged at a position, its value is
interpolated between its neighbours, linearly or by taking the previous one, and the answer says how many
values are. Nothing is extrapolated. Of rows at the same position, the last one counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from pull_logs.analyze.statistics import Goal
from pull_logs.errors import UsageError
from pull_logs.frames import Column, History, Mask, MetricFacts, Steps, extremes
from pull_logs.rows.canonical import STEP, canon_number

Interpolation: TypeAlias = Literal["linear", "previous"]

DEFINED = "defined"
"""The name of the x axis that is another one for each metric: the one it was defined over."""


@dataclass(frozen=True, slots=True)
class Position:
    """The position at which metrics are read: `--at`.

    Attributes:
        word: `last`, `best`, `checkpoint`, or `step` for a number.
        where: The position on the x axis, for `step`.
    """

    word: Literal["last", "best", "checkpoint", "step"] = "last"
    where: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Position:
        """Read the value of `--at`.

        Raises:
            UsageError: It is neither one of the words nor a finite number.
        """
        if text in ("last", "best", "checkpoint"):
            return cls(text)  # type: ignore[arg-type]  # mypy does not narrow a str by `in`
        try:
            where = float(text)
        except ValueError:
            where = math.nan
        if not math.isfinite(where):
            raise UsageError(
                f"--at {text!r} is not a valid position", hint="give a step, or last, best or checkpoint"
            )
        return cls("step", where)

    @property
    def value(self) -> str | int | float:
        """The word, or the number, as an answer has it."""
        number: int | float = canon_number(self.where)
        return number if self.word == "step" else self.word


class Reading(NamedTuple):
    """A metric of one run at the position, and over its complete history.

    It is a tuple because there is one for each metric of each run.

    Attributes:
        value: The number there, exact; None if there is none.
        x: The position on the x axis at which the value was logged or interpolated.
        interpolated: Whether the value is interpolated.
        min: The least finite number of the history.
        min_step: The first step that has it.
        max: The greatest finite number.
        max_step: The first step that has it.
    """

    value: Any = None
    x: Any = None
    interpolated: bool = False
    min: Any = None
    min_step: int | None = None
    max: Any = None
    max_step: int | None = None

    @property
    def number(self) -> float | None:
        """The value as a double; an integer beyond all doubles is an infinity."""
        if self.value is None:
            return None
        try:
            return float(self.value)
        except OverflowError:
            return math.inf if self.value > 0 else -math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """How all metrics of all runs are read.

    Attributes:
        position: The position to read at.
        axis: The x axis: `_step`, a metric, or `DEFINED`.
        interpolation: How to find a value between two rows.
        best: The metric whose best value is the position, for `best`.
    """

    position: Position = Position()
    axis: str = STEP
    interpolation: Interpolation = "linear"
    best: Goal | None = None

    @property
    def at_last_step(self) -> bool:
        """Whether each metric is read at its last number, with `_step` as the x axis."""
        return self.position.word == "last" and self.axis == STEP

    @property
    def at_best_step(self) -> bool:
        """Whether each metric is read where one was best, with `_step` as the x axis."""
        return self.position.word == "best" and self.axis == STEP and self.best is not None

    def extra_columns(self, axes: Mapping[str, str]) -> list[str]:
        """Return the columns that are read besides the metrics."""
        names = {*axes.values()} if self.axis == DEFINED else {self.axis}
        if self.position.word == "best" and self.best is not None:
            names.add(self.best.metric)
        return sorted(names - {STEP})

    def read(
        self,
        frame: History,
        names: Sequence[str],
        *,
        axes: Mapping[str, str],
        checkpoint_step: int | None,
    ) -> dict[str, Reading]:
        """Read metrics of a run; those without any number are left out.

        Args:
            frame: Its history, with these columns loaded.
            names: The metrics.
            axes: The step metrics that the run defined (see `RunDefinitions.step_metrics`).
            checkpoint_step: The step of the run's checkpoint, if it is known.
        """
        end = self._end(frame, checkpoint_step)
        found = {}
        for name in names:
            column = frame.column(name)
            numeric = column.numbers()[1]
            if numeric.any():
                axis = axes.get(name, STEP) if self.axis == DEFINED else self.axis
                x = frame.column(axis) if axis in frame else None
                found[name] = self._read(column, numeric[:end], x, steps=frame.steps)
        return found

    def _end(self, frame: History, checkpoint_step: int | None) -> int:
        """Return the row before which to read; at other positions than `best` and `checkpoint`, the end."""
        if self.position.word == "checkpoint":
            if checkpoint_step is None:
                return 0
            return int(np.searchsorted(frame.steps, checkpoint_step, side="right"))
        if self.position.word == "best" and self.best is not None:
            name = self.best.metric
            low, high = extremes(frame.column(name)) if name in frame else (None, None)
            row = low if self.best.direction == "min" else high
            return 0 if row is None else row + 1
        return frame.length

    def _read(self, column: Column, numeric: Mask, x: Column | None, *, steps: Steps) -> Reading:
        complete = _extreme_values(column, steps)
        if self.position.word == "step":
            return Reading(**self._at_step(column, x), **complete)
        if not numeric.any():
            return Reading(**complete)
        row = len(numeric) - 1 - int(numeric[::-1].argmax())
        return Reading(value=column.cell(row), x=None if x is None else x.cell(row), **complete)

    def _at_step(self, column: Column, x: Column | None) -> dict[str, Any]:
        """Return the value at the position on the x axis, as arguments of `Reading`."""
        if x is None:
            return {}
        where = self.position.where
        values, numeric = column.numbers()
        positions, known = x.numbers()
        rows = np.flatnonzero(numeric & known & np.isfinite(positions))
        along = positions[rows]
        if (along[1:] < along[:-1]).any():
            # A run that was resumed may go back on its axis: what it logged later counts.
            order = np.argsort(along, kind="stable")
            rows, along = rows[order], along[order]
        after = int(np.searchsorted(along, where, side="right"))
        if not after:
            return {}
        before = int(rows[after - 1])
        if positions[before] == where:
            return {"value": column.cell(before), "x": canon_number(where)}
        if after == len(rows):
            return {}
        if self.interpolation == "previous":
            value = column.cell(before)
        else:
            low, high = positions[before], positions[rows[after]]
            share = (where - low) / (high - low)
            with np.errstate(all="ignore"):
                value = canon_number(float(values[before] * (1 - share) + values[rows[after]] * share))
        return {"value": value, "x": canon_number(where), "interpolated": True}


def indexed_readings(facts: Mapping[str, MetricFacts], names: Iterable[str]) -> dict[str, Reading]:
    """Return what `Alignment.read` does at the last step, from the facts about the columns of a run.

    Args:
        facts: The facts about each column.
        names: The metrics.
    """
    # Arguments without names take half the time, which counts for a hundred thousand metrics.
    return {
        name: Reading(
            one.last_number,
            one.last_number_step,
            False,
            one.min,
            one.min_step,
            one.max,
            one.max_step,
        )
        for name in names
        if (one := facts[name]).numbers
    }


def _extreme_values(column: Column, steps: Steps) -> dict[str, Any]:
    """Return the extremes of a history and their steps, as arguments of `Reading`."""
    low, high = extremes(column)
    if low is None or high is None:
        return {}
    return {
        "min": column.cell(low),
        "min_step": int(steps[low]),
        "max": column.cell(high),
        "max_step": int(steps[high]),
    }
