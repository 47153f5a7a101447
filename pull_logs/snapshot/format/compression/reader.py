"""Read a compressed text that may be hostile, with a part of it in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import BinaryIO, cast

import zstandard

from pull_logs.errors import DataError
from pull_logs.snapshot.format.compression.frame import MAX_WINDOW, ChunkStream, one_frame
from pull_logs.snapshot.format.compression.record import largest_text

_PART = 2**20
"""Most bytes of text that are given out at a time."""

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
    frame = one_frame(chunks, size=size)
    left = size
    for data in text_of(frame, size=size):
        left -= len(data)
        yield data
    if left:
        raise DataError(f"it has {size - left} bytes of text, not {size}")
    for _ in frame:  # what follows the frame is an error
        pass


def text_of(chunks: Iterable[bytes], *, size: int) -> Iterator[bytes]:
    """Iterate over the text of a zstandard frame in parts of a MiB, the last one shorter.

    Args:
        chunks: The compressed bytes in parts.
        size: The most bytes of text that they may have.

    Raises:
        DataError: They have more, or cannot be decompressed.
    """
    decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
    left = size
    try:
        with decompressor.stream_reader(cast("BinaryIO", ChunkStream(chunks)), read_size=_PIECE) as source:
            # One byte more than there may be, so that more of them are noticed.
            while data := source.read(min(_PART, left + 1)):
                left -= len(data)
                if left < 0:
                    raise DataError(f"it has more than {size} bytes of text")
                yield data
    except zstandard.ZstdError as exc:
        raise DataError(f"it cannot be decompressed: {exc}") from exc
