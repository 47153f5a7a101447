"""Read batches from `history.parquet` and `system.parquet`.

The files are untrusted: page checksums are verified unless the bytes have been checked, the schema has to be
that of a batch, and memory is bounded before and during reading. See docs/bundle-format.md, "What a reader
checks".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from pull_logs.errors import DataError
from pull_logs.rows.arrow import ARROW_ERRORS, open_parquet
from pull_logs.rows.batches import RESIDUAL
from pull_logs.rows.canonical import STEP
from pull_logs.rows.cells import column_kind
from pull_logs.rows.coded_text import check_texts, decode_text, table_text_bytes, text_parts
from pull_logs.rows.limits import decoded_text_limit, joined_text_limit
from pull_logs.snapshot.format.container import MemberFile
from pull_logs.snapshot.format.parquet_pages import (
    SMALL_FOOTER,
    Chunk,
    Group,
    Read,
    damaged_part,
    footer_schema,
    last_bytes,
    read_groups,
    walk_pages,
)

MEMORY_LIMIT = 8 << 30
"""Most bytes of decoded cells of one file, unless the caller allows more."""

_ONE_THREAD = 16_384
"""Up to this many rows, one thread reads a row group faster than several."""

_NO_ROWS = b"\x16\x00\x19\x0c\x00"
"""The rest of a footer after the schema, for no rows in no row groups."""

_Described: TypeAlias = tuple[pa.Schema, Mapping[str, pa.Field], frozenset[str]]

Source: TypeAlias = "bytes | BinaryIO | pa.NativeFile"


@dataclass(frozen=True, slots=True)
class FooterInfo:
    """The footer of a file.

    Attributes:
        rows: Rows of the file.
        columns: The names, in order, including `_step` and the residual column.
        schema: The schema of the batches read from the file.
        chunks: The byte range of each column, by row group and column.
    """

    rows: int
    columns: tuple[str, ...]
    schema: pa.Schema
    chunks: tuple[Chunk, ...]


@contextmanager
def _parquet_errors() -> Iterator[None]:
    """Raise pyarrow's errors as our own; errors of the underlying file pass unchanged."""
    try:
        yield
    except DataError:
        raise
    except OSError as exc:
        # pyarrow's own errors (a checksum, a page cut short) are OSErrors without a number.
        if exc.errno is not None:
            raise
        raise DataError(f"the Parquet data is damaged: {_first_line(exc)}") from exc
    except ARROW_ERRORS as exc:
        raise DataError(f"the Parquet data is damaged: {_first_line(exc)}") from exc


def _first_line(exc: Exception) -> str:
    return (str(exc).splitlines() or [type(exc).__name__])[0].rstrip(".")


def _native(source: Source) -> pa.NativeFile:
    if isinstance(source, (bytes, bytearray, memoryview)):
        return pa.BufferReader(source)
    return source if isinstance(source, pa.NativeFile) else pa.PythonFile(source, mode="r")


def _reading(source: Source, native: pa.NativeFile) -> Read:
    if isinstance(source, bytes):
        return lambda offset, size: source[offset : offset + size]
    if isinstance(source, MemberFile):
        return source.read_at
    return lambda offset, size: bytes(native.read_at(size, offset))


@dataclass(frozen=True, slots=True)
class _Columns:
    """The columns of a file, checked to be those of a batch.

    Attributes:
        metadata: The footer as pyarrow parses it.
        schema: The schema of the batches read from the file.
        fields: The fields of the schema, by name.
        text: The names of the columns of text.
    """

    metadata: pq.FileMetaData
    schema: pa.Schema
    fields: Mapping[str, pa.Field]
    text: frozenset[str]


@dataclass(frozen=True, slots=True)
class _File:
    """An open file.

    Attributes:
        native: The file, for pyarrow.
        read_at: Returns bytes from an offset, fewer than requested only at the end.
        columns: Its columns.
        groups: Its row groups.
    """

    native: pa.NativeFile
    read_at: Read
    columns: _Columns
    groups: tuple[Group, ...]

    @property
    def schema(self) -> pa.Schema:
        return self.columns.schema

    @property
    def rows(self) -> int:
        return sum(group.rows for group in self.groups)

    def chunks(self, group: int, names: Sequence[str]) -> list[Chunk]:
        chunks = self.groups[group].chunks
        return [chunks[index] for index in map(self.schema.get_field_index, names)]


