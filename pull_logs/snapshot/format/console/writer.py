"""Compress the lines of a console log, with a part of them in memory.

The level and the sizes of the pieces that are compressed are fixed, so with one release of zstd the same
lines give the same bytes.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import zstandard

from pull_logs.errors import DataError
from pull_logs.snapshot.format.console.lines import ConsoleLine, encode_line
from pull_logs.snapshot.format.console.record import MAX_LINE, ConsoleRecord, text_limit

LEVEL = 9
WRITER = f"zstd {'.'.join(map(str, zstandard.ZSTD_VERSION))}"

_PIECE = 2**20
"""Bytes of text that are compressed at a time."""


class ConsoleWriter:
    """Compresses lines into a file.

    Args:
        sink: The file, at its end.
    """

    def __init__(self, sink: BinaryIO) -> None:
        self._sink = sink
        compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True, write_content_size=False)
        self._compressor = compressor.compressobj()
        self._buffer = bytearray()
        self._packed, self._text = hashlib.sha256(), hashlib.sha256()
        self._packed_bytes = self._text_bytes = self._lines = 0
        self._last = -1

    @property
    def last(self) -> int:
        """The number of the last line; -1 before the first."""
        return self._last

    def add(self, line: ConsoleLine) -> None:
        """Add the next line.

        Raises:
            DataError: It is too long, or its number is not after that of the last line.
        """
        if line.number <= self._last:
            raise DataError(f"console line {line.number} is not after line {self._last}")
        data = encode_line(line)
        if len(data) > MAX_LINE:
            raise DataError(f"console line {line.number} has {len(data)} bytes, and {MAX_LINE} are the most")
        self._last = line.number
        self._lines += 1
        self._text_bytes += len(data)
        self._text.update(data)
        self._buffer += data
        while len(self._buffer) >= _PIECE:
            piece = bytes(self._buffer[:_PIECE])
            del self._buffer[:_PIECE]
            self._write(self._compressor.compress(piece))

    def close(self) -> ConsoleRecord:
        """Write the end of the text, and return the record.

        Raises:
            DataError: The text is larger than a reader takes.
        """
        self._write(self._compressor.compress(bytes(self._buffer)))
        self._write(self._compressor.flush())
        if self._text_bytes > text_limit(self._packed_bytes):
            raise DataError(
                f"a console log of {self._text_bytes} bytes was packed to {self._packed_bytes}, and"
                f" {text_limit(self._packed_bytes)} bytes are the most for them"
            )
        return ConsoleRecord(
            bytes=self._packed_bytes,
            hash=f"sha256:{self._packed.hexdigest()}",
            lines=self._lines,
            text_bytes=self._text_bytes,
            text_hash=f"sha256:{self._text.hexdigest()}",
            writer=WRITER,
        )

    def _write(self, data: bytes) -> None:
        self._packed.update(data)
        self._packed_bytes += len(data)
        self._sink.write(data)


@dataclass(frozen=True, slots=True)
class StoredConsole:
    """A console log that was compressed.

    Attributes:
        record: Its record.
        open: Opens the compressed text for reading.
    """

    record: ConsoleRecord
    open: Callable[[], BinaryIO]

    def chunks(self) -> Iterator[bytes]:
        """Iterate over the compressed text in parts."""
        with self.open() as source:
            while chunk := source.read(_PIECE):
                yield chunk


def console_in_file(lines: Iterable[ConsoleLine], path: Path) -> StoredConsole | None:
    """Compress lines into a new file; None without lines.

    Raises:
        DataError: A line cannot be stored.
        OSError: The file cannot be written.
    """
    with path.open("wb") as sink:
        record = _compress(lines, sink)
    return StoredConsole(record, lambda: path.open("rb")) if record.lines else None


def console_in_memory(lines: Iterable[ConsoleLine]) -> StoredConsole | None:
    """Compress lines into memory; None without lines.

    Raises:
        DataError: A line cannot be stored.
    """
    sink = io.BytesIO()
    record = _compress(lines, sink)
    return StoredConsole(record, lambda: io.BytesIO(sink.getvalue())) if record.lines else None


def _compress(lines: Iterable[ConsoleLine], sink: BinaryIO) -> ConsoleRecord:
    writer = ConsoleWriter(sink)
    for line in lines:
        writer.add(line)
    return writer.close()
