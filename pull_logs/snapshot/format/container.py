"""The files of a bundle, read from a ZIP or from the folder that it was unzipped to, and written to a ZIP.

A container gives out no byte of a member that has not been found where the
directory says, under a header that is as it was written. Whether the bytes are
the right ones is the manifest's to say (see `bundle` and `verify`).
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
from typing import TYPE_CHECKING, BinaryIO, NoReturn, Protocol, TypeAlias

from pull_logs.errors import BundleDamagedError, FileMissingError, UnsafeFileError, UsageError
from pull_logs.snapshot.format import zip_layout as layout
from pull_logs.snapshot.format.manifest import MAX_FORMAT, refuse_newer_format
from pull_logs.snapshot.format.names import FILES, FORMAT, is_member_name, member_order, why_refused
from pull_logs.snapshot.format.zip_directory import MAX_MEMBERS, read_directory
from pull_logs.snapshot.format.zip_layout import Entry

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CHUNK = 2**20
"""Bytes that are copied or hashed at a time."""

Span: TypeAlias = tuple[int, int]
"""Offsets of the first byte and behind the last one."""


class Blob(Protocol):
    """Bytes that several threads read at once.

    Attributes:
        length: How many there are.
    """

    length: int

    def read_at(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes at `offset`."""

    def expect(self, spans: Callable[[], Iterable[Span]]) -> None:
        """Be told what will be read; calling `spans` may cost something, and need not be done."""

    def close(self) -> object:
        """Give back what is open."""