def _open(source: Source, footer: bytes | None, expected_rows: int | None = None) -> _File:
    native = _native(source)
    known = last_bytes(native) if footer is None else footer
    # pyarrow is not asked for the chunks: on a damaged footer it ends the process.
    groups = read_groups(known, size=native.size() or None)
    columns = _described(known)
    names = tuple(columns.fields)
    if any(tuple(chunk.column for chunk in group.chunks) != names for group in groups):
        raise DataError("the columns of the Parquet file are not those of its schema")
    file = _File(native, _reading(source, native), columns, groups)
    if expected_rows is not None and file.rows != expected_rows:
        raise DataError(f"the Parquet file has {file.rows} rows, not {expected_rows}")
    return file


def _describe(footer: bytes) -> _Columns:
    metadata = pq.read_metadata(pa.BufferReader(footer))
    # Metadata may change the types of columns; the files of this format have none.
    if metadata.metadata is None:
        return _Columns(metadata, *_shared_schema(footer_schema(footer)))
    return _Columns(metadata, *_described_schema(metadata.schema.to_arrow_schema()))


@lru_cache(maxsize=8)
def _shared_schema(schema: bytes) -> _Described:
    """Return what the bytes of a schema describe, which thousands of runs may share."""
    data = schema + _NO_ROWS
    footer = data + len(data).to_bytes(4, "little") + b"PAR1"
    return _described_schema(pq.read_metadata(pa.BufferReader(b"PAR1" + footer)).schema.to_arrow_schema())


def schema_fields(schema: bytes) -> Mapping[str, pa.Field]:
    """Return the fields of batches by name, from the bytes of a footer that are the schema.

    Raises:
        DataError: The schema is not that of a batch.
    """
    with _parquet_errors():
        return _shared_schema(schema)[1]


def _described_schema(schema: pa.Schema) -> _Described:
    kinds = dict(zip(schema.names, schema.types, strict=True))
    _check_schema(schema, kinds)
    fields = {name: pa.field(name, kind, nullable=name != STEP) for name, kind in kinds.items()}
    text = frozenset(name for name, kind in kinds.items() if kind == pa.string())
    return pa.schema(fields.values()), fields, text


# A command opens each of its files several times.
_described_small = lru_cache(maxsize=1024)(_describe)
_described_large = lru_cache(maxsize=2)(_describe)


def _described(footer: bytes) -> _Columns:
    return (_described_small if len(footer) <= SMALL_FOOTER else _described_large)(footer)


def read_schema(footer: bytes) -> pa.Schema:
    """Return the schema of the batches read from a file.

    Args:
        footer: The last bytes of the file, including length field and magic.

    Raises:
        DataError: The footer is damaged, or its schema is not that of a batch.
    """
    with _parquet_errors():
        return _described(footer).schema


def _check_schema(schema: pa.Schema, kinds: Mapping[str, pa.DataType]) -> None:
    if len(kinds) < len(schema):
        raise DataError("two columns of the Parquet file have one name")
    for index, (name, kind) in enumerate(kinds.items()):
        if name == STEP:
            if index or schema.field(index).nullable or kind != pa.int64():
                raise DataError("the _step column of the Parquet file is not a required int64 and the first")
        elif name == RESIDUAL:
            if kind != pa.string():
                raise DataError(f"the {RESIDUAL} column of the Parquet file is not text")
        elif column_kind(kind) is None:
            raise DataError(f"column {name!r} of the Parquet file has the type {kind}")


def read_footer(source: Source, *, footer: bytes | None = None) -> FooterInfo:
    """Read the footer of a file.

    Args:
        source: The file.
        footer: Its last bytes, if they have been read already: then nothing else is read.

    Raises:
        DataError: The footer is damaged, or its schema is not that of a batch.
    """
    with _parquet_errors():
        file = _open(b"" if footer is not None else source, footer)
    chunks = tuple(chunk for group in file.groups for chunk in group.chunks)
    return FooterInfo(file.rows, tuple(file.schema.names), file.schema, chunks)


