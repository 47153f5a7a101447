"""The border to Parquet, the other way: batches out of `history.parquet` and `system.parquet`.

Reading trusts nothing: page checksums are checked unless the bytes have been,
the schema has to be that of a batch, and what would be held in memory is
bounded before and while it is read.
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
from pull_logs.rows.arrays import decoded, decoded_size
from pull_logs.rows.batches import RESIDUAL
from pull_logs.rows.canonical import STEP
from pull_logs.rows.cells import column_kind
from pull_logs.snapshot.format.parquet_pages import (
    SMALL_FOOTER,
    Chunk,
    Group,
    Read,
    damaged_part,
    read_groups,
    walk_pages,
)

MEMORY_LIMIT = 8 << 30
"""Bytes of decoded cells that reading one file may take, unless the caller allows more."""

_ALONE = 16_384
"""Rows up to which one thread reads a row group sooner than several, which have to be told what to do."""

Source: TypeAlias = "bytes | BinaryIO | pa.NativeFile"


@dataclass(frozen=True, slots=True)
class FooterInfo:
    """What the footer of a file says of it.

    Attributes:
        rows: Rows of the file.
        columns: The names, in order, `_step` and the residual column among them.
        schema: As batches read from it have it.
        chunks: Where the bytes of each column are, by row group and column.
    """

    rows: int
    columns: tuple[str, ...]
    schema: pa.Schema
    chunks: tuple[Chunk, ...]


@contextmanager
def _border() -> Iterator[None]:
    """What pyarrow raises, as ours; an error of the file under it passes."""
    try:
        yield
    except DataError:
        raise
    except OSError as exc:
        # pyarrow's own are OSErrors without a number: a checksum, a page cut short.
        if exc.errno is not None:
            raise
        raise DataError(f"the Parquet data is damaged: {_first_line(exc)}") from exc
    except (pa.ArrowException, ValueError, OverflowError, KeyError, IndexError) as exc:
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
    return lambda offset, size: bytes(native.read_at(size, offset))


@dataclass(frozen=True, slots=True)
class _Columns:
    """What a footer says of the columns, which are those of a batch.

    Attributes:
        metadata: The footer as pyarrow knows it.
        schema: As batches read from the file have it.
        fields: The same, by name.
        text: The names of those that are text.
    """

    metadata: pq.FileMetaData
    schema: pa.Schema
    fields: Mapping[str, pa.Field]
    text: frozenset[str]


@dataclass(frozen=True, slots=True)
class _File:
    """An open file.

    Attributes:
        read_at: Its bytes from an offset, so many of them or fewer at its end.
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
        return [chunks[place] for place in map(self.schema.get_field_index, names)]


def _open(source: Source, footer: bytes | None, expected_rows: int | None = None) -> _File:
    native = _native(source)
    known = _last_bytes(native) if footer is None else footer
    # What a chunk is, pyarrow is never asked: on a damaged footer its answer is to abort.
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
    told = metadata.schema.to_arrow_schema()
    kinds = dict(zip(told.names, told.types, strict=True))
    _check_schema(told, kinds)
    fields = {name: pa.field(name, kind, nullable=name != STEP) for name, kind in kinds.items()}
    text = frozenset(name for name, kind in kinds.items() if kind == pa.string())
    return _Columns(metadata, pa.schema(fields.values()), fields, text)


# As with the chunks: a question opens each of its files several times.
_described_small = lru_cache(maxsize=1024)(_describe)
_described_large = lru_cache(maxsize=2)(_describe)


def _described(footer: bytes) -> _Columns:
    return (_described_small if len(footer) <= SMALL_FOOTER else _described_large)(footer)


def read_schema(footer: bytes) -> pa.Schema:
    """The columns of a file, as batches read from it have them.

    Args:
        footer: The last bytes of the file, length field and magic included.

    Raises:
        DataError: The footer is damaged, or its schema is not that of a batch.
    """
    with _border():
        return _described(footer).schema


def _last_bytes(native: pa.NativeFile) -> bytes:
    size = native.size()
    end = bytes(native.read_at(min(8, size), max(size - 8, 0)))
    length = min(int.from_bytes(end[:4], "little") + 8, size)
    return bytes(native.read_at(length, size - length))


def _check_schema(schema: pa.Schema, kinds: Mapping[str, pa.DataType]) -> None:
    if len(kinds) < len(schema):
        raise DataError("two columns of the Parquet file have one name")
    for place, (name, kind) in enumerate(kinds.items()):
        if name == STEP:
            if place or schema.field(place).nullable or kind != pa.int64():
                raise DataError(
                    "the _step column of the Parquet file is not a required int64 in the first place"
                )
        elif name == RESIDUAL:
            if kind != pa.string():
                raise DataError(f"the {RESIDUAL} column of the Parquet file is not text")
        elif column_kind(kind) is None:
            raise DataError(f"column {name!r} of the Parquet file has the type {kind}")


