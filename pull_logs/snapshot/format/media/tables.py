"""The tables that runs logged: their JSON as W&B writes it, and the same cells as Arrow columns and Parquet.

W&B writes a table twice: into a file of the run, without types, with texts such as `Image` for media and with
`NaN`; and into an artifact, with types, media and times, but without NaN. `join_tables` has what both have.

A column of an Arrow table has the narrowest type that holds each of its cells exactly: bool, int64, double,
string, a time of milliseconds where the table says so, or lists of these. Any other column is JSON text, for
which the metadata of the file has `"json": true`. See docs/bundle-format.md, "Media".
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pull_logs.errors import DataError
from pull_logs.rows.canonical import canon_text, canonical_text, parse_json
from pull_logs.snapshot.format.parquet_write import FILE_OPTIONS

MAX_JSON = 64 * 2**20
"""Most bytes of the JSON of a table that is encoded as Parquet: its cells take ten times as much memory."""

MAX_VALUES = 4_194_304
"""Most commas, brackets and braces in the JSON of such a table: each may be a value of 64 bytes in memory."""

MAX_COLUMNS = 10_000
"""Most columns of a table that is encoded as Parquet."""

METADATA = b"wandb_table"
"""The key of the description of the columns in the metadata of a Parquet file."""

_ROW_GROUP = 131_072
_MAX_TYPE = 16 * 2**10
_INT64 = range(-(2**63), 2**63)
_TIMES = range(-62_135_596_800_000, 253_402_300_800_000)
"""The milliseconds of the years 1 to 9999."""

_MAX_LISTS = 8
"""Most lists in one another of a column that is not JSON text."""


@dataclass(frozen=True, slots=True)
class LoggedTable:
    """A table as its JSON has it.

    Attributes:
        columns: The names, as they were logged.
        rows: The rows; each has a cell for each column.
        types: The type of each column by its name, as W&B writes it; empty without types.
    """

    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]
    types: Mapping[str, Any] = field(default_factory=dict)

    def cells(self, at: int) -> list[Any]:
        """Return the cells of a column."""
        return [row[at] for row in self.rows]

    def is_time(self, at: int) -> bool:
        """Return whether the cells of a column are times in milliseconds."""
        kind = plain_type(self.types.get(self.columns[at]))
        cells = (row[at] for row in self.rows)
        return kind == "timestamp" and all(
            cell is None or (type(cell) is int and cell in _TIMES) for cell in cells
        )


def may_be_encoded(data: bytes) -> bool:
    """Return whether the JSON of a table is short enough to be encoded as Parquet."""
    return len(data) <= MAX_JSON and sum(map(data.count, (b",", b"[", b"{"))) <= MAX_VALUES


def parse_table(data: bytes, *, name: str) -> LoggedTable:
    """Read the JSON of a table.

    Args:
        data: The JSON.
        name: What messages call it.

    Raises:
        DataError: It is not a table.
    """
    value = parse_json(data)
    columns, rows = (value.get("columns"), value.get("data")) if isinstance(value, Mapping) else (None, None)
    valid = (
        isinstance(columns, list)
        and isinstance(rows, list)
        and all(isinstance(row, list) and len(row) == len(columns) for row in rows)
    )
    if not valid or not isinstance(columns, list) or not isinstance(rows, list):
        raise DataError(f"file {name!r} is not a table of W&B")
    return LoggedTable(tuple(map(_name, columns)), rows, _types(value.get("column_types")))


def _name(value: Any) -> str:
    return canon_text(value) if isinstance(value, str) else canon_text(str(value))


def _types(value: Any) -> Mapping[str, Any]:
    params = value.get("params") if isinstance(value, Mapping) else None
    types = params.get("type_map") if isinstance(params, Mapping) else None
    return {canon_text(name): kind for name, kind in types.items()} if isinstance(types, Mapping) else {}


def plain_type(kind: Any) -> str | None:
    """Return the name of the type of a column, `number`; cells may be missing. None if unknown."""
    if not isinstance(kind, Mapping):
        return None
    name = kind.get("wb_type")
    params = kind.get("params")
    allowed = params.get("allowed_types") if isinstance(params, Mapping) else None
    if name == "union" and isinstance(allowed, list):
        others = [one for one in map(plain_type, allowed[:3]) if one != "none"]
        return others[0] if len(others) == 1 and len(allowed) <= 3 else None
    return name if isinstance(name, str) else None


def join_tables(plain: LoggedTable, typed: LoggedTable) -> LoggedTable:
    """Return a table of an artifact with the NaN cells that only the file of the run has.

    Args:
        plain: The table in the file of the run.
        typed: The table in the artifact.
    """
    if plain.columns != typed.columns or len(plain.rows) != len(typed.rows):
        return typed
    rows = [
        [_joined(left, right) for left, right in zip(row, other, strict=True)]
        for row, other in zip(plain.rows, typed.rows, strict=True)
    ]
    return LoggedTable(typed.columns, rows, typed.types)


def _joined(plain: Any, typed: Any) -> Any:
    return plain if typed is None and isinstance(plain, float) and math.isnan(plain) else typed


def arrow_table(table: LoggedTable) -> pa.Table:
    """Return the columns of a table, each with a type that holds all its cells exactly.

    Raises:
        DataError: It has too many columns, or a cell is nested too deep.
    """
    if len(table.columns) > MAX_COLUMNS:
        raise DataError(f"a table has {len(table.columns)} columns, more than {MAX_COLUMNS}")
    names = _distinct(table.columns)
    described, arrays = [], []
    for at, name in enumerate(names):
        cells = table.cells(at)
        array = _times(cells) if table.is_time(at) else _typed(cells)
        entry: dict[str, Any] = {"name": name}
        if name != table.columns[at]:
            entry["logged"] = table.columns[at]
        if array is None:
            array = pa.array([None if one is None else _json(one) for one in cells], pa.string())
            entry["json"] = True
        kind = table.types.get(table.columns[at])
        if kind is not None and len(text := _json(kind)) <= _MAX_TYPE:
            entry["type"] = parse_json(text)
        arrays.append(array)
        described.append(entry)
    fields = [pa.field(name, array.type) for name, array in zip(names, arrays, strict=True)]
    schema = pa.schema(fields, metadata={METADATA: canonical_text({"columns": described})})
    if not names:
        return pa.table({}, schema=schema)
    return pa.Table.from_arrays(arrays, schema=schema)


def _distinct(names: Sequence[str]) -> list[str]:
    """Return names without repetitions: the second `a` is `a_1`."""
    taken, found = set(names), list[str]()
    used: set[str] = set()
    for name in names:
        free, number = name, 0
        while free in used or (free != name and free in taken):
            number += 1
            free = f"{name}_{number}"
        used.add(free)
        found.append(free)
    return found


def _json(value: Any) -> str:
    """Return the JSON text of a cell: canonical JSON, in which NaN and infinities are texts.

    Raises:
        DataError: It is nested too deep.
    """
    try:
        return canon_text(canonical_text(value))
    except RecursionError as exc:
        raise DataError("a cell of a table is nested too deep") from exc


def _times(cells: Sequence[Any]) -> pa.Array:
    return pa.array(cells, pa.timestamp("ms", tz="UTC"))


def _typed(cells: Sequence[Any], *, depth: int = 0) -> pa.Array | None:
    """Return cells with the type that holds all of them exactly; None if only JSON text does."""
    kinds = {type(cell) for cell in cells if cell is not None}
    if not kinds:
        return pa.nulls(len(cells))
    if kinds == {bool}:
        return pa.array(cells, pa.bool_())
    if kinds == {str}:
        return pa.array([None if cell is None else canon_text(cell) for cell in cells], pa.string())
    if kinds == {int} and all(cell is None or cell in _INT64 for cell in cells):
        return pa.array(cells, pa.int64())
    if kinds <= {int, float} and float in kinds and all(map(_is_double, cells)):
        return pa.array([None if cell is None else float(cell) for cell in cells], pa.float64())
    return _lists(cells, depth=depth + 1) if kinds == {list} and depth < _MAX_LISTS else None


def _is_double(cell: Any) -> bool:
    """Return whether a number is exactly a double; a missing cell is."""
    return cell is None or type(cell) is float or (abs(cell) < 2**1000 and int(float(cell)) == cell)


def _lists(cells: Sequence[Any], *, depth: int) -> pa.Array | None:
    values = _typed([item for cell in cells if cell is not None for item in cell], depth=depth)
    if values is None or pa.types.is_null(values.type):
        return None
    offsets: list[int | None] = []
    end = 0
    for cell in cells:
        offsets.append(None if cell is None else end)
        end += 0 if cell is None else len(cell)
    return pa.ListArray.from_arrays(pa.array([*offsets, end], pa.int32()), values)


def encode_logged_table(table: pa.Table) -> bytes:
    """Return a table as Parquet; the same cells give the same bytes for one pyarrow version."""
    sink = io.BytesIO()
    with pq.ParquetWriter(
        sink,
        table.schema,
        **FILE_OPTIONS,
        write_statistics=False,
    ) as writer:
        writer.add_key_value_metadata(table.schema.metadata or {})
        writer.write_table(table, row_group_size=_ROW_GROUP)
    return sink.getvalue()
