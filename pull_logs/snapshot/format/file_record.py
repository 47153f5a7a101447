"""The record of a file that a run logged: its name, size, hashes and media type.

Names and media types are untrusted text. A name is kept unchanged and never used as a path: `names` gives the
member that holds the file. An invalid media type is dropped.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import NotRequired, Protocol, TypedDict
from urllib.parse import quote

from pull_logs.errors import DataError
from pull_logs.rows.canonical import canon_text, framed
from pull_logs.snapshot.format.compression import SUFFIX, Compressed, compressed_fields
from pull_logs.snapshot.format.names import file_name_of

MAX_NAME = 1024
"""Most bytes of a name in UTF-8."""

_WORD = r"[A-Za-z0-9!#$&^_.+-]{1,64}"
_MEDIATYPE = re.compile(rf"{_WORD}/{_WORD}(?:; ?{_WORD}={_WORD})*")
_LONGEST_MEDIATYPE = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """A file that a run logged.

    Attributes:
        name: Its name in the run, `media/images/a.png`; untrusted text.
        bytes: Its size.
        hash: `sha256:` and the hex digest of its bytes.
        md5: The MD5 of its bytes in hex, which W&B reports; the check is by `hash`.
        mediatype: Its media type according to W&B, `text/plain`; None if W&B reported none.
    """

    name: str
    bytes: int
    hash: str
    md5: str
    mediatype: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileResource:
    """A file that a run logged.

    Attributes:
        path: The name of its member, without the `.zst` of a compressed one.
        record: Its name, size, hashes and media type.
        compressed: Its compressed form; None if its bytes are stored as they are.
    """

    path: str
    record: FileRecord
    compressed: Compressed | None = None

    @property
    def member(self) -> str:
        """The name of its member."""
        return self.path if self.compressed is None else self.path + SUFFIX

    @property
    def stored(self) -> FileRecord | Compressed:
        """Size and hash of the bytes of its member."""
        return self.compressed or self.record


class FileEntry(TypedDict):
    """The entry of a file that a run logged in the manifest."""

    bytes: int
    file: NotRequired[str]
    hash: str
    md5: str
    mediatype: NotRequired[str]
    name: str
    path: str
    textBytes: NotRequired[int]
    textHash: NotRequired[str]
    writer: NotRequired[str]


class FileSource(Protocol):
    """A file to be added to a bundle."""

    @property
    def record(self) -> FileRecord:
        """Its record."""

    def chunks(self) -> Iterable[bytes]:
        """Iterate over its bytes in parts; each call starts again."""


def check_name(name: str) -> str:
    """Return the name of a file as it is stored.

    Raises:
        DataError: It is empty or too long.
    """
    name = canon_text(name)
    size = len(name.encode())
    if not 0 < size <= MAX_NAME:
        raise DataError(f"a file's name has {size} bytes, not 1 to {MAX_NAME}")
    return name


def is_mediatype(text: str) -> bool:
    """Return whether a text is a valid media type, which can be used in a header."""
    return len(text) <= _LONGEST_MEDIATYPE and _MEDIATYPE.fullmatch(text) is not None


def record_of(name: str, chunks: Iterable[bytes], *, mediatype: str | None = None) -> FileRecord:
    """Return the record of a file with these bytes.

    Raises:
        DataError: Its name is empty or too long.
    """
    digest, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    for chunk in chunks:
        digest.update(chunk)
        md5.update(chunk)
        size += len(chunk)
    return FileRecord(
        name=check_name(name),
        bytes=size,
        hash=f"sha256:{digest.hexdigest()}",
        md5=md5.hexdigest(),
        mediatype=mediatype if mediatype and is_mediatype(mediatype) else None,
    )


def in_order(records: Iterable[FileRecord]) -> list[FileRecord]:
    """Return the records in the order of their names' UTF-8 bytes.

    Raises:
        DataError: Two records have the same name.
    """
    ordered = sorted(records, key=lambda record: record.name.encode())
    for left, right in pairwise(ordered):
        if left.name == right.name:
            raise DataError(f"a run has two files named {left.name!r}")
    return ordered


def files_hash(records: Iterable[FileRecord]) -> str | None:
    """Return the identity of a run's files, by names and bytes alone: `sha256:<hex>`; None without files."""
    digest, count = hashlib.sha256(), 0
    for record in in_order(records):
        digest.update(framed(record.name.encode()))
        digest.update(bytes.fromhex(record.hash.removeprefix("sha256:")))
        count += 1
    return f"sha256:{digest.hexdigest()}" if count else None


def file_entry(number: int, file: FileResource) -> FileEntry:
    """Return the entry of a file in the manifest; `number` is its number among the resources."""
    record = file.record
    entry: FileEntry = {
        "bytes": record.bytes,
        "hash": record.hash,
        "md5": record.md5,
        "name": f"r{number}",
        "path": file.path,
    }
    if record.mediatype is not None:
        entry["mediatype"] = record.mediatype
    if file_name_of(file.path) is None:
        # Percent-encoded, because commas are counted before a manifest is parsed (see `manifest`).
        entry["file"] = quote(record.name, safe="")
    if file.compressed is not None:
        entry.update(
            compressed_fields(file.path, file.compressed, text_bytes=record.bytes, text_hash=record.hash)  # type: ignore[typeddict-item]
        )
    return entry
