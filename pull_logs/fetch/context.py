"""What the download of a run needs, shared by all runs of a pull."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
from anyio.to_thread import run_sync

from pull_logs.fetch.api import Capabilities, Client, Query, UnknownFieldError, affects_all_runs
from pull_logs.fetch.decoding import Encoders
from pull_logs.fetch.discovery import EarlyFiles
from pull_logs.fetch.outcomes import FetchedRun, FileCounts
from pull_logs.fetch.windows import WindowSize
from pull_logs.runs import Coverage, RunInfo, RunPath
from pull_logs.snapshot.format import info_fields

if TYPE_CHECKING:
    from pull_logs.snapshot import ArtifactSelection, FileSelection, Run, Spool
    from pull_logs.snapshot.format import (
        ArtifactRecord,
        ArtifactsSource,
        ConsoleSource,
        ContentSource,
        FileSource,
    )

T = TypeVar("T")


def cpu_limiter() -> anyio.CapacityLimiter:
    """Return a limiter of the worker threads, one processor being left to the requests.

    On two processors a second worker thread gains nothing: it takes the interpreter's lock from the requests.
    """
    return anyio.CapacityLimiter(max(1, (os.cpu_count() or 1) - 1))


class MemoryBudget:
    """The memory for large runs that are not written to the spool, shared by all runs of a pull."""

    def __init__(self, size: int = 128 * 2**20) -> None:
        self._left = size
        self._lock = threading.Lock()

    def reserve(self, size: int) -> bool:
        """Reserve bytes, if there are as many."""
        with self._lock:
            if size > self._left:
                return False
            self._left -= size
            return True

    def release(self, size: int) -> None:
        """Give reserved bytes back."""
        with self._lock:
            self._left += size


@dataclass(frozen=True, slots=True)
class FetchedArtifact:
    """An artifact that arrived.

    Attributes:
        record: The record, with the hash of its entries.
        contents: The entries, and the files that arrived.
        lost: Why something of it could not be downloaded; empty if all of it arrived.
    """

    record: ArtifactRecord
    contents: tuple[ContentSource, ...] = ()
    lost: str = ""


@dataclass(frozen=True, slots=True)
class SharedArtifacts:
    """The artifacts of a pull, which several runs may log and use.

    Attributes:
        locks: Held while an artifact is downloaded, by its id.
        file_locks: Held while a file is downloaded, by algorithm and digest.
        fetched: Those that arrived, by id and whether their files were downloaded.
    """

    locks: dict[str, anyio.Lock] = field(default_factory=dict)
    file_locks: dict[tuple[str, str], anyio.Lock] = field(default_factory=dict)
    fetched: dict[tuple[str, bool], FetchedArtifact] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PullContext:
    """What the download of a run needs, shared by all runs of a pull.

    Attributes:
        client: Sends the requests.
        spool: Stores the rows.
        threads: Limits the worker threads for decoding and encoding.
        encoders: Encode exported files in other processes.
        downloads: Limits the downloads that are not decoded yet.
        early_files: The files whose download began before this.
        capabilities: What the server supports.
        window_size: The number of rows in a window of live rows.
        budget: The memory for large runs.
        first_group: Held by the first query for the live rows of several runs.
        metrics: Matches the names of the metrics that are kept; None for all.
        system: Whether system metrics are pulled.
        console: Whether console logs are pulled; those that an earlier bundle has are pulled in any case.
        files: The files of the runs to pull; None for only those that an earlier bundle has.
        file_counts: Counts what became of the files.
        artifacts: The artifacts of the runs to pull; None for only those that an earlier bundle has.
        asks_for_artifacts: Whether unchanged runs are asked for them too, if the earlier bundle has less.
        shared_artifacts: The artifacts that arrived.
        may_use_sdk: Whether the SDK reads the runs instead if W&B does not know a field of a query.
        only_changes: Whether a run of an earlier bundle that did not change is not stored in the spool.
    """

    client: Client
    spool: Spool
    threads: anyio.CapacityLimiter
    encoders: Encoders
    downloads: anyio.Semaphore
    capabilities: Capabilities
    early_files: EarlyFiles | None = None
    window_size: WindowSize = field(default_factory=WindowSize)
    budget: MemoryBudget = field(default_factory=MemoryBudget)
    first_group: anyio.Lock = field(default_factory=anyio.Lock)
    metrics: re.Pattern[str] | None = None
    system: bool = False
    console: bool = False
    files: FileSelection | None = None
    file_counts: FileCounts = field(default_factory=FileCounts)
    artifacts: ArtifactSelection | None = None
    asks_for_artifacts: bool = False
    shared_artifacts: SharedArtifacts = field(default_factory=SharedArtifacts)
    may_use_sdk: bool = False
    only_changes: bool = False

    @property
    def only_histories(self) -> bool:
        """Whether nothing of the runs is selected but their histories."""
        return not (self.system or self.console) and self.files is None and self.artifacts is None

    def ends_pull(self, error: Exception) -> bool:
        """Return whether an error ends this attempt at the pull: it would meet every other run too."""
        return affects_all_runs(error, api_host=self.client.host) or (
            self.may_use_sdk and isinstance(error, UnknownFieldError)
        )

    async def copy(
        self,
        earlier: Run,
        *,
        info: RunInfo | None = None,
        coverage: Coverage | None = None,
        files: Sequence[FileSource] | None = None,
        console: ConsoleSource | None = None,
        artifacts: ArtifactsSource | None = None,
        note: str = "",
    ) -> FetchedRun:
        """Copy a run of an earlier bundle into the spool, as `Spool.adopt` does.

        If only changes are pulled, a run that would be the same is not stored.

        Raises:
            BundleDamagedError: The earlier bundle is damaged.
            PullLogsError: The disk is full, or a file cannot be written.
        """

        def call() -> FetchedRun:
            if self.only_changes and _is_same(
                earlier, info=info, coverage=coverage, files=files, more=(console, artifacts)
            ):
                return FetchedRun(coverage=earlier.coverage, how="unchanged", note=note)
            stored = self.spool.adopt(
                earlier, info=info, coverage=coverage, files=files, console=console, artifacts=artifacts
            )
            return FetchedRun(coverage=stored.coverage, how="copied", note=note)

        return await self.in_thread(call)

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Call a function that needs the processor or the disk in a worker thread."""
        return await run_sync(work, limiter=self.threads)

    async def query_run(
        self, query: Query, path: RunPath, *, heavy_attempts: int | None = None
    ) -> Mapping[str, Any]:
        """Return the fields of one run, as `Client.query_run` does."""
        return await self.client.query_run(query, path, heavy_attempts=heavy_attempts)


def _is_same(
    earlier: Run,
    *,
    info: RunInfo | None,
    coverage: Coverage | None,
    files: Sequence[FileSource] | None,
    more: Sequence[object],
) -> bool:
    """Return whether a run of an earlier bundle with other parts is still the same; `more` are new parts."""
    return (
        all(part is None for part in more)
        and (info is None or info_fields(info) == info_fields(earlier.info))
        and (coverage is None or coverage == earlier.coverage)
        and (files is None or {one.record for one in files} == {one.record for one in earlier.files.values()})
    )
