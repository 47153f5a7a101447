"""Two histories side by side, step by step, with a row group of each in memory.

Most cells are in typed columns and are compared by Arrow. Python looks only at
the rows whose residual texts differ, and at keys that have one type here and
another there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pull_logs.errors import DataError
from pull_logs.rows.batches import RESIDUAL, RESIDUAL_ONLY, batch_rows, steps_of
from pull_logs.rows.canonical import STEP, same
from pull_logs.rows.cells import Ints, Mask, dense, flat, missing, python_values, utf8_order


@dataclass(frozen=True, slots=True)
class KeyChanges:
    """Which of the rows that both histories have differ in one key.

    Attributes:
        lost: The old row has the key and the new one has not.
        gained: The new row has the key and the old one has not.
        changed: Both have it, with other values.
    """

    lost: Mask
    gained: Mask
    changed: Mask

    @property
    def rows(self) -> Mask:
        """The rows that differ in any way."""
        return self.lost | self.gained | self.changed


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What two histories have between the same steps.

    Attributes:
        old: The rows of the old history whose steps the new one has too.
        new: These rows as the new history has them.
        gone: The steps that only the old history has, ascending.
        added: The steps that only the new history has, ascending.
        keys: Per key in which `old` and `new` differ, where; in the order of the keys' UTF-8 bytes.
    """

    old: pa.Table
    new: pa.Table
    gone: Ints
    added: Ints
    keys: Mapping[str, KeyChanges]

    def values(self, key: str, row: int) -> tuple[Any, Any]:
        """The canonical values of a key in a row of `old` and of `new`; None where it has none."""
        pair = [next(batch_rows(table.slice(row, 1), {key})).get(key) for table in (self.old, self.new)]
        return pair[0], pair[1]


def compare_histories(old: Iterable[pa.Table], new: Iterable[pa.Table]) -> Iterator[Window]:
    """Walk through two histories at once.

    Args:
        old: Batches in step order, one row a step, as `Run.batches` gives them.
        new: The other ones.

    Yields:
        Windows in step order that together cover all rows of both.

    Raises:
        DataError: A residual column is not what a batch may hold, or steps do not ascend.
    """
    left, right = _Side(old), _Side(new)
    while True:
        filled = [side for side in (left, right) if side.fill()]
        if not filled:
            return
        limit = min(side.last for side in filled)
        yield _compare(left.take(limit), right.take(limit))


class _Side:
    """A history that is read up to a step at a time."""

    def __init__(self, batches: Iterable[pa.Table]) -> None:
        self._batches = iter(batches)
        self._held: pa.Table = pa.schema([pa.field(STEP, pa.int64(), nullable=False)]).empty_table()
        self._before: int | None = None

    def fill(self) -> bool:
        """Have rows at hand; False at the end."""
        while not self._held.num_rows:
            batch = next(self._batches, None)
            if batch is None:
                return False
            self._check(steps_of(batch))
            self._held = batch
        return True

    def _check(self, steps: Ints) -> None:
        """Refuse what a bundle of ours never holds: by steps out of order this would walk for ever."""
        if not len(steps):
            return
        behind = self._before is not None and int(steps[0]) <= self._before
        if behind or (steps[1:] <= steps[:-1]).any():
            raise DataError("its steps do not ascend")
        self._before = int(steps[-1])

    @property
    def last(self) -> int:
        """The last step at hand."""
        return int(steps_of(self._held)[-1])

    def take(self, limit: int) -> pa.Table:
        """The rows at hand up to this step, it included."""
        count = int(np.searchsorted(steps_of(self._held), limit, "right"))
        taken, self._held = self._held.slice(0, count), self._held.slice(count)
        return taken


def _compare(old: pa.Table, new: pa.Table) -> Window:
    here, there = steps_of(old), steps_of(new)
    _, rows, others = np.intersect1d(here, there, assume_unique=True, return_indices=True)
    gone, added = np.delete(here, rows), np.delete(there, others)
    old, new = _picked(old, rows), _picked(new, others)
    return Window(old=old, new=new, gone=gone, added=added, keys=_key_changes(old, new))


def _picked(table: pa.Table, rows: Ints) -> pa.Table:
    return table if len(rows) == table.num_rows else table.take(pa.array(rows))


def _key_changes(old: pa.Table, new: pa.Table) -> dict[str, KeyChanges]:
    """What differs between two tables of the same steps, by key."""
    odd = _odd_residuals(old, new)
    found: dict[str, KeyChanges] = {}
    for name in {*old.column_names, *new.column_names} - RESIDUAL_ONLY:
        changes = _typed_changes(_column(old, name), _column(new, name), old.num_rows)
        for mask in (changes.lost, changes.gained, changes.changed):
            mask[odd] = False
        if changes.rows.any():
            found[name] = changes
    for row, name, kind in _odd_changes(old, new, odd):
        changes = found.get(name) or found.setdefault(name, _no_changes(old.num_rows))
        getattr(changes, kind)[row] = True
    return {name: found[name] for name in utf8_order(found)}


def _column(table: pa.Table, name: str) -> pa.Array | None:
    return flat(table.column(name)) if name in table.column_names else None


def _no_changes(length: int) -> KeyChanges:
    lost, gained, changed = np.zeros((3, length), dtype=np.bool_)
    return KeyChanges(lost, gained, changed)


def _odd_residuals(old: pa.Table, new: pa.Table) -> Mask:
    """The rows whose residual texts are not the same."""
    here, there = _column(old, RESIDUAL), _column(new, RESIDUAL)
    if here is None or there is None:
        only = there if here is None else here
        return np.zeros(old.num_rows, dtype=np.bool_) if only is None else ~missing(only)
    odd: Mask = missing(here) != missing(there)
    return odd | dense(pc.not_equal(here, there).fill_null(False)).astype(np.bool_)


def _typed_changes(here: pa.Array | None, there: pa.Array | None, length: int) -> KeyChanges:
    nothing = np.zeros(length, dtype=np.bool_)
    had = nothing if here is None else ~missing(here)
    has = nothing if there is None else ~missing(there)
    changed = nothing.copy()
    if here is not None and there is not None:
        both = had & has
        changed = both & _unequal(here, there)
    return KeyChanges(had & ~has, has & ~had, changed)


def _unequal(here: pa.Array, there: pa.Array) -> Mask:
    """Where two arrays have different values; what it says of cells that are null means nothing."""
    if here.type != there.type:
        pairs = zip(python_values(here), python_values(there), strict=True)
        return np.array([not same(*pair) for pair in pairs], dtype=np.bool_)
    unequal: Mask = dense(pc.not_equal(here, there).fill_null(False)).copy()
    if pa.types.is_floating(here.type):
        unequal &= ~dense(pc.and_(pc.is_nan(here), pc.is_nan(there)).fill_null(False))
    return unequal


def _odd_changes(old: pa.Table, new: pa.Table, odd: Mask) -> Iterator[tuple[int, str, str]]:
    """Row, key and kind of every difference in these rows, whole rows compared in Python."""
    places = np.flatnonzero(odd)
    if not len(places):
        return
    chosen = pa.array(places)
    pairs = zip(batch_rows(old.take(chosen)), batch_rows(new.take(chosen)), strict=True)
    for place, (here, there) in zip(places.tolist(), pairs, strict=True):
        for key in here.keys() | there.keys():
            if key not in there:
                yield place, key, "lost"
            elif key not in here:
                yield place, key, "gained"
            elif not same(here[key], there[key]):
                yield place, key, "changed"
