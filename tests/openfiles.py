"""File operations as on Windows: what is open, or mapped into memory, is neither replaced nor removed."""

# ruff: noqa: PTH110, PTH112, PTH115, PTH116, PTH118, PTH119, PTH123, PTH208

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

_BUSY = 13, "The process cannot access the file because it is being used by another process"

_LOCK = "lock"
"""The file of the lock on a folder: it is open while the folder is removed."""

FileId = tuple[int, int]


def _open_files() -> Iterator[tuple[FileId, str]]:
    """The device and inode of each regular file that this process has open, and its path."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            status = os.stat(int(name))
            yield (status.st_dev, status.st_ino), os.readlink(f"/proc/self/fd/{name}")


def _mapped_files() -> Iterator[tuple[FileId, str]]:
    """The same for the files that are mapped into memory."""
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            if "/" not in line or ".so" in line:
                continue
            _, _, _, device, inode, path = line.rstrip("\n").split(None, 5)
            major, minor = (int(part, 16) for part in device.split(":"))
            yield (os.makedev(major, minor), int(inode)), path


def _path_of(path: Any, dir_fd: int | None) -> str:
    text = os.fsdecode(path)
    return text if dir_fd is None else os.path.join(os.readlink(f"/proc/self/fd/{dir_fd}"), text)


def _refuse_open(path: str) -> None:
    """Raise if a file is open, or if a file below a folder is.

    Raises:
        PermissionError: It is.
    """
    try:
        status = os.stat(path)
    except OSError:
        return
    below = os.path.realpath(path) + os.sep
    for attempt in range(2):
        held = [*_open_files(), *_mapped_files()]
        # The descriptor of a folder is how `shutil.rmtree` walks it here; on Windows it has none.
        file = (status.st_dev, status.st_ino)
        busy = [
            name
            for held_file, name in held
            if (held_file == file or name.startswith(below)) and not os.path.isdir(name)
        ]
        if not busy:
            return
        if os.path.basename(path) == _LOCK:
            break  # held on purpose, and a collection takes half a second in a process full of tests
        if attempt == 0:
            gc.collect()  # what waits only for the collector is no matter of this law
    raise PermissionError(*_BUSY, path)


def refuse_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `os.replace`, `os.rename`, `os.unlink` and `os.remove` refuse files that are open."""

    def guarded(name: str, *, targets: Callable[..., list[str]]) -> None:
        real = getattr(os, name)

        def checked(*arguments: Any, **options: Any) -> Any:
            for path in targets(*arguments, **options):
                _refuse_open(path)
            return real(*arguments, **options)

        monkeypatch.setattr(os, name, checked)

    def both(
        source: Any, target: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None
    ) -> list[str]:
        return [_path_of(source, src_dir_fd), _path_of(target, dst_dir_fd)]

    def one(path: Any, *, dir_fd: int | None = None) -> list[str]:
        return [_path_of(path, dir_fd)]

    for name in ("replace", "rename"):
        guarded(name, targets=both)
    for name in ("unlink", "remove"):
        guarded(name, targets=one)


WHERE = (
    "tests/snapshot/operations",
    "tests/snapshot/write",
    "tests/snapshot/privacy",
    "tests/sources/wandb_folders",
    "tests/cli/commands",
    "tests/fetch/test_cache",
    "tests/fetch/test_resume",
)
"""The tests that run under this interface."""


def is_under_the_interface(path: Path, root: Path) -> bool:
    """Whether a test runs under the interface."""
    return os.path.exists("/proc/self/fd") and path.relative_to(root).as_posix().startswith(WHERE)
