"""One column of a batch: what kind each cell is, and which Arrow array holds it.

A cell is the canonical value of one key in one row (`canon`). A `Column` keeps
the cells that fit one Arrow type in an array and the rest by row; the rest
goes to the residual column of the batch. What fits is decided here, by looking
at the kinds of the values before Arrow does: `pa.array([1.5, True])` silently
gives `[1.5, 1.0]`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pull_logs.errors import DataError
from pull_logs.rows.canonical import INT_LIMIT, INT_MIN, canon_members, canon_text, canonical_text

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Mask: TypeAlias = NDArray[np.bool_]

EXACT = 2**53
"""Every integer of at most this magnitude is exactly a double."""

_MINUS_ZERO, _NAN = np.array([-0.0, np.nan]).view(np.int64)
"""The bits of the one, which are the least that there are, and of the canonical other."""

_AT_A_GLANCE = 1 << 20
"""Doubles up to which several arrays are looked at together."""

_NONFINITE = frozenset({"NaN", "Infinity", "-Infinity"})


class CellKind(IntEnum):
    """What one cell is: the byte that stands for it in the rows hash."""

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
    """The kind whose Arrow type this is; None for a type that no batch has."""
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


def exact_doubles(values: Ints) -> Mask:
    """Which integers are exactly a double."""
    if not len(values) or (values.min() >= -EXACT and values.max() <= EXACT):
        return np.ones(len(values), dtype=np.bool_)
    doubles = values.astype(np.float64)
    # 2**63 - 1 rounds up to 2**63, which no int64 holds.
    inside = doubles < float(INT_LIMIT)
    back: Ints = np.where(inside, doubles, 0.0).astype(np.int64)
    exact: Mask = inside & (back == values)
    return exact


@dataclass(frozen=True, slots=True)
class Spelled:
    """A list or dict that stays as it is spelled in a residual column: the canonical JSON of a cell."""

    text: str


def cell_kind(value: Any) -> CellKind:
    """The kind of a canonical value."""
    if isinstance(value, bool):
        return CellKind.TRUE if value else CellKind.FALSE
    if isinstance(value, float):
        return CellKind.DOUBLE
    if isinstance(value, int):
        exact = -EXACT <= value <= EXACT or (INT_MIN <= value < INT_LIMIT and int(float(value)) == value)
        return CellKind.DOUBLE if exact else CellKind.INTEGER
    return CellKind.STRING if isinstance(value, str) else CellKind.OTHER


@dataclass(slots=True)
class Tally:
    """How many cells of a column are of which kind.

    Attributes:
        doubles: Numbers that are exactly a double.
        integers: Integers that are not, within 64 bits.
        wide: Whether a number is there that no int64 holds.
        bools: True and false.
        strings: Text.
        others: What no type holds: lists, dicts, and integers beyond 64 bits that are not exactly a double.
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
        """Count integers, by which of them are exactly a double."""
        found = int(exact.sum())
        self.doubles += found
        self.integers += len(values) - found

    def add_doubles(self, values: Floats) -> None:
        """Count doubles."""
        self.doubles += len(values)
        self.wide = self.wide or not _all_integral(values)

    def winner(self) -> ColumnKind | None:
        """The kind with the most fitting cells; ties in the order number, bool, string."""
        if self.doubles and not (self.integers or self.bools or self.strings):
            return ColumnKind.DOUBLE
        number = ColumnKind.INTEGER if self.integers and not self.wide else ColumnKind.DOUBLE
        best = max((number, ColumnKind.BOOL, ColumnKind.STRING), key=lambda kind: (self.fitting(kind), -kind))
        return best if self.fitting(best) else None

    def fitting(self, kind: ColumnKind) -> int:
        """How many cells a column of this kind holds."""
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
        """Whether some cell does not fit the kind that wins."""
        kind = self.winner()
        held = 0 if kind is None else self.fitting(kind)
        return self.doubles + self.integers + self.bools + self.strings + self.others > held


def _integral(values: Floats) -> Mask:
    """Which doubles an int64 holds."""
    whole: Mask = (np.floor(values) == values) & (values >= float(INT_MIN)) & (values < float(INT_LIMIT))
    return whole


def _all_integral(values: Floats) -> bool:
    """Whether an int64 holds every double; most columns tell by their first one."""
    return not len(values) or (float(values[0]).is_integer() and bool(_integral(values).all()))


