"""The view `history`: the rows of all runs as one table, of which a query reads what it names.

Runs are read as by every other command, with their hashes and checksums checked, and so from a file, a folder
or a URL. A run is left out if the conditions exclude it or its steps; of a long run, only the row groups that
they may hold for are read; without a metric in the query no history is opened.

Several threads read ahead, in the order of the runs: most of reading is hashing, decompressing and decoding,
which do not need Python's lock. Texts are read by one thread, because making them does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pull_logs.analyze.sql.columns import SqlColumn, Type, sql_names, type_of_metrics
from pull_logs.analyze.sql.conditions import (
    Condition,
    Conjunction,
    Disjunction,
    decide,
    rows_kept,
    uses_steps,
)
from pull_logs.analyze.sql.parts import (
    MOST_ROWS,
    RUN_COLUMNS,
    RUN_TYPE,
    TEXT_AT_ONCE,
    Part,
    Pending,
    read_parts,
    read_row_groups,
    run_values,
)
from pull_logs.analyze.sql.read_ahead import read_ahead
from pull_logs.executors import processors
from pull_logs.frames import Frame, MetricFacts, MetricIndex
from pull_logs.rows.canonical import STEP

if TYPE_CHECKING:
    from pull_logs.snapshot import Run

LONG_RUN = 1 << 16
"""A run with more rows is read part by part."""

_BATCH_ROWS, _BATCH_CELLS = 1 << 16, 1 << 20
"""A batch has runs of at least this many rows or cells, if there are as many."""

_CELLS_AHEAD = 1 << 23
"""Most cells that are read ahead."""

_MAX_THREADS = 4
_TEXTS = frozenset({Type.VARCHAR, Type.JSON})


def metric_types(runs: Sequence[Run]) -> dict[str, set[str]]:
    """Return the types of each column of the histories of runs, in the order of the names, `_step` first.

    They are read from the indexes of the bundles; of a bundle without one, from its histories. A column of
    integers has the type of numbers too if one of them has more than 64 bits.

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
                types = {facts.type, "number"} if _is_large(facts) else {facts.type}
                found.setdefault(facts.name, set()).update(types)
            continue
        indexed.setdefault(id(entry.index), (entry.index, []))[1].append(entry.number)
        names.add(tuple(run.indexed_names() or ()))
    every = frozenset(name for of_run in names for name in of_run)
    for index, numbers in indexed.values():
        for columns in index.columns(numbers, every):
            # `np.unique` imports another part of numpy, which takes longer.
            counts = np.bincount(columns.name.astype(np.int64) * len(columns.types) + columns.type)
            for pair in np.flatnonzero(counts).tolist():
                column, kind = divmod(pair, len(columns.types))
                found.setdefault(columns.names[column], set()).add(columns.types[kind])
    for name in every:
        found.setdefault(name, set()).add("empty")
    integers = frozenset(name for name, types in found.items() if types - {"empty"} == {"int"}) - {STEP}
    for index, numbers in indexed.values() if integers else ():
        for large in _large_integers(index, numbers, integers):
            found[large].add("number")
    return {name: found[name] for name in sorted(found) if name != STEP}


def _large_integers(index: MetricIndex, runs: Sequence[int], names: frozenset[str]) -> Iterator[str]:
    """Iterate over the names of those columns of integers that have one of more than 64 bits."""
    for columns in index.numbers(runs, names):
        large = columns.ranged & ((columns.min < -(2.0**63)) | (columns.max >= 2.0**63))
        for number, facts in columns.exact.items():
            large[number] = _is_large(facts)
        yield from (columns.names[name] for name in {*columns.name[large].tolist()})


def _is_large(facts: MetricFacts) -> bool:
    if facts.type != "int" or facts.min is None or facts.max is None:
        return False
    return not -(2**63) <= facts.min <= facts.max < 2**63


@dataclass(frozen=True, slots=True)
class _Piece:
    """Rows of a run that are read together.

    Attributes:
        run: The run.
        rows: How many they are at most.
        keys: The keys of its metrics, for one that is read by row groups.
        window: The rows of its row group; all rows if None.
        condition: What decides which of the rows are kept; all are if None.
    """

    run: Run
    rows: int
    keys: Mapping[str, str] | None = None
    window: range | None = None
    condition: Condition | None = None


