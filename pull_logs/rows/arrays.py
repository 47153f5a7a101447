"""Arrow arrays as numpy arrays and back: the only module that converts between the two.

Reading or downloading runs must not import pandas or `pyarrow.compute`, because either import takes longer
than reading a run. `Array.to_numpy`, `pa.array` and `pa.scalar` import pandas; `cast`, `is_valid`, `take` and
`filter` import `pyarrow.compute`. The functions that are often called therefore use the buffers of an array.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pull_logs.errors import DataError
from pull_logs.rows.canonical import INT_LIMIT, INT_MIN

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Mask: TypeAlias = NDArray[np.bool_]

MAX_EXACT_INTEGER = 2**53
"""Every integer of at most this magnitude is exactly a double."""

_MINUS_ZERO, _NAN = np.array([-0.0, np.nan]).view(np.int64)
"""The bits of -0.0, which as an integer are the smallest of all, and those of the canonical NaN."""

_CHECKED_TOGETHER = 1 << 20
"""Up to this many doubles, several arrays are checked in one pass."""

_MOST_TEXT = 2**31 - 1
"""The most bytes of text of one array."""

_JOINED_TEXT = 1 << 18
"""Up to this many bytes, texts are copied into one array; a longer one is used as it is stored."""

_FEW_CELLS = 20_000
"""Up to this many cells, a dictionary array is decoded without `pyarrow.compute`."""


def flat(column: pa.ChunkedArray) -> pa.Array:
    """Return a column of a table as one array.

    Raises:
        DataError: It holds more text than one array can.
    """
    if column.num_chunks == 1:
        return column.chunk(0)
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        if array.num_chunks == 1:
            return array.chunk(0)
        if array.num_chunks:
            raise DataError("a column of one batch holds more than 2 GiB of text")
        return pa.nulls(0, column.type)
    return array


def present_rows(array: pa.Array) -> Mask:
    """Return which cells of an array are not null; read-only."""
    return _bits(array.buffers()[0], array) if array.null_count else _all_true(len(array))


def null_rows(array: pa.Array) -> Mask:
    """Return which cells of an array are null."""
    return ~present_rows(array)


@lru_cache(maxsize=4)
def _all_true(length: int) -> Mask:
    """Return the mask of a column without nulls, which most columns of a history share."""
    mask = np.ones(length, np.bool_)
    mask.flags.writeable = False
    return mask


def truths(array: pa.BooleanArray) -> Mask:
    """Return the cells of an array of bools; those of null cells are arbitrary."""
    return _bits(array.buffers()[1], array)


def _bits(buffer: pa.Buffer | None, array: pa.Array) -> Mask:
    if buffer is None or not len(array):
        return np.zeros(len(array), np.bool_)
    first, skipped = divmod(array.offset, 8)
    count = skipped + len(array)
    packed = np.frombuffer(buffer, np.uint8, count=-(-count // 8), offset=first)
    return np.unpackbits(packed, count=count, bitorder="little")[skipped:].view(np.bool_)


def dense(array: pa.Array) -> NDArray[Any]:
    """Return the values of an array of numbers or bools without nulls; read-only."""
    return truths(array) if pa.types.is_boolean(array.type) else np.from_dlpack(array)


def present_doubles(array: pa.Array) -> Floats:
    """Return the cells of a double array that are not null."""
    if array.null_count:
        return _stored_doubles(array)[present_rows(array)]
    values: Floats = dense(array)
    return values


def present_integers(array: pa.Array) -> Ints:
    """Return the cells of an int64 array that are not null."""
    if array.null_count:
        return _stored(array, np.dtype(np.int64), len(array))[present_rows(array)]
    values: Ints = dense(array)
    return values


def stored_integers(array: pa.Array) -> Ints:
    """Return the cells of an int64 array; those of null cells are arbitrary."""
    return _stored(array, np.dtype(np.int64), len(array))


def present_numbers(array: pa.Array) -> tuple[NDArray[Any], Ints | None]:
    """Return the integers, of any width, that are not null, and their rows; None where none is null."""
    values = _stored(array, np.dtype(str(array.type)), len(array))
    if not array.null_count:
        return values, None
    rows = np.flatnonzero(present_rows(array))
    return values[rows], rows


def doubles_of(array: pa.Array) -> Floats:
    """Return the cells of a double array, with NaN for null."""
    if not array.null_count:
        plain: Floats = dense(array)
        return plain
    return np.where(present_rows(array), _stored_doubles(array), np.nan)


def _stored_doubles(array: pa.Array) -> Floats:
    """Return the numbers that a double array stores; those of null cells are arbitrary."""
    return _stored(array, np.dtype(np.float64), len(array))


def _stored(array: pa.Array, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
    if not len(array):
        return np.zeros(0, dtype)
    return np.frombuffer(array.buffers()[1], dtype, count=count, offset=array.offset * dtype.itemsize)


def python_values(typed: pa.Array) -> list[Any]:
    """Return the canonical values of a typed array, with None for null."""
    if not pa.types.is_float64(typed.type):
        values: list[Any] = typed.to_pylist()
        return values
    doubles = doubles_of(typed)
    integral = _integral(doubles)
    if integral.all():
        return list(doubles.astype(np.int64).tolist())
    cells: list[Any] = doubles.tolist()
    rows = np.flatnonzero(integral)
    for row, value in zip(rows.tolist(), doubles[rows].astype(np.int64).tolist(), strict=True):
        cells[row] = value
    if typed.null_count:
        for row in np.flatnonzero(null_rows(typed)).tolist():
            cells[row] = None
    return cells


def integral_values(array: pa.Array) -> Ints | None:
    """Return the cells of an array without nulls as int64; None if they are not all plainly integers."""
    if pa.types.is_integer(array.type):
        values = dense(array)
        if not len(values) or int(values.max()) < INT_LIMIT:
            return np.asarray(values, dtype=np.int64)
    elif pa.types.is_floating(array.type):
        doubles = doubles_of(array.cast(pa.float64()))
        if ((np.abs(doubles) <= MAX_EXACT_INTEGER) & (np.floor(doubles) == doubles)).all():
            return doubles.astype(np.int64)
    return None


def exact_doubles(values: Ints) -> Mask:
    """Return which integers are exactly a double."""
    if not len(values) or (values.min() >= -MAX_EXACT_INTEGER and values.max() <= MAX_EXACT_INTEGER):
        return np.ones(len(values), dtype=np.bool_)
    doubles = values.astype(np.float64)
    # 2**63 - 1 rounds up to 2**63, which no int64 holds.
    inside = doubles < float(INT_LIMIT)
    back: Ints = np.where(inside, doubles, 0.0).astype(np.int64)
    exact: Mask = inside & (back == values)
    return exact


def _integral(values: Floats) -> Mask:
    mask: Mask = (np.floor(values) == values) & (values >= float(INT_MIN)) & (values < float(INT_LIMIT))
    return mask


def all_integral(values: Floats) -> bool:
    """Return whether an int64 can hold every one of these doubles."""
    # For most columns the first value decides.
    return not len(values) or (float(values[0]).is_integer() and bool(_integral(values).all()))


def canonical_doubles(values: Floats) -> Floats:
    """Return a copy in which `-0.0` is `0.0` and every NaN has the same bits."""
    plain: Floats = values + 0.0
    nans = np.isnan(plain)
    if nans.any():
        plain[nans] = np.nan
    return plain


def are_canonical(values: Floats) -> bool:
    """Return whether no double is `-0.0`, or a NaN with other bits than the canonical one; there is one."""
    bits = values.view(np.int64)
    if np.minimum.reduce(bits) == _MINUS_ZERO:
        return False
    greatest = np.maximum.reduce(values)
    return bool(greatest == greatest or (bits[np.isnan(values)] == _NAN).all())


def canonical_arrays(arrays: Sequence[pa.Array]) -> list[pa.Array]:
    """Return the arrays with canonical doubles; an array that has only such doubles is not copied."""
    stored = [_stored_doubles(array) for array in arrays if pa.types.is_float64(array.type)]
    # One check of all arrays costs less than one of each, as long as little has to be copied for it.
    if 0 < sum(map(len, stored)) <= _CHECKED_TOGETHER and are_canonical(np.concatenate(stored)):
        return list(arrays)
    return [_canonical_array(array) for array in arrays]


def _canonical_array(array: pa.Array) -> pa.Array:
    if not pa.types.is_float64(array.type):
        return array
    # The arbitrary numbers of null cells are checked as well: that may cost a copy, but no value changes.
    stored = _stored_doubles(array)
    if not len(stored) or are_canonical(stored):
        return array
    return number_array(canonical_doubles(stored), present=present_rows(array) if array.null_count else None)


def double_array(values: Floats, rows: Ints | None, length: int) -> pa.Array:
    """Return a double array of `length` cells with the values at these rows; at all rows if None."""
    return _spread_array(values, rows, length)


def integer_array(values: Ints, rows: Ints | None = None, length: int = 0) -> pa.Array:
    """Return an int64 array of the values; with `rows`, of `length` cells with the values at these rows."""
    return _spread_array(values.astype(np.int64, copy=False), rows, length)


def _spread_array(values: Floats | Ints, rows: Ints | None, length: int) -> pa.Array:
    if rows is None:
        return number_array(values)
    spread: NDArray[Any] = np.zeros(length, dtype=values.dtype)
    present = np.zeros(length, dtype=np.bool_)
    spread[rows] = values
    present[rows] = True
    return number_array(spread, present=present)


def number_array(values: Floats | Ints, *, present: Mask | None = None) -> pa.Array:
    """Return an array of doubles or of int64 that shares their memory, null where `present` is false."""
    kind = pa.float64() if values.dtype == np.float64 else pa.int64()
    return pa.Array.from_buffers(
        kind, len(values), [_packed(present), pa.py_buffer(np.ascontiguousarray(values))]
    )


def bool_array(values: Mask, *, present: Mask | None = None) -> pa.Array:
    """Return an array of bools, null where `present` is false; everywhere present if None."""
    return pa.Array.from_buffers(pa.bool_(), len(values), [_packed(present), _packed(values)])


def _packed(mask: Mask | None) -> pa.Buffer | None:
    return None if mask is None else pa.py_buffer(np.packbits(mask, bitorder="little"))


def text_array(values: Sequence[str | None]) -> pa.Array:
    """Return a string array.

    Raises:
        DataError: It would hold more text than one array can.
    """
    texts = [b"" if value is None else value.encode() for value in values]
    offsets = np.zeros(len(texts) + 1, dtype=np.int64)
    np.cumsum(list(map(len, texts)), out=offsets[1:])
    if offsets[-1] > _MOST_TEXT:
        raise DataError("a column of one batch holds more than 2 GiB of text")
    present = None
    if None in values:
        present = np.fromiter((value is not None for value in values), dtype=np.bool_, count=len(texts))
    buffers = [_packed(present), pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(b"".join(texts))]
    return pa.Array.from_buffers(pa.string(), len(texts), buffers)


def number_cells(array: pa.Array) -> list[int | float | None]:
    """Return the cells of an int64 or double array as canonical numbers, None for null."""
    cells: list[Any]
    if array.type == pa.int64():
        cells = _stored(array, np.dtype(np.int64), len(array)).tolist()
    else:
        doubles = _stored_doubles(array)
        cells = doubles.tolist()
        with np.errstate(invalid="ignore"):
            integral = (doubles == np.floor(doubles)) & (np.abs(doubles) < float(INT_LIMIT))
        for row in np.flatnonzero(integral).tolist():
            cells[row] = int(cells[row])
    if array.null_count:
        for row in np.flatnonzero(null_rows(array)).tolist():
            cells[row] = None
    return cells


def array_of(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Return an array of texts, lists of texts, numbers or bools, of which any may be None.

    Raises:
        OverflowError: A number does not fit into 64 bits.
        DataError: It would hold more text than one array can.
    """
    if pa.types.is_string(kind):
        return text_array(values)
    present = np.fromiter((value is not None for value in values), dtype=np.bool_, count=len(values))
    if pa.types.is_list(kind):
        lists = [value or () for value in values]
        offsets = np.zeros(len(lists) + 1, dtype=np.int32)
        np.cumsum(list(map(len, lists)), out=offsets[1:])
        texts = text_array([text for items in lists for text in items])
        buffers = [_packed(present), pa.py_buffer(offsets)]
        return pa.Array.from_buffers(kind, len(lists), buffers, children=[texts])
    plain = [value or 0 for value in values]
    if pa.types.is_boolean(kind):
        return bool_array(np.array(plain, dtype=np.bool_), present=present)
    if pa.types.is_floating(kind):
        return number_array(np.array(plain, dtype=np.float64), present=present)
    return number_array(np.array(plain, dtype=np.int64), present=present)


