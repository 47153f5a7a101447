"""Read the files of a bundle from a ZIP, or from the folder that it was unzipped to.

A member is readable only if it is where the directory says, after a header that is as it was written. Its
content is not checked here: the hashes are in the manifest.
"""

from __future__ import annotations

import io
import os
import stat
import sys
import threading
import weakref
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, NoReturn, Protocol, TypeAlias

from pull_logs.errors import BundleDamagedError, FileMissingError, UnsafeFileError, UsageError
from pull_logs.snapshot.format import zip_layout as layout
from pull_logs.snapshot.format.manifest import MAX_FORMAT, refuse_newer_format
from pull_logs.snapshot.format.names import (
    DIGEST,
    FILES,
    FORMAT,
    MANIFEST,
    TABLE_FOLDER,
    is_member_name,
    member_order,
    why_refused,
)
from pull_logs.snapshot.format.zip_directory import MAX_MEMBERS, read_directory
from pull_logs.suggestions import nearest_file
from pull_logs.system_errors import from_system_error

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from pull_logs.snapshot.format.artifacts import ContentResource

CHUNK = 2**20
"""Bytes that are copied or hashed at a time."""

ByteRange: TypeAlias = tuple[int, int]
"""Offsets of the first byte and past the last one."""


_RUN_PARTS = 5
"""The parts of the name of a folder in the folder of a run."""


class Blob(Protocol):
    """Bytes that several threads can read at once.

    Attributes:
        length: The number of bytes.
    """

    length: int

    def read_at(self, offset: int, size: int) -> bytes:
        """Return exactly `size` bytes at `offset`."""

    def expect(self, ranges: Callable[[], Iterable[ByteRange]]) -> None:
        """Announce what will be read; `ranges` may be expensive, and is called only where that helps."""

    def close(self) -> object:
        """Close what is open."""


class LocalFile:
    """A local file that several threads can read at once; closed when it is no longer referenced."""

    def __init__(self, path: Path, *, shown: str) -> None:
        # O_NONBLOCK: opening a FIFO that replaced the file must not wait for its writer.
        flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
        try:
            self._descriptor = os.open(path, flags)
        except OSError as exc:
            raise from_system_error(exc, path=shown, action="read") from exc
        self.close = weakref.finalize(self, os.close, self._descriptor)
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode):
            self.close()
            raise UnsafeFileError(f"{shown!r} is not a regular file")
        self.length = status.st_size
        self._shown = shown
        self._lock = threading.Lock()

    def read_at(self, offset: int, size: int) -> bytes:
        """Return exactly `size` bytes at `offset`."""
        try:
            data = self._read(offset, size)
            while len(data) < size:
                more = self._read(offset + len(data), size - len(data))
                if not more:
                    break
                data += more
        except OSError as exc:
            raise BundleDamagedError(
                f"{self._shown!r} cannot be read: {exc.strerror}", path=self._shown
            ) from exc
        if len(data) < size:
            raise BundleDamagedError(
                f"{self._shown!r} is damaged: it was cut short and no longer has byte {offset + len(data)}",
                path=self._shown,
            )
        return data

    def expect(self, ranges: Callable[[], Iterable[ByteRange]]) -> None:
        """Do nothing: a local file is read as needed."""

    def _read(self, offset: int, size: int) -> bytes:
        if not self.close.alive:
            raise UsageError(f"{self._shown!r} is closed")
        if sys.platform == "win32":
            with self._lock:
                os.lseek(self._descriptor, offset, os.SEEK_SET)
                return os.read(self._descriptor, size)
        else:
            return os.pread(self._descriptor, size, offset)


