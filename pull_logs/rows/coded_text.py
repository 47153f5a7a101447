"""Tables whose texts are dictionaries: each distinct text is in memory once, however many rows have it.

A Parquet file is read into such a table. Its texts are then given to the rows part by part, so that a text of
20 MB in twenty rows does not take 400 MB.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pull_logs.rows.arrays import Ints, decoded, dictionary_codes, text_bytes
from pull_logs.rows.limits import TEXT_AT_ONCE


def row_text_bytes(table: pa.Table) -> Ints:
    """Return how many bytes of text each row of a table has.

    Raises:
        DataError: A cell has an index that its dictionary does not have.
    """
    sizes = np.zeros(table.num_rows, np.int64)
    for column in table.columns:
        if _is_text(column.type):
            start = 0
            for chunk in column.chunks:
                sizes[start : start + len(chunk)] += text_bytes(chunk)
                start += len(chunk)
    return sizes


def table_text_bytes(table: pa.Table) -> int:
    """Return how many bytes of text all rows of a table have.

    Raises:
        DataError: As for `row_text_bytes`.
    """
    return int(row_text_bytes(table).sum()) if _has_text(table) else 0


def _has_text(table: pa.Table) -> bool:
    return any(map(_is_text, table.schema.types))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_dictionary(kind) or pa.types.is_string(kind))


def text_parts(table: pa.Table, *, most: int = TEXT_AT_ONCE) -> Iterator[pa.Table]:
    """Divide a table into parts of at most `most` bytes of text, or of one row; none for an empty table.

    Raises:
        DataError: A cell has an index that its dictionary does not have.
    """
    if not table.num_rows:
        return
    if not _has_text(table):
        yield table
        return
    ends = np.cumsum(row_text_bytes(table))
    if int(ends[-1]) <= most:
        yield table
        return
    start = before = 0
    while start < table.num_rows:
        end = max(int(np.searchsorted(ends, before + most, side="right")), start + 1)
        yield table.slice(start, end - start)
        start, before = end, int(ends[end - 1])


def decode_text(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a table with its texts given to the rows, and with exactly this schema.

    Raises:
        DataError: A cell has an index that its dictionary does not have.
    """
    columns = [
        pa.chunked_array(map(decoded, column.chunks), field.type)
        if pa.types.is_dictionary(column.type)
        else column
        for column, field in zip(table.columns, schema, strict=True)
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def check_texts(table: pa.Table) -> None:
    """Check the dictionaries of a table.

    Raises:
        ArrowInvalid: A text is not UTF-8.
    """
    for column in table.columns:
        if pa.types.is_dictionary(column.type):
            for chunk in column.chunks:
                chunk.dictionary.validate(full=True)


def shared_texts(column: pa.ChunkedArray) -> NDArray[Any]:
    """Return the texts of a column as Python objects, None for null; rows with the same text share it."""
    texts = np.empty(len(column), np.object_)
    start = 0
    for chunk in column.chunks:
        end = start + len(chunk)
        if pa.types.is_dictionary(chunk.type):
            known = np.empty(len(chunk.dictionary) + 1, np.object_)
            known[:-1] = chunk.dictionary.to_pylist()
            texts[start:end] = known[dictionary_codes(chunk)]  # the last one, None, for null
        else:
            texts[start:end] = chunk.to_pylist()
        start = end
    return texts
