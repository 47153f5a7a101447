"""Read the lines of a compressed console log that may be hostile, with a part of them in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from pull_logs.errors import DataError
from pull_logs.snapshot.format.compression import text_of
from pull_logs.snapshot.format.console.lines import ConsoleLine, decode_line
from pull_logs.snapshot.format.console.record import MAX_LINE, ConsoleRecord, text_limit


def read_lines(chunks: Iterable[bytes], record: ConsoleRecord) -> Iterator[ConsoleLine]:
    """Iterate over the lines of a console log.

    Args:
        chunks: The compressed text in parts.
        record: Its record; the sizes, the number of lines and the hash of the text must be these.

    Raises:
        DataError: The text is not that of the record, or not that of a console log.
    """
    if record.text_bytes > text_limit(record.bytes):
        raise DataError(f"{record.bytes} bytes of it may not have {record.text_bytes} bytes of text")
    digest, size, count, last = hashlib.sha256(), 0, 0, -1
    for data in _split(text_of(chunks, size=record.text_bytes)):
        digest.update(data)
        size += len(data)
        line = decode_line(data)
        if line.number <= last:
            raise DataError(f"line {line.number} is not after line {last}")
        last = line.number
        count += 1
        yield line
    if (size, count) != (record.text_bytes, record.lines):
        raise DataError(
            f"it has {count} lines of {size} bytes, and should have {record.lines} of {record.text_bytes}"
        )
    if f"sha256:{digest.hexdigest()}" != record.text_hash:
        raise DataError("its text does not have its hash")


def _split(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of a text, each with its line feed."""
    rest: list[bytes] = []
    size = 0
    for part in parts:
        *lines, end = part.split(b"\n")
        for line in lines:
            yield b"".join((*rest, line, b"\n"))
            rest, size = [], 0
        if end:
            rest.append(end)
            size += len(end)
        if size > MAX_LINE:
            raise DataError(f"a line has more than {MAX_LINE} bytes")
    if rest:
        raise DataError("its last line does not end")
