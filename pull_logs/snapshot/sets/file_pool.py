"""The files of the members of a set, of which a bounded number is open at once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Lock

from pull_logs.errors import BundleDamagedError, FileMissingError, UnsafeFileError
from pull_logs.snapshot.format import ByteRange, Container, LocalFile, ZipContainer

MOST_OPEN = 64
"""The files that are open at once; one that was read longest ago is closed, and opened again when needed."""


class FilePool:
    """The open files of a set."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._open: OrderedDict[Path, LocalFile] = OrderedDict()

    def container(self, path: Path) -> Container:
        """Open a bundle whose file is closed while it is not read.

        Raises:
            FileMissingError: There is no file.
            UnsafeFileError: It is not a file, or not a bundle.
            BundleDamagedError: Its directory is damaged.
        """
        if not path.exists():
            raise FileMissingError(
                f"the member {str(path)!r} of the set is missing",
                hint="open the set again if it was compacted meanwhile, else run `pull-logs set verify`",
            )
        if not path.is_file():
            raise UnsafeFileError(f"{str(path)!r} is not a regular file")
        return ZipContainer(path, _PooledFile(self, path))

    def opened(self, path: Path) -> LocalFile:
        """Return the open file; it stays open at least as long as the caller keeps it."""
        with self._lock:
            found = self._open.get(path)
            if found is None:
                found = self._open[path] = LocalFile(path, shown=str(path))
            self._open.move_to_end(path)
            while len(self._open) > MOST_OPEN:
                self._open.popitem(last=False)
            return found

    def forget(self, path: Path) -> None:
        """Close a file, unless it is being read."""
        with self._lock:
            self._open.pop(path, None)


class _PooledFile:
    """A file that is opened when it is read.

    Attributes:
        length: Its size.
    """

    def __init__(self, pool: FilePool, path: Path) -> None:
        self._pool, self._path = pool, path
        self.length = pool.opened(path).length

    def read_at(self, offset: int, size: int) -> bytes:
        """Return exactly `size` bytes at `offset`."""
        file = self._pool.opened(self._path)
        if file.length != self.length:
            raise BundleDamagedError(
                f"{str(self._path)!r} was replaced while it was read", path=str(self._path)
            )
        return file.read_at(offset, size)

    def expect(self, ranges: Callable[[], Iterable[ByteRange]]) -> None:
        """Do nothing: a local file is read as needed."""

    def close(self) -> None:
        """Close the file until it is read again."""
        self._pool.forget(self._path)
