"""The part of Thrift's compact protocol that Parquet's structs use, for untrusted bytes.

The caller names the fields of a struct that it wants. The others are skipped: their form is checked too, but
no values are made of them, which takes a third less time.

A footer has thousands of fields. For speed, types are literals here, and integers, which most fields are,
are read inline instead of by a function. The types are

    1 true, 2 false, 3 byte, 4 to 6 integers, 7 double, 8 bytes, 9 list, 10 set, 12 struct.

Of the bytes of an integer, only the last is less than 0x80.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from operator import length_hint
from typing import Any, TypeAlias

Struct: TypeAlias = dict[int, Any]
"""The fields of a struct by their id."""

Wanted: TypeAlias = Mapping[int, "Wanted"]
"""The ids of the fields to read; for each, the fields to read of the structs in it."""

_MAX_DEPTH = 12
_MAX_BITS = 70
"""Most bits in the bytes of a number of 64 bits, with 7 bits per byte."""


def read_struct(data: bytes, wanted: Wanted, *, last: int = 0) -> tuple[Struct, int]:
    """Return the wanted fields of the struct at the start of these bytes, and the offset past it.

    Args:
        data: The bytes.
        wanted: The fields to read.
        last: The id of the field before, where the struct begins before these bytes.

    Raises:
        ValueError: It is not a valid struct, is cut short or nested too deep.
    """
    rest = iter(data)
    try:
        return _struct(rest, wanted, 0, last), len(data) - length_hint(rest)
    except StopIteration as exc:
        raise ValueError("a struct is cut short") from exc


def field_end(data: bytes, field: int) -> int:
    """Return the offset past a field of the struct at the start of these bytes.

    Raises:
        ValueError: It is not a valid struct up to there, or does not have the field.
    """
    rest = iter(data)
    last = 0
    try:
        for head in rest:
            if not head:
                break
            last = last + (head >> 4) if head > 0x0F else _number(rest)
            _skip_field(rest, head & 0x0F, 0)
            if last == field:
                return len(data) - length_hint(rest)
    except StopIteration as exc:
        raise ValueError("a struct is cut short") from exc
    raise ValueError(f"a struct does not have field {field}")


def _struct(rest: Iterator[int], wanted: Wanted, depth: int, last: int = 0) -> Struct:
    if depth > _MAX_DEPTH:
        raise ValueError("a struct nests too deep")
    fields: Struct = {}
    for head in rest:
        if not head:
            return fields
        kind = head & 0x0F
        last = last + (head >> 4) if head > 0x0F else _number(rest)
        if kind > 6:
            if last in wanted:
                fields[last] = _value(rest, kind, wanted[last], depth)
            else:
                _skip(rest, kind, depth)
        elif kind > 3:
            value = next(rest)
            if value >= 0x80:
                value = _long(rest, value)
            if last in wanted:
                fields[last] = (value >> 1) ^ -(value & 1)
        else:
            value = _short(rest, kind)
            if last in wanted:
                fields[last] = value
    raise StopIteration


def _value(rest: Iterator[int], kind: int, wanted: Wanted, depth: int) -> Any:
    """Read a field that has bytes, or an item of a list."""
    if kind == 12:
        return _struct(rest, wanted, depth + 1)
    if kind in (9, 10):
        kind, size = _list_head(rest, depth + 1)
        return [_value(rest, kind, wanted, depth + 1) for _ in range(size)]
    if kind == 8:
        return _take(rest, _varint(rest))
    if kind == 7:
        return _take(rest, 8)
    if 4 <= kind <= 6:
        return _number(rest)
    if 1 <= kind <= 3:
        return next(rest)
    raise ValueError(f"a field is of type {kind}")


def _skip(rest: Iterator[int], kind: int, depth: int) -> None:
    """Skip what `_value` would read."""
    if kind == 12:
        _skip_struct(rest, depth + 1)
    elif kind in (9, 10):
        kind, size = _list_head(rest, depth + 1)
        for _ in range(size):
            if not 4 <= kind <= 6:
                _skip(rest, kind, depth + 1)
            elif next(rest) >= 0x80:
                _long(rest, 0)
    else:
        _value(rest, kind, {}, depth)


def _skip_struct(rest: Iterator[int], depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise ValueError("a struct nests too deep")
    for head in rest:
        if not head:
            return
        if head <= 0x0F:
            _varint(rest)
        kind = head & 0x0F
        if kind > 6:
            _skip(rest, kind, depth)
        elif kind <= 3:
            _short(rest, kind)
        elif next(rest) >= 0x80:
            _long(rest, 0)
    raise StopIteration


def _skip_field(rest: Iterator[int], kind: int, depth: int) -> None:
    if kind > 6:
        _skip(rest, kind, depth)
    elif kind <= 3:
        _short(rest, kind)
    else:
        _number(rest)


def _short(rest: Iterator[int], kind: int) -> int:
    """Read a field whose type is its value, or that is one byte."""
    if not kind:
        raise ValueError("a field has no type")
    return kind == 1 if kind < 3 else next(rest)


def _list_head(rest: Iterator[int], depth: int) -> tuple[int, int]:
    """Read the type of the items of a list, and their number."""
    head = next(rest)
    size = head >> 4
    if size == 0x0F:
        size = _varint(rest)
    if depth > _MAX_DEPTH or size > length_hint(rest):
        raise ValueError("a list is longer than what holds it, or nests too deep")
    return head & 0x0F, size


def _take(rest: Iterator[int], size: int) -> bytes:
    if size > length_hint(rest):
        raise ValueError("a field is cut short")
    return bytes(islice(rest, size))


def _number(rest: Iterator[int]) -> int:
    value = _varint(rest)
    return (value >> 1) ^ -(value & 1)


def _varint(rest: Iterator[int]) -> int:
    value = next(rest)
    return value if value < 0x80 else _long(rest, value)


def _long(rest: Iterator[int], first: int) -> int:
    """Read a number of several bytes, the first of which has been read."""
    value, shift = first & 0x7F, 7
    for part in rest:
        value |= (part & 0x7F) << shift
        if part < 0x80:
            return value
        shift += 7
        if shift == _MAX_BITS:
            raise ValueError("a number has more than 64 bits")
    raise StopIteration