def take_rows(table: pa.Table, rows: Ints) -> pa.Table:
    """Return these rows of a table, in this order."""
    return table.take(integer_array(rows))


def filter_rows(table: pa.Table, keep: Mask) -> pa.Table:
    """Return the rows of a table for which the mask is true."""
    return table.filter(bool_array(keep))


def filter_cells(array: pa.Array, keep: Mask) -> pa.Array:
    """Return the cells of an array, of any Arrow type, for which the mask is true."""
    try:
        return array.filter(bool_array(keep))
    except pa.ArrowNotImplementedError:
        return pa.array([array[row].as_py() for row in np.flatnonzero(keep).tolist()], array.type)


def same_cells(left: pa.Array, right: pa.Array) -> Mask:
    """Return where two arrays of one type and length have the same cell; NaN is NaN, and null is null."""
    import pyarrow.compute as pc

    same = truths(pc.equal(left, right).fill_null(False))
    if pa.types.is_floating(left.type):
        same |= truths(pc.and_(pc.is_nan(left), pc.is_nan(right)).fill_null(False))
    if left.null_count and right.null_count:
        same |= null_rows(left) & null_rows(right)
    return same


def has_text(array: pa.Array, texts: Sequence[str]) -> bool:
    """Return whether a cell of a string array is one of some ASCII texts."""
    lengths = np.diff(_stored(array, np.dtype(np.int32), len(array) + 1))
    if not np.isin(lengths, list(map(len, texts))).any():
        return False
    import pyarrow.compute as pc

    return bool(pc.any(pc.is_in(array, value_set=text_array(texts))).as_py())