def canonical_doubles(values: Floats) -> Floats:
    """A copy in which `-0.0` is `0.0` and every NaN has the same bits."""
    plain: Floats = values + 0.0
    nans = np.isnan(plain)
    if nans.any():
        plain[nans] = np.nan
    return plain


def _are_canonical(values: Floats) -> bool:
    bits = values.view(np.int64)
    if np.minimum.reduce(bits) == _MINUS_ZERO:
        return False
    greatest = np.maximum.reduce(values)
    return bool(greatest == greatest or (bits[np.isnan(values)] == _NAN).all())


def canonical_arrays(arrays: Sequence[pa.Array]) -> list[pa.Array]:
    """The arrays with canonical doubles, each of them itself if they are already."""
    stored = [_stored_doubles(array) for array in arrays if pa.types.is_float64(array.type)]
    # One look at all of them costs less than one at each, as long as it copies little.
    if 0 < sum(map(len, stored)) <= _AT_A_GLANCE and _are_canonical(np.concatenate(stored)):
        return list(arrays)
    return [_canonical_array(array) for array in arrays]


def _canonical_array(array: pa.Array) -> pa.Array:
    """A typed array whose doubles are canonical: itself, if they are already."""
    if not pa.types.is_float64(array.type):
        return array
    # What lies under a null counts here as well; that may cost a copy, never a value.
    stored = _stored_doubles(array)
    if not len(stored) or _are_canonical(stored):
        return array
    return pa.array(canonical_doubles(stored), mask=missing(array) if array.null_count else None)


def missing(array: pa.Array) -> Mask:
    """Which cells of an array are null."""
    if not array.null_count:
        return np.zeros(len(array), dtype=np.bool_)
    mask: Mask = dense(array.is_null())
    return mask


def present_doubles(array: pa.Array) -> Floats:
    """The cells of a double array that are not null."""
    values: Floats = dense(array.drop_null() if array.null_count else array)
    return values


def present_integers(array: pa.Array) -> Ints:
    """The cells of an int64 array that are not null."""
    values: Ints = dense(array.drop_null() if array.null_count else array)
    return values


def dense(array: pa.Array) -> NDArray[Any]:
    """The values of an array of numbers or bools without nulls, not to be written to.

    pyarrow's own `to_numpy` imports pandas, and so do `pa.array` and `pa.scalar`: what reads does without both.
    """
    if pa.types.is_boolean(array.type):
        return np.from_dlpack(array.cast(pa.uint8())).view(np.bool_)
    return np.from_dlpack(array)


def doubles_of(array: pa.Array) -> Floats:
    """The cells of a double array, NaN where it is null."""
    if not array.null_count:
        plain: Floats = dense(array)
        return plain
    return np.where(dense(array.is_valid()), _stored_doubles(array), np.nan)


def _stored_doubles(array: pa.Array) -> Floats:
    """The numbers that a double array stores, whatever they are where it is null."""
    if not len(array):
        return np.zeros(0, dtype=np.float64)
    return np.frombuffer(array.buffers()[1], np.float64, count=len(array), offset=array.offset * 8)


def flat(column: pa.ChunkedArray) -> pa.Array:
    """A column of a table as one array.

    Raises:
        DataError: It holds more text than one array can.
    """
    if column.num_chunks == 1:
        return column.chunk(0)
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        if array.num_chunks == 1:
            return array.chunk(0)
        if array.num_chunks:
            raise DataError("a column of one batch holds more than 2 GiB of text")
        return pa.array([], type=column.type)
    return array


