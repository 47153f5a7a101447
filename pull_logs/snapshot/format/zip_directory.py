"""Read the directory of an untrusted ZIP, and check everything in it.

The checks are in the order of docs/bundle-format.md, "What a reader checks": the end of the file and its
counts, each entry's type and name, then the offsets of the members, which must follow each other without a
gap. Only stored members are accepted, so nothing can expand. No member's bytes are read here.
"""

from __future__ import annotations

import stat
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from operator import eq
from typing import NamedTuple, NoReturn

from pull_logs.errors import BundleDamagedError, UnsafeFileError
from pull_logs.snapshot.format import zip_layout as layout
from pull_logs.snapshot.format.names import is_member_name, member_order, why_refused
from pull_logs.snapshot.format.packed import ColumnsBuilder, MemberMap, MemberNames
from pull_logs.snapshot.format.zip_layout import Entry

MAX_MEMBERS = 2_000_004
"""A million runs with a history and system metrics each."""

MAX_DIRECTORY = 512 * 2**20
"""Most bytes of a directory."""

ReadAt = Callable[[int, int], bytes]
"""Returns the bytes at an offset, exactly as many as requested, or raises."""


@dataclass(frozen=True, slots=True)
class _End:
    count: int
    size: int
    start: int


class _Raw(NamedTuple):
    """An entry as it is in the directory."""

    name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    mode: int
    header: int
    data: bytes


class Directory(MemberMap[Entry]):
    """The members of a ZIP by name, in their order.

    Attributes:
        sizes: The size of each member.
    """

    __slots__ = ("_checksums", "_headers", "_sizes", "sizes")

    def __init__(self, entries: Iterable[Entry]) -> None:
        builder = ColumnsBuilder("qIq")
        for name, size, checksum, header in entries:
            builder.add(name, (size, checksum, header))
        columns = builder.columns()
        super().__init__(MemberNames(columns.texts), self._entry)
        self._sizes, self._checksums, self._headers = columns.numbers
        self.sizes: Mapping[str, int] = MemberMap(self._names, self._sizes.__getitem__)

    def _entry(self, number: int) -> Entry:
        sizes, checksums, headers = self._sizes, self._checksums, self._headers
        return Entry(self._names[number], sizes[number], checksums[number], headers[number])


def read_directory(read_at: ReadAt, *, length: int, path: str) -> Directory:
    """Return the members of a ZIP of `length` bytes, in their order, all checked except for their content.

    Raises:
        BundleDamagedError: The file is cut short or its directory is damaged.
        UnsafeFileError: It has members, names or sizes that no bundle has.
    """
    end = _read_end(read_at, length=length, path=path)
    data = read_at(end.start, end.size)
    with suppress(ValueError):
        return Directory(_plain_directory(data, end))
    return Directory(_checked_directory(data, end, path).values())


def _plain_directory(data: bytes, end: _End) -> Iterator[Entry]:
    """Iterate over the members.

    Raises:
        ValueError: Something is wrong with one of them; what it is, and where, the careful pass finds.
    """
    folded, last, entry = array("q"), "", None
    few: list[str] = []  # of names in folders, which follow each other, only the first
    for entry in layout.plain_entries(data, end.count):
        name = entry.name
        if "/" not in name or "/" not in last:
            few.append(name)
        elif name <= last:
            raise ValueError("members are not in order")
        if not is_member_name(name):
            raise ValueError("a member has a name that no bundle has")
        folded.append(hash(name.lower()))
        last = name
        yield entry
    hashes = sorted(folded)
    until = 0 if entry is None else entry.end
    if until != end.start or few != member_order(few) or any(map(eq, hashes, islice(hashes, 1, None))):
        raise ValueError("the members are not those of a bundle")


def _checked_directory(data: bytes, end: _End, path: str) -> dict[str, Entry]:
    """Check each member by itself.

    Raises:
        BundleDamagedError: The directory is damaged.
        UnsafeFileError: It has members, names or sizes that no bundle has.
    """
    entries: dict[str, Entry] = {}
    folded: dict[str, str] = {}
    expected = 0
    for raw in _raw_entries(data, end, path):
        name = _checked_name(raw, path)
        other = folded.setdefault(name.lower(), name)
        if name in entries:
            _refuse(path, name, "is in it twice")
        if other != name:
            _refuse(path, name, f"and {other!r} differ only in case")
        entry = Entry(name, raw.size, raw.crc, raw.header)
        until = _checked_end(entry, expected, end.start, path)
        if layout.central_entry(entry) != raw.data:
            _damaged(path, f"the directory entry of {name!r} is not as it was written")
        entries[name] = entry
        expected = until
    if expected != end.start:
        _damaged(path, f"{end.start - expected} bytes before the directory belong to no member")
    if list(entries) != member_order(entries):
        _damaged(path, "its members are incomplete or out of order")
    return entries


