"""A lock on a folder, which the operating system releases when the process that holds it ends for any reason."""

from __future__ import annotations

import os
from pathlib import Path

from filelock import FileLock, Timeout

from pull_logs.errors import UsageError


class FolderLock:
    """Holds the file `lock` in a folder.

    `filelock` takes the lock, on Windows as well, and closes it in processes that were forked meanwhile. What
    it does not do is done here: it does not record who holds a lock, so the process id is in `lock.pid`; and it
    gives up, rather than try again, when the last holder removed the folder at the moment of the attempt.

    Raises:
        UsageError: Another process, or another part of this one, holds the lock.
    """

    def __init__(self, folder: Path) -> None:
        self._holder = folder / "lock.pid"
        # The lock may be released by another thread than the one that took it.
        self._lock = FileLock(folder / "lock", timeout=0, mode=0o600, thread_local=False)
        self._acquire(folder)
        try:
            self._holder.write_text(str(os.getpid()), encoding="ascii")
        except BaseException:
            self.release()
            raise

    def _acquire(self, folder: Path) -> None:
        while True:
            try:
                self._lock.acquire()
            except Timeout as exc:
                if not Path(self._lock.lock_file).exists():
                    continue
                raise UsageError(
                    f"{str(folder)!r} is in use by {self._holder_name()}",
                    hint="wait for it to end, or choose another name",
                ) from exc
            return

    def _holder_name(self) -> str:
        try:
            return f"process {int(self._holder.read_text(encoding='ascii'))}"
        except (OSError, ValueError):
            return "another process"

    def release(self) -> None:
        """Let others take the lock; releasing it again does nothing."""
        if self._lock.is_locked:
            self._holder.unlink(missing_ok=True)
            self._lock.release()
