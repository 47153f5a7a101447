"""`metrics.parquet`: the index of a bundle's metrics, with one row per run and column of its history.

It is derived from the histories, so that a view of thousands of runs need not open them. Its runs are in path
order, the rows of a run in the order of its columns, `_step` first, and no run is divided between two row
groups. A value that is not exactly a double is in the column `rest`. See docs/bundle-format.md, "The index of
metrics".
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from itertools import compress, pairwise
from threading import Lock
from typing import Any, BinaryIO, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pull_logs.errors import BundleDamagedError, DataError
from pull_logs.frames import Mask, MetricColumns, MetricFacts, NumberColumns, SchemaColumns
from pull_logs.rows.arrays import (
    Ints,
    array_of,
    dictionary_codes,
    filter_rows,
    flat,
    number_cells,
    text_array,
)
from pull_logs.rows.arrow import ARROW_ERRORS, open_parquet
from pull_logs.rows.canonical import canonical_text
from pull_logs.runs import RunPath
from pull_logs.snapshot.format.metrics import (
    NUMBER_COLUMNS,
    PLAIN_COLUMNS,
    SCHEMA_COLUMNS,
    TOTAL_COLUMNS,
    VALUES,
    PlainRows,
    filled,
    names_by_run,
    number_columns,
    one_array,
    plain_rows,
    rest_values,
    schema_columns,
    text_list,
    total_columns,
    unrepeated,
)
from pull_logs.snapshot.format.names import METRICS
from pull_logs.snapshot.format.parquet_pages import read_groups
from pull_logs.snapshot.format.parquet_write import FILE_OPTIONS

GROUP_ROWS = 32_768
"""A row group ends with the run that reaches this many rows."""

_KEYS = ("entity", "project", "run_id")
_TEXTS = (*_KEYS, "metric", "type")
_COUNTS = ("count", "numbers", "nonfinite")
_STEPS = ("first_step", "last_step", "last_number_step", "min_step", "max_step")
_DOUBLES = ("interval", *VALUES)
_REST = "rest"
_BRIEF = ("metric", "type", *_COUNTS, "first_step", "last_step", "interval", "min", "max", _REST)
"""The columns of facts in brief."""

_COLUMNS = tuple({"name": "metric", "cells": "count"}.get(name, name) for name in MetricFacts._fields)
"""The column of each of the facts, in the order of `MetricFacts`."""

SCHEMA = pa.schema(
    [
        *(pa.field(name, pa.string(), nullable=False) for name in _TEXTS),
        *(pa.field(name, pa.int64(), nullable=False) for name in _COUNTS),
        *(
            pa.field(name, pa.int64() if name in _STEPS else pa.float64())
            for name in _COLUMNS[_COLUMNS.index("first_step") :]
        ),
        pa.field(_REST, pa.string()),
    ]
)
"""The columns: the run, the name of the metric, the facts in their order, and the rest."""

_FACTS = tuple(SCHEMA.names[len(_KEYS) :])
"""The columns of all facts."""

_Converted = TypeVar("_Converted")

_FOREIGN = (DataError, *ARROW_ERRORS)


class MetricsWriter:
    """Writes `metrics.parquet`, one run after the other in path order; the same facts give the same bytes."""

    def __init__(self, sink: BinaryIO) -> None:
        self._writer = pq.ParquetWriter(
            sink,
            SCHEMA,
            **FILE_OPTIONS,
            use_dictionary=[*_TEXTS, _REST],
            column_encoding=dict.fromkeys((*_COUNTS, *_STEPS), "DELTA_BINARY_PACKED")
            | dict.fromkeys(_DOUBLES, "BYTE_STREAM_SPLIT"),
            write_statistics=[*_KEYS, "metric"],
        )
        self._paths: list[RunPath] = []
        self._facts: list[MetricFacts] = []
        self.rows = 0

    def add(self, path: RunPath, facts: Sequence[MetricFacts]) -> None:
        """Add the facts about all columns of the next run."""
        self._paths += [path] * len(facts)
        self._facts += facts
        self.rows += len(facts)
        if len(self._facts) >= GROUP_ROWS:
            self._write_group()

    def close(self) -> None:
        """Write what is left, and the footer; the sink stays open."""
        if self._facts:
            self._write_group()
        self._writer.close()

    def _write_group(self) -> None:
        table = _group_table(self._paths, self._facts)
        self._writer.write_table(table, row_group_size=max(len(self._facts), 1))
        self._paths, self._facts = [], []


def _group_table(paths: Sequence[RunPath], facts: Sequence[MetricFacts]) -> pa.Table:
    columns = _columns(facts)
    texts: dict[str, Sequence[str | None]] = {
        "entity": [path.entity for path in paths],
        "project": [path.project for path in paths],
        "run_id": [path.run_id for path in paths],
        "metric": columns["metric"],
        "type": columns["type"],
    }
    rest, doubles = _split_values([columns[name] for name in VALUES])
    texts[_REST] = rest
    arrays = {name: text_array(values) for name, values in texts.items()}
    arrays |= {name: array_of(columns[name], pa.int64()) for name in (*_COUNTS, *_STEPS)}
    arrays |= {name: array_of(values, pa.float64()) for name, values in zip(VALUES, doubles, strict=True)}
    arrays["interval"] = array_of(columns["interval"], pa.float64())
    return pa.Table.from_arrays([arrays[name] for name in SCHEMA.names], schema=SCHEMA)


def _columns(facts: Sequence[MetricFacts]) -> dict[str, Sequence[Any]]:
    """Return facts column by column, without the values that others of them repeat."""
    columns: dict[str, Sequence[Any]] = dict(zip(_COLUMNS, zip(*facts, strict=True), strict=True))
    numbers = columns["last_number"]
    return columns | {
        "last_number": unrepeated(numbers, columns["last"]),
        "last_number_step": unrepeated(columns["last_number_step"], columns["last_step"]),
        "last_finite": unrepeated(columns["last_finite"], numbers),
    }


def _split_values(columns: Sequence[Sequence[Any]]) -> tuple[list[str | None], list[list[float | None]]]:
    """Return the values that are doubles, and for each row the others as JSON."""
    others: dict[int, dict[str, Any]] = {}
    doubles: list[list[float | None]] = []
    for name, values in zip(VALUES, columns, strict=True):
        found: list[float | None] = []
        for row, value in enumerate(values):
            if value is None or _is_double(value):
                found.append(value)
            else:
                found.append(None)
                others.setdefault(row, {})[name] = value
        doubles.append(found)
    rest = [canonical_text(others[row]) if row in others else None for row in range(len(columns[0]))]
    return rest, doubles


def _is_double(value: object) -> bool:
    if isinstance(value, float):
        return True
    return isinstance(value, int) and not isinstance(value, bool) and -(2**53) <= value <= 2**53


@dataclass(frozen=True, slots=True, eq=False)
class MetricsTable:
    """An opened `metrics.parquet`.

    Attributes:
        path: The bundle, for messages.
        starts: For each run its first row; then the number of rows.
        groups: For each row group its first row; then the number of rows.
        group: Returns the facts in a row group, about some columns or all, as far as these columns of the
            table have them; and for each row, and the end, how many of them are before it.
        first_runs: For each row group its first run.
        group_names: Returns the names of the columns of each run of a row group; equal ones are one tuple.
        group_columns: Returns the facts of the masked rows of a row group, fact by fact, about some columns.
        group_numbers: Returns the numbers of these rows, likewise.
        group_schemas: Returns what schemas say of these rows, likewise.
        group_plain: Returns the facts in a row group as arrays.
    """

    path: str
    starts: Ints
    groups: Ints
    first_runs: Sequence[int]
    group: Callable[[int, frozenset[str] | None, Sequence[str]], tuple[Sequence[MetricFacts], Ints]]
    group_names: Callable[[int], Sequence[tuple[str, ...]]]
    group_columns: Callable[[int, Mask, frozenset[str]], MetricColumns]
    group_numbers: Callable[[int, Mask, frozenset[str]], NumberColumns]
    group_schemas: Callable[[int, Mask, frozenset[str]], SchemaColumns]
    group_plain: Callable[[int], PlainRows]

    def facts(
        self, index: int, names: frozenset[str] | None = None, *, brief: bool = False
    ) -> Sequence[MetricFacts]:
        """Return the facts about the columns of one run, `_step` first.

        Args:
            index: The row of the run in the table of runs.
            names: The columns wanted; all if None. Values of others are not decoded.
            brief: Leave out the first and last cells and numbers, and the steps of the extremes.

        Raises:
            BundleDamagedError: They cannot be read.
        """
        number, rows = self._rows(index)
        found, before = self.group(number, names, _BRIEF if brief else _FACTS)
        return found[before[rows.start] : before[rows.stop]]

    def names(self, index: int) -> tuple[str, ...]:
        """Return the names of the columns of one run, as `facts` does."""
        number = bisect_right(self.first_runs, index) - 1
        return self.group_names(number)[index - self.first_runs[number]]

    def plain_hash(self, index: int) -> bytes | None:
        """Return what `PlainFacts.hash` does for one run; None if its facts cannot be said like that.

        Raises:
            BundleDamagedError: They cannot be read.
        """
        number, rows = self._rows(index)
        return self.group_plain(number).hash(rows)

    def columns(self, runs: Sequence[int], names: frozenset[str]) -> Iterator[MetricColumns]:
        """Iterate over the facts about columns of runs that have cells, one row group at a time.

        Args:
            runs: The rows of the runs in the table of runs.
            names: The columns wanted.

        Raises:
            BundleDamagedError: They cannot be read.
        """
        return (self.group_columns(number, rows, names) for number, rows in self._groups_of(runs))

    def numbers(self, runs: Sequence[int], names: frozenset[str]) -> Iterator[NumberColumns]:
        """Iterate over the last numbers and the extremes of columns of runs, likewise.

        Args:
            runs: The rows of the runs in the table of runs.
            names: The columns wanted.

        Raises:
            BundleDamagedError: They cannot be read.
        """
        for number, rows in self._groups_of(runs):
            found = self.group_numbers(number, rows, names)
            before = int(self.groups[number])
            yield replace(found, run=np.searchsorted(self.starts, found.run + before, side="right") - 1)

    def schemas(self, runs: Sequence[int], names: frozenset[str]) -> Iterator[SchemaColumns]:
        """Iterate over what schemas say of columns of runs, as `numbers` does."""
        return (self.group_schemas(number, rows, names) for number, rows in self._groups_of(runs))

    def _groups_of(self, runs: Sequence[int]) -> Iterator[tuple[int, Mask]]:
        """Iterate over the row groups that have some of these runs, with the mask of their rows."""
        wanted = np.zeros(len(self.starts) - 1, np.bool_)
        wanted[list(runs)] = True
        for number, (first, end) in enumerate(pairwise((*self.first_runs, len(wanted)))):
            if wanted[first:end].any():
                yield number, np.repeat(wanted[first:end], np.diff(self.starts[first : end + 1]))

    def _rows(self, index: int) -> tuple[int, slice]:
        """Return the row group of a run, and its rows in the group."""
        start, end = int(self.starts[index]), int(self.starts[index + 1])
        number = int(np.searchsorted(self.groups, start, side="right")) - 1
        first = int(self.groups[number])
        return number, slice(start - first, end - first)


def load_metrics_table(
    source: pa.NativeFile, footer: bytes, *, paths: Sequence[RunPath], rows: int, path: str
) -> MetricsTable:
    """Open `metrics.parquet`.

    Args:
        source: The file.
        footer: Its last bytes, their hash already checked.
        paths: The runs of the bundle, in path order.
        rows: The number of rows in the manifest.
        path: The bundle, for messages.

    Raises:
        BundleDamagedError: It is not an index of these runs.
    """
    try:
        # pyarrow is not asked for the chunks: on a damaged footer it ends the process.
        sizes = [group.rows for group in read_groups(footer, size=source.size())]
        metadata = pq.read_metadata(pa.BufferReader(footer))
        _check_shape(metadata, sizes, rows)
        file = open_parquet(
            source,
            metadata=metadata,
            read_dictionary=[*_TEXTS, _REST],
            page_checksum_verification=True,
        )
        starts = _run_starts(file, len(sizes), paths)
    except BundleDamagedError:
        raise
    except _FOREIGN as exc:
        raise _damaged(path, f"cannot be read: {exc}") from exc
    groups = np.cumsum([0, *sizes], dtype=np.int64)
    if (starts[np.searchsorted(starts, groups)] != groups).any():
        raise _damaged(path, "divides a run between two row groups")
    reader = _GroupReader(file, path)
    return MetricsTable(
        path=path,
        starts=starts,
        groups=groups,
        group=lru_cache(maxsize=2)(reader.facts),
        first_runs=np.searchsorted(starts, groups[:-1]).tolist(),
        group_names=lru_cache(maxsize=2)(partial(reader.names, starts, groups)),
        group_columns=reader.columns,
        group_numbers=reader.numbers,
        group_schemas=reader.schemas,
        group_plain=lru_cache(maxsize=2)(partial(reader.read, PLAIN_COLUMNS, plain_rows)),
    )


def _check_shape(metadata: pq.FileMetaData, sizes: Sequence[int], rows: int) -> None:
    if not metadata.schema.to_arrow_schema().equals(SCHEMA, check_metadata=False):
        raise DataError("it has other columns")
    if sum(sizes) != rows:
        raise DataError(f"it has {sum(sizes)} rows and the manifest {rows}")


def _run_starts(file: pq.ParquetFile, groups: int, paths: Sequence[RunPath]) -> Ints:
    """Return the first row of each run, and the number of rows, after a check that the runs are these."""
    starts: list[int] = []
    runs = iter(paths)
    before = 0
    for number in range(groups):
        table = file.read_row_group(number, columns=list(_KEYS), use_threads=False)
        for row, key in _first_rows(table):
            if key != next(runs, None):
                raise DataError(f"its run {'/'.join(key)!r} is not the next one of the table of runs")
            starts.append(before + row)
        before += table.num_rows
    if next(runs, None) is not None:
        raise DataError(f"it has {len(starts)} runs of {len(paths)}")
    return np.array([*starts, before], np.int64)


def _first_rows(table: pa.Table) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Iterate over the first row of each run of a row group, with the parts of its path."""
    if not table.num_rows:
        return
    arrays = [one_array(table.column(name)) for name in _KEYS]
    starts = np.zeros(table.num_rows, np.bool_)
    starts[0] = True
    codes = list(map(dictionary_codes, arrays))
    for column in codes:
        starts[1:] |= column[1:] != column[:-1]
    rows = np.flatnonzero(starts)
    names = (array.dictionary.to_pylist().__getitem__ for array in arrays)
    parts = (map(name, column[rows].tolist()) for name, column in zip(names, codes, strict=True))
    yield from zip(rows.tolist(), zip(*parts, strict=True), strict=True)


