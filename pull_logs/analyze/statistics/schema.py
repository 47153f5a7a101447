"""What the columns of a history are: their types, how much of them is there, their range and their rhythm."""

from __future__ import annotations

import numpy as np

from pull_logs.analyze.frames import Column, Floats, Steps
from pull_logs.analyze.results import ColumnResult
from pull_logs.rows.canonical import canon_number, spell


def describe_column(name: str, column: Column, steps: Steps) -> ColumnResult:
    """One entry of the schema, as design section 4 spells it, and where and how often the column was logged.

    Args:
        name: The column's.
        column: Its cells.
        steps: The step of each of them, ascending.

    Returns:
        `name`, `type` (see `column_type`), `count` of present cells, `missing` cells, `nonfinite` of the
        present cells (NaN is a value, so it is counted and not missing), `min` and `max` of the finite
        numbers, `first_step` and `last_step` with a cell, and `interval`, the median of the steps from one
        cell to the next; None where there is no such value.
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
    """`int` for a column of whole numbers alone, else what `Column.type` says."""
    if column.type != "number":
        return column.type
    values = column.vector.values[column.vector.present]
    whole = values.dtype == np.int64 or bool(np.all(np.isfinite(values) & (values == np.floor(values))))
    return "int" if whole else "number"


def logging_interval(logged: Steps) -> int | float | None:
    """The median of the differences between these ascending steps; None of fewer than two."""
    if len(logged) < 2:
        return None
    # Steps may lie so far apart that no int64 holds the difference; as doubles they only lose digits.
    gaps = np.diff(logged) if int(logged[-1]) - int(logged[0]) < 2**63 else np.diff(logged.astype(np.float64))
    found: int | float = canon_number(float(middle(np.sort(gaps).astype(np.float64), 0.5)))
    return found


def middle(ordered: Floats, share: float) -> Floats:
    """The value below which this share of the numbers lies, between two neighbours in proportion.

    Args:
        ordered: At least one number, ascending along the last axis.
        share: From 0 to 1.

    Returns:
        One value for each row of the other axes.
    """
    length = ordered.shape[-1]
    place = share * (length - 1)
    before = int(place)
    low, high = ordered[..., before], ordered[..., min(before + 1, length - 1)]
    part = place - before
    # From the nearer end, as numpy does: the answer never leaves the two, and 1 gives exactly the greater.
    found: Floats = high - (high - low) * (1 - part) if part >= 0.5 else low + (high - low) * part
    return found


def extremes(column: Column) -> tuple[int | None, int | None]:
    """The first rows that hold the least and the greatest finite number; None twice without any."""
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
