"""Batches as plain tables, for readers that do not know the residual column.

Every key is a column. If the values of a key are of one kind, the column has that kind. If they are of
several kinds, or do not fit a type (lists, dicts, integers beyond 64 bits), it is a text column in which
each cell is canonical JSON: `1.5`, `true`, `"text"`, `{"_type":"histogram",...}`, and `"NaN"` for a NaN.
Kinds are decided over all runs together, so that the files of one export have the same types.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import pyarrow as pa

from pull_logs.rows.arrays import text_array
from pull_logs.rows.batches import RESIDUAL, RESIDUAL_ONLY, BatchCells, take_apart
from pull_logs.rows.canonical import INT_LIMIT, INT_MIN, STEP
from pull_logs.rows.cells import (
    ARROW_TYPES,
    CellKind,
    ColumnKind,
    cell_kind,
    cell_text,
    cells_of,
    column_kind,
    column_of_kind,
    utf8_order,
)


class PlainKind(Enum):
    """The type of a plain column; all but the last one are those of `ColumnKind`."""

    DOUBLE = ColumnKind.DOUBLE
    INTEGER = ColumnKind.INTEGER
    BOOL = ColumnKind.BOOL
    STRING = ColumnKind.STRING
    JSON = None

    @property
    def arrow(self) -> pa.DataType:
        """The Arrow type of the column."""
        return pa.string() if self.value is None else ARROW_TYPES[self.value]


_CELL_KINDS = {
    CellKind.DOUBLE: PlainKind.DOUBLE,
    CellKind.TRUE: PlainKind.BOOL,
    CellKind.FALSE: PlainKind.BOOL,
    CellKind.STRING: PlainKind.STRING,
}


@dataclass(slots=True)
class PlainPlan:
    """Decides the kind of each key over all histories that were added.

    Attributes:
        kinds: The kind of each key.
    """

    kinds: dict[str, PlainKind] = field(default_factory=dict)

    def add(self, schema: pa.Schema, residuals: Iterable[pa.Table]) -> frozenset[str]:
        """Add a history, and return its keys.

        Args:
            schema: The schema of its file.
            residuals: Its batches, with at least the residual column; read only if there is one.

        Raises:
            DataError: The residual column holds what a batch may not hold.
        """
        names = set()
        for column in schema:
            kind = column_kind(column.type)
            if column.name not in RESIDUAL_ONLY and kind is not None:
                self._count(column.name, PlainKind(kind))
                names.add(column.name)
        for batch in residuals if RESIDUAL in schema.names else ():
            for name, cells in take_apart(batch).rest.items():
                names.add(name)
                for found in {_kind_of(value) for value in cells.values()}:
                    self._count(name, found)
        return frozenset(names)

    def join(self, other: PlainPlan) -> None:
        """Add the histories of another plan; the order of plans does not matter."""
        for name, kind in other.kinds.items():
            self._count(name, kind)

    def _count(self, name: str, kind: PlainKind) -> None:
        known = self.kinds.setdefault(name, kind)
        if known is not kind:
            self.kinds[name] = PlainKind.JSON

    def schema(self, names: Iterable[str], *, steps: bool) -> pa.Schema:
        """Return the plain columns of a history.

        Args:
            names: The keys of the history.
            steps: Whether it has a `_step` column.
        """
        fields = [pa.field(STEP, pa.int64(), nullable=False)] if steps else []
        return pa.schema([*fields, *(pa.field(name, self.kinds[name].arrow) for name in utf8_order(names))])

    def table(self, batch: pa.Table, schema: pa.Schema) -> pa.Table:
        """Convert a batch to plain columns.

        Args:
            batch: The batch.
            schema: The plain columns.

        Raises:
            DataError: The residual column holds what a batch may not hold, or a column has too much text.
        """
        cells = take_apart(batch)
        arrays = [] if cells.steps is None else [pa.array(cells.steps, pa.int64())]
        arrays += [self._array(cells, name) for name in schema.names[len(arrays) :]]
        return pa.Table.from_arrays(arrays, schema=schema)

    def _array(self, cells: BatchCells, name: str) -> pa.Array:
        kind = self.kinds[name]
        typed, rest = cells.typed.get(name), cells.rest.get(name, {})
        if typed is not None and not rest and kind is not PlainKind.JSON:
            return typed
        found: Mapping[int, Any] = {**(dict(cells_of(typed)) if typed is not None else {}), **rest}
        if kind is PlainKind.JSON:
            return text_array(
                [cell_text(found[row]) if row in found else None for row in range(cells.length)]
            )
        array = column_of_kind(found, kind.value, length=cells.length).typed
        return pa.nulls(cells.length, kind.arrow) if array is None else array


def _kind_of(value: Any) -> PlainKind:
    kind = cell_kind(value)
    if kind is CellKind.INTEGER and INT_MIN <= value < INT_LIMIT:
        return PlainKind.INTEGER
    return _CELL_KINDS.get(kind, PlainKind.JSON)
