"""The layout of a complete history: the type of each of its columns, and batches converted to them.

The columns of a batch depend on its own rows. Those of a file, and of merged batches, depend on all rows, so
that the same rows give the same columns however they were divided into batches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pull_logs.rows.arrays import Floats, exact_doubles, integer_array, present_doubles, present_integers
from pull_logs.rows.batches import RESIDUAL, RESIDUAL_ONLY, BatchCells, residual_array
from pull_logs.rows.canonical import STEP
from pull_logs.rows.cells import (
    ARROW_TYPES,
    CellKind,
    Column,
    ColumnKind,
    KindCounts,
    cell_kind,
    cells_of,
    column_kind,
    column_of_kind,
    utf8_order,
)

_DIVISION_EXACT, _ALWAYS_ROUND = 2.0**32, 2.0**33


def is_rounded(values: Floats) -> bool:
    """Return whether `float(f"{v:.6f}") == v` for every value that is not NaN.

    Below 2^32, rounding `v * 10^6` and dividing gives the double of that decimal, because the error of the
    product is less than a half. From 2^33 on, the distance between doubles is greater than 10^-6, so each of
    them is its own rounding. Between the two, each value is formatted.
    """
    if len(values) and not _is_rounded(values[0]):
        return False  # for most columns the first value decides
    size = np.abs(values)
    if len(size) and np.maximum.reduce(size) < _DIVISION_EXACT:
        return bool((np.rint(values * 1e6) / 1e6 == values).all())
    with np.errstate(invalid="ignore"):
        near = values[size < _DIVISION_EXACT]
        if not (np.rint(near * 1e6) / 1e6 == near).all():
            return False
        between = values[(size >= _DIVISION_EXACT) & (size < _ALWAYS_ROUND)]
    return all(map(_is_rounded, between.tolist()))


def _is_rounded(value: float) -> bool:
    return value != value or float(f"{value:.6f}") == value


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a history.

    Attributes:
        kinds: The type of each typed column, in bundle order, without `_step`.
        rounded: The double columns in which every value has at most six decimals.
        steps: Whether there is a `_step` column.
        rest: Whether there is a residual column.
        moves: Whether cells of some batch move between typed columns and the residual one. If not, the
            residual column of a batch is used unchanged, and need not be parsed.
    """

    kinds: Mapping[str, ColumnKind]
    rounded: frozenset[str]
    steps: bool
    rest: bool
    moves: bool

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema, columns in bundle order."""
        fields = [pa.field(STEP, pa.int64(), nullable=False)] if self.steps else []
        fields += [pa.field(name, ARROW_TYPES[kind]) for name, kind in self.kinds.items()]
        return pa.schema([*fields, pa.field(RESIDUAL, pa.string())] if self.rest else fields)


class LayoutBuilder:
    """Counts the cells of batches, and decides the layout of all their rows."""

    def __init__(self, *, steps: bool) -> None:
        self._steps = steps
        self._counts: dict[str, KindCounts] = {}
        self._unrounded: set[str] = set()
        self._others: set[str] = set()
        self._typed: dict[str, set[ColumnKind | None]] = {}

    def add(self, cells: BatchCells) -> None:
        """Count the cells of one batch."""
        for name, typed in cells.typed.items():
            self._add_typed(name, typed)
        for name, rest in cells.rest.items():
            self._others.add(name)
            if name in RESIDUAL_ONLY:
                continue
            counts = self._counts.setdefault(name, KindCounts())
            for value in rest.values():
                counts.add(value)
            numbers = [float(value) for value in rest.values() if cell_kind(value) is CellKind.DOUBLE]
            if name not in self._unrounded and not is_rounded(np.array(numbers, dtype=np.float64)):
                self._unrounded.add(name)

    def _add_typed(self, name: str, typed: pa.Array) -> None:
        counts = self._counts.setdefault(name, KindCounts())
        kind = column_kind(typed.type)
        self._typed.setdefault(name, set()).add(kind)
        if kind is ColumnKind.DOUBLE:
            doubles = present_doubles(typed)
            counts.add_doubles(doubles)
        elif kind is ColumnKind.INTEGER:
            integers = present_integers(typed)
            exact = exact_doubles(integers)
            counts.add_integers(integers, exact)
            doubles = integers[exact].astype(np.float64)
        elif kind is ColumnKind.BOOL:
            counts.bools += len(typed) - typed.null_count
            return
        else:
            counts.strings += len(typed) - typed.null_count
            return
        if name not in self._unrounded and not is_rounded(doubles):
            self._unrounded.add(name)

    def layout(self) -> Layout:
        """Return the layout of all batches that were added."""
        winners = {name: self._counts[name].winner() for name in utf8_order(self._counts)}
        kinds = {name: kind for name, kind in winners.items() if kind is not None}
        rest = any(counts.spills() for counts in self._counts.values())
        return Layout(
            kinds=kinds,
            rounded=frozenset(kinds) - self._unrounded,
            steps=self._steps,
            rest=rest or not self._others.isdisjoint(RESIDUAL_ONLY),
            moves=not self._others.isdisjoint(kinds)
            or any(seen != {kinds.get(name)} for name, seen in self._typed.items()),
        )


def lay_out(cells: BatchCells, layout: Layout) -> pa.Table:
    """Return the rows of a batch in the columns of a layout."""
    arrays: list[Any] = [] if cells.steps is None else [integer_array(cells.steps)]
    columns = {name: _laid_column(cells, name, kind) for name, kind in layout.kinds.items()}
    for name, kind in layout.kinds.items():
        typed = columns[name].typed
        arrays.append(pa.nulls(cells.length, ARROW_TYPES[kind]) if typed is None else typed)
    if layout.rest:
        arrays.append(_laid_residual(cells, layout, columns))
    return pa.Table.from_arrays(arrays, schema=layout.schema)


def _laid_column(cells: BatchCells, name: str, kind: ColumnKind) -> Column:
    typed, rest = cells.typed.get(name), cells.rest.get(name, {})
    if typed is None and not rest:
        return Column(None)
    if typed is not None and not rest and column_kind(typed.type) is kind:
        return Column(typed)
    found = dict(rest)
    if typed is not None:
        found.update(cells_of(typed))
    return column_of_kind(found, kind, length=cells.length)


def _laid_residual(cells: BatchCells, layout: Layout, columns: Mapping[str, Column]) -> pa.Array:
    if not layout.moves:
        return pa.nulls(cells.length, pa.string()) if cells.residual is None else cells.residual
    rest: dict[int, dict[str, Any]] = {}
    for name, others in cells.rest.items():
        if name not in layout.kinds:
            for row, cell in others.items():
                rest.setdefault(row, {})[name] = cell
    for name, typed in cells.typed.items():
        if name not in layout.kinds:
            for row, cell in cells_of(typed):
                rest.setdefault(row, {})[name] = cell
    for name, column in columns.items():
        for row, cell in column.rest.items():
            rest.setdefault(row, {})[name] = cell
    return residual_array(rest, length=cells.length)
