"""What a fuzz target is: a parser of untrusted bytes, what it may raise, and its first inputs."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

from pull_logs.errors import PullLogsError

CORPORA = Path(__file__).parent / "corpora"
"""The small corpora: a folder per target, a file per input."""

MEMORY_FILES = Path("/dev/shm")
"""Where Linux keeps files in memory."""


@dataclass(frozen=True, slots=True)
class Target:
    """A parser of untrusted bytes.

    Attributes:
        name: Its name on the command line and of its corpus.
        parse: Parses the bytes and checks what it got. It raises nothing but `PullLogsError`, and
            `AssertionError` where what was read is wrong.
        seeds: Valid inputs, as the real writers make them.
        mutate: Changes an input so that it keeps its form, or returns None if it does not have it.
    """

    name: str
    parse: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    mutate: Callable[[bytes, Random], bytes | None] | None = None

    def run(self, data: bytes) -> None:
        """Parse an input.

        Raises:
            Exception: The parser has a fault: it raised what no caller expects, or read what is not there.
        """
        with refusing():
            self.parse(data)

    def corpus(self) -> list[Path]:
        """Return the files of the small corpus, in the order of their names."""
        folder = CORPORA / self.name
        return sorted(file for file in folder.iterdir() if file.is_file()) if folder.is_dir() else []


@contextmanager
def refusing() -> Iterator[None]:
    """Accept that bytes are refused with an error of ours, which must have a message."""
    try:
        yield
    except PullLogsError as exc:
        if not str(exc):
            raise AssertionError(type(exc)) from exc


@cache
def scratch() -> Path:
    """Return a folder for files that a parser opens by name, in memory where that is possible."""
    parent = MEMORY_FILES if MEMORY_FILES.is_dir() else None
    return Path(tempfile.mkdtemp(prefix="pull-logs-fuzz-", dir=parent))


def as_file(data: bytes, name: str) -> Path:
    """Write an input to a scratch file and return its path."""
    file = scratch() / name
    file.write_bytes(data)
    return file


def input_name(data: bytes) -> str:
    """Return the name of an input in a corpus."""
    return hashlib.sha256(data).hexdigest()[:16]


def parts(data: bytes, *, most: int = 64) -> list[bytes]:
    """Divide an input into parts, each after its length in two bytes."""
    found: list[bytes] = []
    position = 0
    while position + 2 <= len(data) and len(found) < most:
        size = int.from_bytes(data[position : position + 2], "little")
        found.append(data[position + 2 : position + 2 + size])
        position += 2 + size
    return found


def joined(found: list[bytes]) -> bytes:
    """Join parts to an input that `parts` divides again."""
    return b"".join(len(part).to_bytes(2, "little") + part for part in found)
