"""Some rows of a long history: only the parts of the file that have them are read."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from pull_logs.frames.column import Column
from pull_logs.frames.frame import Frame
from pull_logs.frames.from_arrow import Steps, read_steps, read_typed
from pull_logs.frames.history import History
from pull_logs.frames.vector import Mask, Vector, numbers
from pull_logs.rows.arrays import flat, present_rows, take_rows
from pull_logs.rows.canonical import STEP

if TYPE_CHECKING:
    import pyarrow as pa

LONG_HISTORY = 65_536
"""Up to this many rows, a history is read completely: it has one row group, or little more."""

_EXACT = 2.0**53
"""Up to here, a step is before a bound if it is so as a double."""

Condition: TypeAlias = Callable[[Mapping[str, Vector], int], Mask]
"""Returns in which of a number of rows something holds, for columns of these rows."""


def is_long(frame: History) -> bool:
    """Whether reading a part of a history, or one column after the other, is worth it."""
    return frame.length > LONG_HISTORY


def rows_in_steps(frame: Frame, first: float, last: float) -> range:
    """Return the rows with these steps, both included; more where a bound is not exactly an integer."""
    if not (_is_exact(first) or _is_exact(last)):
        return range(frame.length)
    steps = frame.steps
    start = int(steps.searchsorted(math.floor(first), "left")) if _is_exact(first) else 0
    return range(start, int(steps.searchsorted(math.ceil(last), "right")) if _is_exact(last) else len(steps))


def _is_exact(bound: float) -> bool:
    return abs(bound) <= _EXACT


def rows_where(
    frame: Frame, keys: Mapping[str, str], condition: Condition, among: range
) -> npt.NDArray[np.intp]:
    """Return the rows in which a condition holds; few of the cells are in memory at once.

    Args:
        frame: The history; it has a row.
        keys: The columns that the condition uses, besides `_step`, and their keys (`Frame.typed_keys`).
        condition: Whether it holds in a row depends on the cells of that row alone. It is evaluated for some
            rows at least, so that what is wrong with it is an error.
        among: Other rows are known not to fulfil it.

    Raises:
        DamageError: A column is damaged.
    """
    found = []
    start = min(among.start, frame.length - 1)
    for before, batch in frame.batches_at([*keys.values()], range(start, max(among.stop, start + 1))):
        scope = {name: read_typed(batch.column(key)).vector for name, key in keys.items()}
        scope[STEP] = numbers(read_steps(batch))
        found.append(before + np.flatnonzero(condition(scope, batch.num_rows)))
        del batch, scope
    return np.concatenate(found)


def rows_with_cells(frame: Frame, keys: Mapping[str, str]) -> Mask:
    """Return the rows in which one of these columns has a cell; few of the cells are in memory at once.

    Args:
        frame: The history.
        keys: The columns and their keys (`Frame.typed_keys`).

    Raises:
        DamageError: A column is damaged.
    """
    facts = frame.facts()
    if facts is not None and any(name in facts and facts[name].cells == frame.length for name in keys):
        return np.ones(frame.length, np.bool_)
    found = np.zeros(frame.length, np.bool_)
    for start, batch in frame.batches_at([*keys.values()]):
        seen = found[start : start + batch.num_rows]
        for key in keys.values():
            seen |= present_rows(flat(batch.column(key)))
        del batch
    return found


def take_columns(
    frame: Frame, keys: Mapping[str, str], rows: npt.NDArray[np.intp]
) -> tuple[Steps, dict[str, Column]]:
    """Return the steps of these rows, and these columns for them.

    Args:
        frame: The history.
        keys: The columns and their keys (`Frame.typed_keys`).
        rows: Ascending indices; of a history that has a row.

    Raises:
        DamageError: A column is damaged.
    """
    import pyarrow as pa

    parts: list[pa.Table] = []
    span = range(int(rows[0]), int(rows[-1]) + 1) if len(rows) else range(1)
    for start, batch in frame.batches_at([*keys.values()], span):
        first, past = np.searchsorted(rows, (start, start + batch.num_rows)).tolist()
        parts.append(take_rows(batch, rows[first:past] - start))
        del batch
    table = pa.concat_tables(parts)
    return read_steps(table), {name: read_typed(table.column(key)) for name, key in keys.items()}
