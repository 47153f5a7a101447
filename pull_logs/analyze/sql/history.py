"""The view `history`: the rows of all runs as one table, of which a query reads what it names.

DuckDB asks a pyarrow dataset for columns and hands it the conditions of WHERE that it can. This one reads its
runs as every other command does, with their hashes and checksums checked, and so from a file, a folder or a
URL. A run is left out if the conditions exclude its path or its steps; of a long run, only the row groups
that they may hold for are read; without a metric in the query no history is opened.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from pyarrow import fs

from pull_logs.analyze.sql.columns import (
    SqlColumn,
    Type,
    array_of_cells,
    json_texts,
    sql_names,
    type_of_metrics,
)
from pull_logs.errors import DataError
from pull_logs.frames import Frame, MetricIndex
from pull_logs.rows.arrays import bool_array, flat, number_array, text_array
from pull_logs.rows.canonical import STEP

if TYPE_CHECKING:
    from pull_logs.frames import Column
    from pull_logs.snapshot import Run

_CellArray: TypeAlias = "pa.Array | list[str | None] | tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]"
"""Cells as an array, as texts, or as numbers and where they are present."""

TEXT_AT_ONCE = 1 << 24
"""The characters of a batch, unless one row has more."""

RUN_COLUMNS = ("path", "entity", "project", "run")
"""The columns that say which run a row is of."""

LONG_RUN = 1 << 16
"""A run with more rows is read part by part."""

_BATCH_ROWS = 1 << 15
_WINDOW = 1 << 17
"""The rows of a row group."""

_NUMBERS = frozenset({Type.BIGINT, Type.DOUBLE})


def metric_types(runs: Sequence[Run]) -> dict[str, set[str]]:
    """Return the types of each column of the histories of runs, in the order of the names, `_step` first.

    They are read from the indexes of the bundles; of a bundle without one, from its histories.

    Raises:
        DamageError: An index or a history is damaged.
    """
    found: dict[str, set[str]] = {}
    indexed: dict[int, tuple[MetricIndex, list[int]]] = {}
    names: set[tuple[str, ...]] = set()
    for run in runs:
        entry = run.index_entry()
        if entry is None:
            for facts in run.metric_facts():
                found.setdefault(facts.name, set()).add(facts.type)
            continue
        indexed.setdefault(id(entry.index), (entry.index, []))[1].append(entry.number)
        names.add(tuple(run.indexed_names() or ()))
    every = frozenset(name for of_run in names for name in of_run)
    for index, numbers in indexed.values():
        for columns in index.columns(numbers, every):
            pairs = columns.name.astype(np.int64) * len(columns.types) + columns.type
            for pair in np.unique(pairs).tolist():
                name, kind = divmod(pair, len(columns.types))
                found.setdefault(columns.names[name], set()).add(columns.types[kind])
    for name in every:
        found.setdefault(name, set()).add("empty")
    _mark_large(found, runs)
    return {name: found[name] for name in sorted(found) if name != STEP}


def _mark_large(found: Mapping[str, set[str]], runs: Sequence[Run]) -> None:
    """Add the type of numbers to the columns of integers that have one of more than 64 bits."""
    integers = frozenset(
        name for name, types in found.items() if types - {"empty"} == {"int"} and name != STEP
    )
    for run in runs if integers else ():
        for facts in run.indexed_facts(integers, brief=True) or run.metric_facts():
            if facts.name in integers and not (
                facts.min is None or facts.max is None or (facts.min >= -(2**63) and facts.max < 2**63)
            ):
                found[facts.name].add("number")


class _Reads(Protocol):
    """What DuckDB calls the result of `scanner`."""

    def to_reader(self) -> pa.RecordBatchReader:
        """Return the batches."""


@dataclass(frozen=True, slots=True)
class _Scanner:
    reader: pa.RecordBatchReader

    def to_reader(self) -> pa.RecordBatchReader:
        """Return the batches."""
        return self.reader


class HistoryDataset(ds.Dataset):  # type: ignore[misc]
    """The rows of runs as DuckDB reads them.

    Attributes:
        columns: The columns after those of `RUN_COLUMNS`, `_step` first.
        error: What was raised while rows were read; DuckDB keeps only its text.
    """

    def __init__(self, runs: Sequence[Run], types: Mapping[str, Iterable[str]]) -> None:
        self._runs = runs
        names = sql_names(types, taken=(*RUN_COLUMNS, STEP))
        self.columns = [
            SqlColumn(STEP, STEP, Type.BIGINT),
            *(SqlColumn(names[name], name, type_of_metrics({*types[name]})) for name in types),
        ]
        self.error: BaseException | None = None

    @property
    def schema(self) -> pa.Schema:
        """All columns."""
        texts = [pa.field(name, pa.string()) for name in RUN_COLUMNS]
        return pa.schema([*texts, *(column.field for column in self.columns)])

    def scanner(
        self,
        columns: Sequence[str] | None = None,
        filter: pc.Expression | None = None,  # noqa: A002 - the name in pyarrow
        **_options: Any,
    ) -> _Reads:
        """Return what reads these columns of the rows for which the filter holds; all columns if None."""
        schema = self.schema
        wanted = schema.names if columns is None else list(columns)
        shown = pa.schema([schema.field(name) for name in wanted])
        return _Scanner(pa.RecordBatchReader.from_batches(shown, self._kept_batches(shown, filter)))

    def _kept_batches(self, schema: pa.Schema, keep: pc.Expression | None) -> Iterator[pa.RecordBatch]:
        try:
            for batch in self._batches(schema, keep):
                table = pa.Table.from_batches([batch])
                kept = table if keep is None else table.filter(keep)
                yield from kept.select(schema.names).to_batches()
        except BaseException as exc:
            self.error = exc
            raise

    def _batches(self, schema: pa.Schema, keep: pc.Expression | None) -> Iterator[pa.RecordBatch]:
        text = "" if keep is None else str(keep)
        # The names of columns are part of the text of a filter; one that only looks like it is read too.
        shown = [name for name in self.schema.names if name in schema.names or name in text]
        wanted = [column for column in self.columns if column.name in shown]
        pending = _Pending(pa.schema([self.schema.field(name) for name in shown]), wanted)
        for run in self._possible_runs(keep, text):
            for part in self._parts(run, wanted, keep if STEP in text else None):
                for piece in part.pieces():
                    pending.add(piece)
                    if pending.rows >= _BATCH_ROWS or pending.text >= TEXT_AT_ONCE:
                        yield pending.flush()
        if pending.rows:
            yield pending.flush()

    def _possible_runs(self, keep: pc.Expression | None, text: str) -> Sequence[Run]:
        """Return the runs that may have a row for which the filter holds."""
        if keep is None or not any(name in text for name in (*RUN_COLUMNS, STEP)):
            return self._runs
        found = _possible(self.schema, keep, list(map(_guarantee, self._runs)))
        return [self._runs[index] for index in found]

    def _parts(self, run: Run, wanted: Sequence[SqlColumn], keep: pc.Expression | None) -> Iterator[_Part]:
        """Iterate over the rows of a run; of a long one, one row group at a time where that is possible."""
        if run.rows <= LONG_RUN or not wanted:
            yield _part(run, wanted)
            return
        frame = Frame(run)
        here = [column for column in wanted if column.source != STEP and column.source in frame]
        keys = frame.typed_keys([column.source for column in here])
        if keys is None or any(column.type is Type.JSON for column in here):
            yield _part(run, wanted)
            return
        for rows in _windows(self.schema, frame, run, keep):
            for _, batch in frame.batches_at([*keys.values()], rows):
                arrays = {
                    column.name: _typed(flat(batch.column(keys[column.source])), column) for column in here
                }
                if any(column.source == STEP for column in wanted):
                    arrays[STEP] = flat(batch.column(STEP))
                yield _Part(run, batch.num_rows, arrays)


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows of a run.

    Attributes:
        run: The run.
        rows: How many they are.
        arrays: The cells of the columns that the run has, by their names in SQL; equal texts are one object.
    """

    run: Run
    rows: int
    arrays: Mapping[str, _CellArray]

    def pieces(self) -> Iterator[_Part]:
        """Divide it into parts, each of which has little text, or one row."""
        texts = [found for found in self.arrays.values() if isinstance(found, list)]
        ends = np.zeros(self.rows + 1, np.int64)
        for cells in texts:
            ends[1:] += np.cumsum([0 if text is None else len(text) for text in cells])
        if ends[-1] <= TEXT_AT_ONCE:
            yield self
            return
        start = 0
        while start < self.rows:
            most = int(np.searchsorted(ends, ends[start] + TEXT_AT_ONCE, side="right")) - 1
            end = min(max(most, start + 1), self.rows)
            yield _Part(
                self.run,
                end - start,
                {name: _slice(found, start, end) for name, found in self.arrays.items()},
            )
            start = end

    @property
    def text(self) -> int:
        """The characters of its texts."""
        lists = [found for found in self.arrays.values() if isinstance(found, list)]
        return sum(len(text) for cells in lists for text in cells if text is not None)


