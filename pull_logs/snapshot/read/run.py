"""One run of an open bundle: its facts, and its histories, which are read on request."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, BinaryIO

from pull_logs.errors import MetricNotFoundError, refuse_text
from pull_logs.frames import FactsBuilder, IndexEntry, MetricFacts, Vector
from pull_logs.rows.batches import RESIDUAL, batch_keys, batch_rows, steps_of
from pull_logs.rows.canonical import STEP
from pull_logs.snapshot.format import ROW_GROUP, Encoded
from pull_logs.snapshot.read.parquet_member import ParquetMember
from pull_logs.snapshot.read.run_facts import RunFacts
from pull_logs.suggestions import did_you_mean, listed

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from pull_logs.snapshot.format import ConsoleLine
    from pull_logs.snapshot.read.logged import Artifact, MediaItem
    from pull_logs.snapshot.read.number_columns import NumberPages
    from pull_logs.snapshot.read.plain_history import PlainReader


class Run(RunFacts):
    """A run of a bundle; the bundle has to stay open.

    Every method that reads a history raises `BundleDamagedError` if its bytes are not those that were
    written.

    Attributes:
        path: `entity/project/run_id`.
    """

    __slots__ = ()

    @property
    def _history(self) -> ParquetMember:
        return ParquetMember(self._container, self._history_resource, run=self.path)

    @property
    def _system(self) -> ParquetMember | None:
        resource = self._system_resource
        return None if resource is None else ParquetMember(self._container, resource, run=self.path)

    def schema(self) -> pa.Schema:
        """Return the columns of its batches and their types, including the residual column.

        Raises:
            BundleDamagedError: The history is damaged.
        """
        return self._history.schema()

    def metric_facts(self) -> Sequence[MetricFacts]:
        """Return what each column of its history contains, `_step` first, nested values as dotted columns.

        They are read from the index of the bundle; from the history if the bundle has no index.

        Raises:
            BundleDamagedError: The index or the history is damaged.
        """
        known = self.indexed_facts()
        if known is not None:
            return known
        builder = FactsBuilder()
        for batch in self.batches():
            builder.add(batch)
        return builder.facts()

    def indexed_names(self) -> Sequence[str] | None:
        """Return the names of the columns that `metric_facts` describes; None for a bundle without an index.

        Raises:
            BundleDamagedError: The index is damaged.
        """
        return self._metrics.names(self._index)

    def indexed_facts(
        self, names: frozenset[str] | None = None, *, brief: bool = False
    ) -> Sequence[MetricFacts] | None:
        """Return what `metric_facts` does; None for a bundle without an index.

        Args:
            names: The columns wanted; all if None.
            brief: Leave out the first and last cells and numbers, and the steps of the extremes.

        Raises:
            BundleDamagedError: The index is damaged.
        """
        return self._metrics.facts(self._index, names, brief=brief)

    def index_entry(self) -> IndexEntry | None:
        """Return where the index of the bundle has the run; None for a bundle without an index."""
        return IndexEntry(self._metrics, self._index) if self._metrics.available else None

    def column_names(self) -> tuple[str, ...]:
        """Return every key of its rows, `_step` first, the others in the order of their UTF-8 bytes.

        Raises:
            BundleDamagedError: The history is damaged.
        """
        names = set(self.schema().names)
        if RESIDUAL in names:
            names.discard(RESIDUAL)
            for batch in self.batches(columns=()):
                names |= batch_keys(batch)
        return (STEP, *sorted(names - {STEP}))

    def batches(self, columns: Collection[str] | None = None) -> Iterator[pa.Table]:
        """Iterate over its rows as batches in step order, at most one row group in memory at a time.

        A batch always has `_step`, and the residual column where the file has one: it may hold cells of any
        key.

        Args:
            columns: The keys wanted; a key that the run does not have is ignored.

        Raises:
            BundleDamagedError: The history is damaged.
        """
        return self._history.batches(columns)

    def batches_at(
        self, columns: Collection[str] | None = None, *, rows: range | None = None, steps: bool = True
    ) -> Iterator[tuple[int, pa.Table]]:
        """Iterate over the batches that have some of these rows, each with the number of rows before it.

        Args:
            columns: As for `batches`.
            rows: Parts of the file without any of these rows are not read; all are read when None.
            steps: Whether a batch has `_step` if it is not one of the keys.

        Raises:
            BundleDamagedError: The history is damaged.
        """
        return self._history.batches_at(columns, rows, steps=steps)

    def step_ranges(self) -> Iterator[tuple[range, tuple[int, int] | None]]:
        """Iterate over the row groups of its history: their rows, and their least and greatest step.

        The steps are None where the history does not describe them. Only its footer is read.

        Raises:
            BundleDamagedError: The history is damaged.
        """
        before = 0
        for group in self._history.row_groups():
            yield range(before, before + group.rows), group.steps
            before += group.rows

    def arrow_table(self, columns: Collection[str] | None = None, *, coded: bool = False) -> pa.Table:
        """Return all its rows as one batch.

        Args:
            columns: As for `batches`.
            coded: Whether texts stay dictionaries, so that each distinct text is in memory once.

        Raises:
            BundleDamagedError: The history is damaged.
        """
        return self._history.table(columns, coded=coded)

    def number_columns(self, columns: Sequence[str]) -> dict[str, Vector]:
        """Return columns of numbers, decoded much faster than by `arrow_table`.

        Args:
            columns: The keys wanted.

        Returns:
            `_step`, and those of the columns that can be read like this, each exactly as `arrow_table` has
            it; no columns at all if the history has a residual column, or is not a small one of a usual form.

        Raises:
            BundleDamagedError: The history is damaged.
        """
        return self._history.numbers(columns, self._numbers())

    def number_pages(self, columns: Sequence[str]) -> NumberPages | None:
        """Return the columns of `number_columns`, not decoded yet; None where that returns none.

        `decoded_together` decodes those of several runs.

        Raises:
            BundleDamagedError: The history is damaged.
        """
        return self._history.number_pages(columns, self._numbers())

    def scan_history(
        self, keys: Collection[str] | None = None, min_step: int = 0, max_step: int | None = None
    ) -> Iterator[dict[str, Any]]:
        """Iterate over its rows, each a dict of the keys it has.

        Args:
            keys: Return only these keys, and only the rows that have at least one of them. (W&B's own
                `scan_history` returns the rows that have all of them.)
            min_step: The first step to return.
            max_step: The step before which to end.

        Raises:
            UsageError: `keys` is one string.
            BundleDamagedError: The history is damaged.
        """
        refuse_text("keys", keys, "names")
        wanted = None if keys is None else frozenset(keys)
        rows = range(self._first_row(min_step), self.rows)
        for _, batch in self.batches_at(wanted, rows=rows):
            steps = steps_of(batch)
            start = int(steps.searchsorted(min_step))
            end = len(steps) if max_step is None else int(steps.searchsorted(max_step))
            for row in batch_rows(batch.slice(start, max(end - start, 0)), wanted):
                if row:
                    yield row
            if end < len(steps):
                return

    def _first_row(self, min_step: int) -> int:
        """Return a row before which no row has this step or a later one, in a later row group if possible."""
        if self.rows <= ROW_GROUP or self.first_step is None or min_step <= self.first_step:
            return 0
        for start, batch in self.batches_at(()):
            if int(steps_of(batch)[-1]) >= min_step:
                return start
        return self.rows

    def history(self, columns: Collection[str] | None = None) -> pd.DataFrame:
        """Return all its rows as a data frame: `_step`, then a column per key; nothing is sampled.

        Numbers are float64 (int64 or Int64 where a float would round them), with NaN for a missing value as
        well as for a logged NaN; a column of several kinds of values is an object column, with None for a
        missing one. Only the requested columns are read.

        Raises:
            UsageError: `columns` is one string.
            MetricNotFoundError: A requested column is in no row.
            BundleDamagedError: The history is damaged.
        """
        from pull_logs.snapshot.read.dataframe import to_frame

        refuse_text("columns", columns, "names")
        frame = to_frame(self.arrow_table(columns), columns)
        for name in columns or ():
            if name not in frame.columns:
                known = [other for other in self.column_names() if other != STEP]
                every = f"it has {listed(known) or 'no metrics'}"
                hint = did_you_mean(name, known, otherwise=every)
                raise MetricNotFoundError(f"run {str(self.path)!r} has no metric {name!r}", hint=hint)
        return frame

    def system_schema(self) -> pa.Schema | None:
        """Return the columns of its system metrics and their types; reads the footer only.

        None if none were pulled.

        Raises:
            BundleDamagedError: The footer is damaged.
        """
        return self._system.schema() if self._system else None

    def system_table(self) -> pa.Table | None:
        """Return its system metrics as one system batch, or None if none were pulled.

        Raises:
            BundleDamagedError: They are damaged.
        """
        return self._system.table(None) if self._system else None

    def system_rows(self) -> Iterator[dict[str, Any]]:
        """Iterate over its system metrics row by row, in the order of their time.

        Raises:
            BundleDamagedError: They are damaged.
        """
        table = self.system_table()
        return iter(()) if table is None else batch_rows(table)

    def console_logs(self, *, last: int | None = None) -> Iterator[ConsoleLine]:
        """Iterate over the lines that it printed, in order; empty without a console log.

        Args:
            last: The number of lines at the end to return; None for all.

        Raises:
            BundleDamagedError: They are damaged.
        """
        console = self.console
        if console is None:
            return iter(())
        return iter(console) if last is None else iter(console.tail(last))

    def logged_artifacts(self) -> list[Artifact]:
        """Return the artifacts that it logged, if those were pulled.

        Raises:
            BundleDamagedError: Their records are damaged.
        """
        return [] if self.artifacts is None else list(self.artifacts.related("logged"))

    def used_artifacts(self) -> list[Artifact]:
        """Return the artifacts that it used, if those were pulled.

        Raises:
            BundleDamagedError: Their records are damaged.
        """
        return [] if self.artifacts is None else list(self.artifacts.related("used"))

    def media(self, key: str | None = None) -> Iterator[MediaItem]:
        """Iterate over the tables, images and other files that its rows and its summary point to, by step.

        Args:
            key: A glob for the flat key, `val.*`; None for all.

        Raises:
            BundleDamagedError: The history or an artifact is damaged.
        """
        from pull_logs.snapshot.read.logged import media_of

        items = media_of(self.batches(columns=()), self.summary, self.files, self.artifacts)
        return items if key is None else (item for item in items if fnmatchcase(item.key, key))

    def table(self, key: str, step: int | None = None) -> pd.DataFrame:
        """Return a table that it logged as a data frame; a column is numbers only if that is exact.

        Args:
            key: The flat key of the table.
            step: The step at which it was logged; None for the last one.

        Raises:
            MetricNotFoundError: It logged no table under that key, or none at that step.
            FileMissingError: The bundle does not have the file of the table.
            DataError: The file is not a table, or is too large.
            BundleDamagedError: The bundle is damaged.
        """
        from pull_logs.snapshot.read.logged import read_table

        return read_table(self.media(), key, step, run=str(self.path))

    @property
    def history_encoded(self) -> Encoded:
        """Size, hashes and rows of its `history.parquet`."""
        return self._history.encoded(first=self.first_step, last=self.last_step)

    @property
    def system_encoded(self) -> Encoded | None:
        """Size, hashes and rows of its `system.parquet`, or None without one."""
        return self._system.encoded(first=None, last=None) if self._system else None

    def history_chunks(self) -> Iterator[bytes]:
        """Iterate over the bytes of its `history.parquet`, unchecked."""
        return self._history.chunks()

    def system_chunks(self) -> Iterator[bytes]:
        """Iterate over the bytes of its `system.parquet`, unchecked; empty without one."""
        return self._system.chunks() if self._system else iter(())

    def copy_columns(
        self, keep: Callable[[str], bool], sink: BinaryIO, *, reader: PlainReader
    ) -> Encoded | None:
        """Append its history with some of its metrics to a file, without encoding them again.

        Args:
            keep: Whether a metric is kept, besides `_step`.
            sink: The file.
            reader: Decodes short histories; one for many runs is faster.

        Returns:
            Size, hashes and rows of what was appended; None if nothing was, because these metrics have to be
            encoded again.

        Raises:
            BundleDamagedError: The history is damaged.
        """
        return self._history.copy_columns(
            keep, sink, first=self.first_step, last=self.last_step, reader=reader
        )

    def text_columns(self) -> tuple[str, ...]:
        """Return the text columns of its history, including the residual one; reads the footer only.

        Raises:
            BundleDamagedError: The footer is damaged.
        """
        return self._history.text_columns()

    def system_text_columns(self) -> tuple[str, ...]:
        """Return the text columns of its system metrics; empty without them.

        Raises:
            BundleDamagedError: The footer is damaged.
        """
        return self._system.text_columns() if self._system else ()
