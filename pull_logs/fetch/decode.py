"""Bytes and texts of a history to batches: work for worker threads, and the border to pyarrow's errors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pull_logs.errors import DataError
from pull_logs.snapshot.canon import STEP, parse_json
from pull_logs.snapshot.cells import flat, present_doubles
from pull_logs.snapshot.columns import RESIDUAL, batch_from_arrow, batch_from_rows

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


_ROUNDED = 2.0**63
"""The least magnitude of a number that orjson has rounded."""


class FileDamagedError(DataError):
    """An exported history file that cannot be read."""


def parse_rows(texts: Sequence[object]) -> list[dict[str, Any]]:
    """The rows of a live page: JSON strings, or objects already.

    Raises:
        DataError: One is no JSON object.
    """
    rows = None if _has_long_integers(texts) else _quick_rows(texts)
    return [_parse_row(text) for text in texts] if rows is None else rows


def _quick_rows(texts: Sequence[object]) -> list[dict[str, Any]] | None:
    """The rows as orjson reads them, which rounds long integers; None where it does not read them."""
    if not all(type(text) is str for text in texts):
        return None
    try:
        rows = orjson.loads(f"[{','.join(texts)}]")  # type: ignore[arg-type] # all are str, as was just asked
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        return None
    if len(rows) != len(texts) or not all(type(row) is dict for row in rows):
        return None
    return list(rows)


def _has_long_integers(texts: Sequence[object]) -> bool:
    joined = ",".join(text for text in texts if isinstance(text, str))
    return _LONG_INTEGER in joined.encode(errors="surrogatepass").translate(_SHAPE)


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
    quick = _quick_rows(texts)
    batch = None if quick is None else _batch_of(quick)
    # To look at the numbers takes a tenth of the time that it takes to look for their digits in the texts.
    if batch is None or (_has_large_numbers(batch) and _has_long_integers(texts)):
        batch = _batch_of([_parse_row(text) for text in texts])
    return clip(batch, start=start, stop=stop)


def _batch_of(rows: Iterable[dict[str, Any]]) -> pa.Table:
    return batch_from_rows([row for row in rows if row.get(STEP) is not None])


def _has_large_numbers(batch: pa.Table) -> bool:
    """Whether some number of a batch may be an integer that orjson has rounded."""
    if RESIDUAL in batch.column_names:
        return True
    doubles = (flat(column) for column in batch.columns if pa.types.is_float64(column.type))
    return any((np.abs(present_doubles(cells)) >= _ROUNDED).any() for cells in doubles)


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
