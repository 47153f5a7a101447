"""The part of Thrift's compact protocol that Parquet's structs use, for untrusted bytes.

The caller names the fields of a struct that it wants. The others are skipped: their form is checked too, but
no values are made of them, which takes a third less time.

A footer has thousands of fields. For speed, types are literals here, and integers, which most fields are,
are read inline instead of by a function. The types are

    1 true, 2 false, 3 byte, 4 to 6 integers, 7 double, 8 bytes, 9 list, 10 set, 12 struct.

Of the bytes of an integer, only the last is less than 0x80.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from operator import length_hint
from typing import Any, NamedTuple, TypeAlias

import numpy as np

Struct: TypeAlias = dict[int, Any]
"""The fields of a struct by their id."""

Wanted: TypeAlias = Mapping[int, "Wanted"]
"""The ids of the fields to read; for each, the fields to read of the structs in it."""

_BYTES, _LIST = 8, 9
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


def list_start(data: bytes, field: int, *, last: int = 0) -> tuple[int, int]:
    """Return the offset of the first item of a list in the struct at the start of these bytes, and its size.

    Args:
        data: The bytes.
        field: The id of the field that is the list.
        last: As for `read_struct`.

    Raises:
        ValueError: It is not a valid struct up to there, or does not have the field as a list.
    """
    rest = iter(data)
    try:
        for head in rest:
            if not head:
                break
            last = last + (head >> 4) if head > 0x0F else _number(rest)
            if last == field and head & 0x0F == _LIST:
                _, size = _list_head(rest, 0)
                return len(data) - length_hint(rest), size
            _skip_field(rest, head & 0x0F, 0)
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


Path: TypeAlias = tuple[int, ...]
"""The ids of fields and the indices in lists that lead to a value."""

_ANY_INTEGER = rb"[\x80-\xff]{0,9}[\x00-\x7f]"


_MOST_SLOTS = 1_000
"""Up to this many values that may differ, a form is one regular expression."""

_FITTING_BYTES = 9
"""An integer of so many bytes has at most 63 bits."""

_SHORT_TEXT = 6
"""Up to this many fixed bytes between two values are part of an expression; there are more around a name."""


class Leaf(NamedTuple):
    """A value of a struct that is an integer or bytes.

    Attributes:
        path: Where it is.
        kind: Its type: 4 to 6 for an integer, 8 for bytes.
        start: Offset of its first byte; the length before bytes is not part of them.
        end: Offset past its last byte.
    """

    path: Path
    kind: int
    start: int
    end: int


class Form:
    """The form of a struct: all its bytes except those of some of its values.

    The footers of thousands of runs differ in sizes and offsets only. A struct of the same form has the same
    fields, because the bytes that are the same decide how it is read. One match of a regular expression then
    finds its integers, in a tenth of the time of `read_struct`.
    """

    __slots__ = ("_groups", "_match", "_parts")

    def __init__(
        self, data: bytes, kept: Sequence[Path], free: Callable[[Leaf], bool], *, last: int = 0
    ) -> None:
        """Learn the form of the struct at the start of these bytes.

        Args:
            data: The bytes.
            kept: The integers that `read` returns, in its order.
            free: Whether any other value may differ in a struct of this form; bytes keep their length.
            last: The id of the field before, where the struct begins before these bytes.

        Raises:
            ValueError: It is not a valid struct, or does not have each of the integers once.
        """
        _, size = read_struct(data, {}, last=last)
        groups: dict[Path, int] = {}
        slots: list[tuple[bytes, bytes]] = []
        end, wanted = 0, frozenset(kept)
        for leaf in _Leaves(data).of_struct(last):
            if leaf.path in wanted and leaf.kind != _BYTES:
                if leaf.path in groups:
                    raise ValueError("a struct has a field twice")
                groups[leaf.path] = len(groups) + 1
                slot = b"(" + _ANY_INTEGER + b")"
            elif not free(leaf):
                continue
            else:
                slot = b"[\x00-\xff]{%d}" % (leaf.end - leaf.start) if leaf.kind == _BYTES else _ANY_INTEGER
            slots.append((data[end : leaf.start], slot))
            end = leaf.end
        if len(groups) < len(wanted):
            raise ValueError("a struct does not have an integer that was wanted")
        slots.append((data[end:size], b""))
        # A match returns one group as bytes, several as a tuple: the last two are not read.
        self._groups = (*(groups[path] for path in kept), 0, 0)
        self._parts = _parts(slots) if len(slots) > _MOST_SLOTS else ()
        pattern = b"" if self._parts else b"".join(re.escape(fixed) + slot for fixed, slot in slots)
        self._match = re.compile(pattern).match

    def read(self, data: bytes, offset: int = 0) -> tuple[list[int], int] | None:
        """Return the integers of the struct at an offset, and the offset past it; None for another form."""
        if self._parts:
            return self._read_parts(data, offset)
        found = self._match(data, offset)
        if found is None:
            return None
        return list(map(decoded_integer, found.group(*self._groups)[:-2])), found.end()

    def _read_parts(self, data: bytes, offset: int) -> tuple[list[int], int] | None:
        """Do what `read` does, part by part."""
        integers: list[bytes] = []
        for fixed, match in self._parts:
            found = match(data, offset + len(fixed)) if data.startswith(fixed, offset) else None
            if found is None:
                return None
            integers += found.groups()
            offset = found.end()
        return _decoded_integers([integers[group - 1] for group in self._groups[:-2]]), offset


_Part: TypeAlias = tuple[bytes, Callable[[bytes, int], re.Match[bytes] | None]]
"""Bytes that are fixed, and what matches the values after them."""


def _parts(slots: Sequence[tuple[bytes, bytes]]) -> Sequence[_Part]:
    """Divide a form before each fixed text that is long, such as the name of a column.

    One expression for the footer of thousands of columns takes seconds to compile. What is between their
    names is the same for nearly all of them, and compiled once.
    """
    parts: list[tuple[bytes, bytes]] = []
    for fixed, slot in slots:
        if len(fixed) > _SHORT_TEXT or not parts:
            parts.append((fixed, slot))
        else:
            start, pattern = parts[-1]
            parts[-1] = start, pattern + re.escape(fixed) + slot
    compiled = {pattern: re.compile(pattern).match for _, pattern in parts}
    return [(fixed, compiled[pattern]) for fixed, pattern in parts]


@lru_cache(maxsize=1 << 14)
def decoded_integer(data: bytes) -> int:
    """Return the integer of these bytes; most sizes occur again and again."""
    value = shift = 0
    for part in data:
        value |= (part & 0x7F) << shift
        shift += 7
    return (value >> 1) ^ -(value & 1)


def _decoded_integers(parts: Sequence[bytes]) -> list[int]:
    """Return integers, decoded together: few of the offsets of thousands of columns occur again."""
    if not parts or max(map(len, parts)) > _FITTING_BYTES:
        return list(map(decoded_integer, parts))
    data = np.frombuffer(b"".join(parts), np.uint8)
    lengths = np.fromiter(map(len, parts), np.int64, len(parts))
    starts = np.cumsum(lengths) - lengths
    shifts = 7 * (np.arange(len(data)) - np.repeat(starts, lengths))
    values = np.add.reduceat((data & np.uint8(0x7F)).astype(np.int64) << shifts, starts)
    found: list[int] = ((values >> 1) ^ -(values & 1)).tolist()
    return found


class _Leaves:
    """Walks through the values of a struct that is known to be valid."""

    def __init__(self, data: bytes) -> None:
        self._size, self._rest = len(data), iter(data)

    def of_struct(self, last: int = 0, path: Path = ()) -> Iterator[Leaf]:
        """Iterate over its integers and bytes, in their order."""
        for head in self._rest:
            if not head:
                return
            last = last + (head >> 4) if head > 0x0F else _number(self._rest)
            kind = head & 0x0F
            if kind > 3:
                yield from self._of_value(kind, (*path, last))
            else:
                _short(self._rest, kind)

    def _of_value(self, kind: int, path: Path) -> Iterator[Leaf]:
        if kind == 12:
            yield from self.of_struct(0, path)
        elif kind in (9, 10):
            kind, size = _list_head(self._rest, 0)
            for index in range(size):
                yield from self._of_value(kind, (*path, index))
        elif kind == _BYTES:
            size = _varint(self._rest)
            start = self._offset
            _take(self._rest, size)
            yield Leaf(path, kind, start, start + size)
        elif 4 <= kind <= 6:
            start = self._offset
            _number(self._rest)
            yield Leaf(path, kind, start, self._offset)
        else:
            _value(self._rest, kind, {}, 0)

    @property
    def _offset(self) -> int:
        return self._size - length_hint(self._rest)