def _read_end(read_at: ReadAt, *, length: int, path: str) -> _End:
    if length == 0:
        _damaged(path, "the file is empty")
    if not read_at(0, min(4, length)).startswith(b"PK"):
        raise UnsafeFileError(
            f"{path!r} is not a bundle: it does not begin as a ZIP file does",
            hint="a bundle is made by `pull-logs fetch` and named NAME.wandb.zip",
        )
    size = layout.END.size
    record = read_at(length - size, size) if length >= size else b""
    if not record.startswith(layout.END_SIGNATURE):
        _damaged(path, "the file does not end as it was written: it is cut short, or bytes were added")
    _, _, _, here, count, directory, start, comment = layout.END.unpack(record)
    finish = length - size
    if layout.MAX_16 in (here, count) or layout.MAX_32 in (directory, start):
        count, directory, start, finish = _read_end64(read_at, finish=finish, path=path)
    if count > MAX_MEMBERS or directory > MAX_DIRECTORY:
        _refuse(path, None, f"claims {count} members and a directory of {directory} bytes")
    if comment or start + directory != finish:
        _damaged(path, "its end record does not fit the file")
    built = layout.directory_end(count=count, size=directory, start=start)
    if read_at(finish, length - finish) != built:
        _damaged(path, "its end record is not as it was written")
    return _End(count, directory, start)


def _read_end64(read_at: ReadAt, *, finish: int, path: str) -> tuple[int, int, int, int]:
    before = finish - layout.LOCATOR64.size - layout.END64.size
    if before < 0:
        _damaged(path, "its end record does not fit the file")
    record = read_at(before, layout.END64.size)
    if not record.startswith(layout.END64_SIGNATURE):
        _damaged(path, "its ZIP64 end record is not where it belongs")
    *_, count, directory, start = layout.END64.unpack(record)
    return count, directory, start, before


def _raw_entries(data: bytes, end: _End, path: str) -> Iterator[_Raw]:
    offset, fixed = 0, layout.CENTRAL.size
    unpack = layout.CENTRAL.unpack_from
    for _ in range(end.count):
        if offset + fixed > len(data) or data[offset : offset + 4] != layout.CENTRAL_SIGNATURE:
            _damaged(path, "its directory is not as it was written")
        fields = unpack(data, offset)
        _, _, _, flags, method, _, _, crc, packed, size, named, extra, comment, _, _, mode, header = fields
        until = offset + fixed + named + extra + comment
        if until > len(data):
            _damaged(path, "its directory is not as it was written")
        name = data[offset + fixed : offset + fixed + named]
        if extra:
            wide = data[offset + fixed + named : offset + fixed + named + extra]
            packed, size, header = _widened(wide, packed, size, header)
        yield _Raw(name, flags, method, crc, packed, size, mode >> 16, header, data[offset:until])
        offset = until
    if offset != len(data):
        _damaged(path, f"{len(data) - offset} bytes of its directory belong to no member")


def _widened(extra: bytes, *fields: int) -> list[int]:
    """Return the fields, those that do not fit into 32 bits taken from a ZIP64 extra field."""
    numbers = [int.from_bytes(extra[start : start + 8], "little") for start in range(4, len(extra) - 7, 8)]
    return [numbers.pop(0) if field == layout.MAX_32 and numbers else field for field in fields]


def _checked_name(raw: _Raw, path: str) -> str:
    name = raw.name.decode("utf-8", "replace")
    if raw.flags & layout.ENCRYPTED_FLAG:
        _refuse(path, name, "is encrypted")
    if raw.method != layout.STORED:
        _refuse(path, name, "is compressed by the ZIP, which bundles never are")
    if stat.S_ISLNK(raw.mode):
        _refuse(path, name, "is a symbolic link")
    if raw.mode and not stat.S_ISREG(raw.mode):
        _refuse(path, name, "is not a regular file")
    if not is_member_name(name):
        _refuse(path, name, why_refused(name))
    if raw.packed != raw.size:
        _refuse(path, name, f"is stored in {raw.packed} bytes but claims to hold {raw.size}")
    return name


def _checked_end(entry: Entry, expected: int, directory: int, path: str) -> int:
    until = entry.end
    if entry.header < expected or until > directory:
        _refuse(path, entry.name, "overlaps its neighbour")
    if entry.header > expected:
        _damaged(path, f"{entry.header - expected} bytes before {entry.name!r} belong to no member")
    return until


def _refuse(path: str, name: str | None, reason: str) -> NoReturn:
    what = f"it {reason}" if name is None else f"member {name!r} {reason}"
    raise UnsafeFileError(f"{path!r} is not safe to use: {what}")


def _damaged(path: str, reason: str) -> NoReturn:
    raise BundleDamagedError(f"{path!r} is damaged: {reason}", path=path)