class MemberFile(io.RawIOBase):
    """The bytes of one member as a seekable file, as pyarrow needs it."""

    def __init__(self, file: Blob, *, start: int, size: int, owns_file: bool) -> None:
        super().__init__()
        self._file, self._start, self._size, self._owns_file = file, start, size, owns_file
        self._position = 0

    def size(self) -> int:
        """Return the size of the member."""
        return self._size

    def read_at(self, offset: int, size: int) -> bytes:
        """Return exactly `size` bytes at `offset` of the member."""
        return self._file.read_at(self._start + offset, size)

    def expect(self, ranges: Callable[[], Iterable[ByteRange]]) -> None:
        """Announce which parts of the member will be read, so that few requests are made for them."""
        self._file.expect(lambda: [(self._start + start, self._start + end) for start, end in ranges()])

    def chunks(self) -> Iterator[bytes]:
        """Iterate over all bytes, in parts."""
        for offset in range(0, self._size, CHUNK):
            yield self.read_at(offset, min(CHUNK, self._size - offset))

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the offset of the next byte to read."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Change the offset of the next byte to read; past the end nothing is read."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"seek to {base + offset}, before the beginning")
        self._position = base + offset
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """Return the next `size` bytes, or fewer at the end of the member."""
        left = max(self._size - self._position, 0)
        wanted = left if size is None or size < 0 else min(size, left)
        data = self.read_at(self._position, wanted)
        self._position += wanted
        return data

    def readall(self) -> bytes:
        """Return the bytes up to the end."""
        return self.read()

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill a buffer; return the number of bytes."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the member, and its file if no other member is in it."""
        if self._owns_file and not self.closed:
            self._file.close()
        super().close()


class Container(ABC):
    """The members of a bundle by name; close it after use.

    Attributes:
        path: The ZIP file or the folder; for a URL, the part of it that may be shown.
        sizes: The size of each member, in the order of a bundle.
        contents: The contents of artifacts according to the manifest, by name; none before it is read.
        remote: Whether it is at a URL, so that bytes are downloaded each time they are read.
    """

    remote: ClassVar[bool] = False

    path: Path | str
    sizes: Mapping[str, int]
    contents: Mapping[str, ContentResource] = MappingProxyType({})

    @property
    def location(self) -> str:
        """What opens the same bundle in another process."""
        return os.path.abspath(self.path)  # noqa: PTH100 - symbolic links stay

    @abstractmethod
    def open(self, name: str) -> MemberFile:
        """Open a member as a file.

        Raises:
            BundleDamagedError: It is missing, or its header is damaged.
            UnsafeFileError: It is not a regular file.
        """

    @abstractmethod
    def close(self) -> None:
        """Close what is open."""

    def expect_all(self) -> None:  # noqa: B027 - only what is downloaded has to be announced
        """Announce that every byte will be read, about in order."""

    def start_of(self, name: str) -> int | None:  # noqa: ARG002 - a folder has one file per member
        """Return where the bytes of a member begin in the file of the bundle; None in a folder."""
        return None

    def read(self, name: str, *, limit: int) -> bytes:
        """Return all bytes of a member of at most `limit` bytes.

        Raises:
            BundleDamagedError: It is missing, or its header is damaged.
            UnsafeFileError: It is larger.
        """
        size = self.sizes.get(name, 0)
        if size > limit:
            raise UnsafeFileError(
                f"{str(self.path)!r} is not safe to use: {name} claims {size} bytes, and {limit} are the most"
            )
        with self.open(name) as file:
            return file.read()

    def _missing(self, name: str) -> BundleDamagedError:
        shown = str(self.path)
        return BundleDamagedError(f"{shown!r} is damaged: {name!r} is missing", path=shown, member=name)


class ZipContainer(Container):
    """A bundle as it is shared: one ZIP of stored members."""

    def __init__(self, path: Path | str, file: Blob | None = None) -> None:
        self.path = path
        self._file = LocalFile(Path(path), shown=str(path)) if file is None else file
        try:
            self._refuse_newer()
            self.entries = read_directory(self._file.read_at, length=self._file.length, path=str(path))
        except BaseException:
            self._file.close()
            raise
        self.sizes = self.entries.sizes

    @property
    def length(self) -> int:
        """Bytes of the file."""
        return self._file.length

    def _refuse_newer(self) -> None:
        """Check FORMAT, whose position never changes, before anything that may differ in a later version."""
        head = self._file.read_at(0, min(self._file.length, layout.LOCAL.size + len(FORMAT) + MAX_FORMAT))
        if not head.startswith(layout.LOCAL_SIGNATURE) or len(head) < layout.LOCAL.size:
            return
        *_, crc, _, size, named, extra = layout.LOCAL.unpack_from(head)
        start = layout.LOCAL.size + named + extra
        data = head[start : start + size]
        if head[layout.LOCAL.size :].startswith(FORMAT.encode()) and zlib.crc32(data) == crc:
            refuse_newer_format(data, path=str(self.path))

    def open(self, name: str) -> MemberFile:
        """Open a member as a file, after comparing its header with the directory."""
        entry = self.entries.get(name)
        if entry is None:
            raise self._missing(name)
        expected = layout.local_header(entry)
        if self._file.read_at(entry.header, len(expected)) != expected:
            shown = str(self.path)
            raise BundleDamagedError(
                f"{shown!r} is damaged: the header of {name!r} and the directory do not agree",
                path=shown,
                member=name,
            )
        return MemberFile(self._file, start=entry.start, size=entry.size, owns_file=False)

    def start_of(self, name: str) -> int | None:
        """Return where the bytes of a member begin in the file; None without such a member."""
        entry = self.entries.get(name)
        return None if entry is None else entry.start

    def close(self) -> None:
        """Close the ZIP; open members can no longer be read."""
        self._file.close()


