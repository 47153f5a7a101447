"""The headers of a bundle's ZIP, and their writer: all but names, sizes and checksums is fixed.

So a reader can build each header again and compare: a header that differs in one bit is damaged, or not that
of a bundle. See docs/bundle-format.md, "The ZIP".

`zipfile` with a fixed `ZipInfo` writes the same bytes only for small bundles: it switches to ZIP64 fields at
2 GiB and by an estimated size, this format at 4 GiB and by the exact one.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

from pull_logs.errors import BundleDamagedError

LOCAL = struct.Struct("<4s5H3I2H")
CENTRAL = struct.Struct("<4s6H3I5H2I")
END = struct.Struct("<4s4H2IH")
END64 = struct.Struct("<4sQ2H2I4Q")
LOCATOR64 = struct.Struct("<4sIQI")

LOCAL_SIGNATURE = b"PK\x03\x04"
CENTRAL_SIGNATURE = b"PK\x01\x02"
END_SIGNATURE = b"PK\x05\x06"
END64_SIGNATURE = b"PK\x06\x06"
LOCATOR64_SIGNATURE = b"PK\x06\x07"

STORED = 0
ENCRYPTED_FLAG = 0x1
MODE = 0o100644
CRC_OFFSET = 14
"""Offset of the checksum in a local header."""

MAX_16, MAX_32 = 0xFFFF, 0xFFFFFFFF
_UNIX = 3 << 8
_VERSION, _VERSION_64 = 20, 45
_TIME, _DATE = 0, 1 << 5 | 1  # 1980-01-01 00:00, the earliest time of a ZIP


class Entry(NamedTuple):
    """A member as the directory describes it.

    Attributes:
        name: Its name.
        size: Its size, which for a stored member is also the size on disk.
        crc: The CRC-32 of its bytes.
        header: Offset of its local header in the file.
    """

    name: str
    size: int
    crc: int
    header: int

    @property
    def start(self) -> int:
        """Offset of its first byte in the file."""
        return self.header + LOCAL.size + len(self.name) + (20 if self.size >= MAX_32 else 0)

    @property
    def end(self) -> int:
        """Offset past its last byte in the file."""
        return self.start + self.size


def local_header(entry: Entry) -> bytes:
    """Return the header before a member's bytes."""
    name, large = entry.name.encode("ascii"), entry.size >= MAX_32
    extra = struct.pack("<2H2Q", 1, 16, entry.size, entry.size) if large else b""
    size = MAX_32 if large else entry.size
    version = _VERSION_64 if large else _VERSION
    fields = (version, 0, STORED, _TIME, _DATE, entry.crc, size, size, len(name), len(extra))
    return LOCAL.pack(LOCAL_SIGNATURE, *fields) + name + extra


def central_entry(entry: Entry) -> bytes:
    """Return a member's entry in the directory."""
    name, size, header, extra = entry.name.encode("ascii"), entry.size, entry.header, b""
    if large := size >= MAX_32 or header >= MAX_32:
        wide = [size, size] * (size >= MAX_32) + [header] * (header >= MAX_32)
        extra = struct.pack(f"<2H{len(wide)}Q", 1, 8 * len(wide), *wide)
        size, header = min(size, MAX_32), min(header, MAX_32)
    version = _VERSION_64 if large else _VERSION
    fields = (_UNIX | version, version, 0, STORED, _TIME, _DATE, entry.crc, size, size)
    fixed = CENTRAL.pack(CENTRAL_SIGNATURE, *fields, len(name), len(extra), 0, 0, 0, MODE << 16, header)
    return fixed + name + extra


_BLANK = central_entry(Entry("", 0, 0, 0))
_ENTRY_START, _ENTRY_REST = _BLANK[:16], _BLANK[30:42]
"""The parts of an entry that are fixed: before its checksum, and from its extra field to its mode."""

_ENTRY = struct.Struct("<16s3IH12sI")
"""An entry up to its name: between its fixed parts its checksum, sizes and length of the name; its header."""


def plain_entries(data: bytes, count: int) -> Iterator[Entry]:
    """Iterate over the entries of a directory without ZIP64 fields.

    Their names are not checked.

    Raises:
        ValueError: A byte is not as it was written, or there are ZIP64 fields; which one, a pass that checks
            each entry by itself finds out.
    """
    offset = header = 0
    unpack, make = _ENTRY.unpack_from, Entry._make
    try:
        for _ in range(count):
            start, crc, packed, size, named, rest, found = unpack(data, offset)
            if start != _ENTRY_START or rest != _ENTRY_REST or found != header:
                raise ValueError("an entry is not as it was written")
            if packed != size or MAX_32 in (size, header):  # the mark of a ZIP64 field
                raise ValueError("an entry has ZIP64 fields")
            end = offset + _ENTRY.size + named
            yield make((data[end - named : end].decode("ascii"), size, crc, header))
            offset, header = end, header + LOCAL.size + named + size
    except struct.error as exc:
        raise ValueError("an entry is cut short") from exc
    if offset != len(data):
        raise ValueError("bytes of the directory belong to no entry")


def directory_end(*, count: int, size: int, start: int) -> bytes:
    """Return the end record, preceded by those of ZIP64 where the numbers require them."""
    end = END.pack(
        END_SIGNATURE,
        *(0, 0, min(count, MAX_16), min(count, MAX_16), min(size, MAX_32), min(start, MAX_32), 0),
    )
    if count < MAX_16 and size < MAX_32 and start < MAX_32:
        return end
    version = _UNIX | _VERSION_64
    wide = END64.pack(END64_SIGNATURE, END64.size - 12, version, _VERSION_64, 0, 0, count, count, size, start)
    return wide + LOCATOR64.pack(LOCATOR64_SIGNATURE, 0, start + size, 1) + end


class ContainerWriter:
    """Writes the ZIP of a bundle from its beginning: members in order, then `finish`.

    Args:
        file: Open for writing, empty, seekable; the caller closes it.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._entries: list[Entry] = []
        self._end = 0

    def add(self, name: str, chunks: Iterable[bytes], *, size: int) -> None:
        """Append a member of `size` bytes.

        Raises:
            BundleDamagedError: The chunks hold another number of bytes.
        """
        entry = Entry(name, size, 0, self._end)
        self._file.write(local_header(entry))
        crc = written = 0
        for chunk in chunks:
            self._file.write(chunk)
            crc, written = zlib.crc32(chunk, crc), written + len(chunk)
        if written != size:
            raise BundleDamagedError(
                f"{name!r} has {written} bytes and should have {size}", path=str(self._file.name), member=name
            )
        self._file.seek(self._end + CRC_OFFSET)
        self._file.write(crc.to_bytes(4, "little"))
        self._end = entry.end
        self._file.seek(self._end)
        self._entries.append(Entry(name, size, crc, entry.header))

    def finish(self) -> int:
        """Write the directory; return the size of the complete file in bytes."""
        directory = b"".join(map(central_entry, self._entries))
        end = directory_end(count=len(self._entries), size=len(directory), start=self._end)
        self._file.write(directory + end)
        return self._end + len(directory) + len(end)
