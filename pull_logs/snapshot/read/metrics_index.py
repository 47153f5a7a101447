"""The index of an open bundle's metrics, read when it is first used."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from threading import Lock
from typing import TYPE_CHECKING

from pull_logs.errors import BundleDamagedError
from pull_logs.frames import MetricColumns, MetricFacts, NumberColumns, SchemaColumns
from pull_logs.runs import RunPath
from pull_logs.snapshot.format import METRICS, Container, MetricsTable, Resource, load_metrics_table

if TYPE_CHECKING:
    import pyarrow as pa

SMALL_INDEX = 1 << 26
"""Up to this many bytes, the complete index is checked by its hash; a remote one is kept then."""


class MetricsIndex:
    """The index of a bundle's metrics.

    A bundle that an early version wrote has none.

    Attributes:
        available: Whether the bundle has an index.
    """

    def __init__(self, container: Container, resource: Resource | None, paths: Sequence[RunPath]) -> None:
        self.available = resource is not None
        self._container, self._resource, self._paths = container, resource, paths
        self._lock = Lock()
        self._table: MetricsTable | None = None

    def check(self) -> None:
        """Open the index, and check that it is that of these runs.

        Raises:
            BundleDamagedError: It is damaged, or of other runs.
        """
        self._opened()

    def facts(
        self, index: int, names: frozenset[str] | None = None, *, brief: bool = False
    ) -> Sequence[MetricFacts] | None:
        """Return the facts about the columns of a run, `_step` first; None without an index.

        Args:
            index: The row of the run in the table of runs.
            names: The columns wanted; all if None.
            brief: Leave out the first and last cells and numbers, and the steps of the extremes.

        Raises:
            BundleDamagedError: The index is damaged.
        """
        table = self._opened()
        return None if table is None else table.facts(index, names, brief=brief)

    def plain_hash(self, index: int) -> bytes | None:
        """Return the hash of the facts about a run of numbers (see `PlainFacts`).

        None if its facts cannot be said like that, and without an index.

        Raises:
            BundleDamagedError: The index is damaged.
        """
        table = self._opened()
        return None if table is None else table.plain_hash(index)

    def names(self, index: int) -> Sequence[str] | None:
        """Return the names of the columns of a run, as `facts` does."""
        table = self._opened()
        return None if table is None else table.names(index)

    def columns(self, runs: Sequence[int], names: frozenset[str]) -> Iterator[MetricColumns]:
        """Iterate over the facts about columns of runs that have cells, one row group at a time.

        Args:
            runs: The rows of the runs in the table of runs.
            names: The columns wanted.

        Raises:
            BundleDamagedError: The index is damaged.
        """
        table = self._opened()
        return iter(()) if table is None else table.columns(runs, names)

    def numbers(self, runs: Sequence[int], names: frozenset[str]) -> Iterator[NumberColumns]:
        """Iterate over the last numbers and the extremes of columns of runs, as `columns` does."""
        table = self._opened()
        return iter(()) if table is None else table.numbers(runs, names)

    def schemas(self, runs: Sequence[int], names: frozenset[str]) -> Iterator[SchemaColumns]:
        """Iterate over what schemas say of columns of runs, as `columns` does."""
        table = self._opened()
        return iter(()) if table is None else table.schemas(runs, names)

    def _opened(self) -> MetricsTable | None:
        """Return the table, read when it is first needed; several threads may call this at once."""
        if self._resource is None:
            return None
        with self._lock:
            if self._table is None:
                self._table = self._load(self._resource)
            return self._table

    def _load(self, resource: Resource) -> MetricsTable:
        path = str(self._container.path)
        source, footer = self._checked(resource, path)
        return load_metrics_table(source, footer, paths=self._paths, rows=resource.rows, path=path)

    def _checked(self, resource: Resource, path: str) -> tuple[pa.NativeFile, bytes]:
        """Return the file, and its footer, after a check of their hashes."""
        import pyarrow as pa

        if self._container.remote and resource.bytes <= SMALL_INDEX:
            data = self._container.read(METRICS, limit=SMALL_INDEX)
            _check([data], resource.hash, path)
            footer = data[len(data) - resource.footer_bytes :]
            _check([footer], resource.footer_hash, path)
            return pa.BufferReader(data), footer
        file = self._container.open(METRICS)
        if resource.bytes <= SMALL_INDEX:
            _check(file.chunks(), resource.hash, path)
        footer = file.read_at(resource.bytes - resource.footer_bytes, resource.footer_bytes)
        _check([footer], resource.footer_hash, path)
        return pa.PythonFile(file, mode="r"), footer


def _check(chunks: Iterable[bytes], expected: str, path: str) -> None:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    if f"sha256:{digest.hexdigest()}" != expected:
        raise BundleDamagedError(
            f"{path!r} is damaged: {METRICS} does not have its hash",
            path=path,
            member=METRICS,
            hint="run `pull-logs verify` to see where",
        )
