"""Short histories of steps and doubles, decoded without pyarrow for a check of every row.

pyarrow takes a millisecond to open and decode a file of 23 columns, however short it is. Here a file is
decoded only if all of it is what the writer gives: a footer of the known form, chunks one after the other
without gaps, one page per chunk with its checksum. So pyarrow decodes it to the same rows, or the check would
be weaker than reading. Everything else is left to pyarrow.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from zstandard import ZstdDecompressor, ZstdError

from pull_logs.errors import DataError
from pull_logs.frames import Steps
from pull_logs.rows.batches import RESIDUAL
from pull_logs.rows.canonical import STEP
from pull_logs.rows.hashing import NumberColumns
from pull_logs.snapshot.format import (
    SCHEMA_FIELD,
    Form,
    Leaf,
    decoded_integer,
    divided_footer,
    read_table,
    schema_fields,
)
from pull_logs.snapshot.read.column_copy import MAGIC, copy_columns, footer_pattern
from pull_logs.snapshot.read.number_columns import (
    MAX_ROWS,
    decode_doubles,
    decode_integers,
    decode_presence,
)

_MOST_COLUMNS = 1_000
_MOST_CELLS = 1 << 22
_MOST_FORMS = 64
_WORTH_LEARNING = 3
"""A form is learned from the file that is the third with its columns: that takes as long as reading ten."""

_PLAIN, _DELTA, _SPLIT = 0, 5, 9
"""Encodings of cells."""

_ROWS, _GROUP_ROWS = (3,), (4, 0, 3)
_COLUMN = (4, 0, 1)
_CELLS, _DECODED, _PACKED, _PAGE_AT = 5, 6, 7, 9
_FIELDS = (_CELLS, _DECODED, _PACKED, _PAGE_AT)
"""Of a footer: its rows, and those of its row group; of the metadata of a column: cells, sizes, offset."""

_FREE = frozenset({2, 12, 13, 16})
"""Of the metadata of a column: encodings, which its page has too, and statistics, which decoding ignores."""


_PAGE = footer_pattern(
    rb"\x15\x06\x15<W>\x15<W>\x15<W>\x4c\x15<W>\x15<W>\x15<W>\x15<W>\x15<W>\x15\x00([\x11\x12]?)"
    rb"(?:\x1c(?:\x18\x08.{8}\x18\x08.{8}\x16<V>\x28\x08.{8}\x18\x08.{8}\x11\x11)?\x00)?\x00\x00"
)
"""The header of a page: sizes decoded and packed, and checksum; cells, missing ones, rows, encoding, bytes
that say which rows have a cell, and whether the rest is compressed; statistics of steps."""


@dataclass(frozen=True, slots=True)
class PlainHistory:
    """The rows of a history.

    Attributes:
        steps: The step of each row.
        columns: The columns of doubles.
    """

    steps: Steps
    columns: tuple[NumberColumns, ...]


@dataclass(slots=True)
class _Layout:
    """Files with the same columns.

    Attributes:
        names: Their columns; empty for files that are not decoded here.
        forms: The known forms of their footers.
        seen: How many of them had none of these forms.
    """

    names: tuple[str, ...]
    forms: list[Form] = field(default_factory=list)
    seen: int = 0


class PlainReader:
    """Decodes the short histories of one bundle. Several threads may use it at once."""

    def __init__(self) -> None:
        self._layouts: dict[bytes, _Layout] = {}

    def read(self, data: bytes, *, rows: int, names: Collection[str] | None = None) -> PlainHistory | None:
        """Return the rows of a history; None for one that is left to pyarrow.

        Args:
            data: A complete `history.parquet`, its hash already checked.
            rows: The number of its rows in the manifest.
            names: The columns wanted, besides `_step`; all when None.
        """
        footer = data[-8 - int.from_bytes(data[-8:-4], "little") :]
        if not 0 < rows <= MAX_ROWS or data[: len(MAGIC)] != MAGIC:
            return None
        try:
            schema, rest = divided_footer(footer)
            layout = self._layout(schema)
            if not layout.names or rows * len(layout.names) > _MOST_CELLS:
                return None
            found = _known_numbers(layout, rest) or _learned_numbers(layout, rest, data, footer)
            if found is None:
                return None
            chunks = zip(layout.names, _chunks(found, rows, end=len(data) - len(footer)), strict=True)
            wanted = {name: one for name, one in chunks if names is None or name == STEP or name in names}
            return _decode(data, wanted, rows)
        except (DataError, ValueError, IndexError, ZstdError):
            return None

    def _layout(self, schema: bytes) -> _Layout:
        layout = self._layouts.get(schema)
        if layout is None:
            fields = schema_fields(schema)
            doubles = all(str(one.type) == "double" for name, one in fields.items() if name != STEP)
            plain = next(iter(fields), None) == STEP and RESIDUAL not in fields and doubles
            layout = _Layout(tuple(fields) if plain and len(fields) <= _MOST_COLUMNS else ())
            if len(self._layouts) == _MOST_FORMS:
                self._layouts = {}
            self._layouts[schema] = layout
        return layout


def _known_numbers(layout: _Layout, rest: bytes) -> list[int] | None:
    """Return the numbers of a footer after its schema; None for a footer of an unknown form."""
    for form in layout.forms:
        if (found := form.read(rest)) is not None:
            return found[0] if found[1] == len(rest) else None
    return None


def _learned_numbers(layout: _Layout, rest: bytes, data: bytes, footer: bytes) -> list[int] | None:
    """Return the numbers of a footer, whose form is remembered; None where that is not worth its time.

    Raises:
        DataError: The footer is not the one that the writer gives, or pyarrow cannot read the file.
        ValueError: It has several row groups.
    """
    layout.seen += 1
    if layout.seen < _WORTH_LEARNING or len(layout.forms) == _MOST_FORMS:
        return None
    if copy_columns(footer, layout.names).footer != footer:
        return None
    read_table(data, footer=footer)
    paths = [(*_COLUMN, index, 3, number) for index in range(len(layout.names)) for number in _FIELDS]
    form = Form(rest, [_ROWS, _GROUP_ROWS, *paths], _may_differ, last=SCHEMA_FIELD)
    layout.forms.append(form)
    return _known_numbers(layout, rest)


def _chunks(numbers: Sequence[int], rows: int, *, end: int) -> list[tuple[int, int, int]]:
    """Return offset, size and decoded size of each chunk.

    Raises:
        ValueError: They are not all that is between the first bytes of the file and its footer.
    """
    footer_rows, group_rows, *columns = numbers
    cells, decoded, packed, starts = (columns[index :: len(_FIELDS)] for index in range(len(_FIELDS)))
    offset = len(MAGIC)
    for start, size in zip(starts, packed, strict=True):
        if start != offset or size <= 0:
            raise ValueError("a chunk is not after the one before it")
        offset += size
    if offset != end or {footer_rows, group_rows, *cells} != {rows}:
        raise ValueError("the chunks are not all of the file, or not of all rows")
    return list(zip(starts, packed, decoded, strict=True))


def _may_differ(leaf: Leaf) -> bool:
    path = leaf.path
    if path[:3] == _COLUMN and len(path) > 5:
        return path[4] == 3 and path[5] in _FREE
    return path[:2] == (4, 0) and len(path) == 3  # the sizes of the row group


def _decode(data: bytes, chunks: Mapping[str, tuple[int, int, int]], rows: int) -> PlainHistory:
    """Decode columns of a file, `_step` first.

    Raises:
        ValueError: A page is not the one that the writer gives.
    """
    decompressor = ZstdDecompressor()
    pages = _pages(data, chunks.values(), rows)
    encoding, levels, cells = next(pages)
    if encoding != _DELTA or levels:
        raise ValueError("the steps are stored in another way")
    steps = decode_integers(_decompressed(decompressor, *cells), rows)
    alike: dict[tuple[int, bytes], tuple[list[str], list[bytes]]] = {}
    for name, (encoding, levels, cells) in zip([*chunks][1:], pages, strict=True):
        if encoding not in (_PLAIN, _SPLIT):
            raise ValueError("a column is stored in another way")
        known, parts = alike.setdefault((encoding, levels), ([], []))
        known.append(name)
        parts.append(_decompressed(decompressor, *cells))
    return PlainHistory(steps, tuple(_columns(alike, rows)))


def _columns(
    alike: dict[tuple[int, bytes], tuple[list[str], list[bytes]]], rows: int
) -> Iterator[NumberColumns]:
    for (encoding, levels), (names, parts) in alike.items():
        present = _present(levels, rows)
        count = int(np.count_nonzero(present))
        if any(len(part) != 8 * count for part in parts):
            raise ValueError("a page has another number of values")
        yield NumberColumns(tuple(names), present, decode_doubles(b"".join(parts), encoding, count))


_present = lru_cache(maxsize=256)(decode_presence)


def _pages(
    data: bytes, chunks: Iterable[tuple[int, int, int]], rows: int
) -> Iterator[tuple[int, bytes, tuple[bytes, int, bool]]]:
    """Iterate over the pages: encoding, which rows have a cell, and the cells with their size.

    Raises:
        ValueError: A chunk is not one page with its checksum.
    """
    for start, size, total in chunks:
        found = _PAGE.match(data, start)
        if found is None:
            raise ValueError("a page has another header")
        *integers, compressed = found.groups()
        decoded, packed, checksum, values, nulls, lines, encoding, levels = map(decoded_integer, integers)
        body, end = found.end(), start + size
        header = body - start
        one_page = header + packed == size and header + decoded == total and values == lines == rows
        if not one_page or not 0 <= levels <= min(packed, decoded) or not 0 <= nulls < rows:
            raise ValueError("a chunk is not one page")
        if zlib.crc32(memoryview(data)[body:end]) != checksum & 0xFFFFFFFF:
            raise ValueError("a page does not have its checksum")
        if encoding != _DELTA and decoded - levels != 8 * (rows - nulls):
            raise ValueError("a page does not have the size of its cells")
        yield (
            encoding,
            data[body : body + levels],
            (data[body + levels : end], decoded - levels, compressed != b"\x12"),
        )


def _decompressed(decompressor: ZstdDecompressor, data: bytes, size: int, compressed: bool) -> bytes:  # noqa: FBT001
    """Return the cells of a page.

    Raises:
        ValueError: They do not have the size in the header.
    """
    found = (
        decompressor.decompress(data, max_output_size=size, allow_extra_data=False) if compressed else data
    )
    if len(found) != size:
        raise ValueError("a page does not have the size in its header")
    return found
