r"""A run's history as columns that are read when they are asked for.

A frame knows the names of all columns at once and reads a column, its parquet
chunk and nothing else, when somebody looks at it. Plain columns go from Arrow's
buffers to numpy; only the residual, which holds what fits no column, is parsed
as JSON.

Nested values become dotted columns: `{"opt": {"lr": 0.1}}` is `opt.lr`. An
object of W&B's own (a dict with a `_type`: histogram, image, table) stays one
cell of one column. A key of the history keeps its name, dots and all; only if a
nested value has that very name, the key is escaped (`opt\.lr`).

Arrow's `to_numpy` and `pa.array` import pandas. Neither is used here: an
offline view has no time for it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from pull_logs.analyze.frames.flatten import escape_key, is_typed, join_path
from pull_logs.analyze.frames.vector import Floats, Mask, Vector, from_cells
from pull_logs.rows.arrays import flat, present_rows, truths
from pull_logs.rows.batches import RESIDUAL, residual_rows
from pull_logs.rows.canonical import STEP, canon_number
from pull_logs.runs import Coverage, RunInfo, RunPath

if TYPE_CHECKING:
    import pyarrow as pa

Steps = npt.NDArray[np.int64]

_DOUBLE, _INTEGER = np.dtype(np.float64), np.dtype(np.int64)

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
"""What the schema calls W&B's own objects, by their `_type`."""


class RunLike(Protocol):
    """What answers need of a run; `pull_logs.snapshot.Run` is one."""

    path: RunPath

    @property
    def name(self) -> str:
        """The display name."""

    @property
    def state(self) -> str:
        """Its state when it was pulled."""

    @property
    def host(self) -> str | None:
        """The host of the API it was read from."""

    @property
    def info(self) -> RunInfo:
        """All that is known of it but its history; parsed anew each time."""

    @property
    def coverage(self) -> Coverage:
        """What was promised of its history, and what arrived."""

    @property
    def complete(self) -> bool:
        """Whether all that was promised arrived."""

    @property
    def rows(self) -> int:
        """The rows of its history."""

    @property
    def last_step(self) -> int | None:
        """The step of the last row; None without rows."""

    def schema(self) -> pa.Schema:
        """The columns of its batches and their types, the residual column among them."""

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """These columns, and the residual where the history has one; names it lacks are left out."""


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """A column as it is shown: cells that compute, and what else is known of them.

    Attributes:
        vector: The cells; what expressions see.
        type: `number`, `bool`, `string`, `mixed`, `list`, `histogram`, `image`, ... ; `empty` without cells.
        exact: By row, the whole numbers that the vector holds only as the nearest double.
    """

    vector: Vector
    type: str
    exact: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, vector: Vector) -> Column:
        """A computed column."""
        if not vector.count:
            return cls(vector, "empty")
        if vector.kind != "other":
            return cls(vector, vector.kind)
        cells = vector.values[vector.present].tolist()
        words = {_type_word(cell) for cell in cells}
        return cls(vector, words.pop() if len(words) == 1 else "mixed")

    def take(self, rows: npt.NDArray[np.integer]) -> Column:
        """The column of these rows alone; the type stays that of the whole column."""
        exact = (
            {place: self.exact[row] for place, row in enumerate(rows.tolist()) if row in self.exact}
            if self.exact
            else {}
        )
        return Column(self.vector.take(rows), self.type, exact)

    def numbers(self) -> tuple[Floats, Mask]:
        """The cells as float64 and where a cell is a number; a bool is none."""
        if self.vector.kind == "number":
            return self.vector.floats(), self.vector.present
        if self.vector.kind != "mixed":
            length = len(self.vector)
            return np.full(length, np.nan), np.zeros(length, np.bool_)
        vector = self.vector.as_numbers()
        return vector.floats(), vector.present

    def cells(self, rows: npt.NDArray[np.integer]) -> list[Any]:
        """Exact canonical Python values of these rows, None where missing."""
        listed: list[Any] = self.vector.take(rows).to_list()
        if self.vector.values.dtype == np.float64:
            listed = [None if cell is None else canon_number(cell) for cell in listed]
        if self.exact:
            listed = [self.exact.get(row, cell) for row, cell in zip(rows.tolist(), listed, strict=True)]
        return listed


def _type_word(cell: object) -> str:
    if isinstance(cell, Mapping) and is_typed(cell):
        return _TYPE_WORDS.get(word := str(cell["_type"]), word)
    return "list" if isinstance(cell, Sequence) else "other"


@dataclass(slots=True)
class _Scattered:
    """Cells of the residual: row numbers, ascending, and their values."""

    rows: list[int] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)


