"""The chunks and pages of a Parquet file, checked before anything is decompressed.

Footer and page headers are Thrift structs. Reading them here limits the memory that decoding can take,
refuses the encodings that this format does not use (with some, a short page expands to a very long text), and
finds the page whose checksum is wrong: pyarrow names neither column nor offset, and asking it for the chunks
of a damaged footer ends the process.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import NamedTuple, TypeAlias

import pyarrow as pa

from pull_logs.errors import DataError
from pull_logs.rows.canonical import STEP
from pull_logs.snapshot.format.thrift import Form, Leaf, Struct, Wanted, field_end, list_start, read_struct

Read: TypeAlias = Callable[[int, int], bytes]
"""Returns bytes of the file from an offset, fewer than requested only at the end."""

MAX_GROUP = 131_072
"""Most rows of a row group, which limits its memory: each of its columns takes bytes of the footer."""

SMALL_FOOTER = 1 << 13
"""Up to this many bytes, many parsed footers are cached for the next time their files are opened."""

_MAGIC = b"PAR1"
_MAX_HEADER = 1 << 12
_MAX_WINDOW = 1 << 27
"""Bytes that a stream of zstd may look back, and so takes of memory."""
_DICTIONARY_PAGE = 2
_DATA_PAGES = {0: (5, 2), 3: (8, 4)}
"""By page type: the field of its header, and in that header the field of the encoding."""

_ENCODINGS = frozenset({0, 3, 5, 8, 9})
"""PLAIN, RLE, DELTA_BINARY_PACKED, RLE_DICTIONARY and BYTE_STREAM_SPLIT."""

_CHUNK: Wanted = {1: {}, 3: {3: {}, 7: {}, 9: {}, 11: {}, 12: {5: {}, 6: {}}}, 8: {}, 9: {}}
"""A chunk: its file (1); its encryption (8, 9); in its metadata path (3), size (7), offsets (9, 11), and
statistics (12): the greatest value (5) and the least (6)."""

SCHEMA_FIELD = 2
"""The field of a footer that has the schema."""

_SCHEMA: Wanted = {SCHEMA_FIELD: {4: {}, 5: {}}}
"""The start of a footer: name (4) and children (5) of each column."""

_AFTER_SCHEMA: Wanted = {3: {}, 4: {1: _CHUNK, 3: {}}}
"""The rest of a footer: the rows; chunks (1) and rows (3) of each row group."""

_GROUPS_FIELD = 4
_FEW_GROUPS = 24
"""Up to this many row groups, reading all takes less time than learning the form of the first."""
_BYTE_ARRAY = "BYTE_ARRAY"
_STEP_BYTES = 8

_DESCRIBED_GROUP: Wanted = {1: {1: {}, 3: {16: {1: {}, 2: {}, 3: {}}}, 8: {}, 9: {}}}
"""What is checked of the chunks (1) of a row group: file, encryption, and sizes (16) in their metadata."""

_PAGE: Wanted = {1: {}, 2: {}, 3: {}, 4: {}, 5: {1: {}, 2: {}}, 7: {2: {}}, 8: {1: {}, 4: {}}}
"""A page: type, sizes decoded and packed, checksum; values and encoding of the header of its type."""


_PLAIN_PAGE: Wanted = {8: {2: {}, 4: {}, 5: {}, 6: {}, 7: {}}}
"""Of a data page of version 2: nulls, encoding, bytes of levels of both kinds, whether it is compressed."""


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
        checksum: CRC-32 of the body, according to the header.
    """

    start: int
    body: int
    end: int
    decoded: int
    values: int
    checksum: int


@dataclass(frozen=True, slots=True)
class Group:
    """One row group.

    Attributes:
        rows: How many rows it has.
        chunks: The byte range of each of its columns.
        steps: The least and the greatest step; None if the footer does not have them.
    """

    rows: int
    chunks: tuple[Chunk, ...]
    steps: tuple[int, int] | None


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


def last_bytes(native: pa.NativeFile) -> bytes:
    """Return the last bytes of a file that are its footer, length field and magic included."""
    size = native.size()
    end = bytes(native.read_at(min(8, size), max(size - 8, 0)))
    length = min(int.from_bytes(end[:4], "little") + 8, size)
    return bytes(native.read_at(length, size - length))


