"""What is known of a run's file: its name, its bytes' size and hashes, and what kind of file it is said to be.

Names and media types are a stranger's text. A name is kept as it is and never
used as a path: where its bytes lie is for `naming` to say. A media type that is
not plainly one is not kept.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from pull_logs.errors import DataError
from pull_logs.rows.canonical import canon_text

MAX_NAME = 1024
"""Bytes of a name in UTF-8."""

_WORD = r"[A-Za-z0-9!#$&^_.+-]{1,64}"
_MEDIATYPE = re.compile(rf"{_WORD}/{_WORD}(?:; ?{_WORD}={_WORD})*")
_LONGEST_MEDIATYPE = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """What is known of a run's file.

    Attributes:
        name: Its name in the run, `media/images/a.png`; untrusted text.
        bytes: Its size.
        hash: `sha256:` and the hex digest of its bytes.
        md5: The MD5 of its bytes in hex, as W&B tells it; it checks nothing here that `hash` does not.
        mediatype: What W&B says that it is, `text/plain`; None if it does not say.
    """

    name: str
    bytes: int
    hash: str
    md5: str
    mediatype: str | None = None


class FileSource(Protocol):
    """A file to be put into a bundle."""

    @property
    def record(self) -> FileRecord:
        """What is known of it."""

    def chunks(self) -> Iterable[bytes]:
        """Its bytes, a part at a time, anew each time."""


def check_name(name: str) -> str:
    """The name of a file as it is kept.

    Raises:
        DataError: It has no or too many characters.
    """
    name = canon_text(name)
    size = len(name.encode())
    if not 0 < size <= MAX_NAME:
        raise DataError(f"a file's name has {size} bytes, not 1 to {MAX_NAME}")
    return name


def is_mediatype(text: str) -> bool:
    """Whether a text is plainly a media type, and may stand in a header."""
    return len(text) <= _LONGEST_MEDIATYPE and _MEDIATYPE.fullmatch(text) is not None


def record_of(name: str, chunks: Iterable[bytes], *, mediatype: str | None = None) -> FileRecord:
    """What is known of a file once its bytes are there.

    Raises:
        DataError: Its name cannot be kept.
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
    """Records in the order of their names' UTF-8 bytes.

    Raises:
        DataError: Two have one name.
    """
    ordered = sorted(records, key=lambda record: record.name.encode())
    for left, right in pairwise(ordered):
        if left.name == right.name:
            raise DataError(f"a run has two files of the name {left.name!r}")
    return ordered


def files_hash(records: Iterable[FileRecord]) -> str | None:
    """The identity of a run's files, by names and bytes alone: `sha256:<hex>`; None without files."""
    whole, count = hashlib.sha256(), 0
    for part in _parts(records):
        whole.update(part)
        count += 1
    return f"sha256:{whole.hexdigest()}" if count else None


def _parts(records: Iterable[FileRecord]) -> Iterator[bytes]:
    for record in in_order(records):
        name = record.name.encode()
        yield len(name).to_bytes(8, "little") + name + bytes.fromhex(record.hash.removeprefix("sha256:"))
