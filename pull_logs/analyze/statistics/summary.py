"""Statistics of a metric: percentiles, mean and spread, its extremes, its first and last values.

Percentiles, mean, `std`, `min`, `max` and `count` are over the finite numbers only: one NaN or infinity would
otherwise make all of them useless, and the schema counts those. `first` and `last` are the first and last
cells that are present, of any kind, because a run that ends in NaN must show it. Percentiles interpolate
linearly between neighbours, as numpy and pandas do; `std` is that of a sample (ddof 1) and needs two numbers.
`min_step` and `max_step` are the first steps that have the extremes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from pull_logs.analyze.results import StatisticsResult
from pull_logs.frames import Column, Floats, Steps, extremes, middle
from pull_logs.rows.canonical import canon_number, spell

PERCENTILES = (10, 25, 50, 75, 90)

STATISTICS = tuple(name for name in StatisticsResult.__annotations__ if name not in ("members", "quantiles"))
"""The names of the statistics, in their order. See docs/output.md, "Schema and statistics"."""

STATISTICS_DEFINITIONS = "1"
"""The version of the definitions; it changes where metrics may get other statistics."""

_CELLS_TOGETHER = 1 << 18
"""How many cells are described together at most: more would not fit into a processor's cache."""


def has_numbers(column: Column) -> bool:
    """Whether any cell is a number, finite or not."""
    vector = column.vector
    return bool(vector.count if vector.kind == "number" else column.numbers()[1].any())


def describe_all(columns: Mapping[str, Column], steps: Steps) -> dict[str, StatisticsResult]:
    """Return the statistics of metrics of one run; those without gaps are computed together.

    Args:
        columns: The metrics by their names.
        steps: The step of each of their rows.
    """
    dense = [name for name, column in columns.items() if _is_dense(column)] if len(steps) else []
    together = max(_CELLS_TOGETHER // max(len(steps), 1), 1)
    found: dict[str, StatisticsResult] = {}
    for start in range(0, len(dense), together):
        names = dense[start : start + together]
        matrix = np.stack([columns[name].vector.floats() for name in names])
        finite = np.flatnonzero(np.isfinite(matrix).all(axis=1))
        if len(finite) < len(names):
            names, matrix = [names[index] for index in finite.tolist()], matrix[finite]
        found.update(zip(names, _describe_dense(matrix, steps), strict=True))
    return {
        name: found[name] if name in found else describe_numbers(column, steps)
        for name, column in columns.items()
    }


def _is_dense(column: Column) -> bool:
    """Whether a column consists of doubles only and has no gaps."""
    vector = column.vector
    return (
        vector.kind == "number"
        and vector.values.dtype == np.float64
        and not column.exact
        and vector.count == len(vector)
    )


def _describe_dense(matrix: Floats, steps: Steps) -> list[StatisticsResult]:
    """Return what `describe_numbers` does for each row of a matrix of finite numbers."""
    lows, highs = matrix.argmin(axis=1), matrix.argmax(axis=1)
    each = np.arange(len(matrix))
    ends = (matrix[:, 0].copy(), matrix[:, -1].copy(), matrix[each, lows], matrix[each, highs])
    numbers = dict(zip(("first", "last", "min", "max"), ends, strict=True)) | _finite(matrix)
    values: dict[str, list[Any]] = dict(zip(numbers, _spelled(np.stack(list(numbers.values()))), strict=True))
    values["count"] = [matrix.shape[1]] * len(matrix)
    values |= {"min_step": steps[lows].tolist(), "max_step": steps[highs].tolist()}
    nothing = [None] * len(matrix)
    rows = zip(*(values.get(name, nothing) for name in STATISTICS), strict=True)
    return [cast("StatisticsResult", dict(zip(STATISTICS, row, strict=True))) for row in rows]


def _spelled(numbers: Floats) -> list[list[Any]]:
    """Return the numbers of a matrix as an answer has them."""
    values: list[list[Any]] = numbers.tolist()
    changed = ~np.isfinite(numbers) | (numbers == np.floor(numbers))
    for row, index in np.argwhere(changed).tolist():
        values[row][index] = spell(canon_number(values[row][index]))
    return values


def describe_numbers(column: Column, steps: Steps) -> StatisticsResult:
    """Return the statistics of a metric; None where one is undefined.

    Args:
        column: The metric.
        steps: The step of each of its rows.
    """
    values, numeric = column.numbers()
    finite = numeric & np.isfinite(values)
    found: dict[str, Any] = dict.fromkeys(STATISTICS)
    present = np.flatnonzero(column.vector.present)
    rows = [*present[[0, -1]].tolist()] if len(present) else []
    low, high = extremes(column)
    if low is not None and high is not None:
        rows += [low, high]
        found["min_step"], found["max_step"] = int(steps[low]), int(steps[high])
        computed = _finite(values[np.newaxis, finite])
        found |= {name: canon_number(float(number[0])) for name, number in computed.items()}
    cells = column.cells(np.array(rows, np.intp)) if rows else []
    found.update(zip(("first", "last", "min", "max"), cells, strict=False))
    found["count"] = int(np.count_nonzero(finite))
    return cast("StatisticsResult", {name: spell(value) for name, value in found.items()})


def _finite(matrix: Floats) -> dict[str, Floats]:
    """Return percentiles, mean and spread of each row of finite numbers; the matrix is overwritten."""
    count, ordered = matrix.shape[1], np.sort(matrix, axis=1)
    with np.errstate(all="ignore"):  # sums and differences of huge numbers may overflow to an infinity
        found = {f"p{percent}": middle(ordered, percent / 100) for percent in PERCENTILES}
        found["mean"] = matrix.sum(axis=1) / count
        if count > 1:
            matrix -= found["mean"][:, np.newaxis]
            matrix *= matrix
            found["std"] = np.sqrt(matrix.sum(axis=1) / (count - 1))
    return found
