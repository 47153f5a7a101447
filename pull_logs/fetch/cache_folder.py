"""The folder of the local cache: its size, its removal, and who uses it.

CACHE/runs/...       the cached runs (see `cache`)
CACHE/findings.sqlite  the health findings of runs that were looked at before
CACHE/statistics.sqlite  their statistics
CACHE/in-use/N.lock  a lock of each process that uses the cache at the moment
CACHE/gate.lock      held while one of these is taken, and by a removal from beginning to end
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout

from pull_logs.errors import UsageError
from pull_logs.snapshot import make_folder
from pull_logs.suggestions import counted
from pull_logs.system_errors import from_system_error

_DAY = 86_400.0
_GATE_SECONDS = 60.0
_LOCKS = "in-use"
_GATE = "gate.lock"
_BUNDLE = ".wandb.zip"


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSize:
    """How much a cache holds.

    Attributes:
        folder: The folder of the cache.
        runs: The cached runs.
        files: All files, those that were left by interrupted downloads included.
        bytes: Their size.
    """

    folder: Path
    runs: int = 0
    files: int = 0
    bytes: int = 0

    def __str__(self) -> str:
        other = self.files - self.runs
        more = f" and {counted(other, 'other file')}" if other else ""
        return f"{counted(self.runs, 'run')}{more}, {self.bytes / 1e6:.2f} MB"


def default_folder() -> Path:
    """Return the cache folder of the user for this program; one that no one can create, if there is none."""
    from platformdirs import user_cache_path

    try:
        return user_cache_path("wandb-pull-logs", appauthor=False)
    except RuntimeError:
        return Path(os.devnull, "no home folder")


@contextmanager
def using_cache(folder: Path) -> Iterator[None]:
    """Keep a cache from being pruned while the block runs; one that cannot be written to needs no lock."""
    lock = None
    # A file system without locks raises NotImplementedError.
    with suppress(OSError, Timeout, NotImplementedError):
        lock = _take_lock(folder)
    try:
        yield
    finally:
        if lock is not None:
            lock.release()
            with suppress(OSError):
                Path(lock.lock_file).unlink(missing_ok=True)


def _take_lock(folder: Path) -> FileLock:
    locks = folder / _LOCKS
    make_folder(folder, mode=0o700)
    with FileLock(folder / _GATE, timeout=_GATE_SECONDS, mode=0o600, thread_local=False):
        locks.mkdir(mode=0o700, exist_ok=True)
        _remove_free_locks(folder)
        lock = FileLock(
            locks / f"{os.getpid()}-{uuid4().hex}.lock", timeout=0, mode=0o600, thread_local=False
        )
        lock.acquire()
    return lock


def cache_size(folder: Path) -> CacheSize:
    """Return how much a cache holds; a cache that does not exist holds nothing."""
    return _measured(folder, list(_files(folder)))


def prune_cache(folder: Path, *, older_than: float | None = None) -> CacheSize:
    """Remove cached runs, and what interrupted downloads left.

    Args:
        folder: The folder of the cache.
        older_than: Remove only files that were written more than this many days ago; None for all.

    Returns:
        What was removed.

    Raises:
        UsageError: Another process uses the cache.
        MachineLimitError: A file cannot be removed.
    """
    if not folder.is_dir():
        return CacheSize(folder=folder)
    try:
        with FileLock(folder / _GATE, timeout=0, mode=0o600, thread_local=False):
            _refuse_users(folder)
            until = None if older_than is None else time.time() - older_than * _DAY
            old = [file for file in _files(folder) if until is None or file.lstat().st_mtime < until]
            removed = _measured(folder, old)
            for file in old:
                _remove(file)
            _remove_empty(folder)
    except Timeout as exc:
        raise _in_use(folder, "another process") from exc
    return removed


def _remove(file: Path) -> None:
    try:
        file.unlink()
    except OSError as exc:
        raise from_system_error(exc, path=file, action="deleted") from exc


def _refuse_users(folder: Path) -> None:
    """Raise if a process uses the cache; the locks of processes that were killed are removed."""
    held = _remove_free_locks(folder)
    if held:
        raise _in_use(folder, f"process {held[0].name.partition('-')[0]}")


def _remove_free_locks(folder: Path) -> list[Path]:
    """Remove the locks of processes that were killed; return those that are held."""
    held = []
    for file in sorted((folder / _LOCKS).glob("*.lock")):
        lock = FileLock(file, timeout=0, thread_local=False)
        try:
            lock.acquire()
        except Timeout:
            held.append(file)
            continue
        lock.release()
        file.unlink(missing_ok=True)
    return held


def _in_use(folder: Path, user: str) -> UsageError:
    return UsageError(
        f"the cache {str(folder)!r} is in use by {user}", hint="wait for it to end, then prune again"
    )


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files of a cache, without locks; links are files of their own and not followed."""
    for parent, _, names in os.walk(folder):
        for name in names:
            file = Path(parent, name)
            if file != folder / _GATE and Path(parent) != folder / _LOCKS:
                yield file


def _remove_empty(folder: Path) -> None:
    for parent, _, _ in os.walk(folder, topdown=False):
        if Path(parent) != folder:
            with suppress(OSError):
                Path(parent).rmdir()


def _measured(folder: Path, files: list[Path]) -> CacheSize:
    return CacheSize(
        folder=folder,
        runs=sum(file.name.startswith("run=") and file.name.endswith(_BUNDLE) for file in files),
        files=len(files),
        bytes=sum(file.lstat().st_size for file in files),
    )
