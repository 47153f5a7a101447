"""Write batches as `history.parquet` and `system.parquet`.

The writer's settings are fixed for the format version, so that the same rows give the same bytes for one
pyarrow version: zstd at level 3, data pages of version 2 with checksums, row groups of 131,072 rows (fewer
where they would have more than 16 MiB of text), statistics on `_step` alone, no Arrow schema in the metadata.
A double column is PLAIN if each of its values has at most six decimals, else BYTE_STREAM_SPLIT; int64 is
DELTA_BINARY_PACKED, text a dictionary, bools RLE, the residual column PLAIN. `parquet_read` reads the files.

See docs/bundle-format.md, "Parquet settings".
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, BinaryIO, TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pull_logs.errors import DataError
from pull_logs.frames import FactsBuilder
from pull_logs.rows.arrays import Ints
from pull_logs.rows.batches import RESIDUAL, BatchCells, take_apart
from pull_logs.rows.canonical import STEP
from pull_logs.rows.cells import ColumnKind
from pull_logs.rows.coded_text import row_text_bytes, text_parts
from pull_logs.rows.hashing import NumberHistory, PieceHasher, number_history, rows_hash_of_numbers
from pull_logs.rows.layout import Layout, LayoutBuilder, is_rounded, lay_out
from pull_logs.rows.limits import MAX_TEXT, TEXT_AT_ONCE

WRITER = f"pyarrow {pa.__version__}"
"""The library that writes the files: their bytes depend on it and on the rows."""

ROW_GROUP = 131_072
_BUFFER = 1 << 20
"""Bytes that are written to a sink at once."""

_MAX_JOINED = 16_384
"""Most rows of small batches that are laid out as one."""

_ENOUGH = TEXT_AT_ONCE // 4
"""Bytes of small batches that are laid out without waiting for the next batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """A file that `write_table` has written.

    Attributes:
        rows: Rows.
        first_step: The first step; None without rows, and for system metrics.
        last_step: The last step; None as above.
        rows_hash: `sha256:` and the hash of the rows (`rows.hashing`).
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


class HashingSink(io.RawIOBase):
    """Passes bytes on to a file, counts and hashes them, and keeps those written after `mark`.

    Attributes:
        size: Bytes so far.
        digest: Their SHA-256 so far.
        tail: The bytes since `mark`; None before.
    """

    def __init__(self, sink: BinaryIO) -> None:
        super().__init__()
        self._sink = sink
        self.size = 0
        self.digest = hashlib.sha256()
        self.tail: bytearray | None = None
        self._failed = False

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: Any) -> int:
        """Write all of some bytes.

        After a failure, further bytes are dropped: pyarrow's buffers write again when they are released, and
        report a second failure on stderr.
        """
        if self._failed:
            return len(data)
        self._failed = True
        self._sink.write(data)
        self._failed = False
        self.digest.update(data)
        if self.tail is not None:
            self.tail += data
        self.size += len(data)
        return len(data)

    def mark(self) -> None:
        """Keep the bytes written from now on."""
        self.tail = bytearray()


@dataclass(slots=True)
class _StepRange:
    """The steps of batches, which have to ascend.

    Attributes:
        first: The first step; None without rows.
        last: The last step; None without rows.
    """

    first: int | None = None
    last: int | None = None

    def extend(self, steps: Ints) -> None:
        """Add the steps of the next batch.

        Raises:
            DataError: The steps do not ascend.
        """
        if not len(steps):
            return
        start, end = int(steps[0]), int(steps[-1])
        if (self.last is not None and start <= self.last) or not (steps[1:] > steps[:-1]).all():
            before = start if self.last is None else self.last
            raise DataError(f"steps do not ascend between {before} and {end}")
        self.first, self.last = start if self.first is None else self.first, end


def write_table(
    batches: Callable[[], Iterable[pa.Table]],
    sink: BinaryIO,
    *,
    system: bool = False,
    describe: Callable[[pa.Table], object] | None = None,
) -> Encoded:
    """Write rows as one Parquet file, in constant memory.

    Args:
        batches: Returns the batches, in step order and with one row per step. It is called a second time if
            they do not fit together in one piece, and has to return the same rows both times. How rows are
            divided into batches does not change a byte.
        sink: The file to write to; left open.
        system: Whether these are system batches, which have no steps.
        describe: Receives the rows as they are written, one batch after the other.

    Raises:
        DataError: The steps do not ascend, or a batch is not valid.
        OSError: The sink cannot be written.
    """
    rows, output = _Rows(batches, system=system), HashingSink(sink)
    # Each write to a Python sink waits for the interpreter's lock.
    buffered = pa.BufferedOutputStream(pa.PythonFile(output, mode="w"), _BUFFER)
    writer = _write_groups(rows, buffered, describe)
    buffered.flush()
    output.mark()  # what follows is the footer
    writer.close()
    buffered.flush()
    return rows.encoded(size=output.size, digest=output.digest.digest(), end=bytes(output.tail or b""))


def encode_table(
    batches: Callable[[], Iterable[pa.Table]], *, facts: FactsBuilder | None = None
) -> tuple[bytes, Encoded]:
    """Write rows of a history in memory, as `write_table` writes them to a file; return the bytes too.

    Args:
        batches: See `write_table`.
        facts: Receives the rows.

    Raises:
        DataError: See `write_table`.
    """
    first = list(islice(batches(), 2))
    numbers = number_history(first[0]) if len(first) == 1 and first[0].num_rows <= ROW_GROUP else None
    if numbers is not None:
        if facts is not None:
            facts.add_numbers(numbers.steps, numbers.columns)
        return _encode_numbers(first[0], numbers)
    rows, sink = _Rows(batches, system=False), pa.BufferOutputStream()
    _write_groups(rows, sink, None if facts is None else facts.add).close()
    data = sink.getvalue().to_pybytes()
    return data, rows.encoded(size=len(data), digest=hashlib.sha256(data).digest(), end=data)


def _encode_numbers(batch: pa.Table, numbers: NumberHistory) -> tuple[bytes, Encoded]:
    """Write the only batch of a history of numbers in memory."""
    rounded = (
        name
        for some in numbers.columns
        for name, values in zip(some.names, some.values, strict=True)
        if is_rounded(values)
    )
    kinds = dict.fromkeys(batch.column_names[1:], ColumnKind.DOUBLE)
    layout = Layout(kinds=kinds, rounded=frozenset(rounded), steps=True, rest=False, moves=False)
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, layout.schema, **_options(layout)) as writer:
        arrays = [column.chunk(0) for column in batch.columns]
        writer.write_table(pa.Table.from_arrays(arrays, schema=layout.schema), row_group_size=ROW_GROUP)
    data = sink.getvalue().to_pybytes()
    return data, _encoded(
        rows=len(numbers.steps),
        first_step=int(numbers.steps[0]),
        last_step=int(numbers.steps[-1]),
        rows_hash=rows_hash_of_numbers(numbers.steps, numbers.columns),
        size=len(data),
        digest=hashlib.sha256(data).digest(),
        end=data,
    )


def _encoded(
    *,
    rows: int,
    first_step: int | None,
    last_step: int | None,
    rows_hash: str,
    size: int,
    digest: bytes,
    end: bytes,
) -> Encoded:
    """Describe a file.

    Args:
        rows: Rows.
        first_step: The first step.
        last_step: The last step.
        rows_hash: The hash of the rows.
        size: Its size in bytes.
        digest: Its SHA-256.
        end: Its last bytes, with the footer.
    """
    footer_bytes = int.from_bytes(end[-8:-4], "little") + 8
    return Encoded(
        rows=rows,
        first_step=first_step,
        last_step=last_step,
        rows_hash=rows_hash,
        bytes=size,
        hash=f"sha256:{digest.hex()}",
        footer_bytes=footer_bytes,
        footer_hash=f"sha256:{hashlib.sha256(end[-footer_bytes:]).hexdigest()}",
    )


class _Rows:
    """The rows of a file, read once: what has to be known before they are written.

    Attributes:
        layout: The columns of the file.
    """

    def __init__(self, batches: Callable[[], Iterable[pa.Table]], *, system: bool) -> None:
        """Read the rows.

        Raises:
            DataError: The steps do not ascend, or a batch is not valid.
        """
        builder, self._hashing, self._steps = LayoutBuilder(steps=not system), PieceHasher(), _StepRange()
        self._batches, self._system, self._count = batches, system, 0
        self._only: BatchCells | None = None
        for number, cells in enumerate(_pieces(batches(), system=system)):
            self._only = None if number else cells
            builder.add(cells)
            self._hashing.add(cells)
            self._count += cells.length
            if cells.steps is not None:
                self._steps.extend(cells.steps)
            del cells  # not in memory while the next piece is read
        self.layout = builder.layout()

    def again(self) -> Iterable[BatchCells]:
        """Return the rows once more; they are read again unless they fit together in one piece."""
        if self._only is not None:
            return [self._only]
        return _pieces(self._batches(), system=self._system, parse=self.layout.moves)

    def encoded(self, *, size: int, digest: bytes, end: bytes) -> Encoded:
        """Describe the file.

        Args:
            size: Its size in bytes.
            digest: Its SHA-256.
            end: Its last bytes, with the footer.
        """
        return _encoded(
            rows=self._count,
            first_step=self._steps.first,
            last_step=self._steps.last,
            rows_hash=f"sha256:{self._hashing.hexdigest()}",
            size=size,
            digest=digest,
            end=end,
        )


def _pieces(batches: Iterable[pa.Table], *, system: bool, parse: bool = True) -> Iterator[BatchCells]:
    """Take the batches apart, small ones joined, none with more rows or text than a row group."""
    for batch in _join_small(batches):
        if (STEP in batch.column_names) is system:
            raise DataError("a system batch has a _step column" if system else "a batch has no _step column")
        for start in range(0, batch.num_rows, ROW_GROUP):
            for part in text_parts(batch.slice(start, ROW_GROUP), most=TEXT_AT_ONCE):
                _check_texts(part)
                yield take_apart(part, parse=parse)
                del part  # each piece is released before the next one is read
        del batch


def _check_texts(part: pa.Table) -> None:
    """Refuse a text that no reader takes; only a part of a single row can have one."""
    if part.num_rows > 1:
        return
    for name, size in ((name, row_text_bytes(part.select([name])).max()) for name in part.column_names):
        if size > MAX_TEXT:
            where = f"of key {name!r}" if name != RESIDUAL else "of the nested values of a row"
            raise DataError(f"a text {where} has {size} bytes, and a bundle holds {MAX_TEXT} at most")


def _join_small(batches: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Join consecutive small batches whose columns have the same types.

    It makes the layout of a run with thousands of keys in hundreds of pages ten times as fast.
    """
    held: list[pa.Table] = []
    types: dict[str, pa.DataType] = {}
    count = size = 0
    for batch in batches:
        own = dict(zip(batch.schema.names, batch.schema.types, strict=True))
        fits = (STEP in own) is (STEP in types) and all(
            types.get(name, kind) == kind for name, kind in own.items()
        )
        fits = fits and count + batch.num_rows <= _MAX_JOINED and size + batch.nbytes <= TEXT_AT_ONCE
        if held and not fits:
            yield _joined(held)
            held, types, count, size = [], {}, 0, 0
        held.append(batch)
        types.update(own)
        count += batch.num_rows
        size += batch.nbytes
        del batch
        if size >= _ENOUGH:
            yield _joined(held)
            held, types, count, size = [], {}, 0, 0
    if held:
        yield _joined(held)


