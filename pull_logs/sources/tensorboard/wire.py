"""Protocol buffers on the wire: the fields of a message, without a description of it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_DOUBLE, _FLOAT = struct.Struct("<d"), struct.Struct("<f")
_SIGN, _RANGE = 2**63, 2**64
_MOST_VARINT = 10


class WireError(ValueError):
    """Bytes that are not a valid message."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a message.

    Attributes:
        number: The number of the field.
        kind: The wire type.
        number_value: The value of a varint, as a signed number; 0 for the other types.
        start: The start of its bytes in the data.
        end: The end of its bytes.
    """

    number: int
    kind: int
    number_value: int
    start: int
    end: int


def varint(data: bytes, position: int, end: int) -> tuple[int, int]:
    """Return the unsigned varint at a position, and the position after it.

    Raises:
        WireError: There is none.
    """
    value = shift = 0
    while position < end and shift < 7 * _MOST_VARINT:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value % _RANGE, position
        shift += 7
    raise WireError("a number is not complete")


def signed(value: int) -> int:
    """Return an unsigned varint as the signed number that it stands for."""
    return value - _RANGE if value >= _SIGN else value


def fields(data: bytes, start: int = 0, end: int | None = None) -> Iterator[Field]:
    """Iterate over the fields of a message.

    Raises:
        WireError: The bytes are not a valid message.
    """
    position, limit = start, len(data) if end is None else end
    while position < limit:
        key, position = varint(data, position, limit)
        number, kind = key >> 3, key & 7
        first, value = position, 0
        if kind == VARINT:
            value, position = varint(data, position, limit)
        elif kind == BYTES:
            size, first = varint(data, position, limit)
            position = first + size
        elif kind in (FIXED64, FIXED32):
            position += 8 if kind == FIXED64 else 4
        else:
            raise WireError(f"there is no wire type {kind}")
        if position > limit or not number:
            raise WireError("a field is not complete")
        yield Field(number, kind, signed(value), first, position)


def double(data: bytes, field: Field) -> float:
    """Return the value of a field of type double.

    Raises:
        WireError: It has another type.
    """
    if field.kind != FIXED64:
        raise WireError(f"field {field.number} is not a double")
    return float(_DOUBLE.unpack_from(data, field.start)[0])


def single(data: bytes, field: Field) -> float:
    """Return the value of a field of type float.

    Raises:
        WireError: It has another type.
    """
    if field.kind != FIXED32:
        raise WireError(f"field {field.number} is not a float")
    return float(_FLOAT.unpack_from(data, field.start)[0])


def content(data: bytes, field: Field) -> bytes:
    """Return the bytes of a field of type bytes, string or message.

    Raises:
        WireError: It has another type.
    """
    if field.kind != BYTES:
        raise WireError(f"field {field.number} is not bytes")
    return data[field.start : field.end]


def text(data: bytes, field: Field) -> str:
    """Return the text of a field; bytes that are not UTF-8 become U+FFFD.

    Raises:
        WireError: It has another type.
    """
    return content(data, field).decode(errors="replace")


def whole(field: Field) -> int:
    """Return the value of a field of an integer type.

    Raises:
        WireError: It has another type.
    """
    if field.kind != VARINT:
        raise WireError(f"field {field.number} is not a whole number")
    return field.number_value
