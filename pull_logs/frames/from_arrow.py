"""From a batch of a history to columns: the one module of this package that reads Arrow.

A column has up to two sources: a typed Arrow array, and cells in the residual, which holds as JSON what fits
no typed column. Arrays go from Arrow's buffers to numpy; only the residual is parsed.

Arrow's `to_numpy` and `pa.array` import pandas. Neither is used here: an offline view has no time for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pull_logs.frames.column import Column, inexact_integers
from pull_logs.frames.flatten import is_typed
from pull_logs.frames.vector import Vector, from_cells, missing
from pull_logs.rows.arrays import flat, present_rows, truths
from pull_logs.rows.batches import RESIDUAL, distinct_members
from pull_logs.rows.canonical import STEP
from pull_logs.rows.coded_text import shared_texts

if TYPE_CHECKING:
    import pyarrow as pa

Steps = npt.NDArray[np.int64]

_DOUBLE, _INTEGER = np.dtype(np.float64), np.dtype(np.int64)


@dataclass(slots=True)
class ResidualCells:
    """The cells that one column has in the residual: ascending rows, and their values."""

    rows: list[int] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)

    @property
    def only_numbers(self) -> bool:
        """Whether every cell is a number; a bool is not one."""
        return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in self.values)


@dataclass(slots=True)
class Residual:
    """The residual of a history, column by column.

    Attributes:
        by_key: The cells of values that are not nested, by the key of the history.
        by_path: The cells of nested values, by the keys that lead to them.
    """

    by_key: dict[str, ResidualCells] = field(default_factory=dict)
    by_path: dict[tuple[str, ...], ResidualCells] = field(default_factory=dict)

    @classmethod
    def read(cls, table: pa.Table) -> Residual:
        """Parse the residual of a batch; a batch without one has no such cells.

        Raises:
            DataError: A cell is not a JSON object.
        """
        residual = cls()
        if RESIDUAL in table.column_names:
            for row, members in distinct_members(table.column(RESIDUAL)):
                residual._add_members(members, (), row)
        return residual

    def _add_members(self, members: Mapping[str, Any], parents: tuple[str, ...], row: int) -> None:
        for key, value in members.items():
            if isinstance(value, dict) and not is_typed(value):
                self._add_members(value, (*parents, key), row)
                continue
            cells = (
                self.by_path.setdefault((*parents, key), ResidualCells())
                if parents
                else self.by_key.setdefault(key, ResidualCells())
            )
            cells.rows.append(row)
            cells.values.append(value)


def read_steps(table: pa.Table) -> Steps:
    """Return the `_step` of each row of a batch."""
    return _vector(table.column(STEP)).values.astype(np.int64, copy=False)


def read_column(typed: pa.ChunkedArray | None, residual: ResidualCells | None, *, length: int) -> Column:
    """Return a column of a batch.

    Args:
        typed: Its typed cells, if it has any.
        residual: Its cells in the residual, if it has any.
        length: How many rows the batch has.
    """
    vector = missing(length) if typed is None else _vector(typed)
    if residual is None:
        return Column.of(vector)
    if residual.only_numbers and (vector.kind == "number" or not vector.present.any()):
        return _numbers(vector, residual)
    if len(residual.rows) == length:
        return Column.from_cells(residual.values)
    cells = Column.of(vector).cells(np.arange(length))
    for row, value in zip(residual.rows, residual.values, strict=True):
        cells[row] = value
    return Column.from_cells(cells)


def read_typed(typed: pa.ChunkedArray) -> Column:
    """Return the column of some typed cells; it has the type of all cells of its key, even if it is empty."""
    import pyarrow as pa

    if pa.types.is_string(typed.type):
        present = np.concatenate([present_rows(chunk) for chunk in typed.chunks])
        return Column(Vector("string", shared_texts(typed), present), "string")
    vector = _vector(typed)
    return Column(vector, vector.kind)


def _vector(chunked: pa.ChunkedArray) -> Vector:
    """Return the typed cells of a column as a vector."""
    import pyarrow as pa

    if pa.types.is_dictionary(chunked.type) or pa.types.is_string(chunked.type):
        return _texts(chunked)
    array = flat(chunked)
    kind, present = array.type, present_rows(array)
    if pa.types.is_floating(kind):
        values = _stored(array if kind == pa.float64() else array.cast(pa.float64()), _DOUBLE)
        return Vector("number", np.where(present, values, np.nan) if array.null_count else values, present)
    if pa.types.is_int64(kind):
        return Vector("number", _stored(array, _INTEGER), present)
    return Vector("bool", truths(array), present)


def _texts(chunked: pa.ChunkedArray) -> Vector:
    """Return a column of text as a vector; rows with the same text share it."""
    if chunked.null_count == len(chunked):
        return missing(len(chunked))
    present = np.concatenate([present_rows(_indices(chunk)) for chunk in chunked.chunks])
    return Vector("string", shared_texts(chunked), present)


def _indices(chunk: pa.Array) -> pa.Array:
    import pyarrow as pa

    return chunk.indices if pa.types.is_dictionary(chunk.type) else chunk


def _stored(array: pa.Array, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return the numbers that an array stores; those of null cells are arbitrary."""
    if not len(array):
        return np.empty(0, dtype)
    return np.frombuffer(array.buffers()[1], dtype, count=len(array), offset=array.offset * dtype.itemsize)


def _numbers(typed: Vector, residual: ResidualCells) -> Column:
    """Return a column of numbers some of which are in the residual."""
    values, present = np.full(len(typed), np.nan), typed.present.copy()
    exact: dict[int, int] = {}
    if typed.kind == "number":
        values[present] = typed.floats()[present]
        if typed.values.dtype == np.int64:
            exact = inexact_integers(
                (row, int(typed.values[row])) for row in np.flatnonzero(present).tolist()
            )
    rows = np.array(residual.rows, np.intp)
    values[rows], present[rows] = from_cells(residual.values).floats(), True
    exact.update(inexact_integers(zip(residual.rows, residual.values, strict=True)))
    return Column(Vector("number", values, present), "number", exact)
