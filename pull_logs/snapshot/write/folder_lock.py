"""A lock on a folder, which is free again when the process that holds it ends for any reason.

`filelock` takes it. Where a file system has no locks, a file with the process id, its start and the host is
used instead, and ignored when its process was one of this host and has ended.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from pull_logs.errors import UsageError

_WITHOUT_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, getattr(errno, "ENOTSUP", 0)})
"""How a file system says that it has no locks."""

_LOCK, _SOFT_LOCK, _HOLDER = "lock", "lock.owner", "lock.pid"


class FolderLock:
    """Holds the file `lock` in a folder, or `lock.owner` where the file system has no locks.

    `filelock` takes the lock, also on Windows, and closes it in processes that are forked meanwhile (since
    version 3.32), so that a worker that outlives a killed download does not keep the lock. Two things are
    added: the process id of the holder is in `lock.pid`, because `filelock` does not record it; and another
    attempt is made if the last holder removed the folder during the first one, because `filelock` gives up.

    Raises:
        UsageError: Another process, or another part of this one, holds the lock.
    """

    def __init__(self, folder: Path) -> None:
        self._holder = folder / _HOLDER
        self._lock = self._acquire(folder)
        try:
            self._holder.write_text(str(os.getpid()), encoding="ascii")
        except BaseException:
            self.release()
            raise

    def _acquire(self, folder: Path) -> BaseFileLock:
        # The lock may be released by another thread than the one that took it.
        lock = FileLock(folder / _LOCK, timeout=0, mode=0o600, thread_local=False, fallback_to_soft=False)
        while True:
            try:
                lock.acquire()
            except Timeout as exc:
                if not Path(lock.lock_file).exists():
                    continue
                raise UsageError(
                    f"{str(folder)!r} is in use by {self._holder_name()}",
                    hint="wait for it to end, or choose another name",
                ) from exc
            except OSError as exc:
                if exc.errno not in _WITHOUT_LOCKS:
                    raise
                return self._acquire_soft(folder)
            return lock

    def _acquire_soft(self, folder: Path) -> BaseFileLock:
        from filelock import SoftFileLock  # which takes longer to import than all other locks

        lock = SoftFileLock(folder / _SOFT_LOCK, timeout=0, mode=0o600, thread_local=False)
        try:
            lock.acquire()
        except Timeout as exc:
            raise UsageError(
                f"{str(folder)!r} is in use by {self._holder_name()}, and its file system has no locks",
                hint=f"wait for it to end; if it has ended, on any machine, delete {lock.lock_file!r}",
            ) from exc
        return lock

    def _holder_name(self) -> str:
        try:
            return f"process {int(self._holder.read_text(encoding='ascii'))}"
        except (OSError, ValueError):
            return "another process"

    def release(self) -> None:
        """Let others take the lock; releasing it again does nothing."""
        if self._lock.is_locked:
            with contextlib.suppress(OSError):  # only a message has it
                self._holder.unlink(missing_ok=True)
            self._lock.release()

    def remove_folder(self) -> None:
        """Remove the folder, and release the lock.

        Everything is removed while the lock is held, except its file on Windows, which removes no open file.

        Raises:
            OSError: Something in it cannot be removed; the lock is released.
        """
        folder = self._holder.parent
        lock = folder / _LOCK
        identity, held = _identity(folder), _identity(lock)
        try:
            for item in folder.iterdir():
                if item.name not in (_LOCK, _SOFT_LOCK, _HOLDER):
                    shutil.rmtree(item) if item.is_dir() else item.unlink()
            shutil.rmtree(folder, ignore_errors=True)
            # Meanwhile another process may have made a lock of this name: it is no longer ours to remove.
            left = held is not None and _identity(lock) == held
        finally:
            self.release()
        with contextlib.suppress(OSError):
            # Another process may have made a new folder of this name: it is left alone.
            if _identity(folder) == identity:
                if left:
                    lock.unlink(missing_ok=True)
                folder.rmdir()


def has_lock(folder: Path) -> bool:
    """Return whether a folder was ever locked; one that was not may be about to be."""
    return any((folder / name).exists() for name in (_LOCK, _SOFT_LOCK))


def _identity(path: Path) -> tuple[int, int] | None:
    """Return the identity of a file or folder; None if there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
