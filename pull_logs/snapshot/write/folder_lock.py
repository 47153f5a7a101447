"""A lock on a folder that the system gives back when its holder dies, however it dies."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pull_logs.errors import UsageError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


class FolderLock:
    """Holds the file `lock` in a folder for itself.

    Raises:
        UsageError: Another process, or another part of this one, holds it.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "lock"
        self._file = self._acquire(folder)

    def _acquire(self, folder: Path) -> int:
        while True:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                _lock(file)
            except OSError as exc:
                holder = os.pread(file, 32, 1).decode("ascii", "replace") if hasattr(os, "pread") else ""
                os.close(file)
                who = f"process {holder}" if holder else "another process"
                raise UsageError(
                    f"{str(folder)!r} is in use by {who}", hint="wait for it to end, or choose another name"
                ) from exc
            if self._is_ours(file):
                # The first byte is the one that Windows locks, so others read from the second on.
                os.ftruncate(file, 0)
                os.write(file, b" " + str(os.getpid()).encode())
                return file
            os.close(file)  # its last holder removed the folder while we waited for the lock

    def _is_ours(self, file: int) -> bool:
        try:
            return os.path.samestat(os.fstat(file), self._path.stat())
        except FileNotFoundError:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            return False

    def release(self) -> None:
        """Let others have it."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _lock(file: int) -> None:
    if sys.platform == "win32":
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
