"""A run of an open bundle that is sealed from there: its bytes are copied when the new bundle is written.

It costs no file of its own. Of a run that keeps some of its metrics, the history is made first, without
encoding it again where that is possible, and appended to a file that many runs share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from pull_logs.frames import MetricFacts
from pull_logs.rows.batches import select_keys
from pull_logs.rows.canonical import STEP
from pull_logs.runs import Coverage, RunInfo, RunPath
from pull_logs.snapshot.format import (
    ArtifactsSource,
    ConsoleRecord,
    ConsoleSource,
    Encoded,
    FileRecord,
    FileSource,
    in_order,
    read_batches,
)
from pull_logs.snapshot.read import PlainReader, Run
from pull_logs.snapshot.write.media import FilePart
from pull_logs.snapshot.write.run_sources import BundleRun, CopiedRun
from pull_logs.snapshot.write.stored_run import StoredRun, copy_run, file_part, optional_fields, store_run

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectedRun:
    """A run of another bundle with some of its metrics.

    Attributes:
        run: The run.
        keep: Whether a metric is kept.
        redacted: The number of redaction markers of each kind in what is kept, for the manifest.
    """

    run: Run
    keep: Callable[[str], bool]
    redacted: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Selected:
    """The history with some of the metrics of a run: where it is, and which metrics are kept."""

    encoded: Encoded
    file: Path
    start: int
    keep: Callable[[str], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class BundledRun:
    """A run of an open bundle, to be sealed into another one.

    Attributes:
        run: The run; its bundle has to stay open until the new one is written.
        coverage: What the server promised and what arrived.
        optional: The optional columns of the table of runs for which it has a value.
        sources: The files that it logged, in the order of a bundle.
        console_source: Its console log; None without one.
        artifacts: The artifacts that it logged and used; None without any.
        redacted: The number of redaction markers of each kind in it.
        changed: Facts that replace those of the run, where only they changed.
        selected: Its history, if that is not the one of the run.
    """

    run: Run
    coverage: Coverage
    optional: frozenset[str]
    sources: tuple[FileSource, ...]
    console_source: ConsoleSource | None
    artifacts: ArtifactsSource | None
    redacted: Mapping[str, int]
    changed: RunInfo | None = None
    selected: _Selected | None = None

    @property
    def path(self) -> RunPath:
        """The path of the run."""
        return self.run.path

    @property
    def history(self) -> Encoded:
        """Size, hashes and number of rows of its `history.parquet`."""
        return self.run.history_encoded if self.selected is None else self.selected.encoded

    @property
    def system(self) -> Encoded | None:
        """The same for its `system.parquet`; None without system metrics."""
        return self.run.system_encoded

    @property
    def writer(self) -> str:
        """The library that encoded them."""
        return self.run.writer

    @property
    def files(self) -> tuple[FileRecord, ...]:
        """The files that it logged, in the order of a bundle."""
        return tuple(source.record for source in self.sources)

    @property
    def console(self) -> ConsoleRecord | None:
        """The record of its console log; None without one."""
        return None if self.console_source is None else self.console_source.record

    def described(self) -> tuple[RunInfo, Sequence[MetricFacts]]:
        """Return its facts, and those about the columns of its history."""
        facts = self.run.metric_facts()
        if self.selected is not None:
            keep = self.selected.keep
            facts = [one for one in facts if one.name == STEP or keep(one.name)]
        return self.changed or self.run.info, facts

    def history_chunks(self) -> Iterator[bytes]:
        """Return the bytes of its `history.parquet` in chunks."""
        if self.selected is None:
            return self.run.history_chunks()
        return file_part(self.selected.file, self.selected.start, self.selected.encoded.bytes)

    def nested_batches(self) -> Iterator[pa.Table]:
        """Iterate over the steps and the nested values of its rows.

        Raises:
            BundleDamagedError: The history is damaged.
            DataError: The history with some of its metrics is damaged.
        """
        if self.selected is None:
            yield from self.run.batches(columns=())
            return
        encoded = self.selected.encoded
        with FilePart(self.selected.file, self.selected.start, encoded.bytes) as part:
            yield from read_batches(part, (), expected_rows=encoded.rows)

    def system_chunks(self) -> Iterator[bytes]:
        """Return the bytes of its `system.parquet` in chunks."""
        return self.run.system_chunks()

    def file_sources(self) -> Iterator[FileSource]:
        """Iterate over its files, in the order of a bundle."""
        return iter(self.sources)

    def console_chunks(self) -> Iterator[bytes]:
        """Return the bytes of its compressed console log in chunks; none without one."""
        return iter(()) if self.console_source is None else iter(self.console_source.chunks())


class SharedFile:
    """A file to which the histories of many runs are appended; one thread uses it.

    Attributes:
        path: The file.
        reader: Decodes the short ones of these histories.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reader = PlainReader()
        self._file: BinaryIO | None = None

    def open(self) -> BinaryIO:
        """Return the file, opened when it is first needed."""
        if self._file is None:
            self._file = self.path.open("w+b")
        return self._file

    def close(self) -> None:
        """Hand what is written to the system."""
        if self._file is not None:
            self._file.close()
            self._file = None


