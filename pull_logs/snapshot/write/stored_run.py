"""A finished run on disk, waiting to be sealed into a bundle.

One file holds its Parquet bytes and, behind them, the record that makes them
usable: so a small run costs one write, one fsync and one rename, and the
file's name is the mark that it is whole.

    history.parquet bytes | system.parquet bytes | its files' bytes | record (JSON) | trailer
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import orjson
import pyarrow as pa

from pull_logs.errors import BundleDamagedError, DataError
from pull_logs.runs import Coverage, RunInfo, RunPath
from pull_logs.snapshot.disk import sync
from pull_logs.snapshot.format import (
    CHUNK,
    SWEEP_CONFIG,
    WRITER,
    Encoded,
    FileRecord,
    FileSource,
    coverage_fields,
    coverage_from_fields,
    in_order,
    info_fields,
    info_from_fields,
    write_table,
)

if TYPE_CHECKING:
    from pull_logs.snapshot.read import Run

Batches = Callable[[], Iterable[pa.Table]]
"""Gives the batches of a run in step order, anew each time it is called."""

_TRAILER = struct.Struct("<Q32s8s")
_MAGIC = b"WPL-RUN1"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """A run whose histories are encoded.

    Attributes:
        file: Where it lies.
        path: The run.
        coverage: What of it arrived.
        history: Size, hashes and rows of its `history.parquet`.
        system: The same of its `system.parquet`, or None without system metrics.
        writer: The library that encoded them.
        swept: Whether its facts have the config of its sweep.
        files: The files that it logged, in the order in which their bytes lie.
    """

    file: Path
    path: RunPath
    coverage: Coverage
    history: Encoded
    system: Encoded | None
    writer: str
    swept: bool = False
    files: tuple[FileRecord, ...] = ()

    def info(self) -> RunInfo:
        """Its facts, read from the file so that ten thousand configs need not be in memory.

        Raises:
            BundleDamagedError: The file is damaged.
        """
        return info_from_fields(_read_record(self.file)["info"])

    def history_chunks(self) -> Iterator[bytes]:
        """The bytes of its `history.parquet`, a part at a time."""
        return _chunks(self.file, 0, self.history.bytes)

    def system_chunks(self) -> Iterator[bytes]:
        """The bytes of its `system.parquet`, a part at a time."""
        return _chunks(self.file, self.history.bytes, self.system.bytes if self.system else 0)

    def file_chunks(self) -> Iterator[tuple[FileRecord, Callable[[], Iterator[bytes]]]]:
        """Each of its files, and what gives its bytes a part at a time."""
        start = self.history.bytes + (self.system.bytes if self.system else 0)
        for record in self.files:
            yield record, partial(_chunks, self.file, start, record.bytes)
            start += record.bytes


def store_run(
    file: Path,
    *,
    info: RunInfo,
    coverage: Coverage,
    batches: Batches,
    system: pa.Table | None = None,
    files: Sequence[FileSource] = (),
    durable: bool = True,
) -> StoredRun:
    """Encode a run into `file`, whole or not at all. Safe in several threads for several files.

    Args:
        file: Its name, when it is whole.
        info: The run's facts.
        coverage: What of it arrived.
        batches: Gives its rows in step order, one row a step; called twice.
        system: Its system metrics as one system batch.
        files: The files that it logged, in any order.
        durable: Whether it has to outlive a loss of power.

    Raises:
        DataError: A value cannot be kept, or two files have one name.
        OSError: The disk does not take it.
    """
    with _whole_file(file, durable=durable) as out:
        history = write_table(batches, out)
        encoded = None
        if system is not None and system.num_rows:
            # Parquet's offsets count from the beginning of the sink, so this one needs a sink of its own.
            sink = io.BytesIO()
            encoded = write_table(lambda: [system], sink, system=True)
            out.write(sink.getbuffer())
        kept = _write_files(out, files)
        record = _record(info, coverage=coverage, history=history, system=encoded, writer=WRITER, files=kept)
        _finish(out, record)
    return _stored(file, record)


def copy_run(
    file: Path,
    run: Run,
    *,
    info: RunInfo | None = None,
    coverage: Coverage | None = None,
    files: Sequence[FileSource] | None = None,
    durable: bool = True,
) -> StoredRun:
    """Put a run of a bundle into `file` byte for byte, without decoding it.

    Args:
        file: Its name, when it is whole.
        run: The run.
        info: Facts in place of its own, where only they changed.
        coverage: What was promised of it and arrived, in place of its own.
        files: Files in place of its own.
        durable: Whether it has to outlive a loss of power.

    Raises:
        BundleDamagedError: The bundle is damaged.
        OSError: The disk does not take it.
    """
    with _whole_file(file, durable=durable) as out:
        for chunk in run.history_chunks():
            out.write(chunk)
        for chunk in run.system_chunks():
            out.write(chunk)
        kept = _write_files(out, list(run.files.values()) if files is None else files)
        record = _record(
            info or run.info,
            coverage=coverage or run.coverage,
            history=run.history_encoded,
            system=run.system_encoded,
            writer=run.writer,
            files=kept,
        )
        _finish(out, record)
    return _stored(file, record)


def read_stored(file: Path) -> StoredRun:
    """Find again a run that was stored earlier.

    Raises:
        BundleDamagedError: The file is not whole.
    """
    record = _read_record(file)
    stored = _stored(file, record)
    told = stored.history.bytes + (stored.system.bytes if stored.system else 0)
    if told + sum(kept.bytes for kept in stored.files) != record["bytes"]:
        raise _damaged(file)
    return stored


@contextmanager
def _whole_file(file: Path, *, durable: bool) -> Iterator[BinaryIO]:
    """A new file that gets its name when everything is on disk, and leaves nothing behind otherwise."""
    temp = file.with_name(file.name + ".tmp")
    try:
        with temp.open("w+b") as out:
            yield out
            if durable:
                sync(out)
        temp.replace(file)
    except BaseException:
        temp.unlink(missing_ok=True)
        raise


def _write_files(out: BinaryIO, files: Sequence[FileSource]) -> list[FileRecord]:
    """Append the bytes of files, in the order of their names.

    Raises:
        DataError: Two have one name, or one has another size than it is said to have.
    """
    sources = {source.record.name: source for source in files}
    records = in_order(source.record for source in files)
    for record in records:
        before = out.tell()
        out.writelines(sources[record.name].chunks())
        if out.tell() - before != record.bytes:
            raise DataError(f"file {record.name!r} has {out.tell() - before} bytes, not {record.bytes}")
    return records


def _record(
    info: RunInfo,
    *,
    coverage: Coverage,
    history: Encoded,
    system: Encoded | None,
    writer: str,
    files: Sequence[FileRecord],
) -> dict[str, Any]:
    return {
        "info": info_fields(info),
        "coverage": coverage_fields(coverage),
        "history": asdict(history),
        "system": asdict(system) if system else None,
        "writer": writer,
        "files": [asdict(record) for record in files],
    }


def _finish(out: BinaryIO, record: dict[str, Any]) -> None:
    data = orjson.dumps(record)
    out.write(data + _TRAILER.pack(len(data), hashlib.sha256(data).digest(), _MAGIC))


def _stored(file: Path, record: dict[str, Any]) -> StoredRun:
    info, system = record["info"], record["system"]
    return StoredRun(
        file=file,
        path=RunPath(info["entity"], info["project"], info["run_id"]),
        coverage=coverage_from_fields(record["coverage"]),
        history=Encoded(**record["history"]),
        system=Encoded(**system) if system else None,
        writer=record["writer"],
        swept=SWEEP_CONFIG in info,
        files=tuple(FileRecord(**kept) for kept in record.get("files", ())),
    )


def _read_record(file: Path) -> dict[str, Any]:
    """The record of a stored run, with the number of bytes before it as `bytes`."""
    try:
        with file.open("rb") as source:
            end = source.seek(0, os.SEEK_END) - _TRAILER.size
            source.seek(max(end, 0))
            size, digest, magic = _TRAILER.unpack(source.read(_TRAILER.size))
            if magic != _MAGIC or size > end:
                raise _damaged(file)
            source.seek(end - size)
            data = source.read(size)
    except (OSError, struct.error) as exc:
        raise _damaged(file) from exc
    if hashlib.sha256(data).digest() != digest:
        raise _damaged(file)
    record: dict[str, Any] = orjson.loads(data)
    return record | {"bytes": end - size}


def _chunks(file: Path, start: int, size: int) -> Iterator[bytes]:
    with file.open("rb") as source:
        source.seek(start)
        while size > 0 and (chunk := source.read(min(size, CHUNK))):
            size -= len(chunk)
            yield chunk


def _damaged(file: Path) -> BundleDamagedError:
    return BundleDamagedError(f"the stored run {str(file)!r} is not whole", path=str(file))
