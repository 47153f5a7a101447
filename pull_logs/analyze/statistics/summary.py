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

from collections.abc import Mapping
from typing import Any

import numpy as np

from pull_logs.analyze.frames import Column, Floats, Steps
from pull_logs.analyze.statistics.schema import extremes, middle
from pull_logs.rows.canonical import canon_number, spell

PERCENTILES = (10, 25, 50, 75, 90)

STATISTICS = (
    "count", "min", "p10", "p25", "p50", "p75", "p90", "max", "mean", "std", "first", "last",
    "min_step", "max_step",
)  # fmt: skip
"""The statistics of a metric, in the order of design section 4, and the steps of its extremes behind them."""

_TOGETHER = 1 << 18
"""Cells that are looked at together at most: more would not fit beside each other into a processor's cache."""


def has_numbers(column: Column) -> bool:
    """Whether any cell is a number, finite or not."""
    vector = column.vector
    return bool(vector.count if vector.kind == "number" else column.numbers()[1].any())


def describe_all(columns: Mapping[str, Column], steps: Steps) -> dict[str, dict[str, Any]]:
    """What `describe_numbers` says of each of these columns, found at once of those that are dense.

    Args:
        columns: The metrics by their names.
        steps: The step of each of their rows.
    """
    dense = [name for name, column in columns.items() if _is_dense(column)] if len(steps) else []
    together = max(_TOGETHER // max(len(steps), 1), 1)
    told: dict[str, dict[str, Any]] = {}
    for start in range(0, len(dense), together):
        names = dense[start : start + together]
        matrix = np.stack([columns[name].vector.floats() for name in names])
        finite = np.flatnonzero(np.isfinite(matrix).all(axis=1))
        if len(finite) < len(names):
            names, matrix = [names[place] for place in finite.tolist()], matrix[finite]
        told.update(zip(names, _describe_dense(matrix, steps), strict=True))
    return {
        name: told[name] if name in told else describe_numbers(column, steps)
        for name, column in columns.items()
    }


def _is_dense(column: Column) -> bool:
    """Whether a column is of doubles alone, and all there."""
    vector = column.vector
    return (
        vector.kind == "number"
        and vector.values.dtype == np.float64
        and not column.exact
        and vector.count == len(vector)
    )


def _describe_dense(matrix: Floats, steps: Steps) -> list[dict[str, Any]]:
    """The statistics of dense columns of one length, a row each, as `describe_numbers` says them."""
    lows, highs = matrix.argmin(axis=1), matrix.argmax(axis=1)
    each = np.arange(len(matrix))
    ends = (matrix[:, 0].copy(), matrix[:, -1].copy(), matrix[each, lows], matrix[each, highs])
    facts = dict(zip(("first", "last", "min", "max"), ends, strict=True)) | _finite(matrix)
    told: dict[str, list[Any]] = dict(zip(facts, _spelled(np.stack(list(facts.values()))), strict=True))
    told["count"] = [matrix.shape[1]] * len(matrix)
    told |= {"min_step": steps[lows].tolist(), "max_step": steps[highs].tolist()}
    nothing = [None] * len(matrix)
    cells = zip(*(told.get(name, nothing) for name in STATISTICS), strict=True)
    return [dict(zip(STATISTICS, found, strict=True)) for found in cells]


def _spelled(found: Floats) -> list[list[Any]]:
    """Numbers, row by row, as an answer tells them."""
    told: list[list[Any]] = found.tolist()
    whole_or_endless = ~np.isfinite(found) | (found == np.floor(found))
    for row, place in np.argwhere(whole_or_endless).tolist():
        told[row][place] = spell(canon_number(told[row][place]))
    return told


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
        finite = _finite(values[np.newaxis, sound])
        found |= {name: canon_number(float(told[0])) for name, told in finite.items()}
    cells = column.cells(np.array(rows, np.intp)) if rows else []
    found.update(zip(("first", "last", "min", "max"), cells, strict=False))
    found["count"] = int(np.count_nonzero(sound))
    return {name: spell(value) for name, value in found.items()}


def _finite(matrix: Floats) -> dict[str, Floats]:
    """The statistics, row by row, of finite numbers that no single one of them is; the matrix is used up by it."""
    count, ordered = matrix.shape[1], np.sort(matrix, axis=1)
    with np.errstate(all="ignore"):  # sums and differences of huge numbers may overflow, and may say so
        found = {f"p{percent}": middle(ordered, percent / 100) for percent in PERCENTILES}
        found["mean"] = matrix.sum(axis=1) / count
        if count > 1:
            matrix -= found["mean"][:, np.newaxis]
            matrix *= matrix
            found["std"] = np.sqrt(matrix.sum(axis=1) / (count - 1))
    return found
