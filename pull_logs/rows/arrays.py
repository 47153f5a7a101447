"""Arrow's buffers as numpy arrays, for the way of an offline view.

What pyarrow itself offers for this (`cast`, `is_valid`, `take`) imports
`pyarrow.compute`, and that takes longer than reading a run.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pull_logs.errors import DataError

_FEW = 20_000


def present_rows(array: pa.Array) -> NDArray[np.bool_]:
    """Where an array is not null; not to be written to."""
    return _bits(array.buffers()[0], array) if array.null_count else _everywhere(len(array))


@lru_cache(maxsize=4)
def _everywhere(length: int) -> NDArray[np.bool_]:
    """What most columns of a history have, so that they have it together."""
    mask = np.ones(length, np.bool_)
    mask.flags.writeable = False
    return mask


def truths(array: pa.BooleanArray) -> NDArray[np.bool_]:
    """The cells of an array of bools, whatever they are where it is null."""
    return _bits(array.buffers()[1], array)


def _bits(buffer: pa.Buffer | None, array: pa.Array) -> NDArray[np.bool_]:
    if buffer is None or not len(array):
        return np.zeros(len(array), np.bool_)
    start, end = array.offset, array.offset + len(array)
    packed = np.frombuffer(buffer, np.uint8, count=-(-end // 8))
    return np.unpackbits(packed, count=end, bitorder="little")[start:].view(np.bool_)


def decoded_size(array: pa.DictionaryArray) -> int:
    """The bytes of text that a dictionary array stands for.

    Raises:
        DataError: A cell stands for a text that the dictionary does not have.
    """
    cells = _present_indices(array)
    if not len(cells):
        return 0
    offsets = _numbers(array.dictionary, np.dtype(np.int32), len(array.dictionary) + 1)
    return int(np.diff(offsets).astype(np.int64)[cells].sum())


def _present_indices(array: pa.DictionaryArray) -> NDArray[Any]:
    """Which text each cell that is not null stands for."""
    indices = array.indices
    # `to_pandas_dtype` of older releases imports pandas.
    cells = _numbers(indices, np.dtype(str(indices.type)), len(indices))
    if indices.null_count:
        cells = cells[present_rows(indices)]
    if len(cells) and not 0 <= int(cells.min()) <= int(cells.max()) < len(array.dictionary):
        raise DataError("a cell stands for a text that its dictionary does not have")
    return cells


def _numbers(array: pa.Array, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
    if not len(array):
        return np.zeros(0, dtype)
    return np.frombuffer(array.buffers()[1], dtype, count=count, offset=array.offset * dtype.itemsize)


def written_out(array: pa.Array) -> pa.Array:
    """A dictionary array, or a list array of them, with every text written out; any other array as it is.

    Raises:
        DataError: A cell stands for a text that the dictionary does not have.
    """
    if pa.types.is_dictionary(array.type):
        # Beyond that many cells, importing what does it faster pays.
        return array.dictionary_decode() if len(array) > _FEW else _decoded(array)
    if not (pa.types.is_list(array.type) and pa.types.is_dictionary(array.type.value_type)):
        return array
    texts = written_out(array.values)
    kind = pa.list_(array.type.value_field.with_type(texts.type))
    return pa.Array.from_buffers(kind, len(array), array.buffers()[:2], offset=array.offset, children=[texts])


def _decoded(array: pa.DictionaryArray) -> pa.Array:
    if not len(array.dictionary):  # and so every cell is null
        return pa.nulls(len(array), array.dictionary.type)
    cells, present = _present_indices(array), present_rows(array.indices)
    ends = _numbers(array.dictionary, np.dtype(np.int32), len(array.dictionary) + 1).tolist()
    data = memoryview(array.dictionary.buffers()[2] or b"")
    texts = [data[start:end] for start, end in pairwise(ends)]
    lengths = np.zeros(len(array) + 1, np.int32)
    lengths[1:][present] = np.diff(ends)[cells]
    validity = pa.py_buffer(np.packbits(present, bitorder="little")) if array.indices.null_count else None
    offsets, joined = np.cumsum(lengths, dtype=np.int32), b"".join(map(texts.__getitem__, cells.tolist()))
    return pa.Array.from_buffers(
        array.dictionary.type, len(array), [validity, pa.py_buffer(offsets), pa.py_buffer(joined)]
    )
