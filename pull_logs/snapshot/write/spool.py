"""A bundle in the making: what arrived is on disk, so a crash costs the page that was on its way.

    OUT.partial/
      plan.json           what is being pulled; another plan is another spool
      lock                held by the process that pulls
      frames/KEY.frames   pages of one run as they came, each with a checksum
      files/KEY/          files that a run logged, as they come: whoever fetches them names them
      runs/KEY.run        a finished run (see `stored`)

KEY is a hash of the run's path. A page is whole or it is cut off when the spool
is opened again (see `frames`); a run is finished when its file has its name.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

import orjson
import pyarrow as pa

from pull_logs.errors import BundleDamagedError, UsageError
from pull_logs.rows.canonical import canon_text
from pull_logs.rows.merge import Lane, LanedBatch, merge_batches
from pull_logs.runs import Coverage, RunInfo, RunPath
from pull_logs.snapshot.disk import disk_errors, sync
from pull_logs.snapshot.format import FileSource
from pull_logs.snapshot.read import Run
from pull_logs.snapshot.write.folder_lock import FolderLock
from pull_logs.snapshot.write.page_file import Frame, cut_torn_tail, read_frames, write_frames
from pull_logs.snapshot.write.page_merge import settle_frames
from pull_logs.snapshot.write.seal import SealReport, seal_runs
from pull_logs.snapshot.write.stored_run import Batches, StoredRun, copy_run, read_stored, store_run

if TYPE_CHECKING:
    from types import TracebackType

_AT_ONCE = 32 << 20
"""Bytes of rows up to which a run is merged in memory; a longer one is merged part by part."""

_SCRATCH = ".merged"


class Spool:
    """The folder `OUT.partial` while it is held by this process; use it in `with`.

    `append`, `store`, `finish` and `adopt` may be called from several threads
    at once for different runs.

    Attributes:
        out: The bundle to be.
        folder: Where everything is until then.
    """

    def __init__(self, out: Path, folder: Path, lock: FolderLock) -> None:
        self.out, self.folder, self._lock = out, folder, lock
        self._runs, self._frames, self._files = folder / "runs", folder / "frames", folder / "files"
        self._stored: dict[RunPath, StoredRun] = {}
        self._known_frames: dict[RunPath, list[Frame]] = {}
        self._guard = threading.Lock()

    @classmethod
    def open(cls, out: Path, *, plan: Mapping[str, Any]) -> Spool:
        """Begin a spool, or go on with one that was begun under the same plan.

        Args:
            out: The bundle to be.
            plan: What is being pulled, as JSON-like values.

        Raises:
            UsageError: The folder holds another plan's data, or another process works on it.
            FileMissingError: The folder of `out` does not exist.
            PullLogsError: The disk is full or does not take it.
        """
        folder = out.with_name(out.name + ".partial")
        with disk_errors(folder, hint="free some space and run the same command again"):
            folder.mkdir(exist_ok=True)
            lock = FolderLock(folder)
            try:
                _claim(folder, plan)
                spool = cls(out, folder, lock)
                spool._recover()
            except BaseException:
                lock.release()
                raise
        return spool

    @property
    def stored(self) -> Mapping[RunPath, StoredRun]:
        """The runs that are finished, those of earlier attempts included."""
        return MappingProxyType(self._stored)

    def append(self, path: RunPath, lane: Lane, batch: pa.Table, *, key: str) -> None:
        """Keep a page of a run; it is on disk when this returns.

        Args:
            path: The run.
            lane: How the page came.
            batch: Its rows.
            key: Which page it is, to know it again after a crash.

        Raises:
            DataError: A column is of a type that cannot be kept.
            PullLogsError: The disk is full or does not take it; nothing of the page is left.
        """
        file, frames = self._frame_file(path), self._frames_of(path)
        with self._writing():
            start = file.stat().st_size if file.exists() else 0
            try:
                with file.open("ab") as out:
                    written = write_frames(out, file, lane, batch, key=key)
                    sync(out)
            except BaseException:
                # Not before it is closed: closing writes what was still buffered.
                if file.exists():
                    os.truncate(file, start)
                raise
        frames.extend(written)

    def frames(self, path: RunPath) -> Sequence[Frame]:
        """The pages of a run that arrived whole, in the order of their arrival, long ones in several parts."""
        return tuple(self._frames_of(path))

    def finish(
        self,
        info: RunInfo,
        coverage: Coverage,
        *,
        system: pa.Table | None = None,
        files: Sequence[FileSource] = (),
    ) -> StoredRun:
        """Merge and encode the pages of a run; it is finished when this returns, and its pages are removed.

        Raises:
            DataError: A value cannot be kept.
            PullLogsError: The disk is full or does not take it; its pages are kept.
        """
        pages = self._frames_of(info.path)
        if sum(page.weight for page in pages) <= _AT_ONCE:
            batches = [LanedBatch(page.lane, page.load()) for page in pages]
            stored = self.store(info, coverage, batches, system=system, files=files)
        else:
            stored = self._finish_long(info, coverage, pages, system=system, files=files)
        self._drop_frames(info.path)
        return stored

    def _finish_long(
        self,
        info: RunInfo,
        coverage: Coverage,
        pages: Sequence[Frame],
        *,
        system: pa.Table | None,
        files: Sequence[FileSource],
    ) -> StoredRun:
        """Merge and encode pages of which only a few are in memory at a time."""
        scratch = self._frame_file(info.path).with_suffix(_SCRATCH)
        try:
            with self._writing():
                settled = settle_frames(pages, scratch)
                stored = store_run(
                    self._run_file(info.path),
                    info=info,
                    coverage=coverage,
                    batches=lambda: (frame.load() for frame in settled),
                    system=system,
                    files=files,
                )
        finally:
            scratch.unlink(missing_ok=True)
        self._stored[stored.path] = stored
        return stored

    def store(
        self,
        info: RunInfo,
        coverage: Coverage,
        batches: Sequence[LanedBatch],
        *,
        system: pa.Table | None = None,
        files: Sequence[FileSource] = (),
    ) -> StoredRun:
        """Merge and encode a run that is at hand whole; it is finished when this returns.

        Raises:
            DataError: A value cannot be kept.
            PullLogsError: The disk is full or does not take it.
        """
        merged = list(merge_batches(batches))
        with self._writing():
            stored = store_run(
                self._run_file(info.path),
                info=info,
                coverage=coverage,
                batches=lambda: merged,
                system=system,
                files=files,
            )
        self._stored[stored.path] = stored
        self._drop_files(info.path)
        return stored

    def store_merged(
        self,
        info: RunInfo,
        coverage: Coverage,
        batches: Batches,
        *,
        system: pa.Table | None = None,
        files: Sequence[FileSource] = (),
    ) -> StoredRun:
        """Encode a run whose rows are merged already, a batch at a time; its pages are removed.

        Raises:
            DataError: A value cannot be kept.
            BundleDamagedError: The bundle that the rows are read from is damaged.
            PullLogsError: The disk is full or does not take it; its pages are kept.
        """
        with self._writing():
            stored = store_run(
                self._run_file(info.path),
                info=info,
                coverage=coverage,
                batches=batches,
                system=system,
                files=files,
            )
        self._stored[stored.path] = stored
        self._drop_frames(info.path)
        return stored

    def adopt(
        self,
        run: Run,
        *,
        info: RunInfo | None = None,
        coverage: Coverage | None = None,
        files: Sequence[FileSource] | None = None,
    ) -> StoredRun:
        """Take the histories of a run of another bundle as they are, byte for byte, and its files.

        Args:
            run: The run.
            info: Its facts, where they are not those of that bundle any more.
            coverage: What was promised of it and arrived, likewise.
            files: Its files, where they are not those of that bundle any more.

        Raises:
            BundleDamagedError: That bundle is damaged.
            PullLogsError: The disk is full or does not take it.
        """
        with self._writing():
            stored = copy_run(self._run_file(run.path), run, info=info, coverage=coverage, files=files)
        self._stored[stored.path] = stored
        self._drop_files(run.path)
        return stored

    def files_folder(self, path: RunPath) -> Path:
        """A folder for the files of a run while they come; it goes when the run is finished or forgotten.

        Raises:
            PullLogsError: The disk does not take it.
        """
        folder = self._files / _key(path)
        with self._writing():
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def discard(self, path: RunPath) -> None:
        """Forget a run, finished or not."""
        self._stored.pop(path, None)
        self._run_file(path).unlink(missing_ok=True)
        self._drop_frames(path)

    def seal(self, *, metrics: str | None = None) -> SealReport:
        """Make the bundle of the finished runs, check it, give it its name, and remove the spool.

        Args:
            metrics: Which metrics were kept, for the manifest; None for all.

        Raises:
            BundleDamagedError: What was written is not what can be read; the spool is kept.
            PullLogsError: The disk is full or does not take it; the spool is kept.
        """
        with self._writing():
            report = seal_runs(
                self._stored.values(), out=self.out, temp=self.folder / "bundle.zip", metrics=metrics
            )
        # A plan without runs is no spool, so the plan goes last: killed here, the next one starts anew.
        shutil.rmtree(self._runs, ignore_errors=True)
        shutil.rmtree(self._frames, ignore_errors=True)
        shutil.rmtree(self._files, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.close()
        return report

    def close(self) -> None:
        """Let go of the folder, which stays."""
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _writing(self) -> Any:
        hint = f"what arrived is kept in {str(self.folder)!r}: free some space and run the same command again"
        return disk_errors(self.out, hint=hint)

    def _recover(self) -> None:
        """Find the finished runs, and cut off what a crash left half-written."""
        for folder in (self._runs, self._frames):
            folder.mkdir(exist_ok=True)
        (self.folder / "bundle.zip").unlink(missing_ok=True)
        for file in sorted(self._runs.iterdir()):
            try:
                stored = read_stored(file)
            except BundleDamagedError:
                file.unlink()
                continue
            self._stored[stored.path] = stored
            (self._frames / f"{file.stem}.frames").unlink(missing_ok=True)
            shutil.rmtree(self._files / file.stem, ignore_errors=True)
        for file in self._frames.iterdir():
            if file.suffix == _SCRATCH:
                file.unlink()
            else:
                cut_torn_tail(file)

    def _frames_of(self, path: RunPath) -> list[Frame]:
        with self._guard:
            frames = self._known_frames.get(path)
        if frames is None:
            file = self._frame_file(path)
            found = read_frames(file) if file.exists() else []
            with self._guard:
                frames = self._known_frames.setdefault(path, found)
        return frames

    def _drop_frames(self, path: RunPath) -> None:
        with self._guard:
            self._known_frames.pop(path, None)
        self._frame_file(path).unlink(missing_ok=True)
        self._drop_files(path)

    def _drop_files(self, path: RunPath) -> None:
        shutil.rmtree(self._files / _key(path), ignore_errors=True)

    def _run_file(self, path: RunPath) -> Path:
        return self._runs / f"{_key(path)}.run"

    def _frame_file(self, path: RunPath) -> Path:
        return self._frames / f"{_key(path)}.frames"


def _claim(folder: Path, plan: Mapping[str, Any]) -> None:
    """Make the folder that of `plan`, unless it is another's."""
    wanted = orjson.dumps(plan, option=orjson.OPT_SORT_KEYS)
    file = folder / "plan.json"
    if file.exists():
        if file.read_bytes() != wanted:
            raise UsageError(
                f"{str(folder)!r} holds what arrived for another selection of runs",
                hint="run that command again to finish it, pass --fresh, or delete the folder",
            )
        return
    temp = folder / "plan.json.tmp"
    with temp.open("wb") as out:
        out.write(wanted)
        sync(out)
    temp.replace(file)


def _key(path: RunPath) -> str:
    return hashlib.sha256(canon_text(f"{path.entity}\n{path.project}\n{path.run_id}").encode()).hexdigest()[
        :32
    ]