def _slice(cells: _CellArray, start: int, end: int) -> _CellArray:
    if isinstance(cells, tuple):
        return cells[0][start:end], cells[1][start:end]
    if isinstance(cells, list):
        return cells[start:end]
    return cells.slice(start, end - start)


@dataclass(slots=True)
class _Pending:
    """Parts that will be one batch."""

    schema: pa.Schema
    wanted: Sequence[SqlColumn]
    rows: int = 0
    text: int = 0
    parts: list[_Part] = field(default_factory=list)

    def add(self, part: _Part) -> None:
        """Add rows of a run."""
        if part.rows:
            self.parts.append(part)
            self.rows += part.rows
            self.text += part.text

    def flush(self) -> pa.RecordBatch:
        """Return the batch, and forget its parts."""
        known = {column.name: column for column in self.wanted}
        arrays = [
            self._joined(known[name]) if name in known else self._repeated(name) for name in self.schema.names
        ]
        self.parts, self.rows, self.text = [], 0, 0
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def _repeated(self, name: str) -> pa.Array:
        texts = text_array([_run_value(part.run, name) for part in self.parts])
        lengths = np.array([part.rows for part in self.parts])
        indices = pa.array(np.repeat(np.arange(len(self.parts), dtype=np.int32), lengths))
        return pa.DictionaryArray.from_arrays(indices, texts).dictionary_decode()

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
    present = [
        np.zeros(rows, np.bool_) if found is None else found[1]
        for found, rows in zip(cells, lengths, strict=True)
    ]
    return number_array(np.concatenate(values), present=np.concatenate(present))


