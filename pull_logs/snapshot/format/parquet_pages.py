"""The chunks and pages of a Parquet file, checked before anything is decompressed.

Footer and page headers are Thrift structs. Reading them here limits the memory that decoding can take,
refuses the encodings that this format does not use (with some, a short page expands to a very long text), and
finds the page whose checksum is wrong: pyarrow names neither column nor offset, and asking it for the chunks
of a damaged footer ends the process.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from pull_logs.errors import DataError
from pull_logs.snapshot.format.thrift import NUMBER, Struct, number, read_struct

Read: TypeAlias = Callable[[int, int], bytes]
"""Returns bytes of the file from an offset, fewer than requested only at the end."""

MAX_GROUP = 131_072
"""Most rows of a row group, which limits its memory: each of its columns takes bytes of the footer."""

SMALL_FOOTER = 1 << 13
"""Up to this many bytes, many parsed footers are cached for the next time their files are opened."""

_MAGIC = b"PAR1"
_HEADER_ROOM = 1 << 12
_DICTIONARY_PAGE = 2
_DATA_PAGES = {0: (5, 2), 3: (8, 4)}
"""By page type: the field of its header, and in that header the field of the encoding."""

_ENCODINGS = frozenset({0, 3, 5, 8, 9})
"""PLAIN, RLE, DELTA_BINARY_PACKED, RLE_DICTIONARY and BYTE_STREAM_SPLIT."""


def _form(pattern: bytes) -> re.Pattern[bytes]:
    return re.compile(pattern.replace(b" ", b"").replace(b"N", NUMBER), re.DOTALL)


# What nearly all structs of a file are, so that they need not be read field by field: each column of the schema,
# each chunk without statistics, each data page in one of the encodings. Behind the length of a name stands the
# name; that the one is the length of the other is looked at when both are found.
_USUAL_COLUMN = _form(rb"\x15N \x25N \x18([\x00-\x7f])(.{0,127}?) (?:\x25N (?:\x4c\x1c\x00\x00)?)? \x00")
_USUAL_CHUNK = _form(
    rb"\x26N \x1c \x15N \x19(?:\x15|\x25N|\x35NN)N \x19\x18([\x00-\x7f])(.{0,127}?)"
    rb"\x15N (?:\x16N){2} \x16(N) \x26(N) (?:\x26(N)\x29|\x49) (?:\x1c|\x2c(?:\x15N){3}\x00)(?:\x15N){3}\x00"
    rb"\x3c (?:\x16N\x19|\x29)\x06 \x19(?:\x06|(?:\x16|\x26N)N) \x00 \x00 \x00"
)
_USUAL_ORDER = b"\x1c\x00\x00"
_USUAL_PAGE = _form(
    rb"\x15\x06 \x15(N) \x15(N) \x15N"
    rb"\x4c \x15(N) (?:\x15N){2} \x15[\x00\x06\x0a\x10\x12] (?:\x15N){2} [\x11\x12] \x1c\x00 \x00 \x00"
)


class Chunk(NamedTuple):
    """The byte range of one column in one row group; a tuple for speed, as there may be tens of thousands.

    Attributes:
        row_group: The number of the row group.
        column: The name of the column.
        start: Offset in the file of its first byte.
        end: Offset past its last byte.
    """

    row_group: int
    column: str
    start: int
    end: int


class Page(NamedTuple):
    """One page; a tuple for speed.

    Attributes:
        start: Offset in the file of its header.
        body: Offset of the first byte after the header.
        end: Offset past its last byte.
        decoded: Size of the decompressed body, according to the header.
        values: Values in it; 0 for a dictionary.
    """

    start: int
    body: int
    end: int
    decoded: int
    values: int


@dataclass(frozen=True, slots=True)
class Group:
    """One row group: its rows, and the byte range of each of its columns."""

    rows: int
    chunks: tuple[Chunk, ...]


def read_groups(footer: bytes, *, size: int | None) -> tuple[Group, ...]:
    """Return the row groups that a footer describes.

    Args:
        footer: The last bytes of the file, including length field and magic.
        size: Size of the file; None when it is not known.

    Raises:
        DataError: The footer is damaged, or describes something that this format does not have.
    """
    groups = (_parsed_small if len(footer) <= SMALL_FOOTER else _parsed_large)(footer)
    for chunk in (chunk for group in groups for chunk in group.chunks):
        if size is not None and chunk.end > size:
            raise _damaged(chunk.column, chunk.row_group)
    return groups


def _parse(footer: bytes) -> tuple[Group, ...]:
    if len(footer) < 8 or footer[-4:] != _MAGIC:
        raise DataError("the Parquet footer does not end in PAR1")
    length = int.from_bytes(footer[-8:-4], "little")
    if length > len(footer) - 8:
        raise DataError(f"the Parquet footer is cut short: {length} bytes of it were expected")
    try:
        fields, _ = read_struct(footer[len(footer) - 8 - length : -8], shortcut=_usual)
        names = [_column_name(element) for element in fields[2][1:]]
        groups = tuple(_group(group, place, names) for place, group in enumerate(fields.get(4, [])))
        whole = sum(group.rows for group in groups) == fields[3] and fields[2][0].get(5, 0) == len(names)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as exc:
        if isinstance(exc, DataError):
            raise
        raise DataError("the Parquet footer is damaged") from exc
    if not whole:
        raise DataError(f"the row groups of the Parquet file do not add up to its {fields[3]} rows")
    return groups


# A command opens each of its files several times, and parsing a footer takes longer than reading its columns.
_parsed_small = lru_cache(maxsize=1024)(_parse)
_parsed_large = lru_cache(maxsize=2)(_parse)


def _usual(data: bytes, place: int) -> tuple[Struct, int] | None:
    """A struct of the usual form: what is used of it, and where it ends."""
    if found := _USUAL_COLUMN.match(data, place):
        length, name = found.groups()
        return ({4: name}, found.end()) if len(name) == length[0] else None
    if found := _USUAL_CHUNK.match(data, place):
        length, name, size, start, dictionary = found.groups()
        facts = {3: [name], 7: number(size), 9: number(start)}
        if dictionary is not None:
            facts[11] = number(dictionary)
        return ({3: facts}, found.end()) if len(name) == length[0] else None
    # How a column is ordered is of no use here.
    return ({}, place + len(_USUAL_ORDER)) if data.startswith(_USUAL_ORDER, place) else None


def _column_name(element: Struct) -> str:
    name: str = element[4].decode()
    if element.get(5):
        raise DataError(f"column {name!r} of the Parquet file is nested")
    return name


def _group(fields: Struct, place: int, names: Sequence[str]) -> Group:
    rows, columns = fields[3], fields[1]
    if rows < 0 or len(columns) != len(names):
        raise DataError(f"row group {place} of the Parquet file is damaged")
    if rows > MAX_GROUP:
        raise DataError(
            f"row group {place} of the Parquet file has {rows} rows, and {MAX_GROUP} are the most"
        )
    return Group(
        rows, tuple(_chunk(column, place, name) for column, name in zip(columns, names, strict=True))
    )


def _chunk(fields: Struct, group: int, name: str) -> Chunk:
    facts = fields[3]
    start = min(facts[9], facts.get(11, facts[9]))
    end = start + facts[7]
    inside = len(_MAGIC) <= start <= end
    # This format has no chunks in other files (1), and no encrypted ones (8, 9).
    if not inside or facts[3] != [name.encode()] or not {1, 8, 9}.isdisjoint(fields):
        raise _damaged(name, group)
    return Chunk(group, name, start, end)


def _damaged(column: str, group: int) -> DataError:
    return DataError(f"the footer's entry of column {column!r} in row group {group} is damaged")


def walk_pages(read: Read, chunk: Chunk) -> Iterator[Page]:
    """Iterate over the pages of a chunk, in order.

    Raises:
        DataError: A header is damaged, or describes a page that this format does not have.
    """
    place = chunk.start
    while place < chunk.end:
        page = _page(read(place, min(_HEADER_ROOM, chunk.end - place)), place)
        if page.end > chunk.end:
            raise DataError(f"the page at byte {place} reaches beyond its column chunk")
        yield page
        place = page.end


def damaged_part(read: Read, chunk: Chunk) -> tuple[int, int] | None:
    """Return the byte range of the first page whose checksum is wrong; None if there is none.

    If the header of a page is damaged, the range extends to the end of the chunk.
    """
    place = chunk.start
    try:
        for page in walk_pages(read, chunk):
            header, _ = read_struct(read(page.start, page.body - page.start))
            if zlib.crc32(read(page.body, page.end - page.body)) != _checksum(header):
                return page.start, page.end
            place = page.end
    except DataError:
        return place, chunk.end
    return None


def _page(data: bytes, place: int) -> Page:
    try:
        decoded, packed, values, known, size = _header(data)
        sound = known and min(decoded, packed, values) >= 0
    except (KeyError, IndexError, TypeError, ValueError) as exc:
        raise DataError(f"the page header at byte {place} is damaged") from exc
    if not sound:
        raise DataError(f"the page at byte {place} is not one that this format has")
    body = place + size
    return Page(place, body, body + packed, decoded, values)


def _header(data: bytes) -> tuple[int, int, int, bool, int]:
    """What a page's header says, and its own bytes.

    Returns:
        Bytes of the page decoded and packed, its values, whether its encoding is of this format, and the bytes.
    """
    if found := _USUAL_PAGE.match(data):
        decoded, packed, values = map(number, found.groups())
        return decoded, packed, values, True, found.end()
    header, size = read_struct(data)
    kind, decoded, packed = header[1], header[2], header[3]
    _checksum(header)
    if kind == _DICTIONARY_PAGE:
        return decoded, packed, 0, header[7][2] in _ENCODINGS, size
    own, field = _DATA_PAGES[kind]
    return decoded, packed, header[own][1], header[own][field] in _ENCODINGS, size


def _checksum(header: Struct) -> int:
    checksum: int = header[4] & 0xFFFFFFFF
    return checksum
