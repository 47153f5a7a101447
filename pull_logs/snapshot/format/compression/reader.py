"""Read a compressed text that may be hostile, with a part of it in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from threading import Lock
from typing import BinaryIO, cast

import zstandard

from pull_logs.errors import DataError
from pull_logs.snapshot.format.compression.frame import MAX_WINDOW, ChunkStream, one_frame
from pull_logs.snapshot.format.compression.record import largest_text
from pull_logs.snapshot.format.container import CHUNK, ByteRange, MemberFile

_PIECE = 2**16
"""Compressed bytes that are taken at a time: 64 KiB can hold a GiB of text, which is read in parts."""


def decompressed(chunks: Iterable[bytes], *, stored: int, size: int) -> Iterator[bytes]:
    """Iterate over a text in parts of a MiB, the last one shorter; its hash is not checked.

    Args:
        chunks: The compressed bytes in parts.
        stored: Their number.
        size: The size of the text, which the bytes must have.

    Raises:
        DataError: They are not one frame of that size, or cannot be decompressed.
    """
    if size > largest_text(stored):
        raise DataError(f"{stored} bytes of it may not have {size} bytes of text")
    decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
    frame = one_frame(chunks, size=size)
    left = size
    try:
        with decompressor.stream_reader(cast("BinaryIO", ChunkStream(frame)), read_size=_PIECE) as source:
            # One byte more than there may be, so that more of them are noticed.
            while data := source.read(min(CHUNK, left + 1)):
                left -= len(data)
                if left < 0:
                    raise DataError(f"it has more than {size} bytes of text")
                yield data
    except zstandard.ZstdError as exc:
        raise DataError(f"it cannot be decompressed: {exc}") from exc
    if left:
        raise DataError(f"it has {size - left} bytes of text, not {size}")
    for _ in frame:  # what follows the frame is an error
        pass


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