def _run_value(run: Run, name: str) -> str:
    path = run.path
    return {"path": str(path), "entity": path.entity, "project": path.project, "run": path.run_id}[name]


def _part(run: Run, wanted: Sequence[SqlColumn]) -> _Part:
    """Return all rows of a run."""
    if not wanted:
        return _Part(run, run.rows, {})
    names = [column.source for column in wanted if column.source != STEP]
    quick = run.number_columns(names)
    arrays: dict[str, Any] = {}
    frame: Frame | None = None
    for column in wanted:
        vector = quick.get(column.source)
        if vector is not None and column.type in _NUMBERS and vector.values.dtype != np.int64:
            arrays[column.name] = _numbers(vector.floats(), vector.present, column)
            continue
        if vector is not None and column.source == STEP:
            arrays[STEP] = vector.values.astype(np.int64, copy=False), vector.present
            continue
        if frame is None:
            frame = Frame(run)
            frame.load(names)
        if column.source == STEP:
            arrays[STEP] = frame.steps, np.ones(frame.length, np.bool_)
        elif column.source in frame:
            arrays[column.name] = _cells(frame.column(column.source), column)
    return _Part(run, run.rows, arrays)


def _numbers(
    values: npt.NDArray[np.float64], present: npt.NDArray[np.bool_], column: SqlColumn
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    if column.type is Type.DOUBLE:
        return values, present
    known = np.where(present, values, 0.0)
    if (known >= 2.0**63).any() or (known < -(2.0**63)).any() or (known != np.floor(known)).any():
        raise _disagreement(column)
    whole = known.astype(np.int64)
    return whole, present


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
    return _numbers(vector.floats(), vector.present, known)


def _typed(array: pa.Array, column: SqlColumn) -> pa.Array:
    """Return an array of a history as one of the type of its column in the view."""
    if array.type == column.type.arrow:
        return array
    try:
        return array.cast(column.type.arrow, safe=column.type is Type.BIGINT)
    except pa.ArrowInvalid as exc:
        raise _disagreement(column) from exc


def _disagreement(column: SqlColumn) -> DataError:
    return DataError(
        f"the index of metrics says {column.type} of the metric {column.source!r}, and its history does not",
        hint="run `pull-logs verify` to see where the bundle is damaged",
    )


def _guarantee(run: Run) -> pc.Expression:
    """Return what holds for every row of a run."""
    first, last = run.first_step, run.last_step
    known = [pc.field(name) == _run_value(run, name) for name in RUN_COLUMNS]
    if first is not None and last is not None:
        known += [pc.field(STEP) >= first, pc.field(STEP) <= last]
    found = known[0]
    for other in known[1:]:
        found &= other
    return found


def _possible(schema: pa.Schema, keep: pc.Expression, guarantees: Sequence[pc.Expression]) -> list[int]:
    """Return the numbers of those guarantees under which a filter may hold.

    pyarrow decides that for the files of a dataset, which are not opened for it.
    """
    form, system = ds.ParquetFileFormat(), fs.LocalFileSystem()
    files = [
        form.make_fragment(str(number), filesystem=system, partition_expression=known)
        for number, known in enumerate(guarantees)
    ]
    dataset = ds.FileSystemDataset(files, schema, form, system)
    return [int(file.path) for file in dataset.get_fragments(keep)]


def _windows(schema: pa.Schema, frame: Frame, run: Run, keep: pc.Expression | None) -> Iterator[range | None]:
    """Iterate over the rows of a run for which a filter may hold, as many as a row group has at a time."""
    if keep is None:
        yield None
        return
    steps = frame.steps
    starts = range(0, len(steps), _WINDOW)
    ends = [min(start + _WINDOW, len(steps)) for start in starts]
    guarantees = [
        _guarantee(run) & (pc.field(STEP) >= int(steps[start])) & (pc.field(STEP) <= int(steps[end - 1]))
        for start, end in zip(starts, ends, strict=True)
    ]
    for number in _possible(schema, keep, guarantees):
        yield range(starts[number], ends[number])
