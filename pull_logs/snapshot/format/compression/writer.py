"""Compress a member if it is text and gets smaller, with a part of it in memory.

Whether that is so depends on its bytes alone, not on its name. Level and pieces are fixed, so with one
release of zstd the same text has the same bytes.
"""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import zstandard

from pull_logs.snapshot.format.compression.record import Compressed, largest_text

LEVEL = 3
ZSTD_WRITER = f"zstd {'.'.join(map(str, zstandard.ZSTD_VERSION))}"

_LEAST = 1024
"""Fewest bytes of a text that is compressed."""

_SHARE = 0.75
"""Most of a text's size that its compressed form may have."""

_PIECE = 2**20
"""Bytes of text that are compressed at a time."""


def compress_text(chunks: Iterable[bytes], size: int, sink: BinaryIO) -> Compressed | None:
    """Append a member to a file in its compressed form; None if it stays as it is, and nothing is appended.

    It is compressed if it has at least 1,024 bytes, is UTF-8 without NUL, gets smaller by a quarter at
    least, and a reader takes a text of its size.

    Args:
        chunks: Its bytes in parts.
        size: Their number.
        sink: The file, at its end.

    Raises:
        OSError: The file cannot be written.
    """
    if size < _LEAST:
        return None
    start = sink.tell()
    compressed = _compress(chunks, size, sink)
    if compressed is not None and _is_worth_it(compressed.bytes, size):
        return compressed
    sink.seek(start)
    sink.truncate()
    return None


def _compress(chunks: Iterable[bytes], size: int, sink: BinaryIO) -> Compressed | None:
    """Append the compressed form of a text; None if the bytes are not text, or not as many."""
    options = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True, write_content_size=True)
    compressor = options.compressobj(size=size)
    decoder = codecs.getincrementaldecoder("utf-8")()
    digest, stored, left = hashlib.sha256(), 0, size
    for piece in _pieces(chunks):
        left -= len(piece)
        if left < 0 or b"\0" in piece or not _is_text(decoder, piece, final=left == 0):
            return None
        stored += _append(sink, digest, compressor.compress(piece))
    if left:
        return None
    stored += _append(sink, digest, compressor.flush())
    return Compressed(stored, f"sha256:{digest.hexdigest()}", ZSTD_WRITER)


def _is_worth_it(stored: int, size: int) -> bool:
    return stored <= size * _SHARE and size <= largest_text(stored)


def _append(sink: BinaryIO, digest: hashlib._Hash, data: bytes) -> int:
    digest.update(data)
    sink.write(data)
    return len(data)


def _is_text(decoder: codecs.IncrementalDecoder, piece: bytes, *, final: bool) -> bool:
    try:
        decoder.decode(piece, final)
    except UnicodeDecodeError:
        return False
    return True


def _pieces(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield bytes in pieces of one size, the last one shorter."""
    held = bytearray()
    for chunk in chunks:
        held += chunk
        while len(held) >= _PIECE:
            yield bytes(held[:_PIECE])
            del held[:_PIECE]
    if held:
        yield bytes(held)
