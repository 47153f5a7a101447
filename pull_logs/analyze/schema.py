"""What the columns of a history are: their types, how much of them is there, and their range."""

from __future__ import annotations

from typing import Any

import numpy as np

from pull_logs.analyze.frames import Column
from pull_logs.snapshot.canon import spell


def describe_column(name: str, column: Column) -> dict[str, Any]:
    """One entry of the schema, as design section 4 spells it.

    Returns:
        `name`, `type` (see `Column.type`), `count` of present cells, `missing` cells, `nonfinite` of the
        present cells (NaN is a value, so it is counted and not missing), and `min` and `max` of the finite
        numbers, None where there is none.
    """
    values, numeric = column.numbers()
    finite = numeric & np.isfinite(values)
    low, high = extremes(column)
    count = column.vector.count
    return {
        "name": name,
        "type": column.type,
        "count": count,
        "missing": len(column.vector) - count,
        "nonfinite": int(np.count_nonzero(numeric) - np.count_nonzero(finite)),
        "min": None if low is None else spell(column.cells(np.array([low]))[0]),
        "max": None if high is None else spell(column.cells(np.array([high]))[0]),
    }


def extremes(column: Column) -> tuple[int | None, int | None]:
    """The first rows that hold the least and the greatest finite number; None twice without any."""
    if column.vector.values.dtype == np.int64:
        found = np.flatnonzero(column.vector.present)
        exact = column.vector.values[found]
    else:
        values, numeric = column.numbers()
        found = np.flatnonzero(numeric & np.isfinite(values))
        exact = values[found]
    if not len(found):
        return None, None
    return int(found[np.argmin(exact)]), int(found[np.argmax(exact)])
