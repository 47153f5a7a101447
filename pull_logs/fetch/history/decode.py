"""Bytes and texts of a history to batches: work for worker threads, and the border to pyarrow's errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pull_logs.errors import DataError
from pull_logs.rows.arrays import MAX_EXACT_INTEGER, flat, present_doubles
from pull_logs.rows.batches import batch_from_arrow, batch_from_rows
from pull_logs.rows.canonical import STEP, parse_json

ROWS_IN_A_PART = 131_072

_GROUP_AT_ONCE = 16 << 20
"""Bytes of a row group, compressed as it is, up to which it is read at once."""

_LEAST_BUFFER, _MOST_BUFFER = 16 << 10, 1 << 20

_SHAPE = bytes(
    ord("0") if chr(code).isdecimal() else ord(".") if code == ord(".") else ord(" ") for code in range(256)
)
"""Makes of text its digits, as zeros, and its points; the rest is blank."""

_LONG_INTEGER = b" " + b"0" * 19
"""The shape of a number that orjson might round: it does so silently with integers at and above 2^64.

The digits behind a point do not count: a small float has as many.
"""


_PLAIN = (pa.int64(), pa.float64(), pa.bool_(), pa.string(), pa.null())
"""What Arrow makes of plain JSON; texts that look like times it makes times of."""

_LARGE, _MOST_AT_ONCE = 128 << 10, 1 << 30
"""Bytes of a page from which on Arrow reads it nearly as fast, while other threads go on; and most of them at once."""


class FileDamagedError(DataError):
    """An exported history file that cannot be read."""


def parse_rows(texts: Sequence[object]) -> list[dict[str, Any]]:
    """The rows of a live page: JSON strings, or objects already.

    Raises:
        DataError: One is no JSON object.
    """
    whole = [text for text in texts if isinstance(text, str)]
    if len(whole) == len(texts):
        joined = f"[{','.join(whole)}]"
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
    """The batch of a live page, with the rows of `start <= _step < stop` only.

    Rows without a `_step` belong nowhere and are left out, as the SDK leaves them out of
    exported files; servers have been seen to treat the end of a window either way.

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
    """A large page as Arrow reads it, without the interpreter; None unless that is the same as its rows.

    Nearly every page is such a one: objects without lists and objects in them, each key's values of one kind.
    """
    data = _lines(texts)
    if data is None:
        return None
    from pyarrow import json

    whole = json.ReadOptions(use_threads=False, block_size=len(data) + 1)
    try:
        table = json.read_json(pa.BufferReader(data), read_options=whole)
    except (pa.ArrowException, UnicodeDecodeError):
        return None
    known = all(column.type in _PLAIN and _exact(column) for column in table.columns)
    return table if known and table.num_rows == len(texts) else None


def _lines(texts: Sequence[object]) -> bytes | None:
    """The texts as lines, if there are many and each can only be one object with nothing nested in it.

    Arrow takes several objects of a text for several rows, and nests as deep in its own calls as a text does.
    """
    whole = [text for text in texts if type(text) is str and text.startswith("{")]
    if len(whole) != len(texts):
        return None
    try:
        data = "\n".join(whole).encode()
    except UnicodeEncodeError:
        return None
    flat_ones = data.count(b"{") == len(texts) and b"[" not in data
    return data if flat_ones and _LARGE <= len(data) <= _MOST_AT_ONCE else None


def _exact(column: pa.ChunkedArray) -> bool:
    """Whether no number of a column may be an integer that became a double, and is none exactly."""
    if not pa.types.is_float64(column.type):
        return True
    return not (np.abs(present_doubles(flat(column))) >= MAX_EXACT_INTEGER).any()


def clip(batch: pa.Table, *, start: int | None, stop: int | None) -> pa.Table:
    """The rows of a batch, sorted by step, with `start <= _step < stop`."""
    if not batch.num_rows:
        return batch
    steps = batch.column(STEP).combine_chunks().to_numpy(zero_copy_only=False)
    first = 0 if start is None else int(steps.searchsorted(start))
    end = batch.num_rows if stop is None else int(steps.searchsorted(stop))
    return batch if (first, end) == (0, batch.num_rows) else batch.slice(first, max(0, end - first))


def batches_of_file(file: BinaryIO) -> Iterator[pa.Table]:
    """The batches of an exported file, part by part, so that memory stays bounded.

    The parts are the same each time a file is read. A file without rows gives none.

    Raises:
        FileDamagedError: It cannot be read.
        DataError: It holds what no history can hold.
    """
    try:
        metadata = pq.read_metadata(file)
        file.seek(0)
        with pq.ParquetFile(
            file, metadata=metadata, buffer_size=_buffer_size(metadata), pre_buffer=False
        ) as parquet:
            for part in parquet.iter_batches(batch_size=ROWS_IN_A_PART, use_threads=False):
                yield batch_from_arrow(pa.Table.from_batches([part]))
    except (pa.ArrowException, OSError) as exc:
        raise FileDamagedError("an exported history file cannot be read") from exc


def _buffer_size(metadata: pq.FileMetaData) -> int:
    """Bytes to read of a column at a time; 0 for a column of a row group at once, which is fastest.

    A file that is one long row group would else be in memory whole, compressed as it is.
    """
    groups = map(metadata.row_group, range(metadata.num_row_groups))
    sizes = (
        sum(group.column(place).total_compressed_size for place in range(group.num_columns))
        for group in groups
    )
    if max(sizes, default=0) <= _GROUP_AT_ONCE:
        return 0
    share: int = _GROUP_AT_ONCE // metadata.num_columns
    return max(_LEAST_BUFFER, min(_MOST_BUFFER, share))
