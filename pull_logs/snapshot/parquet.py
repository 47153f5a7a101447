"""The border to Parquet: batches into `history.parquet` and `system.parquet`, and back.

The writer's settings are frozen for the format version (bundle format facts,
section 5), so that the same rows give the same bytes for one pyarrow version:
zstd at level 9, data pages of version 2 with checksums, row groups of 131,072
rows, statistics on `_step` alone, no Arrow schema in the metadata. A double
column is PLAIN if each of its values has at most six decimals, else
BYTE_STREAM_SPLIT; int64 is DELTA_BINARY_PACKED, text a dictionary, bools RLE,
the residual column PLAIN.

Reading trusts nothing: page checksums are checked, the schema has to be that of
a batch, and what would be held in memory is bounded before and while it is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, BinaryIO, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from pull_logs.errors import DataError
from pull_logs.snapshot.buffers import decoded_size, written_out
from pull_logs.snapshot.canon import STEP
from pull_logs.snapshot.cells import ColumnKind, column_kind
from pull_logs.snapshot.columns import RESIDUAL, BatchCells, take_apart
from pull_logs.snapshot.identity import RowsHasher
from pull_logs.snapshot.layout import Layout, Survey, lay_out
from pull_logs.snapshot.pages import SMALL_FOOTER, Chunk, Group, damaged_part, read_groups, walk_pages
from pull_logs.snapshot.sinks import HashingSink

WRITER = f"pyarrow {pa.__version__}"
"""What the bytes of a file depend on besides its rows."""

ROW_GROUP = 131_072
MEMORY_LIMIT = 8 << 30
"""Bytes of decoded cells that reading one file may take, unless the caller allows more."""

_BUFFER = 1 << 20
"""Bytes that are handed to a sink at once."""

_TOGETHER = 16_384
"""Rows up to which small batches are laid out as one."""

_ALONE = 16_384
"""Rows up to which one thread reads a row group sooner than several, which have to be told what to do."""

Source: TypeAlias = "bytes | BinaryIO | pa.NativeFile"


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """What `write_table` has written.

    Attributes:
        rows: Rows.
        first_step: The first step; None without rows, and for system metrics.
        last_step: The last step, likewise.
        rows_hash: `sha256:` and the hash of the rows (`identity`).
        bytes: Size of the file.
        hash: `sha256:` and the hash of the file.
        footer_bytes: Size of the footer: the last bytes of the file, its length field and magic included.
        footer_hash: `sha256:` and the hash of the footer.
    """

    rows: int
    first_step: int | None
    last_step: int | None
    rows_hash: str
    bytes: int
    hash: str
    footer_bytes: int
    footer_hash: str


def write_table(
    batches: Callable[[], Iterable[pa.Table]], sink: BinaryIO, *, system: bool = False
) -> Encoded:
    """Write rows as one Parquet file, in constant memory.

    Args:
        batches: Gives the batches, in step order and one row a step; called a second time if they are more
            than fit together, and has to give the same rows both times. How rows are cut into batches does not
            change a byte.
        sink: Where the bytes go; left open.
        system: Whether these are system batches, which have no steps.

    Raises:
        DataError: The steps do not ascend, or a batch is not what a batch may be.
        OSError: The sink's own.
    """
    survey = Survey(steps=not system)
    hasher = RowsHasher()
    rows, first, last = 0, None, None
    pieces, cells = 0, None
    for cells in _pieces(batches(), system=system):
        pieces += 1
        survey.add(cells)
        hasher.update_cells(cells)
        rows += cells.length
        if cells.steps is not None and cells.length:
            start, end = int(cells.steps[0]), int(cells.steps[-1])
            if (last is not None and start <= last) or not (cells.steps[1:] > cells.steps[:-1]).all():
                raise DataError(f"steps do not ascend between {start if last is None else last} and {end}")
            first, last = start if first is None else first, end
    layout = survey.layout()
    tally = HashingSink(sink)
    again = [cells] if cells and pieces == 1 else _pieces(batches(), system=system, parse=layout.moves)
    _write(layout, again, tally)
    footer = bytes(tally.tail or b"")
    size = int.from_bytes(footer[-8:-4], "little") + 8
    return Encoded(
        rows=rows,
        first_step=first,
        last_step=last,
        rows_hash=f"sha256:{hasher.hexdigest()}",
        bytes=tally.size,
        hash=f"sha256:{tally.digest.hexdigest()}",
        footer_bytes=size,
        footer_hash=f"sha256:{hashlib.sha256(footer[-size:]).hexdigest()}",
    )


def _pieces(batches: Iterable[pa.Table], *, system: bool, parse: bool = True) -> Iterator[BatchCells]:
    """The batches taken apart, small ones together, none longer than a row group."""
    for batch in _together(batches):
        if (STEP in batch.column_names) is system:
            raise DataError("a system batch has a _step column" if system else "a batch has no _step column")
        for start in range(0, batch.num_rows, ROW_GROUP):
            yield take_apart(batch.slice(start, ROW_GROUP), parse=parse)


def _together(batches: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Small batches that follow each other as one, where their columns have the same types.

    A run of thousands of keys that come in hundreds of pages is laid out ten times as fast by it.
    """
    held: list[pa.Table] = []
    types: dict[str, pa.DataType] = {}
    count = 0
    for batch in batches:
        own = dict(zip(batch.schema.names, batch.schema.types, strict=True))
        fits = (STEP in own) is (STEP in types) and all(
            types.get(name, kind) == kind for name, kind in own.items()
        )
        if held and not (fits and count + batch.num_rows <= _TOGETHER):
            yield _joined(held)
            held, types, count = [], {}, 0
        held.append(batch)
        types.update(own)
        count += batch.num_rows
    if held:
        yield _joined(held)


