"""A file of a run in the scratch folder of an import."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pull_logs.snapshot.format import CHUNK, FileRecord


@dataclass(frozen=True, slots=True)
class ScratchFile:
    """A file in the scratch folder.

    Attributes:
        record: Its name, size and hashes.
        path: Its path in the scratch folder.
    """

    record: FileRecord
    path: Path

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes, a part at a time."""
        return chunks_of(self.path)


def chunks_of(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a file, a part at a time."""
    with path.open("rb") as source:
        while chunk := source.read(CHUNK):
            yield chunk