class LeafColumn(NamedTuple):
    """A column of values, of which a nested column has one or several.

    Attributes:
        name: Its name.
        repetition: Its highest repetition level.
        definition: Its highest definition level.
        physical_type: How Parquet stores its values, such as "INT64".
    """

    name: str
    repetition: int
    definition: int
    physical_type: str


def check_described_chunks(footer: bytes, leaves: Sequence[LeafColumn]) -> None:
    """Check what a footer describes of each chunk, so that pyarrow may be asked for them.

    It ends the process if a chunk counts other levels than its column has, or is encrypted.

    Args:
        footer: The last bytes of the file, including length field and magic.
        leaves: The columns of its schema, nested ones included.

    Raises:
        DataError: The footer is damaged.
    """
    data = divided_footer(footer)[1]
    try:
        offset, size = list_start(data, _GROUPS_FIELD, last=SCHEMA_FIELD)
        known: Form | None = None
        for number in range(size):
            if known is not None and (found := known.read(data, offset)):
                offset = found[1]
                continue
            rest = data[offset:]
            fields, length = read_struct(rest, _DESCRIBED_GROUP)
            _check_described(fields, number, leaves)
            if not number and size > _FEW_GROUPS:
                known = Form(rest, (), _differs)
            offset += length
        after, _ = read_struct(data[offset:], {_GROUPS_FIELD: {}}, last=_GROUPS_FIELD)
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        if isinstance(exc, DataError):
            raise
        raise DataError("the Parquet footer is damaged") from exc
    if after:
        raise DataError("the Parquet footer has two lists of row groups")


def _differs(value: Leaf) -> bool:
    """Return whether a value of a row group is usually another one in the next: no type and no encoding."""
    return value.path[2:4] not in {(3, 1), (3, 2), (3, 3), (3, 4), (3, 13)}


def _check_described(fields: Struct, group: int, leaves: Sequence[LeafColumn]) -> None:
    chunks = fields[1]
    if len(chunks) != len(leaves):
        raise DataError(f"row group {group} of the Parquet file is damaged")
    for chunk, leaf in zip(chunks, leaves, strict=True):
        sizes = chunk[3].get(16, {})
        levels = ((sizes.get(2, ()), leaf.repetition), (sizes.get(3, ()), leaf.definition))
        fits = all(len(found) == most + 1 or not (found or most) for found, most in levels) if sizes else True
        if len(chunk) > 1 or not fits or (1 in sizes and leaf.physical_type != _BYTE_ARRAY):
            raise _damaged(leaf.name, group)


def decoded_sizes(data: bytes, names: Sequence[str]) -> list[dict[str, int]]:
    """Return what each column of each row group takes once it is decompressed, by its page headers.

    Args:
        data: A complete file.
        names: Its columns, in the order of its schema, which has been checked; a list counts as one.

    Raises:
        DataError: The footer or a page header is damaged.
    """
    sizes = []
    for group in _parse(data, names):
        for chunk in group.chunks:
            if chunk.end > len(data):
                raise _damaged(chunk.column, chunk.row_group)
        walked = {chunk.column: walk_pages(partial(_cut, data), chunk) for chunk in group.chunks}
        sizes.append({name: sum(page.decoded for page in pages) for name, pages in walked.items()})
    return sizes


def plain_texts(data: bytes, names: Sequence[str], *, group: int, name: str, most: int) -> Iterator[bytes]:
    """Iterate over the texts of one column without nulls, of which only one is in memory.

    Args:
        data: As for `decoded_sizes`.
        names: As for `decoded_sizes`.
        group: The number of the row group.
        name: The name of the column, which has to be PLAIN and compressed with zstd.
        most: Most bytes of one text.

    Raises:
        DataError: The column is damaged or not of this kind, or a text is too long.
    """
    import zstandard

    chunk = next(chunk for chunk in _parse(data, names)[group].chunks if chunk.column == name)
    decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW)
    for page in walk_pages(partial(_cut, data), chunk):
        stream = decompressor.stream_reader(memoryview(data)[page.body : page.end])
        try:
            for _ in range(page.values):
                size = int.from_bytes(stream.read(4), "little")
                if size > most:
                    raise DataError(f"it has {size} bytes of JSON, and {most} are the most")
                text = stream.read(size)
                if len(text) != size:
                    raise DataError(f"column {name!r} is cut short")
                yield text
        except zstandard.ZstdError as exc:
            raise DataError(f"column {name!r} cannot be decompressed") from exc