def read_batches(
    source: Source,
    columns: Sequence[str] | None = None,
    *,
    footer: bytes | None = None,
    expected_rows: int | None = None,
    memory_limit: int = MEMORY_LIMIT,
    checked: bool = False,
) -> Iterator[pa.Table]:
    """Iterate over the batches of a file: one per row group, several where its rows have much text.

    `_step` and the residual column are read whenever the file has them: a requested key may have cells in
    the residual column, and a batch without steps is not valid.

    Args:
        source: The file.
        columns: The keys wanted; names without a column are ignored. All when None.
        footer: Its last bytes, if they have been read already.
        expected_rows: The number of rows that it must have.
        memory_limit: Most bytes of its decoded cells.
        checked: Whether its bytes have been compared with a hash, so that its checksums need not be verified.

    Raises:
        DataError: The file is damaged, is not of this format, or exceeds the memory limit.
    """
    for _, batch in read_batches_at(
        source,
        columns,
        footer=footer,
        expected_rows=expected_rows,
        memory_limit=memory_limit,
        checked=checked,
    ):
        yield batch
        del batch


def read_batches_at(
    source: Source,
    columns: Sequence[str] | None = None,
    *,
    rows: range | None = None,
    steps: bool = True,
    footer: bytes | None = None,
    expected_rows: int | None = None,
    memory_limit: int = MEMORY_LIMIT,
    checked: bool = False,
) -> Iterator[tuple[int, pa.Table]]:
    """Iterate over batches as `read_batches` does, each with the number of rows before it.

    Args:
        source: As for `read_batches`, like the other arguments.
        columns: The keys wanted.
        rows: Row groups without any of these rows are not read; all are when None.
        steps: Whether `_step` is read besides the keys wanted.
        footer: The last bytes of the file.
        expected_rows: The number of rows that it must have.
        memory_limit: Most bytes of its decoded cells.
        checked: Whether its bytes have been compared with a hash.

    Raises:
        DataError: As for `read_batches`.
    """
    with _parquet_errors():
        file = _open(source, footer, expected_rows)
        wanted = _wanted(file, columns, steps=steps)
        reader = _reader(file, wanted, checked=checked)
    before = 0
    for number, group in enumerate(file.groups):
        if rows is None or overlaps(rows, before, group.rows):
            start = before
            for batch in _decoded(_coded_group(file, reader, number, wanted, memory_limit), wanted):
                size = batch.num_rows
                yield start, batch
                start += size
                del batch
        before += group.rows


def overlaps(rows: range, before: int, count: int) -> bool:
    """Return whether a row group of `count` rows, after `before` others, has any of these rows."""
    return rows.start < before + count and before < rows.stop


def _decoded(coded: pa.Table, schema: pa.Schema) -> Iterator[pa.Table]:
    """Decode a row group part by part; it is released before the next one is read."""
    if not coded.num_rows:
        yield decode_text(coded, schema)
    for part in text_parts(coded):
        yield decode_text(part, schema)


def _coded_group(file: _File, reader: pq.ParquetFile, group: int, wanted: pa.Schema, limit: int) -> pa.Table:
    """Read a row group with its texts as dictionaries, checked so that they can be decoded."""
    with _parquet_errors():
        _check_pages(file, group, wanted.names, limit)
        table = _read_group(reader, group, wanted)
        check_texts(table)
        # A short file can expand to a great deal of text.
        _spend(table.num_rows * len(wanted) * 8 + table_text_bytes(table), limit)
        return table


def _wanted(file: _File, columns: Sequence[str] | None, *, steps: bool = True) -> pa.Schema:
    if columns is None:
        return file.schema
    names = {RESIDUAL, *columns, *((STEP,) if steps else ())}
    return pa.schema([field for name, field in file.columns.fields.items() if name in names])


