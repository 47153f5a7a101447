"""The chunks and pages of a Parquet file, looked at before anything is decompressed.

Footer and page headers are Thrift structs. Reading them here bounds what
decoding can take, refuses the encodings that this format does not use (some let
a short page stand for a very long text), and tells which page it is whose
checksum does not hold: pyarrow names neither column nor place, and asking it
for the chunks of a damaged footer ends the process.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from pull_logs.errors import DataError
from pull_logs.snapshot.format.thrift import Struct, Wanted, read_struct

Read: TypeAlias = Callable[[int, int], bytes]
"""Gives the bytes of the file from an offset, so many of them or fewer at its end."""

MAX_GROUP = 131_072
"""Rows of a row group: what one takes in memory is bounded by its columns, each of which costs bytes of footer."""

SMALL_FOOTER = 1 << 13
"""Bytes of a footer up to which what it says is kept for the next time that its file is opened."""

_MAGIC = b"PAR1"
_HEADER_ROOM = 1 << 12
_DICTIONARY_PAGE = 2
_DATA_PAGES = {0: (5, 2), 3: (8, 4)}
"""Page type: the field of its own header, and therein that of the encoding."""

_ENCODINGS = frozenset({0, 3, 5, 8, 9})
"""PLAIN, RLE, DELTA_BINARY_PACKED, RLE_DICTIONARY and BYTE_STREAM_SPLIT."""


_CHUNK: Wanted = {1: {}, 3: {3: {}, 7: {}, 9: {}, 11: {}}, 8: {}, 9: {}}
"""Of a chunk: the file it is in; of its metadata its path, its bytes and where pages and dictionary start; its keys."""

_FOOTER: Wanted = {2: {4: {}, 5: {}}, 3: {}, 4: {1: _CHUNK, 3: {}}}
"""Of each column of the schema its name and children, the rows, and of each row group its chunks and its rows."""

_PAGE: Wanted = {1: {}, 2: {}, 3: {}, 4: {}, 5: {1: {}, 2: {}}, 7: {2: {}}, 8: {1: {}, 4: {}}}
"""Of a page its type, its bytes decoded and packed, its checksum; of its own header, values and encoding."""


class Chunk(NamedTuple):
    """The bytes of one column in one row group; a tuple, because a question meets tens of thousands.

    Attributes:
        start: Offset in the file of its first byte.
        end: Offset behind its last byte.
    """

    row_group: int
    column: str
    start: int
    end: int


class Page(NamedTuple):
    """One page; a tuple as well.

    Attributes:
        start: Offset in the file of its header.
        body: Offset of what comes behind the header.
        end: Offset behind its last byte.
        decoded: Bytes of the body once decompressed, as the header claims.
        values: Values in it; 0 for a dictionary.
        checksum: CRC-32 that the body has to have.
    """

    start: int
    body: int
    end: int
    decoded: int
    values: int
    checksum: int


@dataclass(frozen=True, slots=True)
class Group:
    """One row group: its rows, and where each of its columns is."""

    rows: int
    chunks: tuple[Chunk, ...]


def read_groups(footer: bytes, *, size: int | None) -> tuple[Group, ...]:
    """The row groups that a footer tells of.

    Args:
        footer: The last bytes of the file, length field and magic included.
        size: Bytes of the whole file; None when it is not known.

    Raises:
        DataError: The footer is damaged, or tells of what this format does not have.
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
        fields, _ = read_struct(footer[len(footer) - 8 - length : -8], _FOOTER)
        names = [_column_name(element) for element in fields[2][1:]]
        groups = tuple(_group(group, place, names) for place, group in enumerate(fields.get(4, [])))
        rows = _integer(fields[3])
        whole = sum(group.rows for group in groups) == rows and fields[2][0].get(5, 0) == len(names)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as exc:
        if isinstance(exc, DataError):
            raise
        raise DataError("the Parquet footer is damaged") from exc
    if not whole:
        raise DataError(f"the row groups of the Parquet file do not add up to its {rows} rows")
    return groups


# A question opens each of its files several times, and parsing a footer takes longer than reading its columns.
_parsed_small = lru_cache(maxsize=1024)(_parse)
_parsed_large = lru_cache(maxsize=2)(_parse)


def _integer(value: object) -> int:
    if type(value) is not int:
        raise TypeError("a field is not an integer")
    return value


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
    start = facts[9]
    if 11 in facts:
        start = min(start, facts[11])
    end = start + facts[7]
    inside = len(_MAGIC) <= start <= end
    # A chunk in another file (1), or encrypted (8, 9), is not one of this format.
    if not inside or facts[3] != [name.encode()] or len(fields) > 1:
        raise _damaged(name, group)
    return Chunk(group, name, start, end)


def _damaged(column: str, group: int) -> DataError:
    return DataError(f"the footer's entry of column {column!r} in row group {group} is damaged")


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
        header, size = read_struct(data, _PAGE)
        kind, decoded, packed, checksum = header[1], header[2], header[3], header[4] & 0xFFFFFFFF
        if kind == _DICTIONARY_PAGE:
            values, encoding = 0, header[7][2]
        else:
            own, field = _DATA_PAGES[kind]
            values, encoding = header[own][1], header[own][field]
        sound = encoding in _ENCODINGS and decoded >= 0 and packed >= 0 and values >= 0
    except (KeyError, IndexError, TypeError, ValueError) as exc:
        raise DataError(f"the page header at byte {place} is damaged") from exc
    if not sound:
        raise DataError(f"the page at byte {place} is not one that this format has")
    body = place + size
    return Page(place, body, body + packed, decoded, values, checksum)
