"""Writing to the disk: one error border, and waiting until the bytes are there."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pull_logs.errors import FileMissingError, PullLogsError

_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))


@contextmanager
def disk_errors(place: Path, *, hint: str) -> Iterator[None]:
    """Turn what the file system says while `place` is written into one clear error.

    Raises:
        PullLogsError: The disk is full or does not take the file.
        FileMissingError: The folder is not there.
    """
    try:
        yield
    except FileNotFoundError as exc:
        raise FileMissingError(f"{str(place)!r} cannot be written: its folder does not exist") from exc
    except OSError as exc:
        if exc.errno in _FULL:
            raise PullLogsError(f"the disk is full, {str(place)!r} is not finished", hint=hint) from exc
        raise PullLogsError(f"{str(place)!r} cannot be written: {exc.strerror or exc}") from exc


def sync(file: BinaryIO) -> None:
    """Wait until the disk has what was written."""
    file.flush()
    os.fsync(file.fileno())


def sync_file(file: Path) -> None:
    """Wait until the disk has the bytes of a file, whoever wrote them."""
    with file.open("r+b") as opened:
        sync(opened)


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the new name; Windows has no such call."""
    if os.name == "posix":
        place = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(place)
        finally:
            os.close(place)