@dataclass(frozen=True, slots=True)
class _GroupReader:
    """Reads row groups; two threads that read from one ParquetFile at once would crash the process."""

    file: pq.ParquetFile
    path: str
    reading: Lock = field(default_factory=Lock)

    def facts(
        self, number: int, names: frozenset[str] | None, columns: Sequence[str]
    ) -> tuple[Sequence[MetricFacts], Ints]:
        """Return the facts in a row group about these columns, and for each row how many are before it."""
        return self.read(columns, partial(_some_facts, names), number)

    def names(self, starts: Ints, groups: Ints, number: int) -> Sequence[tuple[str, ...]]:
        """Return the names of the columns of each run of a row group."""
        first, last = np.searchsorted(starts, groups[number : number + 2])
        rows = (starts[first : last + 1] - starts[first]).tolist()
        return self.read(["metric"], partial(names_by_run, rows), number)

    def columns(self, number: int, rows: Mask, names: frozenset[str]) -> MetricColumns:
        """Return some of the facts in these rows of a row group, about these columns."""
        found, kept, mixed = self.read(TOTAL_COLUMNS, partial(total_columns, rows, names), number)
        if mixed.any():
            lasts = [one.last_finite for one in self._exact(number, kept[mixed], len(rows))]
            found.last_finite[mixed] = [0.0 if last is None else float(last) for last in lasts]
            found.has_finite[mixed] = [last is not None for last in lasts]
        return found

    def numbers(self, number: int, rows: Mask, names: frozenset[str]) -> NumberColumns:
        """Return the numbers in these rows of a row group, about these columns; each with its row."""
        found, mixed = self.read(NUMBER_COLUMNS, partial(number_columns, rows, names), number)
        if not mixed.any():
            return found
        facts = self._exact(number, found.run[mixed], len(rows))
        return replace(found, exact=dict(zip(np.flatnonzero(mixed).tolist(), facts, strict=True)))

    def schemas(self, number: int, rows: Mask, names: frozenset[str]) -> SchemaColumns:
        """Return what schemas say of these rows of a row group, about these columns."""
        return self.read(SCHEMA_COLUMNS, partial(schema_columns, rows, names), number)

    def _exact(self, number: int, rows: Ints, length: int) -> Sequence[MetricFacts]:
        """Return all facts of these rows of a row group, which has this many."""
        wanted = np.zeros(length, np.bool_)
        wanted[rows] = True
        return self.read(SCHEMA.names, lambda table: _facts_of(filter_rows(table, wanted)), number)

    def read(
        self, columns: Sequence[str], convert: Callable[[pa.Table], _Converted], number: int
    ) -> _Converted:
        """Return what is made of some columns of a row group."""
        try:
            with self.reading:
                table = self.file.read_row_group(number, columns=list(columns), use_threads=False)
            return convert(table)
        except _FOREIGN as exc:
            raise _damaged(self.path, f"cannot be read: {exc}") from exc