def read_footer(source: Source, *, footer: bytes | None = None) -> FooterInfo:
    """What a file says of itself.

    Args:
        source: The file.
        footer: Its last bytes, when they have been read already: nothing else of it is read then.

    Raises:
        DataError: The footer is damaged, or its schema is not that of a batch.
    """
    with _border():
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
    """The batches of a file, one a row group.

    `_step` and the residual column are read whenever the file has them: a key that was asked for may have
    cells in the residual column, and a batch without steps is none.

    Args:
        source: The file.
        columns: The keys wanted; names that the file has no column of are passed over. All when None.
        footer: Its last bytes, when they have been read already.
        expected_rows: The rows it has to have.
        memory_limit: Bytes of decoded cells that it may take.
        checked: Whether its bytes are known to be the right ones, so that its checksums say nothing more.

    Raises:
        DataError: The file is damaged, is not of this format, or would take more than it may.
    """
    with _border():
        file = _open(source, footer, expected_rows)
        wanted = _wanted(file, columns)
        reader = _reader(file, wanted, checked=checked)
    for group in range(len(file.groups)):
        yield _group_table(file, reader, group, wanted, memory_limit)


def _group_table(file: _File, reader: pq.ParquetFile, group: int, wanted: pa.Schema, limit: int) -> pa.Table:
    with _border():
        _check_pages(file, group, wanted.names, limit)
        return _read_group(reader, group, wanted, limit)


def _wanted(file: _File, columns: Sequence[str] | None) -> pa.Schema:
    if columns is None:
        return file.schema
    asked = {STEP, RESIDUAL, *columns}
    return pa.schema([field for name, field in file.columns.fields.items() if name in asked])


def _reader(file: _File, wanted: pa.Schema, *, checked: bool = False) -> pq.ParquetFile:
    # Text is read as a dictionary, whose size is known before it is written out row by row.
    return pq.ParquetFile(
        file.native,
        metadata=file.columns.metadata,
        read_dictionary=file.columns.text.intersection(wanted.names) or None,
        page_checksum_verification=not checked,
        pre_buffer=not checked,  # what is checked is in memory
    )


def _check_pages(file: _File, group: int, names: Sequence[str], limit: int) -> None:
    """Refuse what would take too much memory, by the headers of the pages themselves."""
    rows = file.groups[group].rows
    spent = rows * len(names) * 8
    _spend(spent, limit)
    for chunk in file.chunks(group, names):
        values = 0
        for page in walk_pages(file.read_at, chunk):
            values += page.values
            spent += page.decoded
            _spend(spent, limit)
        if values != rows:
            raise DataError(f"column {chunk.column!r} has {values} values in row group {group}, not {rows}")


def _read_group(reader: pq.ParquetFile, group: int, wanted: pa.Schema, limit: int) -> pa.Table:
    names = wanted.names
    many = reader.metadata.row_group(group).num_rows > _ALONE
    table = reader.read_row_group(group, columns=names, use_threads=many)
    if table.schema.equals(wanted, check_metadata=True):
        return table
    # pyarrow takes a name as a prefix too: asked for "a" it also reads "a.b".
    table = table.select(names)
    spent = table.num_rows * len(names) * 8
    for place, kind in enumerate(table.schema.types):
        if pa.types.is_dictionary(kind):
            # A short file can stand for a great deal of text.
            chunks = table.column(place).chunks
            spent += sum(map(decoded_size, chunks))
            _spend(spent, limit)
            text = pa.chunked_array([_decoded(chunk) for chunk in chunks], pa.string())
            table = table.set_column(place, wanted.field(place), text)
    return pa.Table.from_arrays(table.columns, schema=wanted)


def _spend(size: int, limit: int) -> None:
    if size > limit:
        raise DataError(f"the Parquet data would take {size} bytes of memory, more than the {limit} allowed")


def _decoded(chunk: pa.DictionaryArray) -> pa.Array:
    chunk.dictionary.validate(full=True)
    return decoded(chunk)


def read_table(
    source: Source,
    columns: Sequence[str] | None = None,
    *,
    footer: bytes | None = None,
    expected_rows: int | None = None,
    memory_limit: int = MEMORY_LIMIT,
    checked: bool = False,
) -> pa.Table:
    """A whole file as one batch; the arguments and errors are those of `read_batches`."""
    with _border():
        file = _open(source, footer, expected_rows)
        wanted = _wanted(file, columns)
        _spend(file.rows * len(wanted) * 8, memory_limit)
        reader = _reader(file, wanted, checked=checked)
    tables: list[pa.Table] = []
    for group in range(len(file.groups)):
        if tables:
            memory_limit -= tables[-1].nbytes
        tables.append(_group_table(file, reader, group, wanted, memory_limit))
    return pa.concat_tables(tables) if tables else wanted.empty_table()


def damaged_chunks(source: Source, *, footer: bytes | None = None) -> tuple[Chunk, ...]:
    """Where a file is damaged: per damaged column chunk, the bytes of its first page whose checksum fails.

    Where a page's header is at fault, it is the bytes from there, or all of the chunk.

    Raises:
        DataError: The footer is damaged, so nothing can be told of the rest.
        OSError: The source's own.
    """
    with _border():
        file = _open(source, footer)
    damaged = []
    for chunk in read_footer(file.native, footer=footer).chunks:
        with _border():
            part = damaged_part(file.read_at, chunk)
        if part is None and not _readable(file, chunk):
            part = chunk.start, chunk.end
        if part is not None:
            damaged.append(Chunk(chunk.row_group, chunk.column, *part))
    return tuple(damaged)


def _readable(file: _File, chunk: Chunk) -> bool:
    """Whether a chunk can be decoded: no checksum covers the headers of its pages."""
    wanted = pa.schema([file.schema.field(chunk.column)])
    try:
        with _border():
            _group_table(file, _reader(file, wanted), chunk.row_group, wanted, MEMORY_LIMIT)
    except DataError:
        return False
    return True
