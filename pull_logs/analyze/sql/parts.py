"""Rows of one run as columns of the view `history`, and rows of several runs as one batch of Arrow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa

from pull_logs.analyze.sql.columns import SqlColumn, Type, array_of_cells, json_texts
from pull_logs.errors import DataError
from pull_logs.frames import Frame
from pull_logs.rows.arrays import (
    Mask,
    bool_array,
    doubles_of,
    filter_cells,
    flat,
    number_array,
    present_rows,
    stored_integers,
    text_array,
)
from pull_logs.rows.canonical import STEP
from pull_logs.snapshot.read import decoded_together

if TYPE_CHECKING:
    import numpy.typing as npt

    from pull_logs.frames import Column
    from pull_logs.snapshot import Run
    from pull_logs.snapshot.read import NumberPages, Numbers

_Numbers: TypeAlias = "tuple[npt.NDArray[Any], npt.NDArray[np.bool_] | None]"
"""Numbers, and where they are present; None if everywhere."""

_CellArray: TypeAlias = "pa.Array | list[str | None] | _Numbers"
"""Cells as an array, as texts, or as numbers."""

TEXT_AT_ONCE = 1 << 24
"""The characters of a batch, unless one row has more."""

MOST_ROWS = 1 << 20
"""The rows of one part."""

RUN_COLUMNS = ("path", "entity", "project", "run")
"""The columns that say which run a row is of."""

RUN_TYPE = pa.dictionary(pa.int32(), pa.string())
"""Their type: a batch has each text once."""

_NUMBERS = frozenset({Type.BIGINT, Type.DOUBLE})

_DECODED_CELLS = 1 << 18
"""How many cells are decoded together, if there are as many."""

_FIRST_INDICES = pa.py_buffer(bytes(4 * MOST_ROWS))
"""The indices, all 0, of a batch of one part; this memory is only taken where it is read."""


def run_values(run: Run) -> dict[str, str]:
    """Return the values of `RUN_COLUMNS` of a run."""
    path = run.path
    return dict(zip(RUN_COLUMNS, (str(path), path.entity, path.project, path.run_id), strict=True))


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of a run.

    Attributes:
        run: The run.
        rows: How many they are.
        arrays: The cells of the columns that the run has, by their names in SQL; equal texts are one object.
    """

    run: Run
    rows: int
    arrays: Mapping[str, _CellArray]

    def pieces(self) -> Iterator[Part]:
        """Divide it into parts of at most `MOST_ROWS`, each of which has little text, or one row."""
        texts = [found for found in self.arrays.values() if isinstance(found, list)]
        if not texts:
            for start in range(0, self.rows, MOST_ROWS):
                yield self.slice(start, min(start + MOST_ROWS, self.rows))
            return
        ends = np.zeros(self.rows + 1, np.int64)
        for cells in texts:
            ends[1:] += np.cumsum([0 if text is None else len(text) for text in cells])
        start = 0
        while start < self.rows:
            most = int(np.searchsorted(ends, ends[start] + TEXT_AT_ONCE, side="right")) - 1
            end = min(max(most, start + 1), start + MOST_ROWS, self.rows)
            yield self.slice(start, end)
            start = end

    def slice(self, start: int, end: int) -> Part:
        """Return some of its rows."""
        if (start, end) == (0, self.rows):
            return self
        arrays = {name: _slice(found, start, end) for name, found in self.arrays.items()}
        return Part(self.run, end - start, arrays)

    def filter(self, keep: Mask) -> Part:
        """Return the rows for which the mask is true."""
        kept = np.flatnonzero(keep)
        if not len(kept):
            return Part(self.run, 0, {})
        start, end = int(kept[0]), int(kept[-1]) + 1
        if end - start == len(kept):
            return self.slice(start, end)
        return Part(
            self.run, len(kept), {name: _filtered(found, keep) for name, found in self.arrays.items()}
        )

    def steps(self) -> npt.NDArray[np.int64]:
        """Return the step of each row; only if `_step` is among its columns."""
        found = self.arrays[STEP]
        if not isinstance(found, tuple):
            raise TypeError("the steps are not read as numbers")
        steps: npt.NDArray[np.int64] = found[0]
        return steps

    @property
    def text(self) -> int:
        """The characters of its texts."""
        lists = [found for found in self.arrays.values() if isinstance(found, list)]
        return sum(len(text) for cells in lists for text in cells if text is not None)


