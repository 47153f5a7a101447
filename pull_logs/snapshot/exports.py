"""Columns of W&B's parquet exports, of whatever Arrow type, as columns of a batch.

What a type means (read API facts, sections 4 and 6; the SDK's own reader does
the same unless told otherwise here):

- integers, half and single floats are numbers by their value, bools are bools;
- dictionary and run-end encoded columns, and every layout of text, are plain text, in which the cells
  "NaN", "Infinity" and "-Infinity" are those floats;
- binary is text: old writers leave strings without the mark that makes them so. A byte that is not UTF-8
  becomes U+FFFD (the SDK hands the bytes on);
- lists are lists, structs and maps are dicts; a null key of a map is the empty key;
- null columns and types that JSON has no value for (timestamps, dates, times, durations, decimals) are
  missing, alone or nested;
- extension types are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pull_logs.errors import DataError
from pull_logs.snapshot.canon import INT_LIMIT, canon_members
from pull_logs.snapshot.cells import (
    EXACT,
    Column,
    Floats,
    Ints,
    canonical_doubles,
    column_of_cells,
    flat,
    missing,
)

_NONFINITE = pa.array(["NaN", "Infinity", "-Infinity"])


def column_of_arrow(column: pa.ChunkedArray, *, name: str) -> Column:
    """The cells of one column of an export.

    Args:
        column: Of any type that W&B's exports have.
        name: Its key, for the error.

    Raises:
        DataError: It is of an extension type, or holds something that is not what its type says.
    """
    try:
        return _column(flat(column))
    except (pa.ArrowException, ValueError, OverflowError, OSError) as exc:
        if isinstance(exc, DataError):
            raise DataError(f"column {name!r} of type {column.type}: {exc.message}") from exc
        raise DataError(f"column {name!r} of type {column.type} cannot be read: {exc}") from exc


def _column(array: pa.Array) -> Column:
    kind = array.type
    types = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        raise DataError("extension types are refused")
    if types.is_dictionary(kind):
        return _column(array.dictionary_decode())
    if types.is_run_end_encoded(kind):
        return _column(pc.run_end_decode(array))
    if array.null_count == len(array):
        return Column(None)
    if types.is_boolean(kind):
        return Column(array)
    if types.is_floating(kind):
        return Column(_doubles(array))
    if types.is_integer(kind):
        return _integers(array)
    if _is_text(kind):
        return _texts(array)
    if _is_binary(kind):
        return _texts(_decoded(array))
    if types.is_nested(kind):
        return _nested(array)
    return Column(None)


def _doubles(array: pa.Array) -> pa.Array:
    values: Floats = array.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return pa.array(canonical_doubles(values), mask=missing(array) if array.null_count else None)


def _integers(array: pa.Array) -> Column:
    if array.type.bit_width <= 32:
        return Column(array.cast(pa.float64()))
    held = array.fill_null(0) if array.null_count else array
    values = held.to_numpy()
    low, high = int(values.min()), int(values.max())
    if low >= -EXACT and high <= EXACT:
        return Column(array.cast(pa.float64()))
    if high >= INT_LIMIT:
        return _by_cell(array, lambda value: value)
    signed = array.cast(pa.int64())
    return Column(signed if _has_inexact(signed) else signed.cast(pa.float64(), safe=False))


def _has_inexact(array: pa.Array) -> bool:
    from pull_logs.snapshot.cells import exact_doubles, present_integers

    values: Ints = present_integers(array)
    return not bool(exact_doubles(values).all())


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _is_binary(kind: pa.DataType) -> bool:
    types = pa.types
    return (
        types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_fixed_size_binary(kind)
        or types.is_binary_view(kind)
    )


def _texts(array: pa.Array) -> Column:
    text = array if pa.types.is_string(array.type) else array.cast(pa.string())
    text.validate(full=True)
    if pc.any(pc.is_in(text, value_set=_NONFINITE)).as_py():
        return _by_cell(text, lambda value: value)
    return Column(text)


def _decoded(array: pa.Array) -> pa.Array:
    return pa.array(
        [None if cell is None else bytes(cell).decode(errors="replace") for cell in array.to_pylist()],
        pa.string(),
    )


def _by_cell(array: pa.Array, plain: Callable[[Any], Any]) -> Column:
    cells = {}
    for row, raw in enumerate(array.to_pylist()):
        cell = None if raw is None else canon_members({"": plain(raw)}).get("")
        if cell is not None:
            cells[row] = cell
    return column_of_cells(cells, length=len(array))


def _nested(array: pa.Array) -> Column:
    array.validate(full=True)
    return _by_cell(array, _plain(array.type))


def _plain(kind: pa.DataType) -> Callable[[Any], Any]:
    """What turns Arrow's Python value of this type into a raw JSON-like one."""
    types = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        raise DataError("extension types are refused")
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return _plain(kind.value_type)
    if types.is_struct(kind):
        members = {kind.field(place).name: _plain(kind.field(place).type) for place in range(kind.num_fields)}
        return lambda value: value and {key: plain(value[key]) for key, plain in members.items()}
    if types.is_map(kind):
        plain_item = _plain(kind.item_type)
        return lambda value: value and {_map_key(key): plain_item(item) for key, item in value}
    if types.is_nested(kind) and not types.is_union(kind):
        plain_element = _plain(kind.value_type)
        return lambda value: value if value is None else [plain_element(item) for item in value]
    if types.is_floating(kind):
        return lambda value: value if value is None else float(value)
    if types.is_boolean(kind) or types.is_integer(kind) or _is_text(kind):
        return lambda value: value
    if _is_binary(kind):
        return lambda value: value if value is None else bytes(value).decode(errors="replace")
    return lambda _: None


def _map_key(key: Any) -> str:
    if key is None:
        return ""
    if isinstance(key, str):
        return key
    raise DataError(f"a map's key is {key!r}, not text")


def keep_stepped(table: pa.Table, *, step: str) -> tuple[pa.Table, Mapping[str, pa.ChunkedArray]]:
    """The rows of an export that have a step, and its columns by name.

    Raises:
        DataError: Two columns have one name, or a name is not UTF-8.
    """
    try:
        names = table.column_names
    except UnicodeDecodeError as exc:
        raise DataError(f"a column's name is not UTF-8: {exc}") from exc
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise DataError(f"two columns are named {twice[0]!r}")
    if step not in names:
        table = table.slice(0, 0)
    elif table.column(step).null_count:
        table = table.filter(pc.is_valid(table.column(step)))
    return table, dict(zip(names, table.columns, strict=True))


def steps_of_arrow(column: pa.ChunkedArray) -> Ints | None:
    """The steps of an export as int64; None where they have to be looked at one by one."""
    array = flat(column)
    if pa.types.is_integer(array.type):
        values = array.to_numpy()
        if not len(values) or int(values.max()) < INT_LIMIT:
            return np.asarray(values, dtype=np.int64)
    elif pa.types.is_floating(array.type):
        doubles: Floats = array.cast(pa.float64()).to_numpy()
        if ((np.abs(doubles) <= EXACT) & (np.floor(doubles) == doubles)).all():
            return doubles.astype(np.int64)
    return None