def column_of_values(values: Sequence[Any], *, rows: Ints | None, length: int) -> Column:
    """The column of raw values of one key.

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
    places = range(length) if rows is None else rows.tolist()
    cells = {}
    for row, value in zip(places, values, strict=True):
        # Under a key, as in a row: a value may nest one level less than a row does.
        cell = canon_members({"": value}).get("")
        if cell is not None:
            cells[row] = cell
    return column_of_cells(cells, length=length)


def column_of_cells(cells: Mapping[int, Any], *, length: int) -> Column:
    """The column of canonical cells by row, typed by what most of them are."""
    tally = Tally()
    for value in cells.values():
        tally.add(value)
    return place(cells, tally.winner(), length=length)


def place(cells: Mapping[int, Any], kind: ColumnKind | None, *, length: int) -> Column:
    """The column of canonical cells by row, typed as asked; what does not fit is its rest."""
    if kind is None:
        return Column(None, cells)
    fitting: dict[int, Any] = {}
    rest: dict[int, Any] = {}
    for row, value in cells.items():
        (fitting if _fits(value, kind) else rest)[row] = value
    if not fitting:
        return Column(None, rest)
    dense: list[Any] = [None] * length
    if kind is ColumnKind.DOUBLE:
        for row, value in fitting.items():
            dense[row] = float(value)
    else:
        for row, value in fitting.items():
            dense[row] = value
    return Column(
        text_array(dense) if kind is ColumnKind.STRING else pa.array(dense, ARROW_TYPES[kind]), rest
    )


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


def text_array(values: Sequence[str | None]) -> pa.Array:
    """A string array.

    Raises:
        DataError: It would hold more text than one array can.
    """
    array = pa.array(values, pa.string())
    if isinstance(array, pa.ChunkedArray):
        raise DataError("a column of one batch holds more than 2 GiB of text")
    return array


def _plain_array(values: Sequence[Any], *, rows: Ints | None, length: int) -> pa.Array | None:
    """An array of values that are all doubles, all bools or all text; None when they are anything else."""
    kinds = set(map(type, values))
    if kinds == {bool}:
        return pa.array(_spread(values, rows, length), pa.bool_())
    if kinds == {str} and _NONFINITE.isdisjoint(values):
        return text_array(_spread([canon_text(text) for text in values], rows, length))
    if kinds and kinds <= {int, float}:
        doubles = _exact(values, integers=int in kinds)
        return None if doubles is None else _double_array(canonical_doubles(doubles), rows, length)
    return None


def _exact(values: Sequence[float], *, integers: bool) -> Floats | None:
    """The numbers as doubles; None when an integer among them may not be exactly one."""
    try:
        doubles: Floats = np.array(values, dtype=np.float64)
    except OverflowError:
        return None
    if integers and not (np.abs(doubles[np.isfinite(doubles)]) < EXACT).all():
        return None
    return doubles


def _spread(values: Sequence[Any], rows: Ints | None, length: int) -> Sequence[Any]:
    """The values at their rows, None elsewhere."""
    if rows is None:
        return values
    spread: list[Any] = [None] * length
    for row, value in zip(rows.tolist(), values, strict=True):
        spread[row] = value
    return spread


def _double_array(values: Floats, rows: Ints | None, length: int) -> pa.Array:
    if rows is None:
        return pa.array(values)
    spread = np.zeros(length, dtype=np.float64)
    absent = np.ones(length, dtype=np.bool_)
    spread[rows] = values
    absent[rows] = False
    return pa.array(spread, mask=absent)


def cells_of(typed: pa.Array) -> Iterator[tuple[int, Any]]:
    """The canonical cells of a typed array, with their rows."""
    return ((row, value) for row, value in enumerate(python_values(typed)) if value is not None)


def python_values(typed: pa.Array) -> list[Any]:
    """The canonical values of a typed array, None where it is null."""
    if not pa.types.is_float64(typed.type):
        values: list[Any] = typed.to_pylist()
        return values
    doubles = doubles_of(typed)
    whole = _integral(doubles)
    if whole.all():
        return list(doubles.astype(np.int64).tolist())
    cells: list[Any] = doubles.tolist()
    rows = np.flatnonzero(whole)
    for row, value in zip(rows.tolist(), doubles[rows].astype(np.int64).tolist(), strict=True):
        cells[row] = value
    if typed.null_count:
        for row in np.flatnonzero(missing(typed)).tolist():
            cells[row] = None
    return cells


def cell_text(value: Any) -> str:
    """Canonical JSON of a canonical value.

    Raises:
        DataError: The value has an integer too long to be written (Python's limit, 4300 digits).
    """
    if isinstance(value, Spelled):
        return value.text
    try:
        return canonical_text(value)
    except ValueError as exc:
        raise DataError(f"a value cannot be written as JSON: {exc}") from exc


def utf8_order(names: Iterable[str]) -> list[str]:
    """Names sorted by their UTF-8 bytes."""
    return sorted(names, key=str.encode)
