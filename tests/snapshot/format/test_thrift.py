"""Structs: encoded fields are read, unwanted ones are skipped, and other bytes are refused."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.snapshot.format.thrift import Form, Leaf, Path, Wanted, field_end, read_struct


class Everything(dict[int, Wanted]):
    """Wants every field, and every field of the structs in it."""

    def __contains__(self, _: object) -> bool:
        return True

    def __getitem__(self, _: int) -> Wanted:
        return self


def wanted_of(fields: object) -> Wanted:
    """Return the wanted fields of a struct given by its values, at every depth."""
    if isinstance(fields, list):
        return {key: found for item in fields for key, found in wanted_of(item).items()}
    return {key: wanted_of(value) for key, value in fields.items()} if isinstance(fields, dict) else {}


integers = st.tuples(st.sampled_from([4, 5, 6]), st.integers(-(2**63), 2**63 - 1) | st.integers(-70, 70))
others = st.one_of(
    integers,
    st.tuples(st.just(3), st.integers(0, 255)),
    st.tuples(st.just(7), st.floats(allow_nan=False).map(lambda value: struct.pack("<d", value))),
    st.tuples(st.just(8), st.binary(max_size=200)),
)
booleans = st.booleans().map(lambda value: (1 if value else 2, value))


def items_of(kinds: st.SearchStrategy[tuple[int, Any]]) -> st.SearchStrategy[tuple[int, Any]]:
    """Lists and sets of up to 40 items of one type."""

    def alike(first: tuple[int, Any], more: list[tuple[int, Any]], kind: int) -> tuple[int, Any]:
        return kind, (first[0], [first[1], *(value for own, value in more if own == first[0])])

    empty: tuple[int, list[Any]] = (12, [])
    return st.tuples(st.sampled_from([9, 10]), st.just(empty)) | st.builds(
        alike, kinds, st.lists(kinds, max_size=40), st.sampled_from([9, 10])
    )


def structs_of(
    values: st.SearchStrategy[tuple[int, Any]],
) -> st.SearchStrategy[tuple[int, Mapping[int, tuple[int, Any]]]]:
    ids = st.integers(-40, 40) | st.integers(-(2**15), 2**15 - 1)
    return st.tuples(st.just(12), st.dictionaries(ids, values | booleans, max_size=8))


structs = structs_of(st.recursive(others, lambda inner: items_of(inner) | structs_of(inner), max_leaves=25))


def varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def zigzag(value: int) -> bytes:
    return varint(value << 1 if value >= 0 else (-value << 1) - 1)


def encoded(kind: int, value: Any) -> bytes:
    if kind == 12:
        data, last = b"", 0
        for key, (own, item) in value.items():
            short = 0 < key - last < 16
            data += bytes([(key - last) << 4 | own]) if short else bytes([own]) + zigzag(key)
            data += encoded(own, item) if own > 2 else b""
            last = key
        return data + b"\x00"
    if kind in (9, 10):
        own, items = value
        size = len(items)
        head = bytes([size << 4 | own]) if size < 15 else bytes([0xF0 | own]) + varint(size)
        return head + b"".join(encoded(own, item) for item in items)
    if kind == 8:
        return varint(len(value)) + bytes(value)
    if kind in (4, 5, 6):
        return zigzag(value)
    return bytes(value) if kind == 7 else bytes([value])


def plain(kind: int, value: Any) -> Any:
    """Return the value that is to be read."""
    if kind == 12:
        return {key: plain(*item) for key, item in value.items()}
    return [plain(value[0], item) for item in value[1]] if kind in (9, 10) else value


def picked(value: Any, wanted: Wanted) -> Any:
    """Return the wanted fields of the value that is to be read."""
    if isinstance(value, list):
        return [picked(item, wanted) for item in value]
    if isinstance(value, dict):
        return {key: picked(item, wanted[key]) for key, item in value.items() if key in wanted}
    return value


def end_of(data: bytes, wanted: Wanted) -> int | None:
    try:
        return read_struct(data, wanted)[1]
    except ValueError:
        return None


def small_and_large(data: bytes, kept: Sequence[Path], free: Callable[[Leaf], bool]) -> list[Form]:
    """The form of a struct as one regular expression, and divided as those of very many values are."""
    found = []
    for most in (10**9, 0):
        with patch("pull_logs.snapshot.format.thrift._MOST_SLOTS", most):
            found.append(Form(data, kept, free))
    return found


@given(meant=structs, rest=st.binary(max_size=4), data=st.data())
def test_a_struct_is_read_in_two_parts_as_in_one(
    meant: tuple[int, Any], rest: bytes, data: st.DataObject
) -> None:
    written, full = encoded(*meant), plain(*meant)
    if not full:
        with pytest.raises(ValueError, match="a struct does not have field 1"):
            field_end(written, 1)
        return
    field = data.draw(st.sampled_from(sorted(full)))
    before = list(full)[: list(full).index(field) + 1]
    end = field_end(written + rest, field)
    first, _ = read_struct(written[:end] + b"\0", Everything())
    others, size = read_struct(written[end:] + rest, Everything(), last=field)
    assert first == {key: full[key] for key in before}
    assert (first | others, end + size) == (full, len(written))


@given(meant=structs, rest=st.binary(max_size=4), data=st.data())
def test_what_was_encoded_is_read_and_what_is_not_wanted_is_skipped(
    meant: tuple[int, Any], rest: bytes, data: st.DataObject
) -> None:
    written, full = encoded(*meant), plain(*meant)
    assert read_struct(written + rest, Everything()) == (full, len(written))
    assert read_struct(written + rest, {}) == ({}, len(written))
    left_out = data.draw(st.sets(st.sampled_from(sorted(full)))) if full else set()
    wanted = {key: found for key, found in wanted_of(full).items() if key not in left_out}
    assert read_struct(written + rest, wanted) == (picked(full, wanted), len(written))
    cut = data.draw(st.integers(0, len(written) - 1))
    assert end_of(written[:cut], Everything()) is None
    assert end_of(written[:cut], {}) is None


@given(meant=structs, edits=st.lists(st.tuples(st.integers(0, 10**6), st.binary(max_size=2)), max_size=3))
def test_what_is_skipped_is_as_valid_as_what_is_read(
    meant: tuple[int, Any], edits: list[tuple[int, bytes]]
) -> None:
    data = encoded(*meant)
    for offset, new in edits:
        start = offset % (len(data) + 1)
        data = data[:start] + new + data[start + max(len(new), 1) :]
    assert end_of(data, {}) == end_of(data, Everything())


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "a struct is cut short"),
        (b"\x15", "a struct is cut short"),
        (b"\x15\x80", "a struct is cut short"),
        (b"\x15" + b"\x80" * 10 + b"\x01\x00", "a number has more than 64 bits"),
        (b"\x18\x05abc\x00", "a field is cut short"),
        (b"\x19\x45\x00\x00", "a list is longer than what holds it, or nests too deep"),
        (b"\x19\xf5\xff\xff\xff\xff\x0f\x00", "a list is longer than what holds it, or nests too deep"),
        (b"\x19" * 20 + b"\x00" * 40, "a list is longer than what holds it, or nests too deep"),
        (b"\x1c" * 13 + b"\x00" * 14, "a struct nests too deep"),
        (b"\x1b\x00\x00", "a field is of type 11"),
        (b"\x10\x00", "a field has no type"),
        (b"\x19\x10\x00\x00", "a field is of type 0"),
    ],
)
def test_what_is_not_a_struct_is_refused(data: bytes, reason: str) -> None:
    nothing: Wanted = {}
    for wanted in (nothing, Everything()):
        with pytest.raises(ValueError, match=f"^{reason}$"):
            read_struct(data, wanted)


@given(in_structs=st.lists(st.booleans(), max_size=14))
def test_structs_and_lists_nest_to_a_depth_of_twelve(in_structs: list[bool]) -> None:
    meant: tuple[int, Any] = (12, {})
    for in_struct in in_structs:
        meant = (12, {1: meant}) if in_struct else (9, (meant[0], [meant[1]]))
    data = encoded(12, {1: meant})
    end = len(data) if len(in_structs) < 12 else None
    assert end_of(data, {}) == end_of(data, Everything()) == end


def leaves_of(
    kind: int, value: Any, path: tuple[int, ...] = ()
) -> Iterator[tuple[tuple[int, ...], int, Any]]:
    """Iterate over the integers and bytes of a struct given by its values: path, type and value."""
    if kind == 12:
        for key, (own, item) in value.items():
            yield from leaves_of(own, item, (*path, key))
    elif kind in (9, 10):
        for index, item in enumerate(value[1]):
            yield from leaves_of(value[0], item, (*path, index))
    elif kind in (4, 5, 6, 8):
        yield path, kind, value


def changed(kind: int, value: Any, new: Mapping[tuple[int, ...], Any], path: tuple[int, ...] = ()) -> Any:
    """Return the values of a struct with some of them replaced."""
    if kind == 12:
        return {key: (own, changed(own, item, new, (*path, key))) for key, (own, item) in value.items()}
    if kind in (9, 10):
        return value[0], [changed(value[0], item, new, (*path, index)) for index, item in enumerate(value[1])]
    return new.get(path, value)


@given(meant=structs, rest=st.binary(max_size=4), data=st.data())
def test_a_struct_of_the_same_form_is_read_by_it(
    meant: tuple[int, Any], rest: bytes, data: st.DataObject
) -> None:
    """It differs in the values that may differ, and its integers are found after any bytes before it."""
    leaves = {path: (kind, value) for path, kind, value in leaves_of(*meant)}
    numbers = [path for path, (kind, _) in leaves.items() if kind != 8]
    kept = data.draw(st.permutations(numbers)) if numbers else []
    kept = kept[: data.draw(st.integers(0, len(kept)))]
    free = data.draw(st.sets(st.sampled_from(sorted(leaves)))) if leaves else set()
    forms = small_and_large(encoded(*meant), kept, lambda leaf: leaf.path in free)
    new: dict[tuple[int, ...], Any] = {}
    for path, (kind, value) in leaves.items():
        if path in free or path in kept:
            drawn = (
                st.binary(min_size=len(value), max_size=len(value))
                if kind == 8
                else integers.map(lambda item: item[1])
            )
            new[path] = data.draw(drawn)
    other = encoded(12, changed(*meant, new))
    expected = [new[path] for path in kept]
    for form in forms:
        assert form.read(rest + other + rest, len(rest)) == (expected, len(rest) + len(other))


@given(meant=structs, edits=st.lists(st.tuples(st.integers(0, 10**6), st.binary(max_size=2)), max_size=3))
def test_what_a_form_reads_is_a_valid_struct(meant: tuple[int, Any], edits: list[tuple[int, bytes]]) -> None:
    """Reading the bytes that a form takes field by field gives the same integers and the same end."""
    data = encoded(*meant)
    kept = [path for path, kind, _ in leaves_of(*meant) if kind != 8]
    forms = small_and_large(data, kept, lambda _: True)
    for offset, new in edits:
        start = offset % (len(data) + 1)
        data = data[:start] + new + data[start + max(len(new), 1) :]
    found, same = (form.read(data) for form in forms)
    assert found == same
    if found is None:
        return
    values, end = read_struct(data, Everything())

    def at(path: tuple[int, ...]) -> Any:
        value: Any = values
        for key in path:
            value = value[key]
        return value

    assert found == ([at(path) for path in kept], end)


def test_a_form_needs_each_of_its_integers_once() -> None:
    once, twice = b"\x15\x02\x00", b"\x15\x02\x05\x02\x02\x00"
    assert Form(once, [(1,)], lambda _: False).read(b"\x15\x80\x01\x00") == ([64], 4)
    with pytest.raises(ValueError, match=r"^a struct has a field twice$"):
        Form(twice, [(1,)], lambda _: False)
    with pytest.raises(ValueError, match=r"^a struct does not have an integer that was wanted$"):
        Form(once, [(2,)], lambda _: False)
    with pytest.raises(ValueError, match=r"^a struct is cut short$"):
        Form(once[:-1], [(1,)], lambda _: False)
