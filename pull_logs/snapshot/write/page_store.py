"""The pages of unfinished runs, in one file per run."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pyarrow as pa

from pull_logs.rows.merge import Lane
from pull_logs.runs import RunPath
from pull_logs.snapshot.disk import flush
from pull_logs.snapshot.write.page_file import PageFrame, cut_torn_tail, read_frames, write_frames
from pull_logs.snapshot.write.spool_folder import SpoolFolder


class PageStore:
    """Appends pages to files and reads them back.

    Threads may work on different runs at once.
    """

    def __init__(self, folder: SpoolFolder) -> None:
        self._folder = folder
        self._frames: dict[RunPath, list[PageFrame]] = {}
        self._recovered: set[Path] = set()
        self._lock = threading.Lock()

    def recover(self) -> None:
        """Remove what a crash left incomplete."""
        for file in self._folder.pages.iterdir():
            if self._folder.is_page_file(file):
                cut_torn_tail(file)
                self._recovered.add(file)
            else:
                file.unlink()

    def frames(self, run: RunPath) -> tuple[PageFrame, ...]:
        """Return the pages of a run in the order in which they were appended."""
        return tuple(self._known(run))

    def may_have(self, run: RunPath) -> bool:
        """Return whether a page of a run was appended or recovered; it may have been forgotten since."""
        return run in self._frames or self._folder.page_file(run) in self._recovered

    def append(self, run: RunPath, lane: Lane, batch: pa.Table, *, key: str) -> None:
        """Write a page to its file; after an error nothing of it is left.

        Raises:
            DataError: A column has a type that cannot be stored.
            OSError: The file cannot be written.
        """
        file, frames = self._folder.page_file(run), self._known(run)
        start = file.stat().st_size if file.exists() else 0
        try:
            with file.open("ab") as out:
                written = write_frames(out, file, lane, batch, key=key)
                flush(out)
        except BaseException:
            # Only after the file was closed: closing writes what was still buffered.
            if file.exists():
                os.truncate(file, start)
            raise
        frames.extend(written)

    def forget(self, run: RunPath) -> None:
        """Forget the pages of a run whose file is removed."""
        with self._lock:
            self._frames.pop(run, None)

    def _known(self, run: RunPath) -> list[PageFrame]:
        with self._lock:
            frames = self._frames.get(run)
        if frames is None:
            found = _read(self._folder.page_file(run))
            with self._lock:
                frames = self._frames.setdefault(run, found)
        return frames


def _read(file: Path) -> list[PageFrame]:
    return read_frames(file) if file.exists() else []