def _joined(tables: Sequence[pa.Table]) -> pa.Table:
    return tables[0] if len(tables) == 1 else pa.concat_tables(tables, promote_options="default")


def _write(layout: Layout, pieces: Iterable[BatchCells], tally: HashingSink) -> None:
    """Write the rows in groups of exactly `ROW_GROUP`, but for the last."""
    # Each write to a Python sink waits for its turn among the threads.
    buffered = pa.BufferedOutputStream(pa.PythonFile(tally, mode="w"), _BUFFER)
    writer = pq.ParquetWriter(buffered, layout.schema, **_settings(layout))
    held: list[pa.Table] = []
    count = 0
    for cells in pieces:
        held.append(lay_out(cells, layout))
        count += cells.length
        while count >= ROW_GROUP:
            table = pa.concat_tables(held)
            # One chunk a column: where chunks end would show in the pages.
            writer.write_table(table.slice(0, ROW_GROUP).combine_chunks(), row_group_size=ROW_GROUP)
            held = [table.slice(ROW_GROUP)]
            count -= ROW_GROUP
    if count:
        writer.write_table(pa.concat_tables(held).combine_chunks(), row_group_size=ROW_GROUP)
    buffered.flush()
    tally.mark()  # what follows is the footer
    writer.close()
    buffered.flush()


def _settings(layout: Layout) -> dict[str, Any]:
    encodings = {STEP: "DELTA_BINARY_PACKED"} if layout.steps else {}
    for name, kind in layout.kinds.items():
        if kind is ColumnKind.DOUBLE:
            encodings[name] = "PLAIN" if name in layout.rounded else "BYTE_STREAM_SPLIT"
        elif kind is ColumnKind.INTEGER:
            encodings[name] = "DELTA_BINARY_PACKED"
        elif kind is ColumnKind.BOOL:
            encodings[name] = "RLE"
    if layout.rest:
        encodings[RESIDUAL] = "PLAIN"
    return {
        "compression": "zstd",
        "compression_level": 9,
        "version": "2.6",
        "data_page_version": "2.0",
        "use_dictionary": [name for name, kind in layout.kinds.items() if kind is ColumnKind.STRING],
        "column_encoding": encodings,
        "write_statistics": [STEP] if layout.steps else False,
        "write_page_checksum": True,
        "store_schema": False,
    }


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


@dataclass(frozen=True, slots=True)
class _File:
    """An open file, whose schema is that of a batch."""

    native: pa.NativeFile
    metadata: pq.FileMetaData
    schema: pa.Schema
    groups: tuple[Group, ...]

    @property
    def rows(self) -> int:
        return sum(group.rows for group in self.groups)

    def chunk(self, group: int, name: str) -> Chunk:
        place: int = self.schema.get_field_index(name)
        return self.groups[group].chunks[place]


def _open(source: Source, footer: bytes | None, expected_rows: int | None = None) -> _File:
    native = _native(source)
    known = _last_bytes(native) if footer is None else footer
    # What a chunk is, pyarrow is never asked: on a damaged footer its answer is to abort.
    groups = read_groups(known, size=native.size() or None)
    metadata, schema = (_described_small if len(known) <= SMALL_FOOTER else _described_large)(known)
    names = tuple(schema.names)
    if any(tuple(chunk.column for chunk in group.chunks) != names for group in groups):
        raise DataError("the columns of the Parquet file are not those of its schema")
    file = _File(native, metadata, schema, groups)
    if expected_rows is not None and file.rows != expected_rows:
        raise DataError(f"the Parquet file has {file.rows} rows, not {expected_rows}")
    return file


def _describe(footer: bytes) -> tuple[pq.FileMetaData, pa.Schema]:
    metadata = pq.read_metadata(pa.BufferReader(footer))
    schema = metadata.schema.to_arrow_schema()
    _check_schema(schema)
    return metadata, schema


# As with the chunks: a question opens each of its files several times.
_described_small = lru_cache(maxsize=1024)(_describe)
_described_large = lru_cache(maxsize=2)(_describe)


def _last_bytes(native: pa.NativeFile) -> bytes:
    size = native.size()
    end = bytes(native.read_at(min(8, size), max(size - 8, 0)))
    length = min(int.from_bytes(end[:4], "little") + 8, size)
    return bytes(native.read_at(length, size - length))


