"""The record of a console log: the sizes and hashes of its text, and its entry in the manifest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, TypedDict

from pull_logs.rows.limits import MAX_TEXT

MAX_LINE = MAX_TEXT
"""Most bytes of a line as JSON."""

_ALWAYS_READ = 160 * 2**20
_MOST_PER_BYTE = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleRecord:
    """A console log in a bundle.

    Attributes:
        bytes: The size of the compressed text.
        hash: `sha256:` and the hex digest of the compressed text.
        lines: The number of lines.
        text_bytes: The size of the text.
        text_hash: `sha256:` and the hex digest of the text: its identity, whichever library compressed it.
        writer: The library that compressed it.
    """

    bytes: int
    hash: str
    lines: int
    text_bytes: int
    text_hash: str
    writer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleResource:
    """A console log of a run.

    Attributes:
        path: The name of its member.
        record: Its sizes and hashes.
    """

    path: str
    record: ConsoleRecord


class ConsoleEntry(TypedDict):
    """The entry of a console log in the manifest."""

    bytes: int
    format: str
    hash: str
    lines: int
    name: str
    path: str
    textBytes: int
    textHash: str
    writer: str


class ConsoleSource(Protocol):
    """A console log to be added to a bundle."""

    @property
    def record(self) -> ConsoleRecord:
        """Its record."""

    def chunks(self) -> Iterable[bytes]:
        """Iterate over the compressed text in parts; each call starts again."""


def text_limit(size: int) -> int:
    """Return how many bytes of text `size` bytes of a console log may have.

    Every line has another number and time, so that no log of a run is packed to less than a thousandth.
    """
    return max(_ALWAYS_READ, _MOST_PER_BYTE * size)


def console_entry(number: int, console: ConsoleResource) -> ConsoleEntry:
    """Return the entry of a console log in the manifest.

    Args:
        number: Its number among the resources.
        console: The console log.
    """
    record = console.record
    return {
        "bytes": record.bytes,
        "format": "ndjson",
        "hash": record.hash,
        "lines": record.lines,
        "name": f"r{number}",
        "path": console.path,
        "textBytes": record.text_bytes,
        "textHash": record.text_hash,
        "writer": record.writer,
    }