def bundle_run_copy(file: Path, copied: CopiedRun) -> BundledRun | StoredRun:
    """Return a run of a bundle to be copied; one that is not on this machine is copied to a file first.

    Args:
        file: The file, if it is needed.
        copied: The run.

    Raises:
        BundleDamagedError: The bundle is damaged.
        OSError: The file cannot be written.
    """
    run = copied.run
    # Without an index the history is decoded, which several threads do here.
    if not isinstance(run, Run) or run.remote or not run.indexed:
        return copy_run(file, copied)
    return BundledRun(
        run=run,
        coverage=copied.coverage or run.coverage,
        optional=run.optional_fields if copied.info is None else optional_fields(copied.info),
        sources=_ordered(list(run.files.values()) if copied.files is None else copied.files),
        console_source=copied.console or run.console,
        artifacts=copied.artifacts or run.artifacts,
        redacted=dict(copied.redacted),
        changed=copied.info,
    )


def bundle_selected_run(file: Path, shared: SharedFile, selected: SelectedRun) -> BundledRun | StoredRun:
    """Return a run of a bundle with some of its metrics.

    Args:
        file: The file of the run, if it has to be encoded again.
        shared: The file to which its history is appended, if not.
        selected: The run.

    Raises:
        BundleDamagedError: The bundle is damaged.
        OSError: A file cannot be written.
    """
    run, keep = selected.run, selected.keep
    if run.indexed and not run.remote:
        sink = shared.open()
        start = sink.tell()
        encoded = run.copy_columns(keep, sink, reader=shared.reader)
        if encoded is not None:
            return BundledRun(
                run=run,
                coverage=run.coverage,
                optional=run.optional_fields,
                sources=_ordered(list(run.files.values())),
                console_source=run.console,
                artifacts=run.artifacts,
                redacted=dict(selected.redacted),
                selected=_Selected(encoded, shared.path, start, keep),
            )
    columns = [name for name in run.schema().names if keep(name)]
    again = BundleRun(
        info=run.info,
        coverage=run.coverage,
        # A generator expression would keep each batch in memory while the next one is read.
        batches=lambda: map(partial(select_keys, keep=keep), run.batches(columns)),
        system=run.system_table(),
        files=tuple(run.files.values()),
        console=run.console,
        artifacts=run.artifacts,
        redacted=selected.redacted,
    )
    return store_run(file, again)


def _ordered(sources: Sequence[FileSource]) -> tuple[FileSource, ...]:
    """Return files in the order of a bundle.

    Raises:
        DataError: Two of them have the same name.
    """
    by_name = {source.record.name: source for source in sources}
    return tuple(by_name[record.name] for record in in_order(source.record for source in sources))
