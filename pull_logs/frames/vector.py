"""Vectors: columns of values, each of which may be missing, with which expressions compute.

A vector has its values and a mask of those that are present, so that NaN is a value and never missing. Its
kind is that of every present cell:

    number   float64, or int64 for a column of integers that no double holds
    bool     numpy bool
    string   object array of `str`
    mixed    object array of numbers, bools, strings and JSON values; also the kind of a column without cells
    other    object array of JSON values (dicts, lists), which expressions can only use with `is missing`,
             `first`, `last` and `lag`

The content of `values` where `present` is false is arbitrary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Self, TypeAlias

import numpy as np
import numpy.typing as npt

Kind: TypeAlias = Literal["number", "bool", "string", "mixed", "other"]
Array: TypeAlias = npt.NDArray[np.generic]
Floats: TypeAlias = npt.NDArray[np.float64]
Mask: TypeAlias = npt.NDArray[np.bool_]

_DTYPES: dict[Kind, tuple[np.dtype[np.generic], ...]] = {
    "number": (np.dtype(np.float64), np.dtype(np.int64)),
    "bool": (np.dtype(np.bool_),),
    "string": (np.dtype(np.object_),),
    "mixed": (np.dtype(np.object_),),
    "other": (np.dtype(np.object_),),
}


class JoinedTexts(str):
    """Texts joined with commas, such as the tags of a run: compared as one text, searched one by one.

    Attributes:
        items: The texts.
    """

    __slots__ = ("items",)

    items: tuple[str, ...]

    def __new__(cls, items: Iterable[str]) -> Self:
        """Join texts."""
        texts = tuple(items)
        joined = super().__new__(cls, ",".join(texts))
        joined.items = texts
        return joined


def kind_of_cell(cell: object) -> Kind | None:
    """Return the kind of one present cell, or None for a missing one; a bool is never a number."""
    if cell is None:
        return None
    if isinstance(cell, (bool, np.bool_)):
        return "bool"
    if isinstance(cell, (int, float, np.integer, np.floating)):
        return "number"
    return "string" if isinstance(cell, str) else "other"


def cell_number(cell: object) -> float | None:
    """Return a cell that is a number as float64 (an int beyond all doubles is an infinity), else None."""
    if isinstance(cell, bool) or not isinstance(cell, (int, float, np.integer, np.floating)):
        return None
    try:
        return float(cell)
    except OverflowError:
        return float("inf") if cell > 0 else float("-inf")


@dataclass(frozen=True, slots=True, eq=False)
class Vector:
    """Values of one kind and the mask of those that are present.

    Attributes:
        kind: The kind of the present cells; see the module's docstring.
        values: One-dimensional array of a dtype that fits the kind.
        present: Bool array of the same length; false where a value is missing.
    """

    kind: Kind
    values: Array
    present: Mask

    def __post_init__(self) -> None:
        if self.values.ndim != 1 or self.present.shape != self.values.shape:
            raise ValueError(f"values {self.values.shape} and mask {self.present.shape} do not fit together")
        if self.values.dtype not in _DTYPES[self.kind] or self.present.dtype != np.bool_:
            raise ValueError(f"values of dtype {self.values.dtype} make no vector of kind {self.kind!r}")

    def __len__(self) -> int:
        return len(self.values)

    @property
    def count(self) -> int:
        """How many cells are present."""
        return int(np.count_nonzero(self.present))

    def floats(self) -> Floats:
        """Return the values as float64; only for the kinds `number` and `bool`."""
        return self.values.astype(np.float64, copy=False)

    def take(self, rows: npt.NDArray[np.integer] | Mask) -> Vector:
        """Return the cells of these rows, or where this mask is true."""
        return Vector(self.kind, self.values[rows], self.present[rows])

    def cell(self, row: int) -> object:
        """Return one cell as a Python value, None where it is missing."""
        value = self.values[row]
        return (value.item() if isinstance(value, np.generic) else value) if self.present[row] else None

    def to_list(self) -> list[object]:
        """Return all cells as Python values, None where they are missing."""
        return [
            cell if there else None
            for cell, there in zip(self.values.tolist(), self.present.tolist(), strict=True)
        ]

    def as_numbers(self) -> Vector:
        """Return the numbers of a mixed vector, with any other cell missing; a number vector as float64."""
        if self.kind == "number":
            return Vector("number", self.floats(), self.present)
        return _converted(self.to_list(), cell_number)

    def as_truth(self) -> Mask:
        """Return where the vector, of kind `bool` or `mixed`, is true."""
        if self.kind == "bool":
            return self.values.astype(np.bool_, copy=False) & self.present
        return np.array(
            [isinstance(cell, (bool, np.bool_)) and bool(cell) for cell in self.to_list()], np.bool_
        )


def _converted(cells: Sequence[object], convert: Callable[[object], float | None]) -> Vector:
    found = [convert(cell) for cell in cells]
    present = np.array([number is not None for number in found], np.bool_)
    return numbers(np.array([np.nan if number is None else number for number in found], np.float64), present)


def _objects(cells: Sequence[object]) -> Array:
    array = np.empty(len(cells), np.object_)
    for row, cell in enumerate(cells):
        array[row] = cell
    return array


def from_cells(cells: Iterable[object]) -> Vector:
    """Return the vector of Python values, None for a missing one.

    Its kind is that of all present cells, or `mixed`.
    """
    listed = list(cells)
    kinds = {found for cell in listed if (found := kind_of_cell(cell)) is not None}
    present = np.array([cell is not None for cell in listed], np.bool_)
    if kinds == {"number"}:
        return _converted(listed, cell_number)
    if kinds == {"bool"}:
        return Vector("bool", np.array([bool(cell) for cell in listed], np.bool_), present)
    kind: Kind = kinds.pop() if len(kinds) == 1 else "mixed"
    return Vector(kind, _objects(listed), present)


def numbers(values: npt.ArrayLike, present: Mask | None = None) -> Vector:
    """Return a vector of float64, or of int64 for an int64 array; all present unless there is a mask."""
    array = np.asarray(values)
    if array.dtype != np.int64:
        array = array.astype(np.float64, copy=False)
    return Vector("number", array, _mask(len(array), present))


def bools(values: npt.ArrayLike, present: Mask | None = None) -> Vector:
    """Return a vector of bools; all present unless there is a mask."""
    array = np.asarray(values, np.bool_)
    return Vector("bool", array, _mask(len(array), present))


def _mask(length: int, present: Mask | None) -> Mask:
    return np.ones(length, np.bool_) if present is None else present


def missing(length: int) -> Vector:
    """Return a vector of `length` missing cells."""
    return Vector("mixed", np.full(length, None, np.object_), np.zeros(length, np.bool_))


def constant(value: float | str | bool | None, length: int) -> Vector:  # noqa: FBT001 - a value, not an option
    """Return the same value in every row, or missing cells for None; the arrays are views of one cell."""
    kind = kind_of_cell(value)
    if kind is None:
        return missing(length)
    dtype = _DTYPES[kind][0]
    cell = np.array(value, dtype)
    return Vector(kind, np.broadcast_to(cell, length), np.broadcast_to(np.array(True), length))
