"""Some columns of a Parquet file as a file of their own, without decoding and encoding them.

The chunk of a column in a file of this format depends on the column alone. So the chunks of some columns, and
a footer with their new offsets, are the file that the same writer gives for these columns, to the byte.

A footer is a struct of Thrift's compact protocol (`format.thrift`). The writer gives all entries the same
fields in the same order, so that patterns find the numbers that change; a footer of another form is refused,
and its columns have to be encoded again.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache

from pull_logs.errors import DataError
from pull_logs.rows.canonical import STEP
from pull_logs.snapshot.format import ByteRange, footer_schema

MAGIC = b"PAR1"
"""The first and the last bytes of a Parquet file."""

_V = rb"[\x80-\xff]*+[\x00-\x7f]"
"""An integer: only the last of its bytes is less than 0x80."""

_STEP = STEP.encode()

_LONG_LIST = 15
"""A list of this many items or more has its size in a number of its own."""


def footer_pattern(text: bytes) -> re.Pattern[bytes]:
    """Compile a pattern: `<V>` is an integer, `<W>` one that is wanted, `<L>` the size of a list."""
    text = text.replace(b"<L>", rb"(?:([\x0c-\xec])|\xfc<W>)").replace(b"<W>", b"(<V>)")
    return re.compile(text.replace(b"<V>", _V), re.DOTALL)


_ROOT = footer_pattern(rb"(\x15<V>)\x19<L>\x35\x00\x18<W>")
"""The version, the number of items of the schema, and the length of the name of its root."""

_CHILDREN = footer_pattern(rb"\x15<V>\x00")
_COLUMN = footer_pattern(rb"\x15<V>\x25([\x00\x02])\x18<W>")
"""A column: its type, whether cells may be missing, and the length of its name."""

_COLUMN_END = footer_pattern(rb"(?:\x25\x00\x4c\x1c\x00\x00)?\x00")
"""Whether it is text."""

_GROUPS = footer_pattern(rb"(\x16<V>\x19)<L>")
"""The number of rows, and that of row groups."""

_CHUNKS = footer_pattern(rb"\x19<L>")
"""The number of chunks of a row group."""

_CHUNK = footer_pattern(
    rb"\x26\x00\x1c\x15<V>\x19(?:\x15<V>|\x25<V><V>|\x35<V><V><V>|\x45<V><V><V><V>)\x19\x18<W>"
)
"""A chunk of this file: its type and encodings, and the length of the name of its column."""

_CHUNK_SIZES = footer_pattern(rb"\x15\x0c\x16<V>\x16<W>\x16<W>")
"""Its codec, which is zstd, the number of its cells, its size decoded, and its size."""

_CHUNK_PAGES = footer_pattern(rb"\x26<W>(?:\x26<W>)?")
"""The offsets of its first page, and of its dictionary."""

_CHUNK_END = footer_pattern(
    rb"(?:[\x3c\x1c]\x18\x08.{8}\x18\x08.{8}\x16<V>\x28\x08.{8}\x18\x08.{8}\x11\x11\x00)?"
    rb"[\x49\x29\x19][\x1c-\xec](?:\x15<V>\x15<V>\x15<V>\x00)++"
    rb"(?:\x3c(?:\x16<V>\x19|\x29)\x06\x19(?:\x16<V>|\x26<V><V>|\x36<V><V><V>)\x00)?\x00\x00"
)
"""The statistics of a chunk of steps; its pages by encoding; the sizes of its texts and levels."""

_GROUP_SIZES = footer_pattern(rb"\x16<V>(\x16<V>)\x26<V>\x16<V>\x00")
"""The size of a row group decoded, its rows, the offset of its first chunk, and its size."""

_WRITER = footer_pattern(rb"\x28<W>")
_ORDERS = footer_pattern(rb"\x19<L>((?:\x1c\x00\x00)*+)\x00")
_ORDER = b"\x1c\x00\x00"
"""That the cells of a column have the order of their type, as in all files of this format."""


@dataclass(frozen=True, slots=True)
class ColumnCopy:
    """The parts of a file with some of the columns of another.

    Attributes:
        ranges: The bytes to copy after the magic, in order.
        footer: The last bytes of the new file, including length field and magic.
    """

    ranges: tuple[ByteRange, ...]
    footer: bytes


def copy_columns(footer: bytes, names: Collection[str]) -> ColumnCopy:
    """Return how to make a file of some columns.

    Args:
        footer: The last bytes of the file, including length field and magic; it was read without an error.
        names: The names of the columns.

    Raises:
        DataError: The footer does not have the form that the writer gives.
    """
    known = footer_schema(footer)
    kept, schema = _kept_columns(known, frozenset(names))
    reader = _Reader(footer[-8 - int.from_bytes(footer[-8:-4], "little") : -8], len(known))
    head = reader.match(_GROUPS)
    count = _count(head[2], head[3])
    offset, ranges, groups = len(MAGIC), list[ByteRange](), list[bytes]()
    for _ in range(count):
        group, copied, offset = _group(reader, kept, offset)
        groups.append(group)
        ranges += copied
    start = reader.position
    reader.take(_integer(reader.match(_WRITER)[1]))
    writer = reader.data[start : reader.position]
    orders = reader.match(_ORDERS)
    if {_count(orders[1], orders[2]) * len(_ORDER), len(orders[3])} != {len(kept) * len(_ORDER)}:
        raise _other_form()
    left = sum(name is not None for name in kept)
    parts = [schema, head[1], _size(count), *groups, writer, b"\x19", _size(left), _ORDER * left, b"\0"]
    new = b"".join(parts)
    reader.expect_end()
    return ColumnCopy(tuple(ranges), new + len(new).to_bytes(4, "little") + MAGIC)


@lru_cache(maxsize=8)
def _kept_columns(known: bytes, names: frozenset[str]) -> tuple[tuple[bytes | None, ...], bytes]:
    """Return the name of each column that is kept, None for the others, and the start of the new footer."""
    reader = _Reader(known, 0)
    root = reader.match(_ROOT)
    name = reader.take(_integer(root[4]))
    reader.match(_CHILDREN)
    columns: list[bytes | None] = []
    entries: list[bytes] = []
    while reader.position < len(known):
        start = reader.position
        head = reader.match(_COLUMN)
        column = reader.take(_integer(head[2]))
        reader.match(_COLUMN_END)
        if (column == _STEP) is not (head[1] == b"\0"):
            raise _other_form()
        kept = column.decode() in names
        columns.append(column if kept else None)
        entries += [known[start : reader.position]] * kept
    count = len(entries)
    root_entry = b"\x35\x00\x18" + root[4] + name + b"\x15" + _varint(2 * count) + b"\0"
    return tuple(columns), b"".join([root[1], b"\x19", _size(count + 1), root_entry, *entries])


def _group(reader: _Reader, kept: Sequence[bytes | None], offset: int) -> tuple[bytes, list[ByteRange], int]:
    """Return a row group of the kept columns, the bytes of its chunks, and the offset past them."""
    head = reader.match(_CHUNKS)
    if _count(head[1], head[2]) != len(kept):
        raise _other_form()
    entries, ranges, decoded, start = list[bytes](), list[ByteRange](), 0, offset
    for column in kept:
        own = reader.position
        name = reader.take(_integer(reader.match(_CHUNK)[1]))
        sizes = reader.match(_CHUNK_SIZES)
        before = reader.data[own : reader.position]
        pages = reader.match(_CHUNK_PAGES)
        end = reader.match(_CHUNK_END)
        if column is None:
            continue
        if name != column:
            raise _other_form()
        first, second = _signed(pages[1]), None if pages[2] is None else _signed(pages[2])
        least, size = first if second is None else min(first, second), _signed(sizes[2])
        moved = b"\x26" + _varint(2 * (first - least + offset))
        if second is not None:
            moved += b"\x26" + _varint(2 * (second - least + offset))
        entries.append(before + moved + end[0])
        ranges.append((least, least + size))
        decoded += _signed(sizes[1])
        offset += size
    rows = reader.match(_GROUP_SIZES)[1]
    sizes_entry = [b"\x16", _varint(2 * decoded), rows, b"\x26", _varint(2 * start), b"\x16"]
    parts = [b"\x19", _size(len(entries)), *entries, *sizes_entry, _varint(2 * (offset - start)), b"\0"]
    return b"".join(parts), ranges, offset


class _Reader:
    """Takes a footer apart from an offset on."""

    __slots__ = ("data", "position")

    def __init__(self, data: bytes, position: int) -> None:
        self.data, self.position = data, position

    def match(self, pattern: re.Pattern[bytes]) -> re.Match[bytes]:
        """Match a pattern at the position, and move past it."""
        found = pattern.match(self.data, self.position)
        if found is None:
            raise _other_form()
        self.position = found.end()
        return found

    def take(self, size: int) -> bytes:
        """Return the next bytes, and move past them."""
        self.position += size
        return self.data[self.position - size : self.position]

    def expect_end(self) -> None:
        """Refuse bytes that are left."""
        if self.position != len(self.data):
            raise _other_form()


def _other_form() -> DataError:
    return DataError("the footer of the Parquet file does not have the form that its writer gives")


def _count(short: bytes | None, long: bytes) -> int:
    """Return the size of a list of structs from its head."""
    return _integer(long) if short is None else short[0] >> 4


def _size(items: int) -> bytes:
    """Return the head of a list of structs."""
    return bytes([items << 4 | 0x0C]) if items < _LONG_LIST else b"\xfc" + _varint(items)


def _integer(data: bytes) -> int:
    value = 0
    for part in reversed(data):
        value = value << 7 | part & 0x7F
    return value


def _signed(data: bytes) -> int:
    """Return a number whose sign is its last bit; the numbers of a footer are not negative."""
    return _integer(data) >> 1


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
