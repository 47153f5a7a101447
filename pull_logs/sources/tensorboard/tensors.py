"""Tensors of summaries: numbers as NumPy arrays, texts as bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pull_logs.sources.tensorboard.wire import (
    BYTES,
    FIXED32,
    FIXED64,
    VARINT,
    Field,
    WireError,
    content,
    fields,
    signed,
    varint,
    whole,
)

STRING = 7
_BFLOAT16 = 14
_HALF = 19
_DTYPES = {
    1: "<f4",
    2: "<f8",
    3: "<i4",
    4: "<u1",
    5: "<i2",
    6: "<i1",
    9: "<i8",
    10: "?",
    _BFLOAT16: "<u2",
    17: "<u2",
    _HALF: "<f2",
    22: "<u4",
    23: "<u8",
}
"""The NumPy type of each type of tensors; bfloat16 is widened after reading."""

_CONTENT, _STRINGS, _HALVES = 4, 8, 13
_LISTS = {5: "<f4", 6: "<f8", 7: "<i4", 10: "<i8", 11: "?", _HALVES: "<u2", 16: "<u4", 17: "<u8"}
"""The type of the elements of each list of values."""

_MOST_ELEMENTS = 2**24
"""The most elements of a tensor; a larger one is not a metric."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor.

    Attributes:
        shape: Its shape.
        numbers: Its numbers, in that shape; None for texts.
        strings: Its texts, flat; None for numbers.
    """

    shape: tuple[int, ...]
    numbers: NDArray[Any] | None = None
    strings: tuple[bytes, ...] | None = None


def read_tensor(data: bytes) -> Tensor:
    """Return the tensor of a message.

    Raises:
        WireError: The bytes are not a valid tensor, or one of a type that no metric has.
    """
    dtype, raw = 0, b""
    shape: tuple[int, ...] = ()
    strings: list[bytes] = []
    values: list[NDArray[Any]] = []
    for field in fields(data):
        if field.number == 1:
            dtype = whole(field)
        elif field.number == 2:
            shape = _shape(content(data, field))
        elif field.number == _CONTENT:
            raw = content(data, field)
        elif field.number == _STRINGS:
            strings.append(content(data, field))
        elif field.number in _LISTS:
            values.append(_listed(data, field))
    if math.prod(shape) > _MOST_ELEMENTS or min(shape, default=0) < 0:
        raise WireError(f"a tensor has the shape {shape}")
    return _tensor(dtype, shape, raw, values, strings)


def _tensor(
    dtype: int,
    shape: tuple[int, ...],
    raw: bytes,
    values: list[NDArray[Any]],
    strings: list[bytes],
) -> Tensor:
    count = math.prod(shape)
    if dtype == STRING:
        if len(strings) != count:
            raise WireError(f"a tensor of {count} texts has {len(strings)}")
        return Tensor(shape, strings=tuple(strings))
    if dtype not in _DTYPES:
        raise WireError(f"a tensor has the type {dtype}")
    return Tensor(shape, numbers=_numbers(dtype, shape, raw, values))


def _numbers(dtype: int, shape: tuple[int, ...], raw: bytes, values: list[NDArray[Any]]) -> NDArray[Any]:
    kind, count = np.dtype(_DTYPES[dtype]), math.prod(shape)
    if raw:
        if len(raw) != count * kind.itemsize:
            raise WireError(f"a tensor of {count} numbers has {len(raw)} bytes")
        found: NDArray[Any] = np.frombuffer(raw, dtype=kind)
    else:
        found = np.concatenate(values) if values else np.zeros(min(count, 1), dtype=kind)
        if len(found) > count or (count and not len(found)):
            raise WireError(f"a tensor of {count} numbers has {len(found)}")
        found = found.view("<f2") if dtype == _HALF and found.dtype == np.dtype("<u2") else found
        # The last value is that of all elements after it.
        found = np.concatenate([found, np.repeat(found[-1:], count - len(found))])
    if dtype == _BFLOAT16:
        found = (found.astype("<u4") << 16).view("<f4")
    return found.reshape(shape)


def _shape(data: bytes) -> tuple[int, ...]:
    sizes = []
    for dim in fields(data):
        if dim.number == 2:
            sizes.append(next((whole(size) for size in fields(data, dim.start, dim.end)), 0))
        elif dim.number == 3 and whole(dim):
            raise WireError("the rank of a tensor is not known")
    return tuple(sizes)


def _listed(data: bytes, field: Field) -> NDArray[Any]:
    """Return the values of a repeated field, packed or single."""
    kind = np.dtype(_LISTS[field.number])
    is_float = field.number in (5, 6)
    if is_float and field.kind in (BYTES, FIXED32, FIXED64):
        raw = data[field.start : field.end]
        if len(raw) % kind.itemsize:
            raise WireError(f"field {field.number} is not complete")
        return np.frombuffer(raw, dtype=kind)
    if not is_float and field.kind == VARINT:
        return _wrapped([field.number_value], kind)
    if is_float or field.kind != BYTES:
        raise WireError(f"field {field.number} is not a list of numbers")
    found, position = [], field.start
    while position < field.end:
        value, position = varint(data, position, field.end)
        found.append(signed(value))
    return _wrapped(found, kind)


def _wrapped(values: list[int], kind: np.dtype[Any]) -> NDArray[Any]:
    """Return signed varints as numbers of a type, which keeps their low bits."""
    return np.array(values, dtype=np.int64).astype(kind)
