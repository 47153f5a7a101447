"""Columns of doubles of small histories, decoded without pyarrow.

pyarrow takes half a millisecond to open a file and to read a dozen of its columns, however short they are:
seconds for a view of thousands of runs. Their files have the same form: one row group, one page per column,
the same columns. So the integers of a footer and of a page header are found by one regular expression each
(`Form`), the pages are decompressed by zstandard, and numpy decodes columns of the same length together.

Whatever is not of this form is left to `read_table`, which also says what is wrong with a damaged file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
from zstandard import ZstdDecompressor, ZstdError, frame_content_size

from pull_logs.frames import Floats, Mask, Steps, Vector
from pull_logs.rows.batches import RESIDUAL
from pull_logs.rows.canonical import STEP
from pull_logs.snapshot.format import (
    SCHEMA_FIELD,
    Form,
    Leaf,
    divided_footer,
    read_groups,
    read_struct,
    schema_fields,
)

if TYPE_CHECKING:
    import pyarrow as pa
MAX_ROWS = 16_384
"""Most rows of a history: with more, pyarrow decodes as fast."""

_MAX_CELLS = 1 << 23
_MAX_FORMS = 8
_MAX_LAYOUTS = 64
_WORTH_JOINING = 4
"""Fewer pages are decompressed one by one."""

_WORTH_LEARNING = 3
"""A form is learned from the file that is the third with its columns: that takes as long as reading ten."""

_DATA_PAGE = 3
_MAX_PAGE = 16 * MAX_ROWS
_PLAIN, _DELTA, _SPLIT = 0, 5, 9
_ZSTD = 6
_METADATA_FIELD = 5

# Fields of a footer: rows (3); rows (3) of the row group (4); in the metadata (3) of its columns (1) the
# first page (9) and the size (7). Types (1), paths (3) and codecs (4) of columns are part of the form.
_FOOTER_ROWS, _GROUP_ROWS = (3,), (4, 0, 3)

# Fields of a page header: sizes decoded (2) and packed (3), checksum (4); in its own header (8) values (1),
# nulls (2), rows (3), encoding (4), bytes of levels of definition (5) and repetition (6).
_PAGE_FIELDS = ((2,), (3,), (8, 1), (8, 2), (8, 4), (8, 5), (8, 6))
_MAX_PAGE_HEADER = 256


@dataclass(slots=True)
class _Layout:
    """Files with the same columns, of which the same ones are wanted.

    Attributes:
        columns: `_step`, and the wanted columns that are doubles; empty for files that are not read here.
        forms: The known forms of their footers.
        seen: How many of the files had none of these forms.
    """

    columns: tuple[str, ...]
    forms: list[Form] = field(default_factory=list)
    seen: int = 0


class _Page(NamedTuple):
    """The only page of a column.

    Attributes:
        encoding: How its values are encoded.
        cells: How many there are.
        size: How many bytes they have once they are decompressed.
        levels: Which rows have one, encoded.
        values: The values, encoded.
        compressed: Whether they are compressed as well.
    """

    encoding: int
    cells: int
    size: int
    levels: bytes
    values: bytes
    compressed: bool


@dataclass(frozen=True, slots=True)
class NumberPages:
    """Columns of a history that are not decoded yet.

    Attributes:
        rows: The rows of the history.
        pages: The only page of `_step` and of each column.
    """

    rows: int
    pages: Mapping[str, _Page]


Numbers: TypeAlias = "tuple[Floats | Steps, Mask | None]"
"""The cells of a column, NaN where none is present; and which are present, None if all are."""


_PageForm: TypeAlias = tuple[Form, bool]
"""The form of a page header, and whether the page is compressed."""


class NumberReader:
    """Reads columns of doubles of the small histories of one bundle. Several threads may use it at once."""

    def __init__(self) -> None:
        self._layouts: dict[tuple[bytes, tuple[str, ...]], _Layout] = {}
        self._pages: list[_PageForm] = []

    def read(self, data: bytes, footer: bytes, names: Sequence[str], *, rows: int) -> dict[str, Vector]:
        """Return `_step` and those of the columns that can be read here; nothing if `_step` cannot.

        Args:
            data: A complete `history.parquet`, its hash already checked.
            footer: Its last bytes.
            names: The keys wanted.
            rows: The number of its rows in the manifest.

        Raises:
            DataError: The footer is damaged.
        """
        pages = self.pages(data, footer, names, rows=rows)
        if pages is None:
            return {}
        everywhere = np.ones(rows, np.bool_)
        return {
            name: Vector("number", values, everywhere if present is None else present)
            for name, (values, present) in _decoded_alone(pages).items()
        }

    def pages(self, data: bytes, footer: bytes, names: Sequence[str], *, rows: int) -> NumberPages | None:
        """Return what `read` would decode; None where it would return nothing.

        The arguments and errors are those of `read`.
        """
        if not 0 < rows <= min(MAX_ROWS, _MAX_CELLS // (len(names) + 1)):
            return None
        schema, rest = divided_footer(footer)
        layout = self._layout(schema, tuple(names))
        chunks = self._find_chunks(layout, rest, footer, rows) if layout.columns else None
        if chunks is None:
            return None
        try:
            return NumberPages(
                rows, dict(zip(layout.columns, self._read_pages(data, chunks, rows), strict=True))
            )
        except (ValueError, IndexError):
            return None

    def _layout(self, schema: bytes, names: tuple[str, ...]) -> _Layout:
        layout = self._layouts.get((schema, names))
        if layout is None:
            fields = schema_fields(schema)
            doubles = [name for name in dict.fromkeys(names) if name in fields and _is_double(fields[name])]
            readable = STEP in fields and RESIDUAL not in fields
            layout = _Layout((STEP, *doubles) if readable else ())
            if len(self._layouts) == _MAX_LAYOUTS:
                self._layouts = {}
            self._layouts[schema, names] = layout
        return layout

    def _find_chunks(self, layout: _Layout, rest: bytes, footer: bytes, rows: int) -> list[int] | None:
        """Return start and size of the chunk of each column, one after the other; None for another form."""
        found = next((found for form in layout.forms if (found := form.read(rest))), None)
        if found is None:
            layout.seen += 1
            form = None if layout.seen < _WORTH_LEARNING else _footer_form(rest, footer, layout.columns)
            if form is None or len(layout.forms) == _MAX_FORMS:
                return None
            layout.forms.append(form)
            found = form.read(rest)
        if found is None:
            return None
        (footer_rows, group_rows, *chunks), end = found
        return chunks if footer_rows == group_rows == rows and end == len(rest) else None

    def _read_pages(self, data: bytes, chunks: Sequence[int], rows: int) -> Iterator[_Page]:
        """Iterate over the pages of columns.

        Raises:
            ValueError: A column is not one page of this form.
        """
        length = len(data)
        known: _PageForm | None = None
        for start, size in zip(chunks[::2], chunks[1::2], strict=True):
            end = start + size
            if not 4 <= start < end <= length:
                raise ValueError("a chunk is not in the file")
            # Most pages have the form of the one before.
            found = None if known is None else known[0].read(data, start)
            if found is None:
                known, found = self._page_header(data, start)
            (decoded, packed, values, nulls, encoding, levels, repeated), body = found
            compressed = known is not None and known[1]
            count = values - nulls
            if body + packed != end or values != rows or repeated or not 0 < count <= rows:
                raise ValueError("a column is not one page")
            if encoding != _DELTA and decoded != levels + 8 * count:
                raise ValueError("a page has not the size of its values")
            if not 0 <= levels <= packed or not 0 <= decoded <= _MAX_PAGE:
                raise ValueError("a page has not the size of its values")
            first = body + levels
            yield _Page(encoding, count, decoded - levels, data[body:first], data[first:end], compressed)

    def _page_header(self, data: bytes, start: int) -> tuple[_PageForm, tuple[list[int], int]]:
        """Return the form of a page header, its integers and the offset past it."""
        for known in self._pages:
            if found := known[0].read(data, start):
                return known, found
        known = _page_form(data[start : start + _MAX_PAGE_HEADER])
        found = known[0].read(data, start)
        if found is None or len(self._pages) == _MAX_FORMS:
            raise ValueError("a page has another form")
        self._pages.append(known)
        return known, found


def _is_double(known: pa.Field) -> bool:
    return str(known.type) == "double"


def _footer_form(rest: bytes, footer: bytes, columns: Sequence[str]) -> Form | None:
    """Return the form of a footer after its schema; None unless it has one row group, compressed by zstd."""
    try:
        groups = read_groups(footer, size=None)
        if len(groups) != 1:
            return None
        indices = {chunk.column: index for index, chunk in enumerate(groups[0].chunks)}
        wanted = [(4, 0, 1, indices[name], 3) for name in columns]
        fields, _ = read_struct(rest, {4: {1: {3: {4: {}}}}, _METADATA_FIELD: {}}, last=SCHEMA_FIELD)
        codecs = {column[3][4] for column in fields[4][0][1]}
        if _METADATA_FIELD in fields or codecs != {_ZSTD}:
            return None
        places = [(*path, number) for path in wanted for number in (9, 7)]
        return Form(rest, [_FOOTER_ROWS, _GROUP_ROWS, *places], _differs, last=SCHEMA_FIELD)
    except (KeyError, ValueError):
        return None


def _differs(leaf: Leaf) -> bool:
    """Whether a value of a footer may differ in the footers of one form."""
    path = leaf.path
    return path[0] == 4 and not (len(path) > 5 and path[4] == 3 and path[5] in (1, 3, 4))


def _page_form(data: bytes) -> _PageForm:
    """Return the form of the header of a data page of version 2, and whether the page is compressed.

    Raises:
        ValueError: It is another page.
    """
    fields, _ = read_struct(data, {1: {}, 8: {7: {}}})
    if fields.get(1) != _DATA_PAGE or 8 not in fields:
        raise ValueError("a page has another form")
    return Form(data, _PAGE_FIELDS, lambda leaf: leaf.path in ((4,), (8, 3))), fields[8].get(7, True)


def decoded_together(histories: Sequence[NumberPages | None]) -> list[dict[str, Numbers]]:
    """Decode the columns of several histories, each as `NumberReader.read` decodes it; None has no columns.

    Columns of the same length are decompressed and decoded by one call each: so short histories take half of
    the time, and other threads can work meanwhile.
    """
    try:
        return _decode(histories)
    except (ValueError, IndexError, ZstdError):
        return [{} if history is None else _decoded_alone(history) for history in histories]


def _decoded_alone(history: NumberPages) -> dict[str, Numbers]:
    """Decode one history; no columns if one of them cannot be decoded."""
    try:
        return _decode([history])[0]
    except (ValueError, IndexError, ZstdError):
        return {}


def _decode(histories: Sequence[NumberPages | None]) -> list[dict[str, Numbers]]:
    """Decode `_step` and columns of doubles.

    Raises:
        ValueError: A column cannot be decoded.
        IndexError: A page is cut short.
        ZstdError: A page cannot be decompressed.
    """
    decompressor = ZstdDecompressor()
    found: list[dict[str, Numbers]] = []
    alike: dict[tuple[int, int, bytes, int], list[tuple[dict[str, Numbers], str, _Page]]] = {}
    for history in histories:
        columns: dict[str, Numbers] = {}
        found.append(columns)
        if history is None:
            continue
        rows = history.rows
        for name, page in history.pages.items():
            if name == STEP:
                columns[STEP] = _decoded_steps(decompressor, page, rows), None
            elif page.encoding in (_PLAIN, _SPLIT):
                form = page.encoding, page.cells, page.levels, rows
                alike.setdefault(form, []).append((columns, name, page))
    for (encoding, count, levels, rows), group in alike.items():
        present = decode_presence(levels, rows)
        if count != np.count_nonzero(present):
            raise ValueError("a page has another number of values")
        joined = _decompressed_together(decompressor, [page for _, _, page in group])
        decoded = _spread(decode_doubles(joined, encoding, count), present)
        mask = None if count == rows else present
        for (columns, name, _), values in zip(group, decoded, strict=True):
            columns[name] = values, mask
    return found


def _decoded_steps(decompressor: ZstdDecompressor, page: _Page, rows: int) -> Steps:
    if page.encoding != _DELTA or page.cells != rows or page.levels:
        raise ValueError("the steps are stored in another way")
    return decode_integers(_decompressed(decompressor, page), rows)


def _decompressed_together(decompressor: ZstdDecompressor, pages: Sequence[_Page]) -> bytes:
    """Return the bytes of pages that have as many each, one after the other."""
    together = getattr(decompressor, "multi_decompress_to_buffer", None)  # not in every build of the library
    if together is None or len(pages) < _WORTH_JOINING or not all(page.compressed for page in pages):
        return b"".join([_decompressed(decompressor, page) for page in pages])
    sizes = np.full(len(pages), pages[0].size, np.uint64)
    # It raises if a page has another size.
    segments = together([page.values for page in pages], decompressed_sizes=sizes.tobytes())
    return b"".join([segments[index] for index in range(len(pages))])


def _decompressed(decompressor: ZstdDecompressor, page: _Page) -> bytes:
    if not page.compressed and len(page.values) == page.size:
        return page.values
    if not page.compressed or frame_content_size(page.values) != page.size:
        raise ValueError("a page does not say its size")
    return decompressor.decompress(page.values)


def decode_doubles(data: bytes, encoding: int, count: int) -> Floats:
    """Return the values of columns that have this many each, one row per column."""
    if encoding == _PLAIN:
        return np.frombuffer(data, np.float64).reshape(-1, count)
    split = np.frombuffer(data, np.uint8).reshape(-1, 8, count)
    joined: Floats = np.ascontiguousarray(split.transpose(0, 2, 1)).view(np.float64).reshape(-1, count)
    return joined


def _spread(values: Floats, present: Mask) -> Floats:
    """Return columns of values in the rows that have one, NaN in the others."""
    if values.shape[1] == len(present):
        return values
    spread = np.full((len(values), len(present)), np.nan)
    spread[:, present] = values
    return spread


def decode_presence(levels: bytes, rows: int) -> Mask:
    """Return which rows have a value: runs of equal levels, and groups of eight that are one byte."""
    parts: list[Mask] = []
    offset = length = 0
    while length < rows:
        head, offset = _varint(levels, offset)
        size = head >> 1
        if head & 1:
            bits = np.frombuffer(levels, np.uint8, count=size, offset=offset)
            parts.append(np.unpackbits(bits, bitorder="little").view(np.bool_))
            offset += size
            length += 8 * size
        else:
            if levels[offset] > 1:
                raise ValueError("a level is not one")
            parts.append(np.full(min(size, rows), levels[offset] == 1, np.bool_))
            offset += 1
            length += size
        if not size:
            raise ValueError("a run of levels is empty")
    if offset != len(levels):
        raise ValueError("there are bytes after the levels")
    return parts[0][:rows] if len(parts) == 1 else np.concatenate(parts)[:rows]


def decode_integers(data: bytes, count: int) -> Steps:
    """Return the integers of a page in the encoding DELTA_BINARY_PACKED."""
    block, offset = _varint(data, 0)
    parts, offset = _varint(data, offset)
    total, offset = _varint(data, offset)
    first, offset = _varint(data, offset)
    if total != count or not 0 < parts <= block <= MAX_ROWS or block % (8 * parts):
        raise ValueError("the integers have another form")
    size = block // parts
    changes = np.zeros(-(-(count - 1) // block) * block + 1, np.int64)
    changes[0] = _signed(first)
    for start in range(1, count, block):
        least, offset = _varint(data, offset)
        widths = data[offset : offset + parts]
        offset += parts
        changes[start : start + block] = _signed(least)
        for begin, width in zip(range(start, count, size), widths, strict=False):
            if width:
                changes[begin : begin + size] += _unpacked(data, offset, size, width)
                offset += size * width // 8
    return changes.cumsum()[:count]


def _unpacked(data: bytes, offset: int, count: int, width: int) -> Steps:
    """Return integers of this many bits each."""
    if width > 64:
        raise ValueError("an integer has more than 64 bits")
    packed = np.frombuffer(data, np.uint8, count=count * width // 8, offset=offset)
    bits = np.zeros((count, 64), np.uint8)
    bits[:, :width] = np.unpackbits(packed, bitorder="little").reshape(count, width)
    return np.packbits(bits, axis=1, bitorder="little").view("<i8").reshape(count)


def _varint(data: bytes, offset: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        part = data[offset]
        value |= (part & 0x7F) << shift
        offset, shift = offset + 1, shift + 7
        if part < 0x80:
            return value, offset


def _signed(value: int) -> int:
    return (value >> 1) ^ -(value & 1)
