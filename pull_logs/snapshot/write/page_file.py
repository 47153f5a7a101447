"""Frames: the pages of one run as they lie in a file, each with a checksum.

    magic | bytes of the header | bytes of the data | checksum of both | header (JSON) | data (Arrow IPC)

A page that is long is a series of frames under one key, each but the last of
which says that there are more. A file is read up to its last series that is
whole: what a crash left behind that is not there. The header says enough of the
steps of a frame to plan a merge without loading it.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import orjson
import pyarrow as pa

from pull_logs.errors import BundleDamagedError, DataError
from pull_logs.rows.batches import steps_of
from pull_logs.rows.canonical import canon_text
from pull_logs.rows.merge import Lane

FRAME_ROWS = 131_072
FRAME_BYTES = 16 << 20
"""What a frame has at most, so that a long page is never in memory whole."""

_MARKS = 16
_ROWS_TO_A_MARK = 1024
_HEAD = struct.Struct("<4sIQ16s")  # magic, bytes of the header, bytes of the data, checksum of both
_MAGIC = b"WPL2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A page of a run that arrived, or a part of one.

    Attributes:
        lane: How it came.
        key: Which page it is, in the words of whoever appended it.
        rows: Its rows.
        weight: Bytes that they take in memory.
        marks: The steps of some of its rows, equally many rows apart, from the first row on;
            none without rows.
        last: The step of its last row; None without rows.
        distinct: Whether no step is in it twice.
        more: Whether the page goes on in the next frame.
        file: Where it lies.
        start: The offset of its data in the file.
        size: Bytes of its data.
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
        """The batch, or those of the columns that it has.

        Raises:
            BundleDamagedError: The file was changed since its checksum was looked at.
        """
        with self.file.open("rb") as source:
            source.seek(self.start)
            data = source.read(self.size)
        try:
            reader = pa.ipc.open_stream(data)
            if columns is not None:
                wanted = [place for place, name in enumerate(reader.schema.names) if name in columns]
                reader = pa.ipc.open_stream(data, options=pa.ipc.IpcReadOptions(included_fields=wanted))
            return reader.read_all()
        except (pa.ArrowException, OSError) as exc:
            raise BundleDamagedError(
                f"a frame in {str(self.file)!r} is damaged", path=str(self.file)
            ) from exc


def write_frames(out: BinaryIO, file: Path, lane: Lane, batch: pa.Table, *, key: str) -> list[Frame]:
    """Append a page to a file, in as many frames as it takes.

    Args:
        out: The file, opened, at its end.
        file: Its name.
        lane: How the page came.
        batch: Its rows, in step order.
        key: Which page it is.

    Raises:
        DataError: A column is of a type that cannot be kept.
        OSError: The disk does not take it.
    """
    length = _rows_to_a_frame(batch)
    frames = []
    for start in range(0, max(batch.num_rows, 1), length):
        part = batch.slice(start, length)
        header = _header(lane, part, key, more=start + length < batch.num_rows)
        data = _encoded(part, key)
        place = out.tell() + _HEAD.size + len(header)
        out.write(_HEAD.pack(_MAGIC, len(header), len(data), _checksum(header, data)))
        out.write(header)
        out.write(data)
        frames.append(_frame(header, file=file, start=place, size=len(data)))
    return frames


def _rows_to_a_frame(batch: pa.Table) -> int:
    rows: int = FRAME_BYTES * batch.num_rows // max(batch.nbytes, 1)
    return min(FRAME_ROWS, max(1, rows))


def _header(lane: Lane, part: pa.Table, key: str, *, more: bool) -> bytes:
    steps = steps_of(part)
    apart = max(_ROWS_TO_A_MARK, -(-len(steps) // _MARKS))
    return orjson.dumps(
        {
            "lane": int(lane),
            "key": canon_text(key),
            "rows": part.num_rows,
            "weight": part.nbytes,
            "marks": steps[::apart].tolist(),
            "last": int(steps[-1]) if len(steps) else None,
            "distinct": bool(np.all(steps[1:] > steps[:-1])),
            "more": more,
        }
    )


def _encoded(part: pa.Table, key: str) -> bytes:
    sink = io.BytesIO()
    try:
        with pa.ipc.new_stream(
            sink, part.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")
        ) as writer:
            writer.write_table(part)
    except pa.ArrowException as exc:
        raise DataError(f"page {key!r} cannot be kept: {exc}") from exc
    return sink.getvalue()


def _checksum(header: bytes, data: bytes) -> bytes:
    digest = hashlib.blake2b(header, digest_size=16)
    digest.update(data)
    return digest.digest()


def _frame(header: bytes, *, file: Path, start: int, size: int) -> Frame:
    said: dict[str, Any] = orjson.loads(header)
    return Frame(
        lane=Lane(said["lane"]),
        key=said["key"],
        rows=said["rows"],
        weight=said["weight"],
        marks=tuple(said["marks"]),
        last=said["last"],
        distinct=said["distinct"],
        more=said["more"],
        file=file,
        start=start,
        size=size,
    )


def read_frames(file: Path) -> list[Frame]:
    """The frames of a file up to the last page that is whole."""
    frames: list[Frame] = []
    whole = 0
    with file.open("rb") as source:
        while frame := _read_frame(source, file):
            frames.append(frame)
            whole = whole if frame.more else len(frames)
    return frames[:whole]


def _read_frame(source: BinaryIO, file: Path) -> Frame | None:
    """The next frame, or None where there is no whole one."""
    left = os.fstat(source.fileno()).st_size - source.tell()
    head = source.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    magic, named, size, checksum = _HEAD.unpack(head)
    if magic != _MAGIC or named + size > left:
        return None
    header = source.read(named)
    start = source.tell()
    data = source.read(size)
    if len(data) != size or _checksum(header, data) != checksum:
        return None
    return _frame(header, file=file, start=start, size=size)


def cut_torn_tail(file: Path) -> None:
    """Cut off what is behind the last page that is whole."""
    frames = read_frames(file)
    end = frames[-1].start + frames[-1].size if frames else 0
    if end < file.stat().st_size:
        os.truncate(file, end)
