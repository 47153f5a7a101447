"""The bytes of a member of a bundle: read, saved and checked against the hash that its record has."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, BinaryIO

from pull_logs.errors import BundleDamagedError, DataError
from pull_logs.snapshot.disk import disk_errors, new_file, unused_name
from pull_logs.snapshot.format import SUFFIX, ByteRange, MemberFile, decompressed

if TYPE_CHECKING:
    from pull_logs.snapshot.format import Compressed, Container


class MemberBytes:
    """The bytes of a member, or the text of a compressed one; the bundle has to stay open.

    Attributes:
        compressed: The compressed form; None if the bytes are stored as they are.

    Args:
        container: The bundle.
        name: The name of the member, without the `.zst` of a compressed one.
        shown: What messages call it.
        size: The number of bytes.
        expected: `sha256:` and the hex digest of the bytes.
        compressed: The compressed form; None if the bytes are stored as they are.
    """

    __slots__ = ("_container", "_expected", "_member", "_shown", "_size", "compressed")

    def __init__(
        self,
        container: Container,
        name: str,
        *,
        shown: str,
        size: int,
        expected: str,
        compressed: Compressed | None = None,
    ) -> None:
        self._container, self._shown = container, shown
        self._member = name if compressed is None else name + SUFFIX
        self._size, self._expected = size, expected
        self.compressed = compressed

    @property
    def size(self) -> int:
        """The number of bytes."""
        return self._size

    def read(self) -> bytes:
        """Return all bytes, checked against their hash.

        Raises:
            BundleDamagedError: They are not those that were written.
        """
        data = b"".join(self.chunks())
        self._check(hashlib.sha256(data).hexdigest())
        return data

    def check(self) -> None:
        """Check the hash, reading the bytes once in parts.

        Raises:
            BundleDamagedError: They are not those that were written.
        """
        digest = hashlib.sha256()
        for chunk in self.chunks():
            digest.update(chunk)
        self._check(digest.hexdigest())

    def save(self, path: Path | str, *, durable: bool = True) -> None:
        """Write the bytes to a file, which gets its name once all are written and checked.

        Args:
            path: The file; an existing one is replaced.
            durable: Whether to wait for the disk; False for one of many files, which are waited for together.

        Raises:
            BundleDamagedError: They are not those that were written; no file is left.
            PullLogsError: The disk is full or the file cannot be written.
        """
        path = Path(path)
        with (
            disk_errors(path, hint="free some space and try again"),
            new_file(path, temp=unused_name(path), durable=durable) as out,
        ):
            self.write(out)

    def write(self, out: BinaryIO) -> None:
        """Write the bytes to an open file, and check them.

        Raises:
            BundleDamagedError: They are not those that were written.
            OSError: The file cannot be written.
        """
        digest = hashlib.sha256()
        for chunk in self.chunks():
            out.write(chunk)
            digest.update(chunk)
        self._check(digest.hexdigest())

    def open(self) -> MemberFile:
        """Return the bytes as a seekable file, **not checked**: see `check`.

        Raises:
            BundleDamagedError: The member no longer exists.
        """
        file = self._container.open(self._member)
        if self.compressed is None:
            return file
        return open_compressed(file, size=self._size, damaged=self._cannot_be_read)

    def chunks(self) -> Iterator[bytes]:
        """Iterate over the bytes in parts, **not checked**: see `check`."""
        with self.open() as file:
            file.expect(lambda: [(0, self._size)])
            yield from file.chunks()

    def stored_chunks(self) -> Iterator[bytes]:
        """Iterate over the bytes as they are stored, compressed or not, in parts, **not checked**."""
        with self._container.open(self._member) as file:
            file.expect(lambda: [(0, file.size())])
            yield from file.chunks()

    def _cannot_be_read(self, reason: DataError) -> BundleDamagedError:
        return self.damaged(f"{self._shown} cannot be read: {reason.message}")

    def damaged(self, reason: str) -> BundleDamagedError:
        """Return the error for what is wrong with the bytes."""
        path = str(self._container.path)
        return BundleDamagedError(
            f"{path!r} is damaged: {reason}",
            path=path,
            member=self._member,
            hint="run `pull-logs verify` to see where",
        )

    def _check(self, digest: str) -> None:
        if f"sha256:{digest}" != self._expected:
            raise self.damaged(f"{self._shown} does not have its hash")


def open_compressed(file: MemberFile, *, size: int, damaged: Callable[[DataError], Exception]) -> MemberFile:
    """Return the text of a compressed member as a seekable file.

    What is before a part is decompressed as well: reading on costs nothing more, reading back starts again.

    Args:
        file: The compressed member, which is closed with the text.
        size: The size of the text.
        damaged: Makes the error for what is wrong with the member.
    """
    return MemberFile(_Text(file, size=size, damaged=damaged), start=0, size=size, owns_file=True)


class _Text:
    """The text of a compressed member, read in parts by one thread at a time."""

    def __init__(self, file: MemberFile, *, size: int, damaged: Callable[[DataError], Exception]) -> None:
        self._file, self.length, self._damaged, self._lock = file, size, damaged, Lock()
        self._parts: Iterator[bytes] = iter(())
        self._part, self._start = b"", size + 1

    def read_at(self, offset: int, size: int) -> bytes:
        """Return exactly `size` bytes at `offset`."""
        with self._lock:
            pieces = []
            while size:
                self._find(offset)
                piece = self._part[offset - self._start : offset - self._start + size]
                pieces.append(piece)
                offset, size = offset + len(piece), size - len(piece)
            return b"".join(pieces)

    def expect(self, ranges: Callable[[], Iterable[ByteRange]]) -> None:
        """Announce that the member will be read, whichever parts of its text are wanted."""
        del ranges
        self._file.expect(lambda: [(0, self._file.size())])

    def close(self) -> None:
        """Close the member."""
        self._file.close()

    def _find(self, offset: int) -> None:
        """Decompress until the part with a byte of the text is there."""
        if offset < self._start:
            self._parts = decompressed(self._file.chunks(), stored=self._file.size(), size=self.length)
            self._part, self._start = b"", 0
        while offset >= self._start + len(self._part):
            try:
                part = next(self._parts)
            except DataError as exc:
                raise self._damaged(exc) from exc
            self._start += len(self._part)
            self._part = part
