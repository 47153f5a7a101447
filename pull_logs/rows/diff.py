"""Compare two histories step by step, with one row group of each in memory.

Arrow compares the cells of typed columns, which are most of them. Python compares the rows whose residual
texts differ, and the keys that have different types in the two histories.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pull_logs.errors import DataError
from pull_logs.rows.arrays import (
    Ints,
    Mask,
    flat,
    null_rows,
    present_rows,
    python_values,
    same_cells,
    take_rows,
)
from pull_logs.rows.batches import RESIDUAL, RESIDUAL_ONLY, batch_rows, steps_of
from pull_logs.rows.canonical import STEP, same
from pull_logs.rows.cells import utf8_order


@dataclass(frozen=True, slots=True)
class KeyChanges:
    """The rows, of those that both histories have, that differ in one key.

    Attributes:
        lost: The old row has the key and the new one does not.
        gained: The new row has the key and the old one does not.
        changed: Both have it, with different values.
    """

    lost: Mask
    gained: Mask
    changed: Mask

    @property
    def rows(self) -> Mask:
        """The rows that differ in any way."""
        return self.lost | self.gained | self.changed


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryDiff:
    """The difference of two histories within one range of steps.

    Attributes:
        old: The rows of the old history whose steps are in both.
        new: The rows of the new history with the same steps.
        gone: The steps that only the old history has, ascending.
        added: The steps that only the new history has, ascending.
        keys: For each key in which `old` and `new` differ, the rows; in the order of the keys' UTF-8 bytes.
    """

    old: pa.Table
    new: pa.Table
    gone: Ints
    added: Ints
    keys: Mapping[str, KeyChanges]

    def values(self, key: str, row: int) -> tuple[Any, Any]:
        """Return the canonical values of a key in a row of `old` and of `new`; None where a row lacks it."""
        pair = [next(batch_rows(table.slice(row, 1), {key})).get(key) for table in (self.old, self.new)]
        return pair[0], pair[1]


def compare_histories(old: Iterable[pa.Table], new: Iterable[pa.Table]) -> Iterator[HistoryDiff]:
    """Compare two histories, reading both at once.

    Args:
        old: Batches in step order, one row per step, as `Run.batches` gives them.
        new: The batches of the other history.

    Yields:
        The differences of consecutive ranges of steps that together cover all rows of both.

    Raises:
        DataError: A residual column is not valid, or steps do not ascend.
    """
    left, right = _History(old), _History(new)
    while True:
        filled = [history for history in (left, right) if history.fill()]
        if not filled:
            return
        limit = min(history.last for history in filled)
        yield _compare(left.take(limit), right.take(limit))


class _History:
    """A history that is read up to one step at a time."""

    def __init__(self, batches: Iterable[pa.Table]) -> None:
        self._batches = iter(batches)
        self._held: pa.Table = pa.schema([pa.field(STEP, pa.int64(), nullable=False)]).empty_table()
        self._before: int | None = None

    def fill(self) -> bool:
        """Make sure that rows are available; return False at the end."""
        while not self._held.num_rows:
            batch = next(self._batches, None)
            if batch is None:
                return False
            self._check(steps_of(batch))
            self._held = batch
        return True

    def _check(self, steps: Ints) -> None:
        """Refuse steps out of order, which no bundle has and with which the comparison would never end."""
        if not len(steps):
            return
        repeated = self._before is not None and int(steps[0]) <= self._before
        if repeated or (steps[1:] <= steps[:-1]).any():
            raise DataError("its steps do not ascend")
        self._before = int(steps[-1])

    @property
    def last(self) -> int:
        """The last step that is available."""
        return int(steps_of(self._held)[-1])

    def take(self, limit: int) -> pa.Table:
        """Take the available rows up to and including this step."""
        count = int(np.searchsorted(steps_of(self._held), limit, "right"))
        taken, self._held = self._held.slice(0, count), self._held.slice(count)
        return taken


def _compare(old: pa.Table, new: pa.Table) -> HistoryDiff:
    here, there = steps_of(old), steps_of(new)
    _, rows, others = np.intersect1d(here, there, assume_unique=True, return_indices=True)
    gone, added = np.delete(here, rows), np.delete(there, others)
    old, new = _picked(old, rows), _picked(new, others)
    return HistoryDiff(old=old, new=new, gone=gone, added=added, keys=_key_changes(old, new))


def _picked(table: pa.Table, rows: Ints) -> pa.Table:
    return table if len(rows) == table.num_rows else take_rows(table, rows)


def _key_changes(old: pa.Table, new: pa.Table) -> dict[str, KeyChanges]:
    """Return what differs between two tables of the same steps, by key."""
    uneven = _uneven_residuals(old, new)
    found: dict[str, KeyChanges] = {}
    for name in {*old.column_names, *new.column_names} - RESIDUAL_ONLY:
        changes = _typed_changes(_column(old, name), _column(new, name), old.num_rows)
        for mask in (changes.lost, changes.gained, changes.changed):
            mask[uneven] = False
        if changes.rows.any():
            found[name] = changes
    for row, name, kind in _row_changes(old, new, uneven):
        changes = found.get(name) or found.setdefault(name, _no_changes(old.num_rows))
        getattr(changes, kind)[row] = True
    return {name: found[name] for name in utf8_order(found)}


def _column(table: pa.Table, name: str) -> pa.Array | None:
    return flat(table.column(name)) if name in table.column_names else None


def _no_changes(length: int) -> KeyChanges:
    lost, gained, changed = np.zeros((3, length), dtype=np.bool_)
    return KeyChanges(lost, gained, changed)


def _uneven_residuals(old: pa.Table, new: pa.Table) -> Mask:
    """Return the rows whose residual texts differ."""
    here, there = _column(old, RESIDUAL), _column(new, RESIDUAL)
    if here is not None and there is not None:
        return ~same_cells(here, there)
    only = there if here is None else here
    return np.zeros(old.num_rows, dtype=np.bool_) if only is None else present_rows(only)


def _typed_changes(here: pa.Array | None, there: pa.Array | None, length: int) -> KeyChanges:
    nothing = np.zeros(length, dtype=np.bool_)
    had = nothing if here is None else ~null_rows(here)
    has = nothing if there is None else ~null_rows(there)
    changed = nothing.copy()
    if here is not None and there is not None:
        both = had & has
        changed = both & _unequal(here, there)
    return KeyChanges(had & ~has, has & ~had, changed)


def _unequal(here: pa.Array, there: pa.Array) -> Mask:
    """Return where two arrays have different values; the result for null cells is arbitrary."""
    if here.type != there.type:
        pairs = zip(python_values(here), python_values(there), strict=True)
        return np.array([not same(*pair) for pair in pairs], dtype=np.bool_)
    return ~same_cells(here, there)


def _row_changes(old: pa.Table, new: pa.Table, chosen: Mask) -> Iterator[tuple[int, str, str]]:
    """Compare the chosen rows in Python; yield row, key and kind of every difference."""
    rows = np.flatnonzero(chosen)
    if not len(rows):
        return
    pairs = zip(batch_rows(take_rows(old, rows)), batch_rows(take_rows(new, rows)), strict=True)
    for row, (here, there) in zip(rows.tolist(), pairs, strict=True):
        for key in here.keys() | there.keys():
            if key not in there:
                yield row, key, "lost"
            elif key not in here:
                yield row, key, "gained"
            elif not same(here[key], there[key]):
                yield row, key, "changed"
