"""The framing of event files: a length, its checksum, the record, and the checksum of the record.

    uint64 length | uint32 masked CRC-32C of the length | record | uint32 masked CRC-32C of the record

A file is read a block of records at a time. A run that was killed leaves a torn last record. A damaged
record costs itself alone, because the checksum of its length still holds; where the length itself is
damaged, reading goes on at the next length whose checksum is right. What was lost is reported.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pull_logs.rows.arrays import Ints

BLOCK_BYTES = 4 * 2**20
"""About how many bytes of a file are in memory at a time, unless a record is larger."""

_HEAD = struct.Struct("<QI")
_FOOT = 4
_MASK_DELTA = 0xA282EAD8
_MOST_LENGTHS = 2**16
_HIGH_BYTES = b"\0\0\0\0"
"""The high half of a length; no record has 4 GiB."""


@dataclass(frozen=True, slots=True)
class FileDamage:
    """A part of a file that could not be read.

    Attributes:
        offset: Its start, in bytes from the start of the file.
        bytes_lost: The number of bytes that were skipped from there on.
        reason: The reason, as the end of a sentence.
        torn: Whether it is the end of a file that breaks off in a record.
    """

    offset: int
    bytes_lost: int
    reason: str
    torn: bool = False

    def __str__(self) -> str:
        return f"{self.bytes_lost} bytes at offset {self.offset}: {self.reason}"


@dataclass(frozen=True, slots=True)
class RecordBlock:
    """Some records of a file.

    Attributes:
        data: Bytes of the file.
        starts: The start of each record in them.
        ends: The end of each record.
    """

    data: bytes
    starts: Ints
    ends: Ints


def masked(crc: int) -> int:
    """Return a CRC-32C as event files store it."""
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def _unsigned(raw: NDArray[np.uint8], at: Ints) -> Ints:
    """Return the unsigned 32-bit numbers at some positions."""
    found = sliding_window_view(raw, 4)[at].view("<u4")[:, 0]
    return found.astype(np.int64)


class RecordReader:
    """Reads the records of one file; it can be iterated once.

    Attributes:
        damages: The damage so far, in file order; final after the iteration.
        records: The number of records so far.
    """

    def __init__(self, source: BinaryIO, *, block_bytes: int = BLOCK_BYTES) -> None:
        self.damages: list[FileDamage] = []
        self.records = 0
        self._source = source
        self._block_bytes = block_bytes
        self._lengths: dict[bytes, int] = {}
        self._lost_from: int | None = None

    def __iter__(self) -> Iterator[RecordBlock]:
        """Yield the records whose checksums are right, in file order."""
        data, base, wanted = b"", 0, self._block_bytes
        while chunk := self._source.read(wanted):
            data += chunk
            block, position = self._split(data, base)
            if len(block.starts):
                self.records += len(block.starts)
                yield block
            # A record that is larger than a block is read at once.
            wanted = max(self._block_bytes, self._missing(data, position))
            data, base = data[position:], base + position
        self._end(data, base)

    def starts_with_record(self, head: bytes) -> bool:
        """Return whether the first bytes of a file are a length and its checksum."""
        return self._length(head, 0) is not None

    def _split(self, data: bytes, base: int) -> tuple[RecordBlock, int]:
        """Return the complete records of some bytes, and the position after the last."""
        starts, crcs = array("q"), array("q")
        position = 0
        while position + _HEAD.size <= len(data):
            known = len(starts)
            position = self._follow(data, position, starts, crcs)
            if self._lost_from is not None and len(starts) > known:
                self._settle(base + starts[known] - _HEAD.size)
            if position + _HEAD.size > len(data) or self._length(data, position) is not None:
                break
            if self._lost_from is None:
                self._lost_from = base + position
            position = self._next_head(data, position + 1)
        return self._checked(data, base, starts, crcs), position

    def _follow(self, data: bytes, position: int, starts: array[int], crcs: array[int]) -> int:
        """Add the start and the checksum of each complete record that follows, up to a bad length.

        This is the only code that runs once per record of a file, so it does nothing else.
        """
        from google_crc32c import value as crc32c

        length_of, add_start, add_crc = self._lengths.get, starts.append, crcs.append
        size = len(data)
        while position + 12 <= size:
            start = position + 12
            length = length_of(data[position:start])
            if length is None:
                length = self._length(data, position)
                if length is None:
                    break
            end = start + length
            if end + 4 > size:
                break
            add_start(start)
            add_crc(crc32c(data[start:end]))
            position = end + 4
        return position

    def _checked(self, data: bytes, base: int, starts: array[int], crcs: array[int]) -> RecordBlock:
        """Return the block of the records whose checksum is right."""
        first: Ints = np.frombuffer(starts, dtype=np.int64) if starts else np.zeros(0, dtype=np.int64)
        if not starts:
            return RecordBlock(data, first, first)
        raw = np.frombuffer(data, dtype=np.uint8)
        last = first + _unsigned(raw, first - _HEAD.size)
        crc = np.frombuffer(crcs, dtype=np.int64)
        right = ((((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF) == _unsigned(raw, last)
        if right.all():
            return RecordBlock(data, first, last)
        for index in np.flatnonzero(~right).tolist():
            start, end = int(first[index]) - _HEAD.size, int(last[index]) + _FOOT
            self.damages.append(FileDamage(base + start, end - start, "the checksum of a record is wrong"))
        return RecordBlock(data, first[right], last[right])

    def _length(self, data: bytes, position: int) -> int | None:
        """Return the length at a position; None if its checksum is wrong."""
        from google_crc32c import value as crc32c

        head = data[position : position + _HEAD.size]
        length, crc = _HEAD.unpack(head)
        if length >= 2**32 or masked(crc32c(head[:8])) != crc:
            return None
        if len(self._lengths) >= _MOST_LENGTHS:
            self._lengths.clear()
        self._lengths[head] = length
        return int(length)

    def _next_head(self, data: bytes, position: int) -> int:
        """Return the next position with a valid length, or the first one that more bytes may complete."""
        while True:
            high = data.find(_HIGH_BYTES, position + 4)
            if high < 0 or high + 8 > len(data):
                return max(position, len(data) - _HEAD.size + 1)
            position = high - 4
            if self._length(data, position) is not None:
                return position
            position += 1

    def _missing(self, data: bytes, position: int) -> int:
        """Return how many bytes the record at a position lacks, if its length is known."""
        length = self._lengths.get(data[position : position + _HEAD.size])
        return 0 if length is None else position + _HEAD.size + length + _FOOT - len(data)

    def _settle(self, end: int) -> None:
        if self._lost_from is not None:
            start, self._lost_from = self._lost_from, None
            self.damages.append(FileDamage(start, end - start, "the checksum of a length is wrong"))

    def _end(self, data: bytes, base: int) -> None:
        """Report what is left at the end of the file."""
        if self._lost_from is not None:
            self._settle(base + len(data))
        elif data:
            self.damages.append(FileDamage(base, len(data), "the last record is torn off", torn=True))
        self.damages.sort(key=lambda damage: damage.offset)
