"""Runs as W&B exports them: plain Parquet files, where plain Parquet can hold the run exactly.

The columns are INT64, DOUBLE, UTF8, BOOLEAN, LIST and STRUCT only; `_step` is INT64, without nulls and
ascending. The SDK's readers accept no more (docs/protocol.md, "Exported Parquet files"). A run with a value
that such a file would change, such as a column of both numbers and text, is not exported and is served live.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pull_logs.errors import DataError
from pull_logs.replay.data.history import Table
from pull_logs.rows.batches import RESIDUAL, batch_from_arrow
from pull_logs.rows.canonical import STEP
from pull_logs.rows.hashing import rows_hash

ROW_GROUP = 65_536
MAX_MEMBERS = 256
"""The most members that the dicts of one column may have together; a STRUCT has a column for each."""
MAX_CELLS = 64_000_000
"""The most cells that the columns made from the residual may have together."""


def plain_table(table: Table) -> pa.Table | None:
    """Return the history without a residual column; None where plain Parquet cannot hold it exactly."""
    rows = table.rows
    fields = [rows.schema.field(name) for name in rows.column_names if name != RESIDUAL]
    columns = [rows.column(field.name) for field in fields]
    if RESIDUAL in rows.column_names:
        names = {field.name for field in fields}
        keys = {key for members in table.residual.values() for key in members}
        if keys & names or len(keys) * len(table.steps) > MAX_CELLS:
            return None
        for key in sorted(keys):
            column = _column(table, key)
            if column is None:
                return None
            fields.append(pa.field(key, column.type))
            columns.append(column)
    schema = pa.schema([field.with_nullable(field.name != STEP) for field in fields])
    plain = pa.table(columns, schema=schema)
    # Typed columns are written to the file unchanged; values from the residual may change.
    exact = RESIDUAL not in rows.column_names or _same_rows(plain, rows)
    return plain if exact else None


def _same_rows(plain: pa.Table, rows: pa.Table) -> bool:
    try:
        return rows_hash([batch_from_arrow(plain)]) == rows_hash([rows])
    except DataError:
        return False


def encode(plain: pa.Table) -> bytes:
    """Encode a plain table as a Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(plain, sink, compression="snappy", row_group_size=ROW_GROUP, store_schema=False)
    encoded: bytes = sink.getvalue().to_pybytes()
    return encoded


def _column(table: Table, key: str) -> pa.ChunkedArray | None:
    values: list[Any] = [None] * len(table.steps)
    members: set[str] = set()
    for row, found in table.residual.items():
        if key in found:
            values[row] = found[key]
            _add_members(found[key], "", members)
            if len(members) > MAX_MEMBERS:
                return None
    try:
        column = pa.chunked_array([pa.array(values)])
    except (pa.ArrowException, OverflowError, ValueError, TypeError):
        return None
    return column if _is_plain(column.type) else None


def _add_members(value: Any, path: str, found: set[str]) -> None:
    """Add the path of each dict member inside a value; the elements of a list share one path."""
    if isinstance(value, dict):
        for key, item in value.items():
            found.add(f"{path}/{key}")
            _add_members(item, f"{path}/{key}", found)
    elif isinstance(value, list):
        for item in value:
            _add_members(item, path, found)


def _is_plain(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return kind.num_fields > 0 and all(_is_plain(kind.field(at).type) for at in range(kind.num_fields))
    if pa.types.is_list(kind):
        return _is_plain(kind.value_type)
    return kind in (pa.int64(), pa.float64(), pa.string(), pa.bool_())