class HistoryView:
    """The rows of runs as DuckDB reads them; `close` ends the threads that read.

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
        self._threads: ThreadPoolExecutor | None = None

    @cached_property
    def schema(self) -> pa.Schema:
        """All columns."""
        texts = [pa.field(name, RUN_TYPE) for name in RUN_COLUMNS]
        return pa.schema([*texts, *(column.field for column in self.columns)])

    @cached_property
    def rows(self) -> int:
        """The rows of all runs."""
        return sum(run.rows for run in self._runs)

    def close(self) -> None:
        """End the threads that read; what they are reading is finished first."""
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
            self._threads = None

    def reader(self, names: Sequence[str], conditions: Sequence[Condition] = ()) -> pa.RecordBatchReader:
        """Return what reads these columns of the rows for which all conditions hold."""
        schema = pa.schema([self.schema.field(name) for name in names])
        condition = Conjunction(tuple(conditions)) if conditions else None
        return pa.RecordBatchReader.from_batches(schema, self._remembered(self._batches(schema, condition)))

    def _remembered(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        try:
            yield from batches
        except BaseException as exc:
            self.error = exc
            raise

    def _batches(self, schema: pa.Schema, condition: Condition | None) -> Iterator[pa.RecordBatch]:
        shown = frozenset(schema.names)
        by_step = condition is not None and uses_steps(condition)
        wanted = [
            column for column in self.columns if column.name in shown or (by_step and column.source == STEP)
        ]
        pieces = self._pieces(wanted, condition)
        if not wanted:
            yield from _joined(schema, wanted, pieces)
        elif any(column.type in _TEXTS for column in wanted):
            for group in _grouped(pieces, len(wanted)):
                yield from _joined(schema, wanted, group)
        else:
            yield from read_ahead(
                _grouped(pieces, len(wanted)),
                lambda group: list(_joined(schema, wanted, group)),
                threads=self._started_threads,
                tasks_ahead=2 * _threads(),
                size=lambda group: len(wanted) * sum(piece.rows for piece in group),
                most=_CELLS_AHEAD,
            )

    def _started_threads(self) -> ThreadPoolExecutor:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_threads(), "pull-logs-sql")
        return self._threads

    def _pieces(self, wanted: Sequence[SqlColumn], condition: Condition | None) -> Iterator[_Piece]:
        """Iterate over what is read: the runs, and the row groups of long ones, that may have such rows."""
        for run in self._runs:
            rows = run.rows
            undecided = _undecided_of_run(run, condition) if condition is not None else None
            if not rows or undecided == _NOTHING:
                continue
            keys = _plain_keys(run, wanted) if rows > LONG_RUN and wanted else None
            if keys is None:
                yield _Piece(run, rows, condition=undecided)
            elif undecided is None and run.remote:
                # One pass makes the fewest requests.
                yield _Piece(run, rows, keys)
            else:
                yield from _windows(run, keys, undecided)


def _threads() -> int:
    return min(_MAX_THREADS, processors())


_NOTHING = Disjunction(())
"""A condition that no row fulfils."""


def _undecided_of_run(run: Run, condition: Condition) -> Condition | None:
    first, last = run.first_step, run.last_step
    if first is None or last is None:
        return condition
    return _undecided(condition, run_values(run), (first, last))


def _undecided(condition: Condition, run: Mapping[str, str], steps: tuple[int, int]) -> Condition | None:
    """Return a condition if single rows decide it; None if it holds for all, `_NOTHING` if for none."""
    decided = decide(condition, run, steps)
    return condition if decided is None else None if decided else _NOTHING


def _plain_keys(run: Run, wanted: Sequence[SqlColumn]) -> dict[str, str] | None:
    """Return the keys of the metrics of a run; None if it has to be read as one."""
    frame = Frame(run)
    here = [column for column in wanted if column.source != STEP and column.source in frame]
    if any(column.type is Type.JSON for column in here):
        return None
    return frame.typed_keys([column.source for column in here])


def _windows(run: Run, keys: Mapping[str, str], condition: Condition | None) -> Iterator[_Piece]:
    """Iterate over the row groups of a run that may have rows for which a condition holds."""
    values = run_values(run)
    for rows, steps in run.step_ranges():
        undecided = condition
        if condition is not None and steps is not None:
            undecided = _undecided(condition, values, steps)
        if undecided != _NOTHING:
            yield _Piece(run, len(rows), keys, rows, undecided)


def _grouped(pieces: Iterable[_Piece], columns: int) -> Iterator[list[_Piece]]:
    """Join pieces until they are worth a batch."""
    group: list[_Piece] = []
    rows = 0
    for piece in pieces:
        group.append(piece)
        rows += piece.rows
        if rows >= _BATCH_ROWS or rows * columns >= _BATCH_CELLS:
            yield group
            group, rows = [], 0
    if group:
        yield group


def _joined(
    schema: pa.Schema, wanted: Sequence[SqlColumn], pieces: Iterable[_Piece]
) -> Iterator[pa.RecordBatch]:
    """Iterate over the rows of pieces as batches."""
    pending = Pending(schema, [column for column in wanted if column.name in schema.names])
    most = _BATCH_ROWS if wanted else MOST_ROWS
    for part in _parts(pieces, wanted):
        for little in part.pieces():
            pending.add(little)
            if pending.rows >= most or pending.text >= TEXT_AT_ONCE:
                yield pending.flush()
    if pending.rows:
        yield pending.flush()


def _parts(pieces: Iterable[_Piece], wanted: Sequence[SqlColumn]) -> Iterator[Part]:
    """Iterate over the rows of pieces that their conditions keep."""
    for long, group in groupby(pieces, lambda piece: piece.keys is not None):
        for piece, part in (_long_parts if long else _short_parts)(group, wanted):
            if piece.condition is None:
                yield part
            else:
                yield part.filter(rows_kept(piece.condition, run_values(piece.run), part.steps()))


def _short_parts(pieces: Iterable[_Piece], wanted: Sequence[SqlColumn]) -> Iterator[tuple[_Piece, Part]]:
    taken: deque[_Piece] = deque()

    def runs() -> Iterator[Run]:
        for piece in pieces:
            taken.append(piece)
            yield piece.run

    for part in read_parts(runs(), wanted):
        yield taken.popleft(), part


def _long_parts(pieces: Iterable[_Piece], wanted: Sequence[SqlColumn]) -> Iterator[tuple[_Piece, Part]]:
    for piece in pieces:
        for part in read_row_groups(piece.run, piece.keys or {}, wanted, piece.window):
            yield piece, part