class FolderContainer(Container):
    """A bundle that was unzipped to a folder."""

    path: Path

    def __init__(self, path: Path) -> None:
        self.path = path
        if not any(os.path.lexists(path / name) for name in (FORMAT, MANIFEST, DIGEST)):
            raise UnsafeFileError(
                f"the folder {str(path)!r} is not a bundle: it has no {MANIFEST}",
                hint="name a bundle in it, or the folder that one was unzipped to",
            )
        if (path / FORMAT).is_file() and not (path / FORMAT).is_symlink():
            with self._open_file(FORMAT) as file:
                refuse_newer_format(file.read(MAX_FORMAT), path=str(path))
        sizes = dict(self._walk())
        folded = {name.lower() for name in sizes}
        if len(folded) != len(sizes):
            raise UnsafeFileError(f"{str(path)!r} is not safe to use: two names differ only in case")
        self.sizes = {name: sizes[name] for name in member_order(sizes) if name in sizes}

    def _walk(self) -> Iterator[tuple[str, int]]:
        """Iterate over names and sizes of all files; a member has seven parts at most."""
        folders, found = [""], 0
        while folders:
            prefix = folders.pop()
            with os.scandir(self.path / prefix) as entries:
                for entry in entries:
                    name = prefix + entry.name
                    found += 1
                    if found > 4 * MAX_MEMBERS:
                        self._refuse(f"it holds more than {found - 1} files")
                    if entry.is_dir(follow_symlinks=False) and _may_have_members(name):
                        folders.append(name + "/")
                    else:
                        yield name, self._checked_size(entry, name)

    def _checked_size(self, entry: os.DirEntry[str], name: str) -> int:
        if entry.is_symlink():
            self._refuse(f"member {name!r} is a symbolic link")
        if not entry.is_file():
            self._refuse(f"member {name!r} is not a regular file")
        if not is_member_name(name):
            self._refuse(f"member {name!r} {why_refused(name)}")
        return entry.stat(follow_symlinks=False).st_size

    def _refuse(self, reason: str) -> NoReturn:
        raise UnsafeFileError(f"{str(self.path)!r} is not safe to use: {reason}")

    def _open_file(self, name: str) -> MemberFile:
        file = LocalFile(self.path / name, shown=str(self.path / name))
        return MemberFile(file, start=0, size=file.length, owns_file=True)

    def open(self, name: str) -> MemberFile:
        """Open a member as a file, after checking again that it is not a link."""
        if name not in self.sizes:
            raise self._missing(name)
        if (self.path / name).is_symlink():
            self._refuse(f"{name!r} is a symbolic link")
        return self._open_file(name)

    def close(self) -> None:
        """Do nothing: each member is a separate file."""


def _may_have_members(folder: str) -> bool:
    """Return whether a bundle can have members in a folder."""
    parts = folder.split("/")
    if len(parts) < _RUN_PARTS:
        return True
    depth = {FILES: _RUN_PARTS, TABLE_FOLDER: _RUN_PARTS + 1}.get(parts[_RUN_PARTS - 1], 0)
    return len(parts) <= depth


def open_container(path: Path) -> Container:
    """Open a bundle's ZIP, or the folder that it was unzipped to.

    Raises:
        FileMissingError: There is no readable file or folder.
        FormatTooNewError: It has a later format version.
        BundleDamagedError: Its directory is damaged.
        UnsafeFileError: It is not a bundle, or has members, names or sizes that no bundle has.
    """
    try:
        if not path.exists():
            raise FileMissingError(f"no file or folder at {str(path)!r}", hint=nearest_file(path))
        return FolderContainer(path) if path.is_dir() else ZipContainer(path)
    except OSError as exc:
        raise from_system_error(exc, path=path, action="read") from exc
