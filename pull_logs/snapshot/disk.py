"""Write to the disk: its errors as our own, and what survives the end of the process or a loss of power.

Every file or folder that a user keeps gets its name here. After a loss of power a name has the bytes from
before or the complete new ones, and once the function returns, the new ones. What a spool or a temporary
folder holds is only handed to the system: it is checked when it is used again. `tests/crash` shows both.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from pull_logs.errors import MachineLimitError
from pull_logs.system_errors import from_system_error

_THREADS = 8
"""How many files of a folder are waited for at once: a disk can write them together."""

_AT_ONCE = 1000
"""How many of them are given to the threads at once."""

_NOT_FOR_FOLDERS = frozenset({errno.EACCES, errno.EINVAL, errno.ENOTSUP})
"""How a file system says that it cannot wait for a folder, or that it may be written and not read."""


_WORKING_FOLDER, _EXCHANGE = -100, 2
"""`AT_FDCWD` and `RENAME_EXCHANGE` of Linux."""


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
    """Wait until a new name in the folder is on the disk; Windows and some file systems have no such call."""
    if os.name != "posix":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as exc:
        if exc.errno not in _NOT_FOR_FOLDERS:
            raise


def files_below(folder: Path) -> Iterator[Path]:
    """Iterate over the files in a folder and in the folders below it; links to folders are not followed."""
    return (Path(parent, name) for parent, _, names in os.walk(folder) for name in names)


def make_folder(folder: Path, *, mode: int = 0o777) -> None:
    """Create a folder and those that contain it where there are none, and wait until their names are there.

    Raises:
        OSError: One cannot be created, or the disk failed.
    """
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    for one in reversed(missing or [folder]):
        one.mkdir(mode=mode, exist_ok=True)
    for one in missing:
        sync_folder(one.parent)


def remove_file(file: Path) -> None:
    """Remove a file, if there is one, and wait until its name is gone: no loss of power brings it back.

    Raises:
        OSError: It cannot be removed, or the disk failed.
    """
    file.unlink(missing_ok=True)
    sync_folder(file.parent)


def exchange(left: Path, right: Path) -> bool:
    """Exchange two names at once, so that each is there at any time; return whether that is possible.

    Linux can, on most file systems.
    """
    import ctypes

    if sys.platform != "linux":
        return False
    call = getattr(ctypes.CDLL(None), "renameat2", None)
    if call is None:
        return False
    names = [ctypes.c_char_p(os.fsencode(name)) for name in (left, right)]
    return bool(call(_WORKING_FOLDER, names[0], _WORKING_FOLDER, names[1], ctypes.c_uint(_EXCHANGE)) == 0)


def _sync_all(sync_one: Callable[[Path], None], paths: Iterable[Path]) -> None:
    """Wait for files or folders together, a limited number at a time."""
    remaining = iter(paths)
    with ThreadPoolExecutor(_THREADS) as pool:
        while some := list(islice(remaining, _AT_ONCE)):
            for _ in pool.map(sync_one, some):
                pass


def _parents(files: Iterable[Path], *, root: Path) -> list[Path]:
    """Return the folders from files up to `root`."""
    return sorted({root, *(one for file in files for one in file.parents if one.is_relative_to(root))})


def unused_name(file: Path) -> Path:
    """Return a name beside a file that no other process uses, for its bytes until they are complete."""
    from secrets import token_hex

    return file.with_name(f".saving-{token_hex(8)}")


@contextmanager
def new_file(file: Path, *, temp: Path | None = None, durable: bool = True) -> Iterator[BinaryIO]:
    """Open a new file that gets its name when the block ends, and is removed if the block fails.

    Args:
        file: The file; an existing one is replaced.
        temp: Its name meanwhile, in the same folder; that of the file and `.tmp` if None.
        durable: Whether to wait for the disk; otherwise only the end of the process leaves it complete.

    Yields:
        The file, which can be read and written.

    Raises:
        OSError: It cannot be written; an existing file is unchanged, unless only its folder failed.
    """
    temp = file.with_name(f"{file.name}.tmp") if temp is None else temp
    temp.unlink(missing_ok=True)  # a file that a kill left, or a link, which is not followed
    try:
        with temp.open("x+b") as out:
            yield out
            if durable:
                sync(out)
            else:
                flush(out)
        temp.replace(file)
    except BaseException:
        temp.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(file.parent)


def write_file(file: Path, data: bytes) -> None:
    """Replace a file by one with these bytes, and wait for the disk."""
    with new_file(file) as out:
        out.write(data)


def replace_file(temp: Path, file: Path) -> None:
    """Give a file that is on the disk its name, and wait until the name is on the disk too."""
    temp.replace(file)
    sync_folder(file.parent)


def name_files(files: Mapping[Path, Path], *, root: Path) -> None:
    """Give files their names when all of them are on the disk, and wait until the names are there too.

    Args:
        files: The name of each file, in the same folder.
        root: A folder that contains all of them, and was there before.
    """
    _sync_all(sync_file, files)
    for temp, file in files.items():
        temp.replace(file)
    _sync_all(sync_folder, _parents(files, root=root))


def name_folder(new: Path, folder: Path, *, old: Path | None = None) -> None:
    """Give a new folder its name when all of it is on the disk, and wait until the name is there too.

    An existing folder is replaced at once where the system can exchange two names. Elsewhere there is none
    for a moment, in which both of them are on the disk beside it.

    Args:
        new: The folder with its files.
        folder: Its name.
        old: Where an existing folder of that name goes meanwhile, beside it; back if the renaming fails, and
            removed when the new one is on the disk. Whatever has this name before is removed. None where an
            existing folder is not replaced.

    Raises:
        OSError: The disk failed, or something has the name.
    """
    from shutil import rmtree

    _sync_all(sync_file, files_below(new))
    _sync_all(sync_folder, (Path(folder) for folder, _, _ in os.walk(new)))
    if old is None or not folder.exists():
        new.rename(folder)
    elif not exchange(new, folder):
        _replace_folder(new, folder, old=old)
    sync_folder(folder.parent)
    if old is not None:
        rmtree(old, ignore_errors=True)


def _replace_folder(new: Path, folder: Path, *, old: Path) -> None:
    """Replace a folder by two renamings; if the second one fails, it is there again and on the disk.

    Raises:
        MachineLimitError: It could not be moved back either, and has the other name.
        OSError: The disk failed; the folder is unchanged.
    """
    from shutil import rmtree

    if old.exists():
        rmtree(old)
    sync_folder(new.parent)
    sync_folder(folder.parent)  # a loss of power between the renamings leaves the folder of both
    folder.rename(old)
    try:
        new.rename(folder)
    except OSError as exc:
        try:
            old.rename(folder)
        except OSError:
            raise MachineLimitError(
                f"{str(folder)!r} could not be replaced: {exc.strerror}; the earlier one is now {str(old)!r}",
                hint="run the same command again, or rename that folder",
            ) from exc
        sync_folder(folder.parent)
        raise


def publish_new(file: Path, target: Path) -> bool:
    """Give a complete file its name, if nothing has that name; return whether it got it.

    The bytes are on the disk before the name. Where the file system has no hard links, a name that another
    process takes at the same moment may be replaced, unless the caller holds a lock.

    Raises:
        OSError: It cannot be given the name.
    """
    sync_file(file)
    try:
        os.link(file, target)
    except FileExistsError:
        return False
    except OSError:
        if target.exists():
            return False
        file.rename(target)
    else:
        file.unlink()
    sync_folder(target.parent)
    return True


def link_new(file: Path, target: Path) -> bool:
    """Give a complete file a second name that nothing has; return whether that is possible.

    The bytes are on the disk before the name. Where it is not possible, or something has the name, nothing
    changes.

    Raises:
        OSError: The file cannot be read, or the disk failed.
    """
    sync_file(file)
    try:
        os.link(file, target)
    except OSError:
        return False
    os.utime(target)
    sync_folder(target.parent)
    return True
