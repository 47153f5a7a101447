"""A column of a history: a vector, the type of its cells, and the integers that no double holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pull_logs.frames.flatten import is_typed
from pull_logs.frames.vector import Floats, Mask, Vector, from_cells
from pull_logs.rows.canonical import canon_number

_TYPE_WORDS = {
    "histogram": "histogram",
    "image-file": "image",
    "images": "image",
    "images/separated": "image",
    "table-file": "table",
    "partitioned-table": "table",
    "joined-table": "table",
    "audio-file": "audio",
    "audio": "audio",
    "video-file": "video",
    "videos": "video",
    "html-file": "html",
}
"""The type of a column of W&B's own objects, by their `_type`."""


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """A column with what its vector does not say.

    Attributes:
        vector: The cells, as expressions compute with them.
        type: `number`, `bool`, `string`, `mixed`, `list`, `histogram`, `image`, ...; `empty` without cells.
        exact: By row, the integers that the vector holds only as the nearest double.
    """

    vector: Vector
    type: str
    exact: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, vector: Vector) -> Column:
        """Return the column of a vector whose numbers are all exact."""
        if not vector.count:
            return cls(vector, "empty")
        if vector.kind != "other":
            return cls(vector, vector.kind)
        words = {_type_word(cell) for cell in vector.values[vector.present].tolist()}
        return cls(vector, words.pop() if len(words) == 1 else "mixed")

    @classmethod
    def from_cells(cls, cells: Sequence[Any]) -> Column:
        """Return the column of these canonical values, None for a missing one."""
        column = cls.of(from_cells(cells))
        if column.vector.values.dtype != np.float64:
            return column
        return cls(column.vector, column.type, inexact_integers(enumerate(cells)))

    def take(self, rows: npt.NDArray[np.integer]) -> Column:
        """Return the column of these rows; the type stays that of the complete column."""
        exact = (
            {index: self.exact[row] for index, row in enumerate(rows.tolist()) if row in self.exact}
            if self.exact
            else {}
        )
        return Column(self.vector.take(rows), self.type, exact)

    def numbers(self) -> tuple[Floats, Mask]:
        """Return the cells as float64, and where a cell is a number; a bool is not one."""
        if self.vector.kind == "number":
            return self.vector.floats(), self.vector.present
        if self.vector.kind != "mixed":
            length = len(self.vector)
            return np.full(length, np.nan), np.zeros(length, np.bool_)
        vector = self.vector.as_numbers()
        return vector.floats(), vector.present

    def cell(self, row: int) -> Any:
        """Return the exact canonical value of one row, None where it is missing."""
        vector = self.vector
        if vector.values.dtype != np.float64 or self.exact:
            return self.cells(np.array([row]))[0]
        return canon_number(float(vector.values[row])) if vector.present[row] else None

    def cells(self, rows: npt.NDArray[np.integer]) -> list[Any]:
        """Return the exact canonical values of these rows, None where they are missing."""
        values: list[Any] = self.vector.take(rows).to_list()
        if self.vector.values.dtype == np.float64:
            values = [None if value is None else canon_number(value) for value in values]
        if self.exact:
            values = [self.exact.get(row, value) for row, value in zip(rows.tolist(), values, strict=True)]
        return values


def inexact_integers(cells: Iterable[tuple[int, Any]]) -> dict[int, int]:
    """Return the integers among these rows and values that are not exactly a double, by their rows."""
    return {row: value for row, value in cells if isinstance(value, int) and not _is_double(value)}


def _is_double(number: int) -> bool:
    try:
        return int(float(number)) == number
    except OverflowError:
        return False


def _type_word(cell: object) -> str:
    if isinstance(cell, Mapping) and is_typed(cell):
        return _TYPE_WORDS.get(word := str(cell["_type"]), word)
    return "list" if isinstance(cell, Sequence) else "other"
