"""Write to the disk: its errors as our own, and `fsync` of files and folders."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pull_logs.system_errors import from_system_error


@contextmanager
def disk_errors(path: Path, *, hint: str) -> Iterator[None]:
    """Raise errors of the file system, while `path` is written, as our own.

    Args:
        path: The file that is written.
        hint: What to do if the disk is full.

    Raises:
        FileMissingError: The folder does not exist.
        UsageError: No file can have the path.
        MachineLimitError: The disk is full, or the file cannot be written.
    """
    try:
        yield
    except OSError as exc:
        raise from_system_error(exc, path=path, action="written", hint=hint) from exc


def flush(file: BinaryIO) -> None:
    """Hand the written bytes of an open file to the system, so that they survive the end of the process."""
    file.flush()


def sync(file: BinaryIO) -> None:
    """Wait until the written bytes of an open file are on the disk, so that they survive a loss of power."""
    file.flush()
    os.fsync(file.fileno())


def sync_file(file: Path) -> None:
    """Wait until the bytes of a file are on the disk, even if another process wrote them."""
    with file.open("r+b") as opened:
        sync(opened)


def sync_folder(folder: Path) -> None:
    """Wait until a new name in the folder is on the disk; Windows has no such call."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
