"""Contents that a bundle has once, whichever artifacts and entries have them: bytes by their SHA-256."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NotRequired, Protocol, TypedDict

from pull_logs.snapshot.format.compression import SUFFIX, Compressed, compressed_fields

CONTENTS = "contents"
"""The folder of a bundle that has the contents."""

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class ContentRecord:
    """The identity of bytes.

    Attributes:
        bytes: Their number.
        hash: `sha256:` and their hex digest.
    """

    bytes: int
    hash: str


class ContentSource(Protocol):
    """Bytes to be added to a bundle."""

    @property
    def record(self) -> ContentRecord:
        """Their identity."""

    def chunks(self) -> Iterable[bytes]:
        """Iterate over them in parts; each call starts again."""


class ArtifactsSource(Protocol):
    """The artifacts of a run, to be added to a bundle."""

    @property
    def table(self) -> ContentSource:
        """The records of the artifacts: the bytes of `artifacts.ndjson`."""

    @property
    def contents(self) -> Sequence[ContentSource]:
        """The entries and the files of the artifacts, each content once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenArtifacts:
    """The artifacts of a run, whose parts are given.

    Attributes:
        table: The records of the artifacts.
        contents: The entries and the files of the artifacts, each content once.
    """

    table: ContentSource
    contents: Sequence[ContentSource] = ()


@dataclass(frozen=True, slots=True)
class ContentResource:
    """A content, or the records of the artifacts of a run, in a bundle.

    Attributes:
        path: The name of its member, without the `.zst` of a compressed one.
        record: Its identity.
        compressed: Its compressed form; None if its bytes are stored as they are.
    """

    path: str
    record: ContentRecord
    compressed: Compressed | None = None

    @property
    def member(self) -> str:
        """The name of its member."""
        return self.path if self.compressed is None else self.path + SUFFIX

    @property
    def stored(self) -> ContentRecord | Compressed:
        """Size and hash of the bytes of its member."""
        return self.compressed or self.record


class ContentEntry(TypedDict):
    """The entry of a content in the manifest."""

    bytes: int
    format: NotRequired[str]
    hash: str
    name: str
    path: str
    textBytes: NotRequired[int]
    textHash: NotRequired[str]
    writer: NotRequired[str]


@dataclass(frozen=True, slots=True)
class ContentInMemory:
    """A content whose bytes are in memory."""

    record: ContentRecord
    data: bytes

    def chunks(self) -> Iterator[bytes]:
        """Return all bytes."""
        yield self.data


@dataclass(frozen=True, slots=True)
class ContentFile:
    """A content whose bytes are a file."""

    record: ContentRecord
    path: Path

    def chunks(self) -> Iterator[bytes]:
        """Iterate over the bytes in parts."""
        with self.path.open("rb") as source:
            while chunk := source.read(_CHUNK):
                yield chunk


def content_of(data: bytes) -> ContentInMemory:
    """Return a content of these bytes."""
    return ContentInMemory(ContentRecord(len(data), f"sha256:{hashlib.sha256(data).hexdigest()}"), data)


def content_member(content_hash: str) -> str:
    """Return the member of a content, given its hash."""
    return f"{CONTENTS}/{content_hash.removeprefix('sha256:')}"


def content_entry(number: int, content: ContentResource) -> ContentEntry:
    """Return the entry of a content in the manifest.

    Args:
        number: Its number among the resources.
        content: The content.
    """
    entry: ContentEntry = {
        "bytes": content.record.bytes,
        "hash": content.record.hash,
        "name": f"r{number}",
        "path": content.path,
    }
    if not content.path.startswith(f"{CONTENTS}/"):
        entry["format"] = "ndjson"
    if content.compressed is not None:
        record = content.record
        entry.update(
            compressed_fields(
                content.path, content.compressed, text_bytes=record.bytes, text_hash=record.hash
            )  # type: ignore[typeddict-item]
        )
    return entry
