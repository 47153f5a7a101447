"""The file that keeps the pages of one run while it is downloaded.

A page is written as one or more frames with the same key; every frame but the last one of a page says that
more follow. Each frame has a checksum:

    magic | size of the header | size of the data | checksum of both | header (JSON) | data (Arrow IPC)

A file is read up to the end of its last complete page, so the incomplete frame that a crash leaves at the end
is ignored. The header describes the steps of a frame well enough to plan a merge without loading its rows.

The data is compressed by Arrow, which uses zstandard for each buffer. Compressing a complete frame at once
with the `zstandard` package (level 1 or 3) was measured and gains nothing: the files get 6 % larger or 1 %
smaller, and writing them at level 3 takes 40 % longer.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypedDict

import numpy as np
import orjson
import pyarrow as pa

from pull_logs.errors import BundleDamagedError, DataError
from pull_logs.rows.batches import steps_of
from pull_logs.rows.canonical import canon_text
from pull_logs.rows.merge import Lane

FRAME_ROWS = 131_072
FRAME_BYTES = 16 << 20
"""The most rows and bytes of a frame, so that a long page is never in memory completely."""

_MARKS = 16
_MIN_ROWS_PER_MARK = 1024
_HEAD = struct.Struct("<4sIQ16s")  # magic, size of the header, size of the data, checksum of both
_MAGIC = b"WPL2"


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFrame:
    """A page of a run, or a part of a long page, in a file.

    Attributes:
        lane: The way it was downloaded.
        key: The name of the page, chosen by the caller that appended it.
        rows: The number of rows.
        weight: The bytes that the rows take in memory.
        marks: The steps of rows at equal distances, the first row included; empty without rows.
        last: The step of the last row; None without rows.
        distinct: Whether each step occurs only once.
        more: Whether the page continues in the next frame.
        file: The file that holds the frame.
        start: The offset of the data in the file.
        size: The size of the data in bytes.
    """

    lane: Lane
    key: str
    rows: int
    weight: int
    marks: tuple[int, ...]
    last: int | None
    distinct: bool
    more: bool
    file: Path
    start: int
    size: int

    def load(self, columns: Collection[str] | None = None) -> pa.Table:
        """Read the rows.

        Args:
            columns: The columns to read; those that the frame does not have are ignored. None reads all.

        Raises:
            BundleDamagedError: The file was changed after its checksum was verified.
        """
        with self.file.open("rb") as source:
            source.seek(self.start)
            data = source.read(self.size)
        try:
            reader = pa.ipc.open_stream(data)
            if columns is not None:
                included = [index for index, name in enumerate(reader.schema.names) if name in columns]
                reader = pa.ipc.open_stream(data, options=pa.ipc.IpcReadOptions(included_fields=included))
            return reader.read_all()
        except (pa.ArrowException, OSError) as exc:
            raise BundleDamagedError(
                f"a frame in {str(self.file)!r} is damaged", path=str(self.file)
            ) from exc


class _Header(TypedDict):
    """The header of a frame: the attributes of a `PageFrame` that its position does not determine."""

    lane: int
    key: str
    rows: int
    weight: int
    marks: list[int]
    last: int | None
    distinct: bool
    more: bool


def write_frames(out: BinaryIO, file: Path, lane: Lane, batch: pa.Table, *, key: str) -> list[PageFrame]:
    """Append a page to a file, in as many frames as its size requires.

    Args:
        out: The file, open and positioned at its end.
        file: The path of the file.
        lane: The way the page was downloaded.
        batch: The rows, in step order.
        key: The name of the page.

    Raises:
        DataError: A column has a type that cannot be stored.
        OSError: The file cannot be written.
    """
    length = _rows_per_frame(batch)
    frames = []
    for start in range(0, max(batch.num_rows, 1), length):
        part = batch.slice(start, length)
        header = _encode_header(lane, part, key, more=start + length < batch.num_rows)
        data = _encode_rows(part, key)
        offset = out.tell() + _HEAD.size + len(header)
        out.write(_HEAD.pack(_MAGIC, len(header), len(data), _checksum(header, data)))
        out.write(header)
        out.write(data)
        frames.append(_frame(header, file=file, start=offset, size=len(data)))
    return frames


def _rows_per_frame(batch: pa.Table) -> int:
    rows: int = FRAME_BYTES * batch.num_rows // max(batch.nbytes, 1)
    return min(FRAME_ROWS, max(1, rows))


def _encode_header(lane: Lane, part: pa.Table, key: str, *, more: bool) -> bytes:
    steps = steps_of(part)
    distance = max(_MIN_ROWS_PER_MARK, -(-len(steps) // _MARKS))
    header = _Header(
        lane=int(lane),
        key=canon_text(key),
        rows=part.num_rows,
        weight=part.nbytes,
        marks=steps[::distance].tolist(),
        last=int(steps[-1]) if len(steps) else None,
        distinct=bool(np.all(steps[1:] > steps[:-1])),
        more=more,
    )
    return orjson.dumps(header)


def _encode_rows(part: pa.Table, key: str) -> bytes:
    sink = io.BytesIO()
    try:
        with pa.ipc.new_stream(
            sink, part.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")
        ) as writer:
            writer.write_table(part)
    except pa.ArrowException as exc:
        raise DataError(f"page {key!r} cannot be stored: {exc}") from exc
    return sink.getvalue()


def _checksum(header: bytes, data: bytes) -> bytes:
    digest = hashlib.blake2b(header, digest_size=16)
    digest.update(data)
    return digest.digest()


def _frame(header: bytes, *, file: Path, start: int, size: int) -> PageFrame:
    fields: _Header = orjson.loads(header)
    return PageFrame(
        lane=Lane(fields["lane"]),
        key=fields["key"],
        rows=fields["rows"],
        weight=fields["weight"],
        marks=tuple(fields["marks"]),
        last=fields["last"],
        distinct=fields["distinct"],
        more=fields["more"],
        file=file,
        start=start,
        size=size,
    )


def read_frames(file: Path) -> list[PageFrame]:
    """Return the frames of a file up to the end of its last complete page."""
    frames: list[PageFrame] = []
    complete = 0
    with file.open("rb") as source:
        while frame := _read_frame(source, file):
            frames.append(frame)
            complete = complete if frame.more else len(frames)
    return frames[:complete]


def _read_frame(source: BinaryIO, file: Path) -> PageFrame | None:
    """Read the next frame; return None if it is incomplete or damaged, and at the end of the file."""
    left = os.fstat(source.fileno()).st_size - source.tell()
    head = source.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    magic, header_size, size, checksum = _HEAD.unpack(head)
    if magic != _MAGIC or header_size + size > left:
        return None
    header = source.read(header_size)
    start = source.tell()
    data = source.read(size)
    if len(data) != size or _checksum(header, data) != checksum:
        return None
    return _frame(header, file=file, start=start, size=size)


def cut_torn_tail(file: Path) -> None:
    """Truncate a file at the end of its last complete page."""
    frames = read_frames(file)
    end = frames[-1].start + frames[-1].size if frames else 0
    if end < file.stat().st_size:
        os.truncate(file, end)