def _cut(data: bytes, offset: int, size: int) -> bytes:
    return data[offset : offset + size]


def _parse(footer: bytes, leaves: Sequence[str] | None = None) -> tuple[Group, ...]:
    """Parse a footer; with `leaves`, of a file whose schema is known, so that columns may be nested."""
    data = _footer_struct(footer)
    try:
        schema = _KNOWN.find(data)
        children, columns = _schema_columns(schema, nested=leaves is not None)
        fields, _ = read_struct(data[len(schema) :], _AFTER_SCHEMA, last=SCHEMA_FIELD)
        names = leaves or columns
        paths = [None if leaves else [name.encode()] for name in names]
        groups = tuple(_group(group, number, names, paths) for number, group in enumerate(fields.get(4, [])))
        rows = _integer(fields[3])
        complete = sum(group.rows for group in groups) == rows and children == len(names)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as exc:
        if isinstance(exc, DataError):
            raise
        raise DataError("the Parquet footer is damaged") from exc
    if not complete:
        raise DataError(f"the row groups of the Parquet file do not add up to its {rows} rows")
    return groups


def _footer_struct(footer: bytes) -> bytes:
    """Return the Thrift struct in a footer."""
    if len(footer) < 8 or footer[-4:] != _MAGIC:
        raise DataError("the Parquet footer does not end in PAR1")
    length = int.from_bytes(footer[-8:-4], "little")
    if length > len(footer) - 8:
        raise DataError(f"the Parquet footer is cut short: {length} bytes of it were expected")
    return footer[len(footer) - 8 - length : -8]


class _Schemas:
    """The starts of footers up to their schemas, of which thousands of runs often share one.

    A footer that begins with the bytes of a known one has its schema: a struct is read from its start on.
    """

    def __init__(self) -> None:
        self._known: tuple[bytes, ...] = ()

    def find(self, data: bytes) -> bytes:
        """Return the start of a footer, up to and including its schema.

        Raises:
            ValueError: It is not the start of a footer.
        """
        for known in self._known:
            if data.startswith(known):
                return known
        found = data[: field_end(data, SCHEMA_FIELD)]
        self._known = (found, *self._known[: _KNOWN_SCHEMAS - 1])
        return found


_KNOWN_SCHEMAS = 8
_KNOWN = _Schemas()


@lru_cache(maxsize=_KNOWN_SCHEMAS)
def _schema_columns(schema: bytes, *, nested: bool) -> tuple[int, tuple[str, ...]]:
    """Return the number of columns that a schema declares, and their names; none where they may be nested."""
    fields, _ = read_struct(schema + b"\0", _SCHEMA)
    elements = fields[SCHEMA_FIELD]
    names = () if nested else tuple(map(_column_name, elements[1:]))
    children: int = elements[0].get(5, 0)
    return children, names


def footer_schema(footer: bytes) -> bytes:
    """Return the bytes of a footer that are its schema: equal for files with the same columns.

    Raises:
        DataError: It is not a footer.
    """
    return divided_footer(footer)[0]


def divided_footer(footer: bytes) -> tuple[bytes, bytes]:
    """Return the bytes of a footer that are its schema, and the fields after it.

    Raises:
        DataError: It is not a footer.
    """
    try:
        data = _footer_struct(footer)
        schema = _KNOWN.find(data)
        return schema, data[len(schema) :]
    except ValueError as exc:
        if isinstance(exc, DataError):
            raise
        raise DataError("the Parquet footer is damaged") from exc


# A command opens each of its files several times, and parsing a footer takes longer than reading its columns.
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