def _joined(tables: Sequence[pa.Table]) -> pa.Table:
    return tables[0] if len(tables) == 1 else pa.concat_tables(tables, promote_options="default")


def _write_groups(
    rows: _Rows, sink: pa.NativeFile, describe: Callable[[pa.Table], object] | None
) -> pq.ParquetWriter:
    """Write all row groups; the footer is written when the writer is closed."""
    layout = rows.layout
    writer = pq.ParquetWriter(sink, layout.schema, **_options(layout))
    for group in _groups(_laid_out(rows.again(), layout, describe)):
        # One chunk per column: pages would end where chunks end.
        joined = pa.concat_tables(group).combine_chunks()
        group.clear()
        writer.write_table(joined, row_group_size=ROW_GROUP)
        del joined, group
    return writer


def _laid_out(
    pieces: Iterable[BatchCells], layout: Layout, describe: Callable[[pa.Table], object] | None
) -> Iterator[pa.Table]:
    for cells in pieces:
        table = lay_out(cells, layout)
        if describe is not None:
            describe(table)
        del cells
        yield table
        del table


def _groups(tables: Iterable[pa.Table]) -> Iterator[list[pa.Table]]:
    """Divide rows into row groups: each ends at `ROW_GROUP` rows, or before it has more than `TEXT_AT_ONCE`.

    So a row group depends on the rows alone, not on how they come; one of a single row may have more text.
    """
    held: list[pa.Table] = []
    count = text = 0
    for table in tables:
        ends, start = np.cumsum(row_text_bytes(table)), 0
        while start < table.num_rows:
            before = int(ends[start - 1]) if start else 0
            fitting = int(np.searchsorted(ends, before + TEXT_AT_ONCE - text, side="right")) - start
            taken = min(max(fitting, int(not count)), ROW_GROUP - count)
            held.append(table.slice(start, taken))
            start += taken
            count += taken
            text += int(ends[start - 1]) - before if taken else 0
            if count == ROW_GROUP or start < table.num_rows:
                yield held
                held, count, text = [], 0, 0
        del table
    if count:
        yield held


class FileOptions(TypedDict):
    """The options of `ParquetWriter` for every file of a bundle."""

    compression: str
    compression_level: int
    version: str
    data_page_version: str
    write_page_checksum: bool
    store_schema: bool


FILE_OPTIONS: FileOptions = {
    "compression": "zstd",
    # Level 9 takes three times as long for files 2.6 % smaller (benchmarks/bundle.py, float32).
    "compression_level": 3,
    "version": "2.6",
    "data_page_version": "2.0",
    "write_page_checksum": True,
    "store_schema": False,
}
"""The options of every Parquet file of a bundle."""


class _WriterOptions(FileOptions):
    """The options for a history or system metrics."""

    use_dictionary: list[str]
    column_encoding: dict[str, str]
    write_statistics: list[str] | bool


def _options(layout: Layout) -> _WriterOptions:
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
        **FILE_OPTIONS,
        "use_dictionary": [name for name, kind in layout.kinds.items() if kind is ColumnKind.STRING],
        "column_encoding": encodings,
        "write_statistics": [STEP] if layout.steps else False,
    }