def _reader(file: _File, wanted: pa.Schema, *, checked: bool = False) -> pq.ParquetFile:
    # Text is read as a dictionary, whose decoded size is known before it is decoded.
    return open_parquet(
        file.native,
        metadata=file.columns.metadata,
        read_dictionary=file.columns.text.intersection(wanted.names) or None,
        page_checksum_verification=not checked,
    )


def _check_pages(file: _File, group: int, names: Sequence[str], limit: int) -> None:
    """Refuse a row group that would take too much memory according to the headers of its pages."""
    rows = file.groups[group].rows
    spent, text = rows * len(names) * 8, 0
    most_text = min(limit, decoded_text_limit(file.native.size()))
    _spend(spent, limit)
    for chunk in file.chunks(group, names):
        values = 0
        for page in walk_pages(file.read_at, chunk):
            values += page.values
            spent += page.decoded
            _spend(spent, limit)
            if chunk.column in file.columns.text:
                text += page.decoded
                _spend(text, most_text)
        if values != rows:
            raise DataError(f"column {chunk.column!r} has {values} values in row group {group}, not {rows}")


def _read_group(reader: pq.ParquetFile, group: int, wanted: pa.Schema) -> pa.Table:
    names = wanted.names
    several = reader.metadata.row_group(group).num_rows > _ONE_THREAD
    table = reader.read_row_group(group, columns=names, use_threads=several)
    # pyarrow also takes a name as a prefix: for "a" it also reads "a.b".
    return table if table.column_names == names else table.select(names)


def _spend(size: int, limit: int) -> None:
    if size > limit:
        raise DataError(f"the Parquet data would take {size} bytes of memory, more than the {limit} allowed")


def read_table(
    source: Source,
    columns: Sequence[str] | None = None,
    *,
    footer: bytes | None = None,
    expected_rows: int | None = None,
    memory_limit: int = MEMORY_LIMIT,
    checked: bool = False,
    coded: bool = False,
) -> pa.Table:
    """Read a complete file as one batch; the other arguments and the errors are those of `read_batches`.

    With `coded`, texts stay dictionaries, so that each distinct text of a row group is in memory once. Only
    `rows.coded_text` reads such a batch.
    """
    with _parquet_errors():
        file = _open(source, footer, expected_rows)
        wanted = _wanted(file, columns)
        _spend(file.rows * len(wanted) * 8, memory_limit)
        reader = _reader(file, wanted, checked=checked)
    tables: list[pa.Table] = []
    text, most_text = 0, joined_text_limit(file.native.size())
    for group in range(len(file.groups)):
        if tables:
            memory_limit -= tables[-1].nbytes
        table = _coded_group(file, reader, group, wanted, memory_limit)
        if not coded:
            text += table_text_bytes(table)
            _spend(text, most_text)
        tables.append(table if coded else decode_text(table, wanted))
    return pa.concat_tables(tables) if tables else wanted.empty_table()


def damaged_chunks(source: Source, *, footer: bytes | None = None) -> tuple[Chunk, ...]:
    """Locate the damage in a file: per damaged column chunk, the first page whose checksum is wrong.

    If the header of a page is damaged, the range extends to the end of the chunk, or is the entire chunk.

    Raises:
        DataError: The footer is damaged, so that damage of the rest cannot be located.
        OSError: The source cannot be read.
    """
    with _parquet_errors():
        file = _open(source, footer)
    damaged = []
    for chunk in read_footer(file.native, footer=footer).chunks:
        with _parquet_errors():
            part = damaged_part(file.read_at, chunk)
        if part is None and not _readable(file, chunk):
            part = chunk.start, chunk.end
        if part is not None:
            damaged.append(Chunk(chunk.row_group, chunk.column, *part))
    return tuple(damaged)


def _readable(file: _File, chunk: Chunk) -> bool:
    """Return whether a chunk can be decoded: no checksum covers the headers of its pages."""
    wanted = pa.schema([file.schema.field(chunk.column)])
    try:
        with _parquet_errors():
            _coded_group(file, _reader(file, wanted), chunk.row_group, wanted, MEMORY_LIMIT)
    except DataError:
        return False
    return True