def _slice(cells: _CellArray, start: int, end: int) -> _CellArray:
    if isinstance(cells, tuple):
        values, present = cells
        return values[start:end], None if present is None else present[start:end]
    return cells[start:end] if isinstance(cells, list) else cells.slice(start, end - start)


def _filtered(cells: _CellArray, keep: Mask) -> _CellArray:
    if isinstance(cells, tuple):
        values, present = cells
        return values[keep], None if present is None else present[keep]
    if isinstance(cells, list):
        return [cells[row] for row in np.flatnonzero(keep).tolist()]
    return filter_cells(cells, keep)


@dataclass(slots=True)
class Pending:
    """Parts that will be one batch.

    Attributes:
        schema: The columns of the batch.
        wanted: The columns besides those of the run.
        rows: The rows of the parts.
        text: The characters of their texts.
        parts: The parts.
    """

    schema: pa.Schema
    wanted: Sequence[SqlColumn]
    rows: int = 0
    text: int = 0
    parts: list[Part] = field(default_factory=list)

    def add(self, part: Part) -> None:
        """Add rows of a run."""
        if part.rows:
            self.parts.append(part)
            self.rows += part.rows
            self.text += part.text

    def flush(self) -> pa.RecordBatch:
        """Return the batch, and forget its parts."""
        known = {column.name: column for column in self.wanted}
        repeated = None
        arrays = []
        for name in self.schema.names:
            if name in known:
                arrays.append(self._joined(known[name]))
                continue
            repeated = self._indices() if repeated is None else repeated
            texts = text_array([run_values(part.run)[name] for part in self.parts])
            arrays.append(pa.DictionaryArray.from_arrays(repeated, texts, safe=False))
        self.parts, self.rows, self.text = [], 0, 0
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def _indices(self) -> pa.Array:
        """Return which of the parts each row is of."""
        if len(self.parts) == 1:
            return pa.Array.from_buffers(pa.int32(), self.rows, [None, _FIRST_INDICES])
        lengths = np.array([part.rows for part in self.parts])
        indices = np.repeat(np.arange(len(self.parts), dtype=np.int32), lengths)
        return pa.Array.from_buffers(pa.int32(), len(indices), [None, pa.py_buffer(indices)])

    def _joined(self, column: SqlColumn) -> pa.Array:
        name = column.name
        cells = [part.arrays.get(name) for part in self.parts]
        if column.type in _NUMBERS and all(found is None or isinstance(found, tuple) for found in cells):
            return _joined_numbers(cells, [part.rows for part in self.parts], column)
        arrays = []
        for part, found in zip(self.parts, cells, strict=True):
            if found is None:
                arrays.append(pa.nulls(part.rows, column.type.arrow))
            elif isinstance(found, tuple):
                arrays.append(number_array(found[0], present=found[1]))
            else:
                arrays.append(text_array(found) if isinstance(found, list) else found)
        return arrays[0] if len(arrays) == 1 else pa.concat_arrays(arrays)


def _joined_numbers(cells: Sequence[Any], lengths: Sequence[int], column: SqlColumn) -> pa.Array:
    dtype = np.int64 if column.type is Type.BIGINT else np.float64
    values = [
        np.zeros(rows, dtype) if found is None else found[0]
        for found, rows in zip(cells, lengths, strict=True)
    ]
    joined: npt.NDArray[Any] = values[0] if len(values) == 1 else np.concatenate(values)
    if all(found is not None and found[1] is None for found in cells):
        return number_array(joined)
    present = np.zeros(len(joined), np.bool_)
    start = 0
    for found, rows in zip(cells, lengths, strict=True):
        if found is not None:
            present[start : start + rows] = True if found[1] is None else found[1]
        start += rows
    return number_array(joined, present=present)


def read_parts(runs: Iterable[Run], wanted: Sequence[SqlColumn]) -> Iterator[Part]:
    """Iterate over runs, each with all of its rows and with these columns; several are decoded together.

    Raises:
        DamageError: A history is damaged.
    """
    if not wanted:
        yield from (Part(run, run.rows, {}) for run in runs)
        return
    names = [column.source for column in wanted if column.source != STEP]
    waiting: list[tuple[Run, NumberPages | None]] = []
    cells = 0
    for run in runs:
        waiting.append((run, run.number_pages(names)))
        cells += run.rows * len(wanted)
        if cells >= _DECODED_CELLS:
            yield from _decoded_parts(waiting, wanted)
            waiting, cells = [], 0
    yield from _decoded_parts(waiting, wanted)