class Frame:
    """One run's history, column by column.

    Attributes:
        length: The number of rows.
        names: All columns: `_step`, then the rest in the order of their names.
    """

    def __init__(self, run: RunLike) -> None:
        """Find out the names of the columns; `Frame.from_run` reads columns too.

        Of a history without a residual column nothing is read but what tells its columns.

        Raises:
            DamageError: The history is damaged.
        """
        self._run = run
        self.length = run.rows
        self._steps: Steps | None = None
        self._cache: dict[str, Column] = {}
        keys = run.schema().names
        self._literal: dict[str, _Scattered] = {}
        self._nested: dict[tuple[str, ...], _Scattered] = {}
        if RESIDUAL in keys:
            table = run.table([STEP, RESIDUAL])
            self._take_steps(table)
            self._literal, self._nested = _read_residual(table)
            keys = [*{*keys, *self._literal, *(path[0] for path in self._nested)}]
            keys = keys if RESIDUAL in self._literal else [key for key in keys if key != RESIDUAL]
        keys = [key for key in keys if key != STEP]
        nested_alone = self._nested_alone(keys)
        plain = [key for key in keys if key not in nested_alone]
        self._keys = _column_names(plain, [join_path(path) for path in self._nested])
        self._nested_by_name = {join_path(path): cells for path, cells in self._nested.items()}
        self.names: tuple[str, ...] = (STEP, *sorted({*self._keys, *self._nested_by_name}))

    @classmethod
    def from_run(cls, run: RunLike, columns: Collection[str] | None = None) -> Frame:
        """The frame of a run.

        Args:
            run: Where to read from.
            columns: Names to read at once; None reads each when it is first used.

        Raises:
            DamageError: The history is damaged.
        """
        frame = cls(run)
        frame.load(columns or ())
        return frame

    @property
    def columns(self) -> Mapping[str, Vector]:
        """The vectors of all columns by name, read when they are asked for."""
        return _Vectors(self)  # made anew, since a frame that held it would hold itself

    @property
    def steps(self) -> Steps:
        """`_step` of every row, ascending."""
        if self._steps is None:
            self._take_steps(self._run.table([STEP]))
        return self._steps if self._steps is not None else np.empty(0, np.int64)

    def _take_steps(self, table: pa.Table) -> None:
        if self._steps is None:
            self._steps = _plain(table.column(STEP)).values.astype(np.int64, copy=False)

    def __contains__(self, name: object) -> bool:
        return name == STEP or name in self._keys or name in self._nested_by_name

    def column(self, name: str) -> Column:
        """One column.

        Raises:
            KeyError: No column has that name.
            DamageError: The column is damaged.
        """
        if name not in self._cache:
            if name not in self:
                raise KeyError(name)
            self.load((name,))
        return self._cache[name]

    def load(self, names: Collection[str]) -> None:
        """Read these columns together, in one pass over the file; names that are not there are ignored.

        Raises:
            DamageError: A column is damaged.
        """
        wanted = [name for name in dict.fromkeys(names) if name in self and name not in self._cache]
        if STEP in wanted:
            wanted.remove(STEP)
            self._cache[STEP] = Column(Vector("number", self.steps, _all(self.length)), "number")
        keys = [self._keys[name] for name in wanted if name in self._keys]
        typed: dict[str, pa.ChunkedArray] = {}
        if keys:
            table = self._run.table([STEP, *keys])
            self._take_steps(table)
            typed = dict(zip(table.column_names, table.columns, strict=True))
            del table  # so that what a column was made of goes when the column is made
            typed.pop(RESIDUAL, None)  # a key may have the residual's own name, and then it stands in there
        for name in wanted:
            if name in self._keys:
                key = self._keys[name]
                self._cache[name] = _build(typed.pop(key, None), self._literal.get(key), self.length)
            else:
                self._cache[name] = _build(None, self._nested_by_name[name], self.length)

    def forget(self) -> None:
        """Let go of every column that was read, so that many frames fit into memory at once."""
        self._cache = {}
        self._steps = None

    def _nested_alone(self, keys: Collection[str]) -> frozenset[str]:
        """The keys whose cells are nested dicts all, so that they have dotted columns and none of their own."""
        with_nested = {path[0] for path in self._nested}.intersection(keys).difference(self._literal)
        if not with_nested:
            return frozenset()
        return frozenset(with_nested.difference(self._run.table([STEP, *with_nested]).column_names))


