"""An unfinished download on disk, which a crash interrupts without loss.

What arrived is stored in the folder `OUT.partial` (see `spool_folder`). A page that is incomplete because
of a crash is cut off when the spool is opened again (see `page_file`). A run is finished when its file has
its final name (see `stored_run`). Only the plan and the bundle are flushed to the disk: the other files
survive the end of the process. What a loss of power damages is found by its checksum and downloaded again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from pull_logs.errors import BundleDamagedError
from pull_logs.rows.merge import Lane, LanedBatch, merge_batches
from pull_logs.runs import Coverage, RunInfo, RunPath
from pull_logs.snapshot.disk import disk_errors
from pull_logs.snapshot.format import BUNDLE_ENDING, ArtifactsSource, ConsoleSource, FileSource
from pull_logs.snapshot.write.content_store import ContentStore
from pull_logs.snapshot.write.encoded_history import Batches, EncodedHistory, encode_history
from pull_logs.snapshot.write.folder_lock import FolderLock
from pull_logs.snapshot.write.page_file import PageFrame
from pull_logs.snapshot.write.page_merge import settle_frames
from pull_logs.snapshot.write.page_store import PageStore
from pull_logs.snapshot.write.run_sources import NO_EXTRAS, BundleRun, CopiedRun, EncodedRun, RunExtras
from pull_logs.snapshot.write.spool_folder import SpoolFolder, spool_path
from pull_logs.snapshot.write.stored_run import StoredRun, copy_run, read_stored, restate_run, store_run

if TYPE_CHECKING:
    from types import TracebackType

    from pull_logs.snapshot.write.seal import SealReport

_MAX_IN_MEMORY = 32 << 20
"""The most bytes of rows that are merged in memory; the rows of a larger run are merged in parts."""

_ENCODED_IN_MEMORY = 16 << 20
"""The most bytes of rows that are encoded in memory and then written, which is faster for small ones."""


class Spool:
    """The folder `OUT.partial` while this process holds it; a context manager.

    `append`, `store`, `store_merged`, `finish` and `adopt` may be called from several threads at once, for
    different runs.

    Attributes:
        out: The bundle that is made from the spool.
        folder: The folder of the spool.
        contents: The contents of artifacts.
    """

    def __init__(self, out: Path, folder: SpoolFolder, lock: FolderLock) -> None:
        self.out, self.folder = out, folder.path
        self._files, self._lock = folder, lock
        self._pages = PageStore(folder)
        self.contents = ContentStore(folder.contents)
        self._stored: dict[RunPath, StoredRun] = {}

    @classmethod
    def open(cls, out: Path, *, plan: Mapping[str, Any], folder: Path | None = None) -> Spool:
        """Create a spool, or continue one that was created with the same plan.

        Args:
            out: The bundle that is made from the spool.
            plan: What is downloaded, as JSON-like values.
            folder: The folder of the spool, in the file system of `out`; `OUT.partial` if None.

        Raises:
            UsageError: The folder belongs to another plan, or another process uses it.
            FileMissingError: The folder of `out` does not exist.
            PullLogsError: The disk is full, or the folder cannot be written.
        """
        files = SpoolFolder(spool_path(out) if folder is None else folder)
        with disk_errors(files.path, hint="free some space and run the same command again"):
            files.path.mkdir(exist_ok=True)
            lock = FolderLock(files.path)
            try:
                files.claim(plan)
                spool = cls(out, files, lock)
                spool._recover()
            except BaseException:
                lock.release()
                raise
        return spool

    def _recover(self) -> None:
        """Find the finished runs, and remove what a crash left incomplete."""
        self._files.create_folders()
        for file in sorted(self._files.runs.iterdir()):
            try:
                stored = (
                    read_stored(file, contents=self._files.contents)
                    if self._files.is_run_file(file)
                    else None
                )
            except BundleDamagedError:
                stored = None
            if stored is None:
                file.unlink()
                continue
            self._stored[stored.path] = stored
            self._files.remove_leftovers(stored.path)
        self._pages.recover()

    @property
    def stored(self) -> Mapping[RunPath, StoredRun]:
        """The finished runs, including those of earlier attempts."""
        return MappingProxyType(self._stored)

    def append(self, path: RunPath, lane: Lane, batch: pa.Table, *, key: str) -> None:
        """Write a page of a run to the disk.

        Args:
            path: The run.
            lane: The way the page was downloaded.
            batch: The rows of the page.
            key: The name of the page, to recognize it after a crash.

        Raises:
            DataError: A column has a type that cannot be stored.
            PullLogsError: The disk is full, or the file cannot be written; nothing of the page is left.
        """
        with self._disk_errors():
            self._pages.append(path, lane, batch, key=key)

    def frames(self, path: RunPath) -> Sequence[PageFrame]:
        """Return the complete pages of a run in the order of arrival; a long page has several frames."""
        return self._pages.frames(path)

    def has_pages(self, path: RunPath) -> bool:
        """Return whether there may be pages of a run, without reading the disk."""
        return self._pages.may_have(path)

    def files_folder(self, path: RunPath) -> Path:
        """Create the folder for the logged files of a run, which is removed when the run is finished.

        Raises:
            PullLogsError: The folder cannot be written.
        """
        folder = self._files.files_of(path)
        with self._disk_errors():
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def finish(
        self,
        info: RunInfo,
        coverage: Coverage,
        extras: RunExtras = NO_EXTRAS,
    ) -> StoredRun:
        """Merge and encode the pages of a run, write the run to the disk, and remove the pages.

        Raises:
            DataError: A value cannot be stored.
            PullLogsError: The disk is full, or the file cannot be written; the pages are kept.
        """
        pages = self._pages.frames(info.path)
        if sum(page.weight for page in pages) <= _MAX_IN_MEMORY:
            batches = [LanedBatch(page.lane, page.load()) for page in pages]
            return self.store(info, coverage, batches, extras)
        scratch = self._files.scratch_file(info.path)
        try:
            with self._disk_errors():
                settled = settle_frames(pages, scratch)
            return self.store_merged(info, coverage, lambda: (frame.load() for frame in settled), extras)
        finally:
            scratch.unlink(missing_ok=True)

    def store(
        self,
        info: RunInfo,
        coverage: Coverage,
        batches: Sequence[LanedBatch],
        extras: RunExtras = NO_EXTRAS,
    ) -> StoredRun:
        """Merge and encode a run that is in memory, write it to the disk, and remove its pages.

        Raises:
            DataError: A value cannot be stored.
            PullLogsError: The disk is full, or the file cannot be written; the pages are kept.
        """
        merged = list(merge_batches(batches))
        if sum(batch.nbytes for batch in merged) <= _ENCODED_IN_MEMORY:
            return self.store_encoded(info, coverage, encode_history(lambda: merged), extras)
        return self.store_merged(info, coverage, lambda: merged, extras)

    def store_merged(
        self,
        info: RunInfo,
        coverage: Coverage,
        batches: Batches,
        extras: RunExtras = NO_EXTRAS,
    ) -> StoredRun:
        """Encode a run whose rows are already merged, write it to the disk, and remove its pages.

        Raises:
            DataError: A value cannot be stored.
            BundleDamagedError: The bundle that the rows are read from is damaged.
            PullLogsError: The disk is full, or the file cannot be written; the pages are kept.
        """
        with self._disk_errors():
            run = self._kept(info, coverage, batches, extras)
            return self._add(store_run(self._files.run_file(info.path), run))

    def store_encoded(
        self,
        info: RunInfo,
        coverage: Coverage,
        history: EncodedHistory,
        extras: RunExtras = NO_EXTRAS,
    ) -> StoredRun:
        """Write a run whose history is already encoded to the disk, and remove its pages.

        Raises:
            DataError: A value of its system metrics cannot be stored.
            PullLogsError: The disk is full, or the file cannot be written; the pages are kept.
        """
        with self._disk_errors():
            run = self._kept(info, coverage, tuple, extras)
            return self._add(store_run(self._files.run_file(info.path), run, history=history))

    def _kept(self, info: RunInfo, coverage: Coverage, batches: Batches, extras: RunExtras) -> BundleRun:
        """Return a run with the contents of its artifacts in this folder."""
        return BundleRun(
            info=info,
            coverage=coverage,
            batches=batches,
            system=extras.system,
            files=extras.files,
            console=extras.console,
            artifacts=self.contents.keep(extras.artifacts),
        )

    def adopt(
        self,
        run: EncodedRun,
        *,
        info: RunInfo | None = None,
        coverage: Coverage | None = None,
        files: Sequence[FileSource] | None = None,
        console: ConsoleSource | None = None,
        artifacts: ArtifactsSource | None = None,
    ) -> StoredRun:
        """Copy the histories of a run of another bundle byte for byte, its files, console log and artifacts.

        Args:
            run: The run.
            info: Facts that replace those of that bundle.
            coverage: A coverage that replaces that of that bundle.
            files: Files that replace those of that bundle.
            console: A console log that replaces that of that bundle.
            artifacts: Artifacts that replace those of that bundle.

        Raises:
            BundleDamagedError: That bundle is damaged.
            PullLogsError: The disk is full, or the file cannot be written.
        """
        copied = CopiedRun(run=run, info=info, coverage=coverage, files=files, console=console)
        with self._disk_errors():
            kept = self.contents.keep(run.artifacts if artifacts is None else artifacts)
            copied = replace(copied, artifacts=kept)
            return self._add(copy_run(self._files.run_file(run.path), copied))

    def restate(self, info: RunInfo) -> StoredRun:
        """Replace the facts of a finished run.

        Raises:
            BundleDamagedError: The stored run is damaged.
            PullLogsError: The disk is full, or the file cannot be written.
        """
        with self._disk_errors():
            return self._add(restate_run(self._stored[info.path], info))

    def _add(self, stored: StoredRun) -> StoredRun:
        self._stored[stored.path] = stored
        self._pages.forget(stored.path)
        self._files.remove_leftovers(stored.path)
        return stored

    def discard(self, path: RunPath) -> None:
        """Remove a run, finished or not."""
        self._stored.pop(path, None)
        self._files.run_file(path).unlink(missing_ok=True)
        self._pages.forget(path)
        self._files.remove_leftovers(path)

    def discard_pages(self, path: RunPath) -> None:
        """Remove the pages of an unfinished run; its files stay, for they are checked when they are used."""
        self._pages.forget(path)
        self._files.remove_pages(path)

    def seal(self, *, metrics: str | None = None) -> SealReport:
        """Make the bundle from the finished runs, verify it, give it its name, and remove the spool.

        Args:
            metrics: The regular expression of the metrics that were kept, for the manifest; None for all.

        Raises:
            BundleDamagedError: The bundle was not written correctly; the spool is kept.
            PullLogsError: The disk is full, or the bundle cannot be written; the spool is kept.
        """
        from pull_logs.snapshot.write.seal import seal_runs

        with self._disk_errors():
            report = seal_runs(self._stored.values(), out=self.out, temp=self._files.bundle, metrics=metrics)
        self._files.remove_data()
        with suppress(OSError):
            self._lock.remove_folder()
        return report

    def seal_parts(self, *, size: int, metrics: str | None = None) -> tuple[SealReport, ...]:
        """Make bundles of the finished runs, and remove the spool; none if there are no runs.

        If this process is killed meanwhile, the spool still has all runs.

        Args:
            size: About how many bytes of runs a bundle has; a larger run has one of its own.
            metrics: As for `seal`.

        Raises:
            BundleDamagedError: As for `seal`.
            PullLogsError: As for `seal`.
        """
        from pull_logs.snapshot.write.seal import seal_runs

        reports = []
        with self._disk_errors():
            for number, runs in enumerate(self._parts(size), 1):
                out = self.out if number == 1 else numbered(self.out, number)
                reports.append(seal_runs(runs, out=out, temp=self._files.bundle, metrics=metrics))
        self._files.remove_data()
        with suppress(OSError):
            self._lock.remove_folder()
        return tuple(reports)

    def _parts(self, size: int) -> Iterator[list[StoredRun]]:
        """Divide the finished runs, in path order."""
        part: list[StoredRun] = []
        total = 0
        for path in sorted(self._stored):
            run = self._stored[path]
            needed = run.file.stat().st_size
            if run.artifacts is not None:
                needed += sum(one.record.bytes for one in run.artifacts.contents)
            if part and total + needed > size:
                yield part
                part, total = [], 0
            part.append(run)
            total += needed
        if part:
            yield part

    def close(self) -> None:
        """Release the folder and keep its content."""
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _disk_errors(self) -> AbstractContextManager[None]:
        hint = f"what arrived is kept in {str(self.folder)!r}: free some space and run the same command again"
        return disk_errors(self.out, hint=hint)


def numbered(out: Path, number: int) -> Path:
    """Return the file of the second bundle, or a later one, that is made from a spool."""
    return out.with_name(f"{out.name.removesuffix(BUNDLE_ENDING)}-{number}{BUNDLE_ENDING}")