def _check_schema(schema: pa.Schema) -> None:
    names = schema.names
    if len(set(names)) < len(names):
        raise DataError("two columns of the Parquet file have one name")
    for place, column in enumerate(schema):
        if column.name == STEP:
            if place or column.nullable or column.type != pa.int64():
                raise DataError(
                    "the _step column of the Parquet file is not a required int64 in the first place"
                )
        elif column.name == RESIDUAL:
            if column.type != pa.string():
                raise DataError(f"the {RESIDUAL} column of the Parquet file is not text")
        elif column_kind(column.type) is None:
            raise DataError(f"column {column.name!r} of the Parquet file has the type {column.type}")


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

    Raises:
        DataError: The file is damaged, is not of this format, or would take more than it may.
    """
    with _border():
        file = _open(source, footer, expected_rows)
        names = _wanted(file, columns)
        reader = _reader(file, names)
    for group in range(len(file.groups)):
        yield _group_table(file, reader, group, names, memory_limit)


def _group_table(
    file: _File, reader: pq.ParquetFile, group: int, names: Sequence[str], limit: int
) -> pa.Table:
    with _border():
        _check_pages(file, group, names, limit)
        return _read_group(reader, group, names, limit)


def _wanted(file: _File, columns: Sequence[str] | None) -> list[str]:
    names: list[str] = file.schema.names
    if columns is None:
        return names
    asked = {STEP, RESIDUAL, *columns}
    return [name for name in names if name in asked]


def _reader(file: _File, names: Sequence[str]) -> pq.ParquetFile:
    # Text is read as a dictionary, whose size is known before it is written out row by row.
    text = [name for name in names if file.schema.field(name).type == pa.string()]
    return pq.ParquetFile(
        file.native, metadata=file.metadata, read_dictionary=text or None, page_checksum_verification=True
    )


def _check_pages(file: _File, group: int, names: Sequence[str], limit: int) -> None:
    """Refuse what would take too much memory, by the headers of the pages themselves."""
    rows = file.groups[group].rows
    spent = rows * len(names) * 8
    _spend(spent, limit)
    for name in names:
        values = 0
        for page in walk_pages(_read_at(file.native), file.chunk(group, name)):
            values += page.values
            spent += page.decoded
            _spend(spent, limit)
        if values != rows:
            raise DataError(f"column {name!r} has {values} values in row group {group}, not {rows}")


def _read_at(native: pa.NativeFile) -> Callable[[int, int], bytes]:
    return lambda offset, size: bytes(native.read_at(size, offset))


def _read_group(reader: pq.ParquetFile, group: int, names: Sequence[str], limit: int) -> pa.Table:
    # pyarrow takes a name as a prefix too: asked for "a" it also reads "a.b".
    many = reader.metadata.row_group(group).num_rows > _ALONE
    table = reader.read_row_group(group, columns=list(names), use_threads=many).select(list(names))
    arrays, fields, spent = [], [], table.num_rows * len(names) * 8
    for name, column in zip(names, table.columns, strict=True):
        array = column
        if pa.types.is_dictionary(column.type):
            # A short file can stand for a great deal of text.
            spent += sum(map(decoded_size, column.chunks))
            _spend(spent, limit)
            array = pa.chunked_array([_decoded(chunk) for chunk in column.chunks], pa.string())
        arrays.append(array)
        fields.append(pa.field(name, array.type, nullable=name != STEP))
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _spend(size: int, limit: int) -> None:
    if size > limit:
        raise DataError(f"the Parquet data would take {size} bytes of memory, more than the {limit} allowed")


def _decoded(chunk: pa.DictionaryArray) -> pa.Array:
    chunk.dictionary.validate(full=True)
    return written_out(chunk)


def read_table(
    source: Source,
    columns: Sequence[str] | None = None,
    *,
    footer: bytes | None = None,
    expected_rows: int | None = None,
    memory_limit: int = MEMORY_LIMIT,
) -> pa.Table:
    """A whole file as one batch; the arguments and errors are those of `read_batches`."""
    with _border():
        file = _open(source, footer, expected_rows)
        names = _wanted(file, columns)
        _spend(file.rows * len(names) * 8, memory_limit)
        reader = _reader(file, names)
    tables = []
    for group in range(len(file.groups)):
        tables.append(_group_table(file, reader, group, names, memory_limit))
        memory_limit -= tables[-1].nbytes
    return pa.concat_tables(tables) if tables else pa.schema(map(file.schema.field, names)).empty_table()


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
            part = damaged_part(_read_at(file.native), chunk)
        if part is None and not _readable(file, chunk):
            part = chunk.start, chunk.end
        if part is not None:
            damaged.append(Chunk(chunk.row_group, chunk.column, *part))
    return tuple(damaged)


def _readable(file: _File, chunk: Chunk) -> bool:
    """Whether a chunk can be decoded: no checksum covers the headers of its pages."""
    names = [chunk.column]
    try:
        with _border():
            _check_pages(file, chunk.row_group, names, MEMORY_LIMIT)
            _read_group(_reader(file, names), chunk.row_group, names, MEMORY_LIMIT)
    except DataError:
        return False
    return True
