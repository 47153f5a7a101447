"""As much of Thrift's compact protocol as Parquet's own structs use, for untrusted bytes.

The caller says which fields of a struct are wanted. The others are skipped: their form is
checked all the same, but no values are made of them, which is a third quicker.

A footer has thousands of fields. Therefore types are literals here, and integers, which most
fields are, are read where they are met instead of in a function of their own. The types are

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
"""The ids of the fields to read, each with those to read of the structs that the field holds."""

_MAX_DEPTH = 12
_MAX_BITS = 70
"""Bits that the bytes of a number of 64 bits have at most, at 7 a byte."""


def read_struct(data: bytes, wanted: Wanted) -> tuple[Struct, int]:
    """The wanted fields of the struct at the start of these bytes, and the offset after it.

    Raises:
        ValueError: It is not a valid struct, is cut short or nests too deep.
    """
    rest = iter(data)
    try:
        return _struct(rest, wanted, 0), len(data) - length_hint(rest)
    except StopIteration as exc:
        raise ValueError("a struct is cut short") from exc


def _struct(rest: Iterator[int], wanted: Wanted, depth: int) -> Struct:
    if depth > _MAX_DEPTH:
        raise ValueError("a struct nests too deep")
    fields: Struct = {}
    last = 0
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
    """A field that is not short, or an item of a list."""
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
    """Pass over what `_value` would read."""
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


def _short(rest: Iterator[int], kind: int) -> int:
    """A field whose type is its value, or that is one byte."""
    if not kind:
        raise ValueError("a field has no type")
    return kind == 1 if kind < 3 else next(rest)


def _list_head(rest: Iterator[int], depth: int) -> tuple[int, int]:
    """The type of the items of a list, and how many there are."""
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
    """A number of several bytes, the first of which has been read."""
    value, shift = first & 0x7F, 7
    for part in rest:
        value |= (part & 0x7F) << shift
        if part < 0x80:
            return value
        shift += 7
        if shift == _MAX_BITS:
            raise ValueError("a number has more than 64 bits")
    raise StopIteration