def _decoded_parts(
    runs: Sequence[tuple[Run, NumberPages | None]], wanted: Sequence[SqlColumn]
) -> Iterator[Part]:
    found = decoded_together([pages for _, pages in runs])
    for (run, _), quick in zip(runs, found, strict=True):
        yield _part(run, wanted, quick)


def _part(run: Run, wanted: Sequence[SqlColumn], quick: Mapping[str, Numbers]) -> Part:
    """Return all rows of a run; columns that were not decoded yet are read."""
    arrays: dict[str, Any] = {}
    frame: Frame | None = None
    for column in wanted:
        numbers = quick.get(column.source)
        if numbers is not None and column.source == STEP:
            arrays[STEP] = numbers
            continue
        if numbers is not None and column.type in _NUMBERS:
            arrays[column.name] = _numbers(*numbers, column)
            continue
        if frame is None:
            frame = Frame(run)
            frame.load([column.source for column in wanted if column.source != STEP])
        if column.source == STEP:
            arrays[STEP] = frame.steps, None
        elif column.source in frame:
            arrays[column.name] = _cells(frame.column(column.source), column)
    return Part(run, run.rows, arrays)


def read_row_groups(
    run: Run, keys: Mapping[str, str], wanted: Sequence[SqlColumn], rows: range | None
) -> Iterator[Part]:
    """Iterate over row groups of a long run, one in memory at a time.

    Args:
        run: The run.
        keys: The key of the history of each metric that the run has.
        wanted: The columns.
        rows: The rows of the row groups; all if None.

    Raises:
        DamageError: The history is damaged.
    """
    here = [column for column in wanted if column.source in keys]
    with_steps = any(column.source == STEP for column in wanted)
    if not (here or with_steps):
        yield Part(run, run.rows if rows is None else len(rows), {})
        return
    for _, batch in run.batches_at([*keys.values()], rows=rows, steps=with_steps):
        arrays: dict[str, _CellArray] = {
            column.name: _typed(flat(batch.column(keys[column.source])), column) for column in here
        }
        if with_steps:
            arrays[STEP] = stored_integers(flat(batch.column(STEP))), None
        yield Part(run, batch.num_rows, arrays)


def _numbers(values: npt.NDArray[Any], present: Mask | None, column: SqlColumn) -> _Numbers:
    """Return doubles as the numbers of a column; `present` is None where all are present."""
    if column.type is Type.DOUBLE:
        return values, present
    known = values if present is None else np.where(present, values, 0.0)
    if (known >= 2.0**63).any() or (known < -(2.0**63)).any() or (known != np.floor(known)).any():
        raise _disagreement(column)
    return known.astype(np.int64), present


def _unless_all(present: Mask) -> Mask | None:
    """Return a mask; None if all of it is true."""
    return None if present.all() else present


def _cells(column: Column, known: SqlColumn) -> _CellArray:
    """Return the cells of a column as an array, as texts, or as numbers and where they are present."""
    vector = column.vector
    if known.type is Type.JSON:
        return json_texts(column.cells(np.arange(len(vector))))
    if not vector.count:
        return pa.nulls(len(vector), known.type.arrow)
    expected = {Type.BOOLEAN: "bool", Type.VARCHAR: "string"}.get(known.type, "number")
    if vector.kind != expected:
        raise _disagreement(known)
    if known.type is Type.BOOLEAN:
        return bool_array(vector.as_truth(), present=vector.present)
    if known.type is Type.VARCHAR:
        return [None if text is None else str(text) for text in vector.to_list()]
    if known.type is Type.BIGINT and (column.exact or vector.values.dtype == np.int64):
        if any(not -(2**63) <= value < 2**63 for value in column.exact.values()):
            raise _disagreement(known)
        return array_of_cells(column.cells(np.arange(len(vector))), Type.BIGINT)
    return _numbers(vector.floats(), _unless_all(vector.present), known)


def _typed(array: pa.Array, column: SqlColumn) -> _CellArray:
    """Return an array of a history as one of the type of its column in the view."""
    if array.type == column.type.arrow:
        return array
    if pa.types.is_float64(array.type) and column.type is Type.BIGINT:
        return _numbers(doubles_of(array), _unless_all(present_rows(array)), column)
    try:
        return array.cast(column.type.arrow, safe=column.type is Type.BIGINT)
    except pa.ArrowInvalid as exc:
        raise _disagreement(column) from exc


def _disagreement(column: SqlColumn) -> DataError:
    return DataError(
        f"the index of metrics says {column.type} of the metric {column.source!r}, and its history does not",
        hint="run `pull-logs verify` to see where the bundle is damaged",
    )
