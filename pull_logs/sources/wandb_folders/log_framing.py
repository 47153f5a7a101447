"""The framing of a `.wandb` transaction log: blocks, chunks, records.

The format is LevelDB's log with W&B's own header and checksum (docs/protocol.md, "Local run logs"). A file
is a 7-byte header followed by chunks, in blocks of 32 KiB. Nearly all SDKs count the blocks from the start of
the file, so the header takes 7 bytes of the first block; the Go core before 0.17.6 counts them from the end
of the header. A chunk never crosses a block. A record is one chunk, or a first, any number of middle and a
last chunk. If fewer than 7 bytes are left in a block, they are padding.

There are two kinds of damage: a run that was killed leaves a torn last record, and storage flips or loses
bytes. Either costs the damaged records and at most the rest of their blocks, because reading continues at the
next block, with the next record that begins there. What was lost is reported.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import BinaryIO
from zlib import crc32

from pull_logs.errors import DamageError, FormatTooNewError

MAGIC = b":W&B\xe1\xbe"
VERSION = 0
HEADER = MAGIC + bytes([VERSION])
BLOCK_SIZE = 32 * 1024
CHUNK_HEADER = struct.Struct("<IHB")
"""CRC-32 (IEEE, unmasked) over kind and payload, length of the payload, kind."""

MAX_RECORD = 256 * 1024 * 1024
"""The most bytes of a record; W&B itself accepts no call to `log` above 25 MB."""


class ChunkKind(IntEnum):
    """The part of its record that a chunk is."""

    FULL = 1
    FIRST = 2
    MIDDLE = 3
    LAST = 4


_KINDS = frozenset(map(int, ChunkKind))


@dataclass(frozen=True, slots=True)
class LogDamage:
    """A part of a log that could not be read.

    Attributes:
        offset: Its start, in bytes from the start of the file.
        bytes_lost: The number of bytes of records that were skipped from there on, up to the end of the file.
        reason: The reason, as the end of a sentence.
    """

    offset: int
    bytes_lost: int
    reason: str

    def __str__(self) -> str:
        return f"{self.bytes_lost} bytes at offset {self.offset}: {self.reason}"


class LogReader:
    """Reads the records of one log, block by block.

    Iterating yields each complete record once; a reader can be iterated once. Memory is bounded by one block
    and one record.

    Attributes:
        damages: The damage so far, in file order; final after the iteration.
        size: The number of bytes read so far.
    """

    def __init__(self, source: BinaryIO, *, name: str) -> None:
        self.damages: list[LogDamage] = []
        self.size = 0
        self._source = source
        self._name = name
        self._parts: list[memoryview] = []
        self._start = 0
        self._lost_from: int | None = None
        self._reason = ""

    def __iter__(self) -> Iterator[bytes]:
        """Yield the complete records, in file order.

        Raises:
            DamageError: The file is not a transaction log.
            FormatTooNewError: This release cannot read the version of the log.
        """
        self._check_header(self._source.read(2 * BLOCK_SIZE))
        origin = _find_origin(self._source)
        self._source.seek(0)
        offset, limit, start = 0, origin + BLOCK_SIZE, len(HEADER)
        while block := self._source.read(limit):
            self.size = offset + len(block)
            yield from self._block_records(block, offset=offset, start=start, limit=limit)
            offset, limit, start = offset + limit, BLOCK_SIZE, 0
        if self._parts:
            self._lose(self._start, "the last record is torn off")
        self._settle(self.size)

    def _check_header(self, start: bytes) -> None:
        header = start[: len(HEADER)]
        if header == HEADER or (len(start) < len(HEADER) and HEADER.startswith(header)):
            return
        if header[: len(MAGIC)] == MAGIC:
            raise FormatTooNewError(
                f"{self._name!r} is a transaction log of version {header[len(MAGIC)]}, "
                f"and this release reads version {VERSION}",
                hint="update wandb-pull-logs",
            )
        # A damaged byte in the header must not cost the run: a valid chunk after it is proof enough.
        if _chunk_end(start, len(HEADER)) is None:
            raise DamageError(
                f"{self._name!r} is not a W&B transaction log",
                hint="the name of a log is run-ID.wandb, and it starts with ':W&B'",
            )
        self.damages.append(LogDamage(0, 0, "the file header is damaged"))

    def _block_records(self, block: bytes, *, offset: int, start: int, limit: int) -> Iterator[bytes]:
        """Yield the records that end in a block, which has `limit` bytes unless the file ends in it."""
        view, position, size = memoryview(block), start, len(block)
        while position + CHUNK_HEADER.size <= size:
            end = _chunk_end(block, position)
            if end is None:
                self._lose(offset + position, _fault(block, position, torn=size < limit))
                return
            payload = view[position + CHUNK_HEADER.size : end]
            record = self._take(block[position + CHUNK_HEADER.size - 1], payload, offset + position)
            if record is not None:
                yield record
            position = end
        # Bytes too close to the end of a block for a chunk are padding, cut off or not.
        if position < size and limit - position >= CHUNK_HEADER.size:
            self._lose(offset + position, "the file ends inside a chunk's header")

    def _take(self, kind: int, payload: memoryview, offset: int) -> bytes | None:
        """Return the record that this chunk completes, if it completes one."""
        if kind in (ChunkKind.FULL, ChunkKind.FIRST):
            if self._parts:
                self._lose(self._start, "a record has no end")
            self._settle(offset)
            if kind == ChunkKind.FULL:
                return bytes(payload)
            self._start, self._parts = offset, [payload]
            return None
        if not self._parts:
            self._lose(offset, "a record has no beginning")
            return None
        self._parts.append(payload)
        # The parts of a record fill their blocks, so their number bounds its size.
        if len(self._parts) * BLOCK_SIZE > MAX_RECORD:
            self._lose(self._start, f"a record is larger than {MAX_RECORD} bytes")
            return None
        if kind == ChunkKind.MIDDLE:
            return None
        record = b"".join(self._parts)
        self._parts = []
        return record

    def _lose(self, offset: int, reason: str) -> None:
        """Open a damage, unless one is open already."""
        if self._lost_from is None:
            self._lost_from = min(offset, self._start) if self._parts else offset
            self._reason = reason
        self._parts = []

    def _settle(self, offset: int) -> None:
        """Close the open damage, if there is one, at the record that begins at `offset`."""
        if self._lost_from is not None:
            self.damages.append(LogDamage(self._lost_from, offset - self._lost_from, self._reason))
            self._lost_from = None


def _find_origin(source: BinaryIO) -> int:
    """Return the position from which a log counts its blocks: 0, or the end of the header.

    Only a chunk with a valid checksum decides: one that crosses the end of the first block counted from 0, or
    one at the start of a later block. A chunk without payload at the start of a block counted from 0 does not
    decide, because it also fills the 7 bytes before a block counted from the end of the header. A log in
    which nothing decides reads the same either way, up to damage.
    """
    source.seek(0)
    block, position = source.read(BLOCK_SIZE + len(HEADER)), len(HEADER)
    while position < BLOCK_SIZE and (end := _chunk_end(block, position)) is not None:
        position = end
    if position > BLOCK_SIZE:
        return len(HEADER)
    offset = BLOCK_SIZE
    while block:
        source.seek(offset)
        block = source.read(BLOCK_SIZE + len(HEADER))
        end = _chunk_end(block[:BLOCK_SIZE], 0)
        if end is None and _chunk_end(block, len(HEADER)) is not None:
            return len(HEADER)
        if end is not None and end > CHUNK_HEADER.size:
            return 0
        offset += BLOCK_SIZE
    return 0


def _chunk_end(block: bytes, position: int) -> int | None:
    """Return the end of the chunk at `position` in its block; None if there is no valid chunk."""
    if position + CHUNK_HEADER.size > len(block):
        return None
    checksum, length, kind = CHUNK_HEADER.unpack_from(block, position)
    end = position + CHUNK_HEADER.size + length
    if kind not in _KINDS or end > len(block):
        return None
    body = memoryview(block)[position + CHUNK_HEADER.size - 1 : end]
    return end if crc32(body) == checksum else None


def _fault(block: bytes, position: int, *, torn: bool) -> str:
    """Return why there is no valid chunk at `position`; `torn` means that the file ends in this block."""
    _, length, kind = CHUNK_HEADER.unpack_from(block, position)
    if not any(block[position:]):
        return "there are zeros instead of records"
    if torn and position + CHUNK_HEADER.size + length > len(block):
        return "the file ends inside a record"
    if kind not in _KINDS:
        return f"a chunk has the unknown kind {kind}"
    return "a chunk's checksum does not match"
