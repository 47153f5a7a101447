"""Temporary folders that do not outlive their process for long.

A folder is removed when its block ends, also by a signal (see `cli.signals`). What a process leaves that is
killed at once is removed by the next one that makes a temporary folder beside it: a folder whose lock can be
taken has no living owner, on this machine or another.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pull_logs.errors import UsageError
from pull_logs.snapshot.disk import disk_errors
from pull_logs.snapshot.write.folder_lock import FolderLock, has_lock

_PREFIX = ".pull-logs-"
_SUFFIX = ".tmp"
_ATTEMPTS = 20

_BEING_MADE_SECONDS = 0.1
"""For so long, a folder without a lock may be one that another thread or process is about to lock."""


@contextmanager
def temporary_folder(parent: Path | None = None) -> Iterator[Path]:
    """Create a private folder for the duration of a block, and remove those of processes that have ended.

    Args:
        parent: Where to create it; the folder of the system for temporary files if None.

    Yields:
        The folder, which contains only its lock.

    Raises:
        FileMissingError: The folder `parent` does not exist.
        MachineLimitError: It cannot be created, for example because the disk is full.
    """
    parent = Path(tempfile.gettempdir()) if parent is None else parent
    with disk_errors(parent / f"{_PREFIX}*{_SUFFIX}", hint="free some space for temporary files"):
        folder, lock = _create(parent)
    try:
        _sweep(parent, keep=folder)
        yield folder
    finally:
        _remove(folder, lock)


def _create(parent: Path) -> tuple[Path, FolderLock]:
    for _ in range(_ATTEMPTS):
        folder = parent / f"{_PREFIX}{secrets.token_hex(8)}{_SUFFIX}"
        folder.mkdir(mode=0o700)
        try:
            return folder, FolderLock(folder)
        except (UsageError, FileNotFoundError, FileExistsError):
            # Another process took the folder for one without an owner before it was locked.
            shutil.rmtree(folder, ignore_errors=True)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    raise FileNotFoundError(f"a temporary folder in {str(parent)!r} is removed again and again")


def _sweep(parent: Path, *, keep: Path) -> None:
    """Remove the temporary folders of this user whose owners have ended."""
    with contextlib.suppress(OSError):
        for name in os.listdir(parent):  # noqa: PTH208 - a `Path` per name is made only for our own
            if name.startswith(_PREFIX) and name.endswith(_SUFFIX) and name != keep.name:
                _sweep_folder(parent / name)


def _sweep_folder(folder: Path) -> None:
    with contextlib.suppress(OSError, UsageError):
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != _user():
            return
        if has_lock(folder) or time.time() - status.st_mtime > _BEING_MADE_SECONDS:
            FolderLock(folder).remove_folder()


def _user() -> int:
    """Return the user whose folders are removed; all have the same on Windows."""
    return os.getuid() if hasattr(os, "getuid") else 0


def _remove(folder: Path, lock: FolderLock) -> None:
    """Remove a folder, also if that is interrupted; what is open on Windows is removed by a later process."""
    try:
        with contextlib.suppress(OSError):
            lock.remove_folder()
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
