"""The columns of a whole run: which type each has, and batches brought into them.

A batch decides its columns by its own rows. A file, and a merge of batches,
decide by all rows, so the same rows give the same columns however they were cut.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pull_logs.rows.batches import RESIDUAL, RESIDUAL_ONLY, BatchCells, residual_array
from pull_logs.rows.canonical import STEP
from pull_logs.rows.cells import (
    ARROW_TYPES,
    CellKind,
    Column,
    ColumnKind,
    Floats,
    Tally,
    cell_kind,
    cells_of,
    column_kind,
    exact_doubles,
    place,
    present_doubles,
    present_integers,
    utf8_order,
)

_DIVISION_EXACT, _ALWAYS_ROUND = 2.0**32, 2.0**33


def is_rounded(values: Floats) -> bool:
    """Whether `float(f"{v:.6f}") == v` for every value that is not NaN.

    Below 2^32 rounding `v * 10^6` and dividing gives that decimal's double, for
    the product is off by less than half. From 2^33 on doubles are further apart
    than six decimals, so every one of them is its own rounding. Between the two
    each value is asked for itself.
    """
    if len(values) and not _is_rounded(values[0]):
        return False  # most columns tell by their first value
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
    """The columns that rows are laid out in.

    Attributes:
        kinds: The type of each typed column, in bundle order, `_step` left out.
        rounded: The double columns whose every value has at most six decimals.
        steps: Whether there is a `_step` column.
        rest: Whether there is a residual column.
        moves: Whether a batch may have cells elsewhere than this layout has them. If not, its residual
            column is taken over as it stands, and need not have been parsed.
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


class Survey:
    """Counts the cells of batches, to lay them out as their rows are as a whole."""

    def __init__(self, *, steps: bool) -> None:
        self._steps = steps
        self._tallies: dict[str, Tally] = {}
        self._ragged: set[str] = set()
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
            tally = self._tallies.setdefault(name, Tally())
            for value in rest.values():
                tally.add(value)
            numbers = [float(value) for value in rest.values() if cell_kind(value) is CellKind.DOUBLE]
            if name not in self._ragged and not is_rounded(np.array(numbers, dtype=np.float64)):
                self._ragged.add(name)

    def _add_typed(self, name: str, typed: pa.Array) -> None:
        tally = self._tallies.setdefault(name, Tally())
        kind = column_kind(typed.type)
        self._typed.setdefault(name, set()).add(kind)
        if kind is ColumnKind.DOUBLE:
            doubles = present_doubles(typed)
            tally.add_doubles(doubles)
        elif kind is ColumnKind.INTEGER:
            integers = present_integers(typed)
            exact = exact_doubles(integers)
            tally.add_integers(integers, exact)
            doubles = integers[exact].astype(np.float64)
        elif kind is ColumnKind.BOOL:
            tally.bools += len(typed) - typed.null_count
            return
        else:
            tally.strings += len(typed) - typed.null_count
            return
        if name not in self._ragged and not is_rounded(doubles):
            self._ragged.add(name)

    def layout(self) -> Layout:
        """The layout of all that was counted."""
        winners = {name: self._tallies[name].winner() for name in utf8_order(self._tallies)}
        kinds = {name: kind for name, kind in winners.items() if kind is not None}
        rest = any(tally.spills() for tally in self._tallies.values())
        return Layout(
            kinds=kinds,
            rounded=frozenset(kinds) - self._ragged,
            steps=self._steps,
            rest=rest or not self._others.isdisjoint(RESIDUAL_ONLY),
            moves=not self._others.isdisjoint(kinds)
            or any(seen != {kinds.get(name)} for name, seen in self._typed.items()),
        )


def lay_out(cells: BatchCells, layout: Layout) -> pa.Table:
    """The rows of a batch in the columns of a layout."""
    arrays: list[Any] = [] if cells.steps is None else [pa.array(cells.steps, pa.int64())]
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
    return place(found, kind, length=cells.length)


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