class _Vectors(Mapping[str, Vector]):
    """The columns of a frame as expressions see them."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def __getitem__(self, name: str) -> Vector:
        return self._frame.column(name).vector

    def __iter__(self) -> Iterator[str]:
        return iter(self._frame.names)

    def __len__(self) -> int:
        return len(self._frame.names)


def _all(length: int) -> Mask:
    return np.ones(length, np.bool_)


def _column_names(keys: Sequence[str], nested: Collection[str]) -> dict[str, str]:
    """The column name of each key of the history: the key itself, escaped only where that is taken."""
    taken = set(nested)
    escaped: set[str] = set()
    while clashing := [key for key in keys if key not in escaped and key in taken]:
        escaped.update(clashing)
        taken.update(map(escape_key, clashing))
    return {escape_key(key) if key in escaped else key: key for key in keys}


def _read_residual(
    table: pa.Table,
) -> tuple[dict[str, _Scattered], dict[tuple[str, ...], _Scattered]]:
    """The residual's cells by key, and those of nested dicts by their path."""
    literal: dict[str, _Scattered] = {}
    nested: dict[tuple[str, ...], _Scattered] = {}
    if RESIDUAL not in table.column_names:
        return literal, nested
    for row, _, members in residual_rows(flat(table.column(RESIDUAL))):
        for key, value in members.items():
            _scatter(value, (key,), row, literal, nested)
    return literal, nested


def _scatter(
    value: Any,
    path: tuple[str, ...],
    row: int,
    literal: dict[str, _Scattered],
    nested: dict[tuple[str, ...], _Scattered],
) -> None:
    if isinstance(value, dict) and not is_typed(value):
        for key, inner in value.items():
            _scatter(inner, (*path, key), row, literal, nested)
        return
    cells = nested.setdefault(path, _Scattered()) if path[1:] else literal.setdefault(path[0], _Scattered())
    cells.rows.append(row)
    cells.values.append(value)


def _plain(chunked: pa.ChunkedArray) -> Vector:
    """A bundle's column as a vector, straight from Arrow's buffers."""
    import pyarrow as pa

    array = flat(chunked)
    kind, present = array.type, present_rows(array)
    if pa.types.is_floating(kind):
        values = _buffer(array if kind == pa.float64() else array.cast(pa.float64()), _DOUBLE)
        return Vector("number", np.where(present, values, np.nan) if array.null_count else values, present)
    if pa.types.is_int64(kind):
        return Vector("number", _buffer(array, _INTEGER), present)
    if pa.types.is_boolean(kind):
        return Vector("bool", truths(array), present)
    return from_cells(array.to_pylist()) if array.null_count == len(array) else _strings(array, present)


def _strings(array: pa.Array, present: Mask) -> Vector:
    values = np.empty(len(array), np.object_)
    values[:] = array.to_pylist()
    return Vector("string", values, present)


def _buffer(array: pa.Array, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    if not len(array):
        return np.empty(0, dtype)
    return np.frombuffer(array.buffers()[1], dtype, count=len(array), offset=array.offset * dtype.itemsize)


def _build(base: pa.ChunkedArray | None, extra: _Scattered | None, length: int) -> Column:
    """A column out of its typed cells and its cells in the residual."""
    if base is None and extra is not None and len(extra.rows) == length:
        return _exactly(extra.values)
    vector = _plain(base) if base is not None else None
    if extra is None:
        return Column.of(vector if vector is not None else from_cells([None] * length))
    only_numbers = all(
        isinstance(value, (int, float)) and not isinstance(value, bool) for value in extra.values
    )
    if only_numbers and (vector is None or vector.kind == "number" or not vector.present.any()):
        return _numbers(vector, extra, length)
    cells: list[Any] = [None] * length if vector is None else Column.of(vector).cells(np.arange(length))
    for row, value in zip(extra.rows, extra.values, strict=True):
        cells[row] = value
    return _exactly(cells)


def _exactly(cells: list[Any]) -> Column:
    column = Column.of(from_cells(cells))
    if column.vector.values.dtype != np.float64:
        return column
    return Column(column.vector, column.type, _inexact(enumerate(cells)))


def _inexact(cells: Iterator[tuple[int, Any]] | enumerate[Any]) -> dict[int, int]:
    """The whole numbers among the cells that are no double."""
    return {row: cell for row, cell in cells if isinstance(cell, int) and not _is_double(cell)}


def _is_double(number: int) -> bool:
    try:
        return int(float(number)) == number
    except OverflowError:
        return False


def _numbers(base: Vector | None, extra: _Scattered, length: int) -> Column:
    """A column of numbers of which some stand in the residual."""
    values = np.full(length, np.nan)
    present = np.zeros(length, np.bool_)
    exact: dict[int, int] = {}
    if base is not None and base.kind == "number":
        values[base.present], present[base.present] = base.floats()[base.present], True
        if base.values.dtype == np.int64:
            exact = _inexact(
                (row, int(cell)) for row, cell in enumerate(base.values.tolist()) if base.present[row]
            )
    found = from_cells(extra.values)
    rows = np.array(extra.rows, np.intp)
    values[rows], present[rows] = found.floats(), True
    exact.update(_inexact(zip(extra.rows, extra.values, strict=True)))
    return Column(Vector("number", values, present), "number", exact)
