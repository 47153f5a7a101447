"""Statistics of a metric: percentiles, mean and spread, its extremes, where it began and where it ended.

Percentiles, mean, `std`, `min`, `max` and `count` are over the finite numbers
alone: one NaN or infinity would otherwise make all of them useless, and the
schema counts those. `first` and `last` are the first and last cells that are
present, whatever they are, because a run that ends in NaN must say so.
Percentiles interpolate linearly between neighbours, as numpy and pandas do;
`std` is that of a sample (ddof 1) and needs two numbers. `min_step` and
`max_step` are the first steps that have the extremes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pull_logs.analyze.frames import Column, Steps
from pull_logs.analyze.schema import extremes, middle
from pull_logs.analyze.vectors import Floats
from pull_logs.snapshot.canon import canon_number, spell

PERCENTILES = (10, 25, 50, 75, 90)

STATISTICS = (
    "count", "min", "p10", "p25", "p50", "p75", "p90", "max", "mean", "std", "first", "last",
    "min_step", "max_step",
)  # fmt: skip
"""The statistics of a metric, in the order of design section 4, and the steps of its extremes behind them."""


def has_numbers(column: Column) -> bool:
    """Whether any cell is a number, finite or not."""
    return bool(column.numbers()[1].any())


def describe_numbers(column: Column, steps: Steps) -> dict[str, Any]:
    """The statistics of a column by their names, in the order of `STATISTICS`; None where undefined.

    Args:
        column: The metric.
        steps: The step of each of its rows.
    """
    values, numeric = column.numbers()
    sound = numeric & np.isfinite(values)
    found: dict[str, Any] = dict.fromkeys(STATISTICS)
    present = np.flatnonzero(column.vector.present)
    rows = [*present[[0, -1]].tolist()] if len(present) else []
    low, high = extremes(column)
    if low is not None and high is not None:
        rows += [low, high]
        found["min_step"], found["max_step"] = int(steps[low]), int(steps[high])
        found |= _describe_finite(values if sound.all() else values[sound])
    cells = column.cells(np.array(rows, np.intp)) if rows else []
    found.update(zip(("first", "last", "min", "max"), cells, strict=False))
    found["count"] = int(np.count_nonzero(sound))
    return {name: spell(value) for name, value in found.items()}


def _describe_finite(finite: Floats) -> dict[str, Any]:
    """The statistics of finite numbers that no single one of them is."""
    count, ordered = len(finite), np.sort(finite)
    with np.errstate(all="ignore"):  # sums and differences of huge numbers may overflow, and may say so
        found = {f"p{percent}": canon_number(middle(ordered, percent / 100)) for percent in PERCENTILES}
        mean = finite.sum() / count
        found["mean"] = canon_number(float(mean))
        if count > 1:
            apart = finite - mean
            found["std"] = canon_number(float(np.sqrt((apart * apart).sum() / (count - 1))))
    return found
