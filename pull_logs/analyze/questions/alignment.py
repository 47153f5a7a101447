"""Where along its history a run's metrics are read, so that runs can be compared.

    last         the last number of each metric
    best         the last number at or before the step at which one metric was best
    checkpoint   the last number at or before the step that the run's checkpoint tells
    STEP         the number at that place of the x axis

The x axis is `_step`, any metric, or the one that each metric was defined over
(`run.define_metric(..., step_metric=...)`). At a place where a metric was not
logged, its value is interpolated between the neighbours, linearly or by taking
the previous one, and the answer tells how many were; beyond its first and last
row there is none. Rows that share a place count as the last of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from pull_logs.analyze.frames import Column, Frame, Mask, Steps
from pull_logs.analyze.statistics import Direction, extremes
from pull_logs.errors import UsageError
from pull_logs.rows.canonical import STEP, canon_number

Interpolation: TypeAlias = Literal["linear", "previous"]

DEFINED = "defined"
"""The x axis that stands for the one that each metric was defined over."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where to read: `--at`.

    Attributes:
        word: `last`, `best`, `checkpoint`, or `step` for a number.
        where: The place on the x axis, for `step`.
    """

    word: Literal["last", "best", "checkpoint", "step"] = "last"
    where: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Place:
        """What `--at` was given.

        Raises:
            UsageError: It is none of the words and no finite number.
        """
        if text in ("last", "best", "checkpoint"):
            return cls(text)  # type: ignore[arg-type]  # mypy does not narrow a str by `in`
        try:
            where = float(text)
        except ValueError:
            where = math.nan
        if not math.isfinite(where):
            raise UsageError(
                f"--at {text!r} is no place to compare at", hint="give a step, or last, best or checkpoint"
            )
        return cls("step", where)

    def told(self) -> str | int | float:
        """The place for an answer."""
        return canon_number(self.where) if self.word == "step" else self.word


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A metric of one run at the place that was asked for, and over its whole history.

    Attributes:
        value: The number there, exact; None if there is none.
        x: Where on the x axis the value was logged, or was interpolated for.
        interpolated: Whether it was.
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
        place: Where.
        axis: The x axis: `_step`, a metric, or `DEFINED`.
        interpolation: What to do between two rows.
        best: For `best`, the metric and which end of it is good.
        whole: Whether to tell the least and the greatest number of the whole history too.
    """

    place: Place = Place()
    axis: str = STEP
    interpolation: Interpolation = "linear"
    best: tuple[str, Direction] | None = None
    whole: bool = True

    def extra_columns(self, axes: Mapping[str, str]) -> list[str]:
        """The columns that reading takes besides the metrics."""
        names = {*axes.values()} if self.axis == DEFINED else {self.axis}
        if self.place.word == "best" and self.best is not None:
            names.add(self.best[0])
        return sorted(names - {STEP})

    def read(
        self,
        frame: Frame,
        names: Sequence[str],
        *,
        axes: Mapping[str, str],
        checkpoint_step: int | None,
    ) -> dict[str, Reading]:
        """Read metrics of a run; those in which no cell is a number are left out.

        Args:
            frame: Its history, with these columns loaded.
            names: The metrics.
            axes: The step metrics that the run defined (see `RunDefinitions.step_metrics`).
            checkpoint_step: The step that the run's checkpoint tells, if it does.
        """
        until = self._last_row(frame, checkpoint_step)
        found = {}
        for name in names:
            column = frame.column(name)
            numeric = column.numbers()[1]
            if numeric.any():
                x = self._axis_of(frame, axes.get(name) if self.axis == DEFINED else self.axis)
                found[name] = self._read(column, numeric[:until], x, steps=frame.steps)
        return found

    def _last_row(self, frame: Frame, checkpoint_step: int | None) -> int:
        """The row before which to read, for `best` and `checkpoint`; of the others, the end."""
        if self.place.word == "checkpoint":
            return (
                0
                if checkpoint_step is None
                else int(np.searchsorted(frame.steps, checkpoint_step, side="right"))
            )
        if self.place.word == "best" and self.best is not None:
            name, direction = self.best
            rows = extremes(frame.column(name)) if name in frame else (None, None)
            row = rows[direction == "max"]
            return 0 if row is None else row + 1
        return frame.length

    @staticmethod
    def _axis_of(frame: Frame, name: str | None) -> Column | None:
        """The x axis of a metric: a column; None where the run does not have it."""
        name = name or STEP
        return frame.column(name) if name in frame else None

    def _read(self, column: Column, numeric: Mask, x: Column | None, *, steps: Steps) -> Reading:
        whole = _whole(column, steps) if self.whole else {}
        if self.place.word == "step":
            return Reading(**self._at_place(column, x), **whole)
        if not numeric.any():
            return Reading(**whole)
        row = len(numeric) - 1 - int(numeric[::-1].argmax())
        return Reading(value=column.cell(row), x=None if x is None else x.cell(row), **whole)

    def _at_place(self, column: Column, x: Column | None) -> dict[str, Any]:
        if x is None:
            return {}
        where = self.place.where
        values, numeric = column.numbers()
        places, there = x.numbers()
        rows = np.flatnonzero(numeric & there & np.isfinite(places))
        along = places[rows]
        if (along[1:] < along[:-1]).any():
            # A run that was resumed may go back on its axis: what it logged later counts.
            order = np.argsort(along, kind="stable")
            rows, along = rows[order], along[order]
        after = int(np.searchsorted(along, where, side="right"))
        if not after:
            return {}
        before = int(rows[after - 1])
        if places[before] == where:
            return {"value": column.cell(before), "x": canon_number(where)}
        if after == len(rows):
            return {}
        if self.interpolation == "previous":
            value = column.cell(before)
        else:
            low, high = places[before], places[rows[after]]
            share = (where - low) / (high - low)
            with np.errstate(all="ignore"):
                value = canon_number(float(values[before] * (1 - share) + values[rows[after]] * share))
        return {"value": value, "x": canon_number(where), "interpolated": True}


def _whole(column: Column, steps: Steps) -> dict[str, Any]:
    low, high = extremes(column)
    if low is None or high is None:
        return {}
    return {
        "min": column.cell(low),
        "min_step": int(steps[low]),
        "max": column.cell(high),
        "max_step": int(steps[high]),
    }
