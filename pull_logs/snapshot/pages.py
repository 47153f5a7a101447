"""The pages of a Parquet column chunk, looked at before anything is decompressed.

A page's header is a Thrift struct in the compact protocol. Reading it here
bounds what decoding the page can take, refuses the encodings that this format
does not use (some let a short page stand for a very long text), and tells which
page it is whose checksum does not hold: pyarrow names neither column nor place.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from pull_logs.errors import DataError

Read: TypeAlias = Callable[[int, int], bytes]
"""Gives the bytes of the file from an offset, so many of them or fewer at its end."""

_HEADER_ROOM = 1 << 12
_MAX_DEPTH = 4
_DICTIONARY_PAGE = 2
_DATA_PAGES = {0: (5, 2), 3: (8, 4)}
"""Page type: the field of its own header, and therein that of the encoding."""

_ENCODINGS = {0: "PLAIN", 3: "RLE", 5: "DELTA_BINARY_PACKED", 8: "RLE_DICTIONARY", 9: "BYTE_STREAM_SPLIT"}


@dataclass(frozen=True, slots=True)
class Chunk:
    """The bytes of one column in one row group.

    Attributes:
        start: Offset in the file of its first byte.
        end: Offset behind its last byte.
    """

    row_group: int
    column: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page.

    Attributes:
        start: Offset in the file of its header.
        body: Offset of what comes behind the header.
        end: Offset behind its last byte.
        decoded: Bytes of the body once decompressed, as the header claims.
        values: Values in it; 0 for a dictionary.
        checksum: CRC-32 of the body.
    """

    start: int
    body: int
    end: int
    decoded: int
    values: int
    checksum: int


def walk_pages(read: Read, chunk: Chunk) -> Iterator[Page]:
    """The pages of a chunk, in order.

    Raises:
        DataError: A header is damaged, or is one that this format has no use for.
    """
    place = chunk.start
    while place < chunk.end:
        page = _page(read(place, min(_HEADER_ROOM, chunk.end - place)), place)
        if page.end > chunk.end:
            raise DataError(f"the page at byte {place} reaches beyond its column chunk")
        yield page
        place = page.end


def damaged_part(read: Read, chunk: Chunk) -> tuple[int, int] | None:
    """The byte range of the first page whose checksum does not hold; None when all do.

    When a page's header is damaged, the range is all from there to the end of the chunk.
    """
    place = chunk.start
    try:
        for page in walk_pages(read, chunk):
            if zlib.crc32(read(page.body, page.end - page.body)) != page.checksum:
                return page.start, page.end
            place = page.end
    except DataError:
        return place, chunk.end
    return None


def _page(data: bytes, place: int) -> Page:
    try:
        header, size = _Compact(data).struct()
        kind, decoded, packed = header[1], header[2], header[3]
        if kind == _DICTIONARY_PAGE:
            values, encoding = 0, header[7][2]
        else:
            own, field = _DATA_PAGES[kind]
            values, encoding = header[own][1], header[own][field]
        checksum = header[4] & 0xFFFFFFFF
        sound = min(decoded, packed, values) >= 0
    except (KeyError, IndexError, TypeError, ValueError) as exc:
        raise DataError(f"the page header at byte {place} is damaged") from exc
    if not sound or encoding not in _ENCODINGS:
        raise DataError(f"the page at byte {place} is not one that this format has")
    body = place + size
    return Page(start=place, body=body, end=body + packed, decoded=decoded, values=values, checksum=checksum)


class _Compact:
    """As much of Thrift's compact protocol as page headers use: structs of numbers, flags and bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def struct(self, depth: int = 0) -> tuple[Mapping[int, Any], int]:
        """The fields of a struct by their id, and the offset behind it.

        Raises:
            ValueError: It is no such struct.
            IndexError: It is cut short.
        """
        if depth > _MAX_DEPTH:
            raise ValueError("nested too deep")
        fields: dict[int, Any] = {}
        last = 0
        while head := self._byte():
            delta, kind = head >> 4, head & 0x0F
            last = last + delta if delta else self._number()
            fields[last] = self._value(kind, depth)
        return fields, self._place

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (1, 2):
            return kind == 1
        if kind == 3:
            return self._byte()
        if kind in (4, 5, 6):
            return self._number()
        if kind == 8:
            size = self._varint()
            self._place += size
            return None
        if kind == 12:
            return self.struct(depth + 1)[0]
        raise ValueError(f"a field of type {kind}")

    def _byte(self) -> int:
        value = self._data[self._place]
        self._place += 1
        return value

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            part = self._byte()
            value |= (part & 0x7F) << shift
            if part < 0x80:
                return value
        raise ValueError("a number of more than 64 bits")

    def _number(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