def _group(fields: Struct, number: int, names: Sequence[str], paths: Sequence[list[bytes] | None]) -> Group:
    rows, columns = fields[3], fields[1]
    if rows < 0 or len(columns) != len(names):
        raise DataError(f"row group {number} of the Parquet file is damaged")
    if rows > MAX_GROUP:
        raise DataError(
            f"row group {number} of the Parquet file has {rows} rows, and {MAX_GROUP} are the most"
        )
    described = zip(columns, names, paths, strict=True)
    chunks = tuple(_chunk(column, number, name, path) for column, name, path in described)
    return Group(rows, chunks, _steps(columns[0][3].get(12, {})) if names[:1] == (STEP,) else None)


def _steps(statistics: Struct) -> tuple[int, int] | None:
    """Return the least and the greatest value of the column of steps."""
    ends = [statistics.get(field, b"") for field in (6, 5)]
    if any(len(end) != _STEP_BYTES for end in ends):
        return None
    least, greatest = (int.from_bytes(end, "little", signed=True) for end in ends)
    return least, greatest


def _chunk(fields: Struct, group: int, name: str, path: list[bytes] | None) -> Chunk:
    facts = fields[3]
    start = facts[9]
    if 11 in facts:
        start = min(start, facts[11])
    end = start + facts[7]
    inside = len(_MAGIC) <= start <= end
    # This format has no chunks in other files (1), and no encrypted ones (8, 9).
    if not inside or (path is not None and facts[3] != path) or len(fields) > 1:
        raise _damaged(name, group)
    return Chunk(group, name, start, end)


def _damaged(column: str, group: int) -> DataError:
    return DataError(f"the footer's entry of column {column!r} in row group {group} is damaged")


def walk_pages(read: Read, chunk: Chunk) -> Iterator[Page]:
    """Iterate over the pages of a chunk, in order.

    Raises:
        DataError: A header is damaged, or describes a page that this format does not have.
    """
    offset = chunk.start
    while offset < chunk.end:
        page = _page(read(offset, min(_MAX_HEADER, chunk.end - offset)), offset)
        if page.end > chunk.end:
            raise DataError(f"the page at byte {offset} reaches beyond its column chunk")
        yield page
        offset = page.end


def plain_page_bytes(data: bytes, start: int, page: Page) -> bytes | None:
    """Return the values of a page as they are stored, decompressed: of texts, the size and the bytes of each.

    Args:
        data: The chunk of the page.
        start: The offset of the chunk in the file.
        page: One of its pages.

    Returns:
        None if the page has another form: nulls, another encoding than PLAIN, another compression than zstd,
        or bytes that do not have its checksum.
    """
    import zstandard

    body = data[page.body - start : page.end - start]
    header, _ = read_struct(data[page.start - start : page.body - start], _PLAIN_PAGE)
    facts = header.get(8, {})
    if any(facts.get(field, 1) for field in (2, 4, 5, 6)) or zlib.crc32(body) != page.checksum:
        return None
    if not facts.get(7, True):
        return body if len(body) == page.decoded else None
    try:
        if zstandard.frame_content_size(body) != page.decoded:
            return None
        return zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW).decompress(body)
    except zstandard.ZstdError:
        return None


def damaged_part(read: Read, chunk: Chunk) -> tuple[int, int] | None:
    """Return the byte range of the first page whose checksum is wrong; None if there is none.

    If the header of a page is damaged, the range extends to the end of the chunk.
    """
    offset = chunk.start
    try:
        for page in walk_pages(read, chunk):
            if zlib.crc32(read(page.body, page.end - page.body)) != page.checksum:
                return page.start, page.end
            offset = page.end
    except DataError:
        return offset, chunk.end
    return None


def _page(data: bytes, offset: int) -> Page:
    try:
        header, size = read_struct(data, _PAGE)
        kind, decoded, packed, checksum = header[1], header[2], header[3], header[4] & 0xFFFFFFFF
        if kind == _DICTIONARY_PAGE:
            values, encoding = 0, header[7][2]
        else:
            own, field = _DATA_PAGES[kind]
            values, encoding = header[own][1], header[own][field]
        valid = encoding in _ENCODINGS and decoded >= 0 and packed >= 0 and values >= 0
    except (KeyError, IndexError, TypeError, ValueError) as exc:
        raise DataError(f"the page header at byte {offset} is damaged") from exc
    if not valid:
        raise DataError(f"the page at byte {offset} is not one that this format has")
    body = offset + size
    return Page(offset, body, body + packed, decoded, values, checksum)