def _texts(column: pa.ChunkedArray) -> list[Any]:
    """Return the texts of a column, equal ones as one object, None for null."""
    array = one_array(column)
    known = [*text_list(array), None]
    return list(map(known.__getitem__, dictionary_codes(array).tolist()))


def _some_facts(names: frozenset[str] | None, table: pa.Table) -> tuple[Sequence[MetricFacts], Ints]:
    wanted = np.ones(table.num_rows, np.bool_)
    if names is not None:
        metrics = one_array(table.column("metric"))
        known = np.array([name in names for name in metrics.dictionary.to_pylist()], np.bool_)
        wanted = known[dictionary_codes(metrics)]
    before = np.zeros(len(wanted) + 1, np.int64)
    np.cumsum(wanted, out=before[1:])
    count = int(before[-1])
    if count > len(wanted) // 2:
        # Arrow's filter takes longer to import than it takes to decode a few more rows.
        return list(compress(_facts_of(table), wanted.tolist())), before
    return _facts_of(filter_rows(table, wanted)) if count else (), before


def _facts_of(table: pa.Table) -> Sequence[MetricFacts]:
    """Return the facts in a table; those of columns that it does not have are None."""
    read = table.column_names
    columns: dict[str, list[Any]] = {name: _texts(table.column(name)) for name in ("metric", "type", _REST)}
    for name in (*_COUNTS, *_STEPS, *_DOUBLES):
        if name in read:
            columns[name] = number_cells(flat(table.column(name)))
    for row, text in enumerate(columns.pop(_REST)):
        if text is not None:
            for name, value in rest_values(text).items():
                if name in columns:
                    columns[name][row] = value
    if "last" in columns:
        columns |= _repeated(columns)
    absent = [None] * table.num_rows
    # `_make` counts the fields of every tuple again.
    make = partial(tuple.__new__, MetricFacts)
    return list(map(make, zip(*(columns.get(name, absent) for name in _COLUMNS), strict=True)))


def _repeated(columns: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """Return the columns of values that repeat others, with these filled in."""
    finite = [here - there for here, there in zip(columns["numbers"], columns["nonfinite"], strict=True)]
    number = filled(columns["last_number"], columns["last"], where=columns["numbers"])
    return {
        "last_number": number,
        "last_number_step": filled(
            columns["last_number_step"], columns["last_step"], where=columns["numbers"]
        ),
        "last_finite": filled(columns["last_finite"], number, where=finite),
    }


def _damaged(path: str, reason: str) -> BundleDamagedError:
    return BundleDamagedError(f"{path!r} is damaged: {METRICS} {reason}", path=path, member=METRICS)
