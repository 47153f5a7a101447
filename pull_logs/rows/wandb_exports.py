"""Columns of W&B's Parquet exports, of any Arrow type, as columns of a batch.

The SDK's own reader treats the types in the same way, except where noted:

- integers, half and single floats are numbers by their value, bools are bools;
- dictionary and run-end encoded columns, and every layout of text, are plain text, in which the cells
  "NaN", "Infinity" and "-Infinity" are those floats;
- binary is text, because old writers omit the annotation that makes a column text. A byte that is not
  UTF-8 becomes U+FFFD (the SDK returns the bytes unchanged);
- lists are lists, structs and maps are dicts; a null key of a map is the empty key;
- null columns and types for which JSON has no value (timestamps, dates, times, durations, decimals) are
  missing, alone or nested;
- extension types are refused.

See docs/protocol.md, "Exported Parquet files".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import types

from pull_logs.errors import DataError
from pull_logs.rows.arrays import (
    Mask,
    double_array,
    exact_doubles,
    filter_cells,
    flat,
    has_text,
    integer_array,
    present_numbers,
    text_array,
)
from pull_logs.rows.arrow import ARROW_ERRORS
from pull_logs.rows.canonical import INT_LIMIT, canon_members
from pull_logs.rows.cells import NONFINITE, Column, column_of_cells


def column_of_arrow(column: pa.ChunkedArray, *, name: str, keep: Mask | None) -> Column:
    """Return the cells of one column of an export.

    Args:
        column: A column of any type that W&B's exports have.
        name: Its key, for the error.
        keep: The rows wanted; all when None.

    Raises:
        DataError: The column has an extension type, or its content is not valid for its type.
    """
    try:
        array = flat(column)
        return _column(array if keep is None else filter_cells(array, keep))
    except ARROW_ERRORS as exc:
        if isinstance(exc, DataError):
            raise DataError(f"column {name!r} of type {column.type}: {exc.message}") from exc
        raise DataError(f"column {name!r} of type {column.type} cannot be read: {exc}") from exc


def _column(array: pa.Array) -> Column:
    array = _unwrapped(array)
    if array.null_count == len(array):
        return Column(None)
    for is_kind, read in _READERS:
        if is_kind(array.type):
            return read(array)
    return Column(None)


def _unwrapped(array: pa.Array) -> pa.Array:
    """Return the array without dictionary and run-end encoding."""
    if isinstance(array.type, pa.BaseExtensionType):
        raise DataError("extension types are refused")
    if types.is_dictionary(array.type):
        return _unwrapped(array.dictionary_decode())
    if types.is_run_end_encoded(array.type):
        import pyarrow.compute as pc

        return _unwrapped(pc.run_end_decode(array))
    return array


def _doubles(array: pa.Array) -> Column:
    return Column(array if types.is_float64(array.type) else array.cast(pa.float64()))


def _integers(array: pa.Array) -> Column:
    values, rows = present_numbers(array)
    if int(values.max()) >= INT_LIMIT:
        return _by_cell(array, lambda value: value)
    signed = values.astype(np.int64)
    if exact_doubles(signed).all():
        return Column(double_array(signed.astype(np.float64), rows, len(array)))
    return Column(integer_array(signed, rows, len(array)))


def _is_text(kind: pa.DataType) -> bool:
    return any(is_kind(kind) for is_kind in (types.is_string, types.is_large_string, types.is_string_view))


def _is_binary(kind: pa.DataType) -> bool:
    layouts = types.is_binary, types.is_large_binary, types.is_fixed_size_binary, types.is_binary_view
    return any(is_kind(kind) for is_kind in layouts)


def _texts(array: pa.Array) -> Column:
    text = array if types.is_string(array.type) else array.cast(pa.string())
    text.validate(full=True)
    if has_text(text, NONFINITE):
        return _by_cell(text, lambda value: value)
    return Column(text)


def _binaries(array: pa.Array) -> Column:
    cells = [None if cell is None else _from_bytes(cell) for cell in array.to_pylist()]
    return _texts(text_array(cells))


def _from_bytes(cell: bytes) -> str:
    return cell.decode(errors="replace")


def _nested(array: pa.Array) -> Column:
    array.validate(full=True)
    return _by_cell(array, _plain(array.type))


def _by_cell(array: pa.Array, plain: Callable[[Any], Any]) -> Column:
    cells = {}
    for row, raw in enumerate(array.to_pylist()):
        cell = None if raw is None else canon_members({"": plain(raw)}).get("")
        if cell is not None:
            cells[row] = cell
    return column_of_cells(cells, length=len(array))


_READERS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.Array], Column]], ...] = (
    (types.is_boolean, Column),
    (types.is_floating, _doubles),
    (types.is_integer, _integers),
    (_is_text, _texts),
    (_is_binary, _binaries),
    (types.is_struct, _nested),
    (types.is_map, _nested),
    (types.is_list, _nested),
    (types.is_large_list, _nested),
    (types.is_fixed_size_list, _nested),
    (types.is_list_view, _nested),
    (types.is_large_list_view, _nested),
)
"""The function that reads an array, by its type; cells of all other types are missing."""


def _plain(kind: pa.DataType) -> Callable[[Any], Any]:
    """Return the function that turns Arrow's Python values of a type into raw JSON-like ones."""
    if isinstance(kind, pa.BaseExtensionType):
        raise DataError("extension types are refused")
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return _plain(kind.value_type)
    if types.is_struct(kind):
        return _plain_struct(kind)
    if types.is_map(kind):
        plain = _plain(kind.item_type)
        return lambda value: value if value is None else {_map_key(key): plain(item) for key, item in value}
    if types.is_nested(kind) and not types.is_union(kind):
        plain = _plain(kind.value_type)
        return lambda value: value if value is None else [plain(item) for item in value]
    return _plain_scalar(kind)


def _plain_struct(kind: pa.DataType) -> Callable[[Any], Any]:
    members = [(kind.field(index).name, _plain(kind.field(index).type)) for index in range(kind.num_fields)]
    return lambda value: value if value is None else {key: plain(value[key]) for key, plain in members}


def _plain_scalar(kind: pa.DataType) -> Callable[[Any], Any]:
    if types.is_floating(kind):
        return lambda value: value if value is None else float(value)
    if _is_binary(kind):
        return lambda value: value if value is None else _from_bytes(value)
    known = types.is_boolean(kind) or types.is_integer(kind) or _is_text(kind)
    return (lambda value: value) if known else (lambda _: None)


def _map_key(key: Any) -> str:
    if key is None:
        return ""
    if isinstance(key, str):
        return key
    raise DataError(f"a map's key is {key!r}, not text")


def columns_by_name(table: pa.Table) -> Mapping[str, pa.ChunkedArray]:
    """Return the columns of an export by name.

    Raises:
        DataError: Two columns have one name, or a name is not UTF-8.
    """
    try:
        names = table.column_names
    except UnicodeDecodeError as exc:
        raise DataError(f"a column's name is not UTF-8: {exc}") from exc
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise DataError(f"two columns are named {min(repeated)!r}")
    return dict(zip(names, table.columns, strict=True))
