"""Runs as W&B exports them: one plain Parquet file, where plain Parquet carries the run exactly.

The columns are INT64, DOUBLE, UTF8, BOOLEAN, LIST and STRUCT and nothing else,
`_step` is INT64 without nulls and ascending: what the SDK's readers take (read
API facts, section 4). A run with a value that such a file would change, such
as a column of both numbers and text, has no export and is served live.
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
"""Members that the dicts of one column may have together; a STRUCT spends a column on each."""
MAX_CELLS = 64_000_000
"""Cells that the columns made out of the residual may have together."""


def plain_table(table: Table) -> pa.Table | None:
    """The history without a residual column; None where plain Parquet cannot carry it exactly."""
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
    # Typed columns are in the file as they are here; values out of the residual may not be.
    exact = RESIDUAL not in rows.column_names or _same_rows(plain, rows)
    return plain if exact else None


def _same_rows(plain: pa.Table, rows: pa.Table) -> bool:
    try:
        return rows_hash([batch_from_arrow(plain)]) == rows_hash([rows])
    except DataError:
        return False


def encode(plain: pa.Table) -> bytes:
    """The Parquet file of a plain table."""
    sink = pa.BufferOutputStream()
    pq.write_table(plain, sink, compression="snappy", row_group_size=ROW_GROUP, store_schema=False)
    encoded: bytes = sink.getvalue().to_pybytes()
    return encoded


def _column(table: Table, key: str) -> pa.ChunkedArray | None:
    values: list[Any] = [None] * len(table.steps)
    members: set[str] = set()
    for place, found in table.residual.items():
        if key in found:
            values[place] = found[key]
            _add_members(found[key], "", members)
            if len(members) > MAX_MEMBERS:
                return None
    try:
        column = pa.chunked_array([pa.array(values)])
    except (pa.ArrowException, OverflowError, ValueError, TypeError):
        return None
    return column if _is_plain(column.type) else None


def _add_members(value: Any, place: str, found: set[str]) -> None:
    """Add the place of each dict member inside a value; those of a list's elements share one."""
    if isinstance(value, dict):
        for key, item in value.items():
            found.add(f"{place}/{key}")
            _add_members(item, f"{place}/{key}", found)
    elif isinstance(value, list):
        for item in value:
            _add_members(item, place, found)


def _is_plain(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return kind.num_fields > 0 and all(_is_plain(kind.field(at).type) for at in range(kind.num_fields))
    if pa.types.is_list(kind):
        return _is_plain(kind.value_type)
    return kind in (pa.int64(), pa.float64(), pa.string(), pa.bool_())