def framed_texts(array: pa.Array) -> Iterator[memoryview | NDArray[np.uint8]]:
    """Iterate over the UTF-8 bytes of the cells of a string array, each after its u64 length.

    Null cells are left out. Short texts are joined, up to `_JOINED_TEXT` bytes; a long one is not copied.
    """
    array = array.drop_null() if array.null_count else array
    offsets = _stored(array, np.dtype(np.int32), len(array) + 1)
    start = 0
    while start < len(array):
        end = int(np.searchsorted(offsets, int(offsets[start]) + _JOINED_TEXT, side="right")) - 1
        if end > start:
            yield _framed_together(array.slice(start, end - start))
        else:
            end = start + 1
            yield memoryview((int(offsets[end]) - int(offsets[start])).to_bytes(8, "little"))
            yield memoryview(array.buffers()[2])[int(offsets[start]) : int(offsets[end])]
        start = end


def _framed_together(array: pa.StringArray) -> NDArray[np.uint8]:
    offsets: Ints = _stored(array, np.dtype(np.int32), len(array) + 1).astype(np.int64)
    lengths = np.diff(offsets)
    starts = offsets[:-1] - offsets[0] + 8 * np.arange(len(array), dtype=np.int64)
    out = np.zeros(int(lengths.sum()) + 8 * len(array), dtype=np.uint8)
    out[starts[:, None] + np.arange(8)] = lengths.astype("<u8").view(np.uint8).reshape(-1, 8)
    text = array.buffers()[2]
    if text is not None and len(out) > 8 * len(array):
        data = np.frombuffer(text, dtype=np.uint8)[offsets[0] : offsets[-1]]
        out[np.arange(len(data)) + 8 * np.repeat(np.arange(1, len(array) + 1), lengths)] = data
    return out


