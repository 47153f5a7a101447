"""The framing of event files: a length, its checksum, the record, and the checksum of the record.

    uint64 length | uint32 masked CRC-32C of the length | record | uint32 masked CRC-32C of the record

A file is read a block of records at a time. A run that was killed leaves a torn last record. A damaged
record costs itself alone, because the checksum of its length still holds; where the length itself is
damaged, reading goes on at the next length whose checksum is right. What was lost is reported.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from pull_logs.sources.tensorboard.checksums import crcs_of, head_crcs, masked, masked_all, words_at

if TYPE_CHECKING:
    from pull_logs.rows.arrays import Ints
    from pull_logs.sources.tensorboard.checksums import Bytes

BLOCK_BYTES = 4 * 2**20
"""About how many bytes of a file are in memory at a time, unless a record is larger."""

_HEAD = struct.Struct("<QI")
_FOOT = 4
_SEARCHED = 2**16
"""How many bytes are searched for lengths at a time."""


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


@dataclass(frozen=True, slots=True)
class _Heads:
    """All positions of some bytes with a length whose checksum is right, some of them maybe in a record.

    Attributes:
        at: The positions.
        after: The end of the record and its checksum, where the next length should be.
        ends: The indices of those that no other one follows there.
    """

    at: Ints
    after: Ints
    ends: Ints

    @classmethod
    def find(cls, data: bytes) -> _Heads:
        """Search for them, a part at a time: the high half of each is zero, as no record has 4 GiB."""
        raw = np.frombuffer(data, dtype=np.uint8)
        parts = [
            _heads_between(raw, start, min(start + _SEARCHED, len(raw) - _HEAD.size + 1))
            for start in range(0, max(len(raw) - _HEAD.size + 1, 0), _SEARCHED)
        ]
        at = np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
        after = at + (_HEAD.size + _FOOT) + (words_at(raw, at) if len(at) else 0)
        return cls(at, after, np.flatnonzero(np.append(after[:-1] != at[1:], np.True_)))

    def from_position(self, position: int) -> int:
        """Return the index of the first one at or after a position."""
        return int(np.searchsorted(self.at, position))

    def joined(self, position: int, size: int) -> slice:
        """Return those of the complete records that follow each other from a position on."""
        first = self.from_position(position)
        if first == len(self.at) or self.at[first] != position:
            return slice(first, first)
        last = int(self.ends[np.searchsorted(self.ends, first)])
        # The end of a record before the last one is the position of another length.
        return slice(first, last + 1 if self.after[last] <= size else last)


def _heads_between(raw: Bytes, start: int, end: int) -> Ints:
    zero = raw[start + 4 : end + 7] == 0
    pairs = zero[:-1] & zero[1:]
    found: Ints = np.flatnonzero(pairs[:-2] & pairs[2:]) + start
    if len(found):
        found = found[masked_all(head_crcs(raw, found)) == words_at(raw, found + 8)]
    return found


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
        heads = _Heads.find(data)
        found: list[slice] = []
        position = 0
        while position + _HEAD.size <= len(data):
            joined = heads.joined(position, len(data))
            if joined.stop > joined.start:
                if self._lost_from is not None:
                    self._settle(base + position)
                found.append(joined)
                position = int(heads.after[joined.stop - 1])
                continue
            following = heads.from_position(position)
            if following < len(heads.at) and heads.at[following] == position:
                break
            if self._lost_from is None:
                self._lost_from = base + position
            position = int(heads.at[following]) if following < len(heads.at) else len(data) - _HEAD.size + 1
        return self._checked(data, base, heads, found), position

    def _checked(self, data: bytes, base: int, heads: _Heads, found: list[slice]) -> RecordBlock:
        """Return the block of the records whose checksum is right."""
        if not found:
            none = np.zeros(0, dtype=np.int64)
            return RecordBlock(data, none, none)
        first = np.concatenate([heads.at[part] for part in found]) + _HEAD.size
        last = np.concatenate([heads.after[part] for part in found]) - _FOOT
        stored = words_at(np.frombuffer(data, dtype=np.uint8), last)
        right = masked_all(crcs_of(data, first, last)) == stored
        if right.all():
            return RecordBlock(data, first, last)
        for index in np.flatnonzero(~right).tolist():
            start, end = int(first[index]) - _HEAD.size, int(last[index]) + _FOOT
            self.damages.append(FileDamage(base + start, end - start, "the checksum of a record is wrong"))
        return RecordBlock(data, first[right], last[right])

    def _length(self, data: bytes, position: int) -> int | None:
        """Return the length at a position; None if its checksum is wrong or it is not complete."""
        from google_crc32c import value as crc32c

        head = data[position : position + _HEAD.size]
        if len(head) < _HEAD.size:
            return None
        length, crc = _HEAD.unpack(head)
        return int(length) if length < 2**32 and masked(crc32c(head[:8])) == crc else None

    def _missing(self, data: bytes, position: int) -> int:
        """Return how many bytes the record at a position lacks, if its length is known."""
        length = self._length(data, position)
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
