"""The part of Thrift's compact protocol that Parquet's structs use, for untrusted bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

Struct: TypeAlias = dict[int, Any]
"""The fields of a struct by their id."""

Shortcut: TypeAlias = Callable[[bytes, int], tuple[Struct, int] | None]
"""Tells of the struct at an offset what is used of it, and where it ends; None where it is none that it knows."""

NUMBER = rb"[\x80-\xff]{0,9}[\x00-\x7f]"
"""What a number looks like, as a regular expression."""

_MAX_DEPTH = 12
_TRUE, _FALSE, _BYTE, _INT16, _INT32, _INT64, _DOUBLE, _BYTES, _LIST, _SET, _MAP, _STRUCT = range(1, 13)
_INTEGERS = frozenset({_INT16, _INT32, _INT64})


def read_struct(data: bytes, *, shortcut: Shortcut = lambda _, __: None) -> tuple[Struct, int]:
    """Return the struct at the start of these bytes, and the offset past it.

    Args:
        data: The bytes.
        shortcut: Asked of each struct in a list before it is read field by field.

    Raises:
        ValueError: It is not such a struct, is cut short or nested too deep.
    """
    reader = _Reader(data, shortcut)
    try:
        return reader.struct(0), reader.place
    except IndexError as exc:
        raise ValueError("a struct is cut short") from exc


def number(data: bytes) -> int:
    """The number that these bytes, in the form of `NUMBER`, are."""
    value = 0
    for part in reversed(data):
        value = value << 7 | part & 0x7F
    return (value >> 1) ^ -(value & 1)


class _Reader:
    def __init__(self, data: bytes, shortcut: Shortcut) -> None:
        self._data, self._shortcut = data, shortcut
        self.place = 0

    def struct(self, depth: int) -> Struct:
        if depth > _MAX_DEPTH:
            raise ValueError("a struct nests too deep")
        data, last = self._data, 0
        fields: Struct = {}
        # The ways that nearly every field takes stand here, since a footer has thousands of fields.
        while head := data[self.place]:
            self.place += 1
            delta, kind = head >> 4, head & 0x0F
            last = last + delta if delta else self._number()
            if kind in _INTEGERS:
                part = data[self.place]
                if part < 0x80:
                    self.place += 1
                    fields[last] = (part >> 1) ^ -(part & 1)
                else:
                    fields[last] = self._number()
            elif kind <= _FALSE:
                fields[last] = kind == _TRUE
            else:
                fields[last] = self._value(kind, depth)
        self.place += 1
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in _INTEGERS:
            return self._number()
        if kind == _BYTES:
            return self._take(self._varint())
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind in (_LIST, _SET):
            return self._list(depth + 1)
        if kind == _DOUBLE:
            return self._take(8)
        if kind in (_TRUE, _FALSE, _BYTE):
            return self._byte()
        raise ValueError(f"a field is of type {kind}")

    def _list(self, depth: int) -> list[Any]:
        head = self._byte()
        size, kind = head >> 4, head & 0x0F
        if size == 0x0F:
            size = self._varint()
        if depth > _MAX_DEPTH or size > len(self._data) - self.place:
            raise ValueError("a list is longer than what holds it, or nests too deep")
        if kind == _STRUCT:
            return [self._listed_struct(depth + 1) for _ in range(size)]
        return [self._value(kind, depth) for _ in range(size)]

    def _listed_struct(self, depth: int) -> Struct:
        known = self._shortcut(self._data, self.place)
        if known is None:
            return self.struct(depth)
        fields, self.place = known
        return fields

    def _take(self, size: int) -> bytes:
        taken = self._data[self.place : self.place + size]
        if len(taken) < size:
            raise ValueError("a field is cut short")
        self.place += size
        return taken

    def _byte(self) -> int:
        value = self._data[self.place]
        self.place += 1
        return value

    def _varint(self) -> int:
        value = self._data[self.place]
        if value < 0x80:
            self.place += 1
            return value
        value = 0
        for shift in range(0, 70, 7):
            part = self._byte()
            value |= (part & 0x7F) << shift
            if part < 0x80:
                return value
        raise ValueError("a number has more than 64 bits")

    def _number(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