def text_bytes(array: pa.Array) -> Ints:
    """Return the bytes of text of each cell of a string array or of a dictionary array of text; 0 for null.

    Raises:
        DataError: A cell has an index that the dictionary does not have.
    """
    sizes = np.zeros(len(array), np.int64)
    if not len(array):
        return sizes
    if pa.types.is_dictionary(array.type):
        lengths = np.diff(_stored(array.dictionary, np.dtype(np.int32), len(array.dictionary) + 1))
        sizes[present_rows(array.indices)] = lengths[_present_indices(array)]
        return sizes
    np.subtract(*_ends_and_starts(array), out=sizes)
    return sizes


def _ends_and_starts(array: pa.StringArray) -> tuple[NDArray[Any], NDArray[Any]]:
    offsets = _stored(array, np.dtype(np.int32), len(array) + 1)
    return offsets[1:], offsets[:-1]


def decoded_size(array: pa.DictionaryArray) -> int:
    """Return the bytes of text that a dictionary array has once it is decoded.

    Raises:
        DataError: A cell has an index that the dictionary does not have.
    """
    cells = _present_indices(array)
    if not len(cells):
        return 0
    offsets = _stored(array.dictionary, np.dtype(np.int32), len(array.dictionary) + 1)
    return int(np.diff(offsets).astype(np.int64)[cells].sum())