class _File:
    """A file that several threads read at once, each at places of its own; closed when nobody has it any more."""

    def __init__(self, path: Path, *, shown: str) -> None:
        # O_NONBLOCK: opening a FIFO that took the file's place must not wait for its writer.
        flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
        try:
            self._descriptor = os.open(path, flags)
        except OSError as exc:
            raise FileMissingError(f"{shown!r} cannot be read: {exc.strerror}") from exc
        self.close = weakref.finalize(self, os.close, self._descriptor)
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode):
            self.close()
            raise UnsafeFileError(f"{shown!r} is not a regular file")
        self.length = status.st_size
        self._shown = shown
        self._lock = threading.Lock()

    def read_at(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes at `offset`."""
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
                f"{self._shown!r} is damaged: it was cut short and has no byte {offset + len(data)} any more",
                path=self._shown,
            )
        return data

    def expect(self, spans: Callable[[], Iterable[Span]]) -> None:
        """Nothing: a local file is read as it is needed."""

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
    """One member's bytes as a seekable file, as pyarrow wants one."""

    def __init__(self, file: Blob, *, start: int, size: int, owns_file: bool) -> None:
        super().__init__()
        self._file, self._start, self._size, self._owns_file = file, start, size, owns_file
        self._place = 0

    def size(self) -> int:
        """The member's bytes."""
        return self._size

    def read_at(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes at `offset` of the member."""
        return self._file.read_at(self._start + offset, size)

    def expect(self, spans: Callable[[], Iterable[Span]]) -> None:
        """Say which parts of the member will be read, where the way to it is long."""
        self._file.expect(lambda: [(self._start + start, self._start + end) for start, end in spans()])

    def chunks(self) -> Iterator[bytes]:
        """All bytes, a part at a time."""
        for offset in range(0, self._size, CHUNK):
            yield self.read_at(offset, min(CHUNK, self._size - offset))

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The place of the next byte to read."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the place; it may lie behind the end, where nothing is read."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"seek to {base + offset}, before the beginning")
        self._place = base + offset
        return self._place

    def read(self, size: int | None = -1) -> bytes:
        """The next bytes: all that were asked for, unless the member ends."""
        left = max(self._size - self._place, 0)
        wanted = left if size is None or size < 0 else min(size, left)
        data = self.read_at(self._place, wanted)
        self._place += wanted
        return data

    def readall(self) -> bytes:
        """The bytes from here to the end."""
        return self.read()

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill a buffer; returns how many bytes it got."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the file below where it is this member's alone."""
        if self._owns_file and not self.closed:
            self._file.close()
        super().close()


class Container(ABC):
    """The members of a bundle by name; close it after use.

    Attributes:
        path: The ZIP file or the folder; of one behind a URL, the URL as it may be shown.
        sizes: The size of each member, in the order of a bundle.
    """

    path: Path | str
    sizes: Mapping[str, int]

    @abstractmethod
    def open(self, name: str) -> MemberFile:
        """A member as a file.

        Raises:
            BundleDamagedError: It is not there, or its header is damaged.
            UnsafeFileError: It is not a regular file.
        """

    @abstractmethod
    def close(self) -> None:
        """Give back what is open."""

    def read(self, name: str, *, limit: int) -> bytes:
        """All bytes of a member of at most `limit` bytes.

        Raises:
            BundleDamagedError: It is not there, or its header is damaged.
            UnsafeFileError: It is larger than that.
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
        self._file = _File(Path(path), shown=str(path)) if file is None else file
        try:
            self._refuse_newer()
            self.entries = read_directory(self._file.read_at, length=self._file.length, path=str(path))
        except BaseException:
            self._file.close()
            raise
        self.sizes = {name: entry.size for name, entry in self.entries.items()}

    @property
    def length(self) -> int:
        """Bytes of the whole file."""
        return self._file.length

    def _refuse_newer(self) -> None:
        """Look at FORMAT, whose place is fixed for ever, before anything that a newer version may do otherwise."""
        head = self._file.read_at(0, min(self._file.length, layout.LOCAL.size + len(FORMAT) + MAX_FORMAT))
        if not head.startswith(layout.LOCAL_SIGNATURE) or len(head) < layout.LOCAL.size:
            return
        *_, crc, _, size, named, extra = layout.LOCAL.unpack_from(head)
        start = layout.LOCAL.size + named + extra
        data = head[start : start + size]
        if head[layout.LOCAL.size :].startswith(FORMAT.encode()) and zlib.crc32(data) == crc:
            refuse_newer_format(data, path=str(self.path))

    def open(self, name: str) -> MemberFile:
        """A member as a file, its header compared with the directory."""
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

    def close(self) -> None:
        """Close the ZIP; members that are open can be read no more."""
        self._file.close()


class FolderContainer(Container):
    """A bundle that somebody unzipped."""

    path: Path

    def __init__(self, path: Path) -> None:
        self.path = path
        if (path / FORMAT).is_file() and not (path / FORMAT).is_symlink():
            with self._open_file(FORMAT) as file:
                refuse_newer_format(file.read(MAX_FORMAT), path=str(path))
        sizes = dict(self._walk())
        folded = {name.lower() for name in sizes}
        if len(folded) != len(sizes):
            raise UnsafeFileError(f"{str(path)!r} is not safe to use: two names differ in case alone")
        self.sizes = {name: sizes[name] for name in member_order(sizes) if name in sizes}

    def _walk(self) -> Iterator[tuple[str, int]]:
        """Names and sizes of all files; a name of more than six parts is no member's, so depth is bounded."""
        folders, found = [""], 0
        while folders:
            prefix = folders.pop()
            with os.scandir(self.path / prefix) as entries:
                for entry in entries:
                    name = prefix + entry.name
                    found += 1
                    if found > 4 * MAX_MEMBERS:
                        self._refuse(f"it holds more than {found - 1} files")
                    deepest = 4 if entry.name == FILES else 3
                    if entry.is_dir(follow_symlinks=False) and name.count("/") <= deepest:
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
        file = _File(self.path / name, shown=str(self.path / name))
        return MemberFile(file, start=0, size=file.length, owns_file=True)

    def open(self, name: str) -> MemberFile:
        """A member as a file, looked at again for what may have taken its place."""
        if name not in self.sizes:
            raise self._missing(name)
        if (self.path / name).is_symlink():
            self._refuse(f"{name!r} is a symbolic link")
        return self._open_file(name)

    def close(self) -> None:
        """Nothing is open: each member is a file of its own."""


def open_container(path: Path) -> Container:
    """Open a bundle's ZIP, or the folder that it was unzipped to.

    Raises:
        FileMissingError: Nothing can be read there.
        FormatTooNewError: It is of a version after this one.
        BundleDamagedError: Its directory is damaged.
        UnsafeFileError: It is not a bundle, or holds what no bundle holds.
    """
    if not path.exists():
        raise FileMissingError(f"no file or folder at {str(path)!r}")
    if not path.is_dir():
        return ZipContainer(path)
    try:
        return FolderContainer(path)
    except OSError as exc:
        raise FileMissingError(f"{str(path)!r} cannot be read: {exc.strerror}") from exc


class ContainerWriter:
    """Writes the ZIP of a bundle from its beginning: members in order, then `finish`.

    Args:
        file: Open for writing, empty, seekable; the caller closes it.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._entries: list[Entry] = []
        self._place = 0

    def add(self, name: str, chunks: Iterable[bytes], *, size: int) -> None:
        """Append a member of `size` bytes.

        Raises:
            BundleDamagedError: The chunks hold another number of bytes.
        """
        entry = Entry(name, size, 0, self._place)
        self._file.write(layout.local_header(entry))
        crc = written = 0
        for chunk in chunks:
            self._file.write(chunk)
            crc, written = zlib.crc32(chunk, crc), written + len(chunk)
        if written != size:
            raise BundleDamagedError(
                f"{name!r} has {written} bytes and should have {size}", path=str(self._file.name), member=name
            )
        self._file.seek(self._place + layout.CRC_OFFSET)
        self._file.write(crc.to_bytes(4, "little"))
        self._place = entry.end
        self._file.seek(self._place)
        self._entries.append(Entry(name, size, crc, entry.header))

    def finish(self) -> int:
        """Write the directory; returns the size of the whole file in bytes."""
        directory = b"".join(map(layout.central_entry, self._entries))
        end = layout.directory_end(count=len(self._entries), size=len(directory), start=self._place)
        self._file.write(directory + end)
        return self._place + len(directory) + len(end)
