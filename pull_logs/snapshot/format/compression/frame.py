"""The form of a zstandard frame (RFC 8878), checked before anything of it is decompressed."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import zstandard

from pull_logs.errors import DataError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAX_WINDOW = 8 * 2**20
"""Bytes of text that a frame may refer back to, which a reader holds in memory."""

_MAGIC = b"\x28\xb5\x2f\xfd"
_MAX_HEADER = 18
_CHECKSUM = 4
_BLOCK_HEADER = 3
_RLE, _RESERVED = 1, 3


def check_header(head: bytes, *, size: int) -> None:
    """Check the first bytes of a frame.

    Args:
        head: The first bytes of the member, 18 at least if it has as many.
        size: The size of its text, which the header must have as well.

    Raises:
        DataError: It is not the header that a bundle may have.
    """
    if not head.startswith(_MAGIC):
        raise DataError("it is not a zstandard frame")
    try:
        parameters = zstandard.get_frame_parameters(head[:_MAX_HEADER])
    except zstandard.ZstdError as exc:
        raise DataError(f"its header is damaged: {exc}") from exc
    if parameters.dict_id:
        raise DataError(f"it needs the dictionary {parameters.dict_id}")
    if not parameters.has_checksum:
        raise DataError("it has no checksum")
    if parameters.window_size > MAX_WINDOW:
        raise DataError(f"it needs a window of {parameters.window_size} bytes, and {MAX_WINDOW} are the most")
    if parameters.content_size != size:
        known = parameters.content_size < zstandard.CONTENTSIZE_ERROR
        claimed = f"{parameters.content_size} bytes" if known else "an unknown number of bytes"
        raise DataError(f"it claims {claimed} of text, not {size}")


class FrameEnd:
    """Finds the end of a frame by the headers of its blocks, without decompressing it."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._skip = 0
        self._in_blocks = self._last = self._ended = False

    def add(self, chunk: bytes) -> None:
        """Take the next bytes of a member.

        Raises:
            DataError: They go on after the end of the frame, or have a block of an unknown kind.
        """
        at = 0
        while at < len(chunk):
            if self._ended:
                raise DataError("there are bytes after its frame")
            if self._skip:
                step = min(self._skip, len(chunk) - at)
                self._skip -= step
                at += step
                self._ended = self._last and not self._skip
                continue
            wanted = self._wanted()
            part = chunk[at : at + wanted - len(self._head)]
            self._head += part
            at += len(part)
            if len(self._head) == self._wanted():
                self._parse()

    def check(self) -> None:
        """Check that the frame has ended.

        Raises:
            DataError: It goes on.
        """
        if not self._ended:
            raise DataError("its frame is cut short")

    def _wanted(self) -> int:
        """Return how many bytes the header has that is read now, as far as that is known."""
        if self._in_blocks:
            return _BLOCK_HEADER
        if len(self._head) <= len(_MAGIC):
            return len(_MAGIC) + 1
        return int(zstandard.frame_header_size(bytes(self._head) + bytes(_MAX_HEADER)))

    def _parse(self) -> None:
        if not self._in_blocks:
            self._in_blocks = True
        else:
            header = int.from_bytes(self._head, "little")
            kind = header >> 1 & 3
            if kind == _RESERVED:
                raise DataError("it has a block of an unknown kind")
            self._last = bool(header & 1)
            self._skip = (1 if kind == _RLE else header >> 3) + (_CHECKSUM if self._last else 0)
        self._head.clear()


class ChunkStream(io.RawIOBase):
    """Parts of bytes as a file.

    Args:
        chunks: The parts.
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        super().__init__()
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read the next bytes."""
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        view = memoryview(buffer).cast("B")
        size = min(len(view), len(self._rest))
        view[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


def one_frame(chunks: Iterable[bytes], *, size: int) -> Iterator[bytes]:
    """Pass on the bytes of a member, which must be one frame with a text of `size` bytes.

    Raises:
        DataError: They are not.
    """
    end, head, checked = FrameEnd(), b"", False
    for chunk in chunks:
        if not checked:
            head += chunk
            if len(head) < _MAX_HEADER:
                continue
            chunk, checked = head, True  # noqa: PLW2901
            check_header(chunk, size=size)
        end.add(chunk)
        yield chunk
    if not checked:
        check_header(head, size=size)
        end.add(head)
        yield head
    end.check()