def _present_indices(array: pa.DictionaryArray) -> NDArray[Any]:
    """Return the dictionary index of each cell that is not null."""
    indices = array.indices
    # `to_pandas_dtype` of older releases imports pandas.
    cells = _stored(indices, np.dtype(str(indices.type)), len(indices))
    if indices.null_count:
        cells = cells[present_rows(indices)]
    if len(cells) and not 0 <= int(cells.min()) <= int(cells.max()) < len(array.dictionary):
        raise DataError("a cell has an index that its dictionary does not have")
    return cells


def dictionary_codes(array: pa.DictionaryArray) -> Ints:
    """Return the dictionary index of each cell, -1 for null.

    Raises:
        DataError: A cell has an index that the dictionary does not have.
    """
    codes = np.full(len(array), -1, np.int64)
    codes[present_rows(array.indices)] = _present_indices(array)
    return codes


def decoded(array: pa.Array) -> pa.Array:
    """Return a dictionary array of text, or a list array of them, without the dictionary; others unchanged.

    Raises:
        DataError: A cell has an index that the dictionary does not have.
    """
    if pa.types.is_dictionary(array.type):
        # For more cells the import of `pyarrow.compute` pays, and for longer texts Arrow's memory, which is
        # returned to the system.
        many = len(array) > _FEW_CELLS or array.dictionary.nbytes > _JOINED_TEXT
        return array.dictionary_decode() if many else _decoded_texts(array)
    if not (pa.types.is_list(array.type) and pa.types.is_dictionary(array.type.value_type)):
        return array
    texts = decoded(array.values)
    kind = pa.list_(array.type.value_field.with_type(texts.type))
    return pa.Array.from_buffers(kind, len(array), array.buffers()[:2], offset=array.offset, children=[texts])


def _decoded_texts(array: pa.DictionaryArray) -> pa.Array:
    if not len(array.dictionary):  # and so every cell is null
        return pa.nulls(len(array), array.dictionary.type)
    cells, present = _present_indices(array), present_rows(array.indices)
    ends = _stored(array.dictionary, np.dtype(np.int32), len(array.dictionary) + 1).tolist()
    data = memoryview(array.dictionary.buffers()[2] or b"")
    texts = [data[start:end] for start, end in pairwise(ends)]
    lengths = np.zeros(len(array) + 1, np.int32)
    lengths[1:][present] = np.diff(ends)[cells]
    validity = pa.py_buffer(np.packbits(present, bitorder="little")) if array.indices.null_count else None
    offsets, joined = np.cumsum(lengths, dtype=np.int32), b"".join(map(texts.__getitem__, cells.tolist()))
    return pa.Array.from_buffers(
        array.dictionary.type, len(array), [validity, pa.py_buffer(offsets), pa.py_buffer(joined)]
    )
