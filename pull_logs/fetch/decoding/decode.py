"""Bytes and texts of a history converted to batches, for worker threads; the boundary to pyarrow's errors."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pull_logs.errors import DataError
from pull_logs.rows.arrays import MAX_EXACT_INTEGER, flat, present_doubles
from pull_logs.rows.arrow import ARROW_ERRORS, open_parquet
from pull_logs.rows.batches import batch_from_arrow, batch_from_rows, steps_of
from pull_logs.rows.canonical import STEP, parse_json

ROWS_IN_A_PART = 131_072

_GROUP_AT_ONCE = 16 << 20
"""The maximum compressed size in bytes of a row group that is read at once."""

_LARGE_FILE = 4 << 20
"""The size in bytes of a file from which its columns are decoded in several threads.

Smaller files are decoded several at a time instead.
"""

_LEAST_BUFFER, _MOST_BUFFER = 16 << 10, 1 << 20

_SHAPE = bytes(
    ord("0") if chr(code).isdecimal() else ord(".") if code == ord(".") else ord(" ") for code in range(256)
)
"""Translates text: digits to zeros, points to points, everything else to spaces."""

_LONG_INTEGER = b" " + b"0" * 19
"""The shape of a number that orjson may round: it silently rounds integers at and above 2^64.

Digits after a point do not count: a small float has as many.
"""


_PLAIN = (pa.int64(), pa.float64(), pa.bool_(), pa.string(), pa.null())
"""The types that Arrow gives plain JSON; it converts texts that look like times to times."""

_LARGE, _MOST_AT_ONCE = 128 << 10, 1 << 30
"""The bytes of a page from and up to which Arrow reads it, nearly as fast, without blocking other threads."""


class FileDamagedError(DataError):
    """An exported history file that cannot be read."""


def parse_rows(texts: Sequence[object]) -> list[dict[str, Any]]:
    """Return the rows of a live page, which are JSON strings or objects.

    Raises:
        DataError: A row is not a JSON object.
    """
    strings = [text for text in texts if isinstance(text, str)]
    if len(strings) == len(texts):
        joined = f"[{','.join(strings)}]"
        if _LONG_INTEGER not in joined.encode(errors="surrogatepass").translate(_SHAPE):
            try:
                rows = orjson.loads(joined)
            except (orjson.JSONDecodeError, UnicodeEncodeError):
                rows = None
            if rows is not None and len(rows) == len(texts) and all(type(row) is dict for row in rows):
                return list(rows)
    return [_parse_row(text) for text in texts]


def _parse_row(text: object) -> dict[str, Any]:
    row = parse_json(text) if isinstance(text, str) else text
    if not isinstance(row, Mapping):
        raise DataError(f"a history row is {type(row).__name__}, not a JSON object")
    return dict(row)


def batch_of_page(texts: Sequence[object], *, start: int, stop: int) -> pa.Table:
    """Return the batch of a live page, with the rows of `start <= _step < stop` only.

    Rows without a `_step` are omitted, as the SDK omits them from exported files. Some
    servers include the end of a window and others do not.

    Raises:
        DataError: A row cannot be read.
    """
    table = _flat_table(texts)
    if table is None:
        batch = batch_from_rows([row for row in parse_rows(texts) if row.get(STEP) is not None])
    else:
        batch = batch_from_arrow(table)
    return clip(batch, start=start, stop=stop)


def _flat_table(texts: Sequence[object]) -> pa.Table | None:
    """Return a large page as Arrow reads it, without the interpreter; None where it may differ from the rows.

    It is possible for nearly every page: flat objects in which the values of each key have one type.
    """
    data = _lines(texts)
    if data is None:
        return None
    from pyarrow import json

    options = json.ReadOptions(use_threads=False, block_size=len(data) + 1)
    try:
        table = json.read_json(pa.BufferReader(data), read_options=options)
    except (pa.ArrowException, UnicodeDecodeError):
        return None
    known = all(column.type in _PLAIN and _exact(column) for column in table.columns)
    return table if known and table.num_rows == len(texts) else None


def _lines(texts: Sequence[object]) -> bytes | None:
    """Return the texts as lines, if there are many and each is certainly one flat object.

    Arrow reads several objects in a text as several rows, and recurses as deep as a text is nested.
    """
    lines = [text for text in texts if type(text) is str and text.startswith("{")]
    if len(lines) != len(texts):
        return None
    try:
        data = "\n".join(lines).encode()
    except UnicodeEncodeError:
        return None
    flat_objects = data.count(b"{") == len(texts) and b"[" not in data
    return data if flat_objects and _LARGE <= len(data) <= _MOST_AT_ONCE else None


def _exact(column: pa.ChunkedArray) -> bool:
    """Return whether no number of a column may be an integer that a double does not hold exactly."""
    if not pa.types.is_float64(column.type):
        return True
    return not (np.abs(present_doubles(flat(column))) >= MAX_EXACT_INTEGER).any()


def clip(batch: pa.Table, *, start: int | None, stop: int | None) -> pa.Table:
    """Return the rows of a batch, sorted by step, with `start <= _step < stop`."""
    if not batch.num_rows:
        return batch
    steps = steps_of(batch)
    first = 0 if start is None else int(steps.searchsorted(start))
    end = batch.num_rows if stop is None else int(steps.searchsorted(stop))
    return batch if (first, end) == (0, batch.num_rows) else batch.slice(first, max(0, end - first))


def batches_of_bytes(data: bytes, *, most: int) -> list[pa.Table] | None:
    """Return the batches of an exported file that is in memory, which is opened once.

    Args:
        data: The bytes of the file.
        most: The most bytes that its columns may have once they are decoded.

    Returns:
        The batches; None if there are more bytes than that.

    Raises:
        FileDamagedError: The file cannot be read.
        DataError: It holds a value that no history can hold.
    """
    try:
        with open_parquet(pa.BufferReader(data)) as parquet:
            if _decoded_size(parquet.metadata) > most:
                return None
            return list(_batches(parquet, threads=len(data) >= _LARGE_FILE))
    except DataError:
        raise
    except ARROW_ERRORS as exc:
        raise _damaged() from exc


def _decoded_size(metadata: pq.FileMetaData) -> int:
    """Return the size of the columns of a file."""
    sizes = (metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
    return int(max(sum(sizes), 8 * metadata.num_rows * metadata.num_columns))


def batches_of_file(file: BinaryIO) -> Iterator[pa.Table]:
    """Yield the batches of an exported file, part by part, so that memory stays bounded.

    The parts are the same each time a file is read. A file without rows has none.

    Args:
        file: The file.

    Raises:
        FileDamagedError: The file cannot be read.
        DataError: It holds a value that no history can hold.
    """
    try:
        metadata = pq.read_metadata(file)
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        buffer_size = _buffer_size(_group_sizes(metadata, size), columns=metadata.num_columns)
        with open_parquet(file, metadata=metadata, buffer_size=buffer_size) as parquet:
            yield from _batches(parquet, threads=size >= _LARGE_FILE)
    except DataError:
        raise
    except ARROW_ERRORS as exc:
        raise _damaged() from exc


def _batches(parquet: pq.ParquetFile, *, threads: bool) -> Iterator[pa.Table]:
    for part in parquet.iter_batches(batch_size=ROWS_IN_A_PART, use_threads=threads):
        yield batch_from_arrow(pa.Table.from_batches([part]))


def _damaged() -> FileDamagedError:
    return FileDamagedError("an exported history file cannot be read")


def _group_sizes(metadata: pq.FileMetaData, size: int) -> list[int]:
    """Return about how many bytes of a file each row group takes: its share of the decoded bytes.

    pyarrow is not asked for the chunks, which would be exact: of a damaged file, it ends the process.
    """
    groups = map(metadata.row_group, range(metadata.num_row_groups))
    decoded = [max(group.total_byte_size, 0) for group in groups]
    return [size * one // (sum(decoded) or 1) for one in decoded]


def _buffer_size(sizes: Sequence[int], *, columns: int) -> int:
    """Return the bytes of a column to read at a time; 0 for all of a row group, which is fastest.

    Without a limit, a file that is one long row group would be in memory completely, in its compressed form.
    """
    if max(sizes, default=0) <= _GROUP_AT_ONCE:
        return 0
    share = _GROUP_AT_ONCE // columns
    return max(_LEAST_BUFFER, min(_MOST_BUFFER, share))
