"""The schema of a history: the types of its columns, their counts, ranges and logging intervals."""

from __future__ import annotations

import numpy as np

from pull_logs.analyze.frames import Column, Floats, Steps
from pull_logs.analyze.results import ColumnResult
from pull_logs.rows.canonical import canon_number, spell


def describe_column(name: str, column: Column, steps: Steps) -> ColumnResult:
    """Return one entry of the schema. See docs/output.md, "Schema and statistics".

    Args:
        name: The name of the column.
        column: Its cells.
        steps: The step of each cell, ascending.
    """
    values, numeric = column.numbers()
    finite = numeric & np.isfinite(values)
    low, high = extremes(column)
    present = np.flatnonzero(column.vector.present)
    logged = steps[present]
    return {
        "name": name,
        "type": column_type(column),
        "count": len(present),
        "missing": len(column.vector) - len(present),
        "nonfinite": int(np.count_nonzero(numeric) - np.count_nonzero(finite)),
        "min": None if low is None else spell(column.cells(np.array([low]))[0]),
        "max": None if high is None else spell(column.cells(np.array([high]))[0]),
        "first_step": int(logged[0]) if len(logged) else None,
        "last_step": int(logged[-1]) if len(logged) else None,
        "interval": logging_interval(logged),
    }


def column_type(column: Column) -> str:
    """Return `int` for a column of integers only, else `Column.type`."""
    if column.type != "number":
        return column.type
    values = column.vector.values[column.vector.present]
    integral = np.isfinite(values) & (values == np.floor(values))
    return "int" if values.dtype == np.int64 or bool(np.all(integral)) else "number"


def logging_interval(logged: Steps) -> int | float | None:
    """Return the median of the differences between these ascending steps; None for fewer than two."""
    if len(logged) < 2:
        return None
    # The difference of two steps may exceed an int64; as doubles they only lose digits.
    gaps = np.diff(logged) if int(logged[-1]) - int(logged[0]) < 2**63 else np.diff(logged.astype(np.float64))
    found: int | float = canon_number(float(middle(np.sort(gaps).astype(np.float64), 0.5)))
    return found


def middle(ordered: Floats, share: float) -> Floats:
    """Return the quantile of numbers, interpolated linearly between two neighbours.

    Args:
        ordered: At least one number, ascending along the last axis.
        share: The share of the numbers below it, from 0 to 1.

    Returns:
        One value for each row of the other axes.
    """
    length = ordered.shape[-1]
    position = share * (length - 1)
    before = int(position)
    low, high = ordered[..., before], ordered[..., min(before + 1, length - 1)]
    part = position - before
    # From the nearer end, as numpy does: the result is between the two, and 1 gives exactly the greater.
    found: Floats = high - (high - low) * (1 - part) if part >= 0.5 else low + (high - low) * part
    return found


def extremes(column: Column) -> tuple[int | None, int | None]:
    """Return the first rows that have the least and the greatest finite number; None twice without any."""
    if column.vector.values.dtype == np.int64:
        exact, sound = column.vector.values, column.vector.present
    else:
        exact, numeric = column.numbers()
        sound = numeric & np.isfinite(exact)
    if len(sound) and np.count_nonzero(sound) == len(sound):
        return int(np.argmin(exact)), int(np.argmax(exact))
    found = np.flatnonzero(sound)
    if not len(found):
        return None, None
    return int(found[np.argmin(exact[found])]), int(found[np.argmax(exact[found])])
