"""One column of a batch: the kind of each cell, and the Arrow array that holds it.

A cell is the canonical value of one key in one row (`canonical`). A `Column` keeps the cells that fit one
Arrow type in an array and the others by row; these go to the residual column of the batch. The kinds of the
values decide what fits, before Arrow sees them: `pa.array([1.5, True])` silently gives `[1.5, 1.0]`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
import pyarrow as pa

from pull_logs.errors import DataError
from pull_logs.rows.arrays import (
    MAX_EXACT_INTEGER,
    Floats,
    Ints,
    Mask,
    all_integral,
    array_of,
    bool_array,
    canonical_doubles,
    double_array,
    python_values,
    text_array,
)
from pull_logs.rows.canonical import INT_LIMIT, INT_MIN, canon_members, canon_text, canonical_text

NONFINITE = ("NaN", "Infinity", "-Infinity")
"""Texts that stand for floats."""


class CellKind(IntEnum):
    """The kind of one cell: the byte that represents it in the rows hash."""

    MISSING = 0
    DOUBLE = 1
    INTEGER = 2
    """An integer that is not exactly a double."""
    TRUE = 3
    FALSE = 4
    STRING = 5
    OTHER = 6
    """A list or a dict."""
    STEP = 7


class ColumnKind(IntEnum):
    """The type of a column, in the order that decides a tie."""

    DOUBLE = 0
    INTEGER = 1
    BOOL = 2
    STRING = 3


ARROW_TYPES: Mapping[ColumnKind, Any] = {
    ColumnKind.DOUBLE: pa.float64(),
    ColumnKind.INTEGER: pa.int64(),
    ColumnKind.BOOL: pa.bool_(),
    ColumnKind.STRING: pa.string(),
}
_KINDS = {arrow_type.id: kind for kind, arrow_type in ARROW_TYPES.items()}


def column_kind(arrow_type: pa.DataType) -> ColumnKind | None:
    """Return the kind of column that has this Arrow type; None for a type that no batch has."""
    return _KINDS.get(arrow_type.id)


@dataclass(frozen=True, slots=True)
class Column:
    """The cells of one key.

    Attributes:
        typed: A double, int64, bool or string array; null where the cell is missing or in `rest`.
            None when no cell fits a type.
        rest: The other cells, by row.
    """

    typed: pa.Array | None
    rest: Mapping[int, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JsonText:
    """A list or dict of a residual column, kept as the canonical JSON text that it has there."""

    text: str


def cell_kind(value: Any) -> CellKind:
    """Return the kind of a canonical value."""
    if isinstance(value, bool):
        return CellKind.TRUE if value else CellKind.FALSE
    if isinstance(value, float):
        return CellKind.DOUBLE
    if isinstance(value, int):
        exact = -MAX_EXACT_INTEGER <= value <= MAX_EXACT_INTEGER or (
            INT_MIN <= value < INT_LIMIT and int(float(value)) == value
        )
        return CellKind.DOUBLE if exact else CellKind.INTEGER
    return CellKind.STRING if isinstance(value, str) else CellKind.OTHER


@dataclass(slots=True)
class KindCounts:
    """The number of cells of a column by kind.

    Attributes:
        doubles: Numbers that are exactly a double.
        integers: Integers that are not, within 64 bits.
        wide: Whether there is a number that no int64 holds.
        bools: True and false.
        strings: Text.
        others: Cells that fit no type: lists, dicts, and integers beyond 64 bits that are not a double.
    """

    doubles: int = 0
    integers: int = 0
    wide: bool = False
    bools: int = 0
    strings: int = 0
    others: int = 0

    def add(self, value: Any) -> None:
        """Count one canonical cell."""
        kind = cell_kind(value)
        if kind is CellKind.DOUBLE:
            self.doubles += 1
            self.wide = self.wide or isinstance(value, float)
        elif kind is CellKind.INTEGER:
            inside = INT_MIN <= value < INT_LIMIT
            self.integers += inside
            self.others += not inside
            self.wide = self.wide or not inside
        elif kind is CellKind.STRING:
            self.strings += 1
        elif kind is CellKind.OTHER:
            self.others += 1
        else:
            self.bools += 1

    def add_integers(self, values: Ints, exact: Mask) -> None:
        """Count integers, of which those in the mask are exactly a double."""
        found = int(exact.sum())
        self.doubles += found
        self.integers += len(values) - found

    def add_doubles(self, values: Floats) -> None:
        """Count doubles."""
        self.doubles += len(values)
        self.wide = self.wide or not all_integral(values)

    def winner(self) -> ColumnKind | None:
        """Return the kind with the most fitting cells; ties in the order number, bool, string."""
        if self.doubles and not (self.integers or self.bools or self.strings):
            return ColumnKind.DOUBLE
        number = ColumnKind.INTEGER if self.integers and not self.wide else ColumnKind.DOUBLE
        best = max((number, ColumnKind.BOOL, ColumnKind.STRING), key=lambda kind: (self.fitting(kind), -kind))
        return best if self.fitting(best) else None

    def fitting(self, kind: ColumnKind) -> int:
        """Return how many of the cells fit a column of this kind."""
        match kind:
            case ColumnKind.DOUBLE:
                return self.doubles
            case ColumnKind.INTEGER:
                return self.doubles + self.integers
            case ColumnKind.BOOL:
                return self.bools
            case ColumnKind.STRING:
                return self.strings

    def spills(self) -> bool:
        """Return whether some cell does not fit the winning kind."""
        kind = self.winner()
        held = 0 if kind is None else self.fitting(kind)
        return self.doubles + self.integers + self.bools + self.strings + self.others > held


def column_of_values(values: Sequence[Any], *, rows: Ints | None, length: int) -> Column:
    """Return the column of raw values of one key.

    Args:
        values: The values, none of them None.
        rows: The row of each value, ascending; None when every row has one.
        length: Rows of the batch.

    Raises:
        DataError: A value is not JSON-like, or nested too deep.
    """
    plain = _plain_array(values, rows=rows, length=length)
    if plain is not None:
        return Column(plain)
    cells = {}
    for row, value in zip(range(length) if rows is None else rows.tolist(), values, strict=True):
        # Under a key, as in a row: a value may nest one level less than a row does.
        cell = canon_members({"": value}).get("")
        if cell is not None:
            cells[row] = cell
    return column_of_cells(cells, length=length)


def column_of_cells(cells: Mapping[int, Any], *, length: int) -> Column:
    """Return the column of canonical cells by row, of the kind that most of them have."""
    counts = KindCounts()
    for value in cells.values():
        counts.add(value)
    return column_of_kind(cells, counts.winner(), length=length)


def column_of_kind(cells: Mapping[int, Any], kind: ColumnKind | None, *, length: int) -> Column:
    """Return the column of canonical cells by row, of the given kind; cells that do not fit are its rest."""
    if kind is None:
        return Column(None, cells)
    fitting: dict[int, Any] = {}
    rest: dict[int, Any] = {}
    for row, value in cells.items():
        (fitting if _fits(value, kind) else rest)[row] = value
    if not fitting:
        return Column(None, rest)
    if kind is ColumnKind.DOUBLE:
        doubles = np.array([float(value) for value in fitting.values()], dtype=np.float64)
        return Column(double_array(doubles, np.array(list(fitting), dtype=np.int64), length), rest)
    values: list[Any] = [None] * length
    for row, value in fitting.items():
        values[row] = value
    return Column(array_of(values, ARROW_TYPES[kind]), rest)


def _fits(value: Any, kind: ColumnKind) -> bool:
    match cell_kind(value):
        case CellKind.DOUBLE:
            return kind is ColumnKind.DOUBLE or (kind is ColumnKind.INTEGER and isinstance(value, int))
        case CellKind.INTEGER:
            return kind is ColumnKind.INTEGER and INT_MIN <= value < INT_LIMIT
        case CellKind.STRING:
            return kind is ColumnKind.STRING
        case CellKind.TRUE | CellKind.FALSE:
            return kind is ColumnKind.BOOL
        case _:
            return False


def _plain_array(values: Sequence[Any], *, rows: Ints | None, length: int) -> pa.Array | None:
    """Return the array of values that are all doubles, all bools or all text; None for any other values."""
    kinds = set(map(type, values))
    if kinds == {bool}:
        present = None if rows is None else np.zeros(length, dtype=np.bool_)
        truths = np.zeros(length, dtype=np.bool_)
        where = slice(None) if rows is None else rows
        truths[where] = values
        if present is not None:
            present[where] = True
        return bool_array(truths, present=present)
    if kinds == {str} and set(NONFINITE).isdisjoint(values):
        return text_array(_spread([canon_text(text) for text in values], rows, length))
    if kinds and kinds <= {int, float}:
        doubles = _exact(values, integers=int in kinds)
        return None if doubles is None else double_array(canonical_doubles(doubles), rows, length)
    return None


def _exact(values: Sequence[float], *, integers: bool) -> Floats | None:
    """Return the numbers as doubles; None when an integer among them may not be exactly one."""
    try:
        doubles: Floats = np.array(values, dtype=np.float64)
    except OverflowError:
        return None
    if integers and not (np.abs(doubles[np.isfinite(doubles)]) < MAX_EXACT_INTEGER).all():
        return None
    return doubles


def _spread(values: Sequence[Any], rows: Ints | None, length: int) -> Sequence[Any]:
    """Return `length` values: the given ones at their rows, None elsewhere."""
    if rows is None:
        return values
    spread: list[Any] = [None] * length
    for row, value in zip(rows.tolist(), values, strict=True):
        spread[row] = value
    return spread


def cells_of(typed: pa.Array) -> Iterator[tuple[int, Any]]:
    """Iterate over the canonical cells of a typed array, with their rows."""
    return ((row, value) for row, value in enumerate(python_values(typed)) if value is not None)


def cell_text(value: Any) -> str:
    """Return the canonical JSON of a canonical value.

    Raises:
        DataError: The value has an integer too long to be written (Python's limit, 4300 digits).
    """
    if isinstance(value, JsonText):
        return value.text
    try:
        return canonical_text(value)
    except ValueError as exc:
        raise DataError(f"a value cannot be written as JSON: {exc}") from exc


def utf8_order(names: Iterable[str]) -> list[str]:
    """Return the names sorted by their UTF-8 bytes."""
    return sorted(names, key=str.encode)
