"""A finished run on disk, before it is sealed into a bundle.

One file holds the Parquet bytes of a run and, after them, the record that describes them. So a small run
costs one write and one rename. A file that has its final name is complete, unless the power failed since: so
its hashes are checked before another process uses it.

    history.parquet | system.parquet | the files that the run logged | console log | record (JSON) | trailer
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NotRequired, TypedDict

import orjson

from pull_logs.errors import BundleDamagedError, DataError
from pull_logs.frames import MetricFacts
from pull_logs.runs import Coverage, RunInfo, RunPath
from pull_logs.snapshot.disk import new_file
from pull_logs.snapshot.format import (
    CHUNK,
    OPTIONAL,
    WRITER,
    ArtifactsSource,
    ConsoleRecord,
    ConsoleSource,
    ContentFile,
    ContentRecord,
    Encoded,
    FileRecord,
    FileSource,
    GivenArtifacts,
    content_of,
    coverage_fields,
    coverage_from_fields,
    in_order,
    info_fields,
    info_from_fields,
    read_batches,
    write_table,
)
from pull_logs.snapshot.write.encoded_history import (
    EncodedHistory,
    FactsField,
    facts_field,
    facts_from_field,
    write_history,
)
from pull_logs.snapshot.write.media import FilePart
from pull_logs.snapshot.write.run_sources import BundleRun, CopiedRun

if TYPE_CHECKING:
    import pyarrow as pa

_TRAILER = struct.Struct("<Q32s8s")  # size of the record, its SHA-256, magic
_MAGIC = b"WPL-RUN1"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """A run whose encoded histories are in a file of the spool.

    Attributes:
        file: The file.
        path: The path of the run.
        coverage: What the server promised and what arrived.
        history: Size, hashes and number of rows of its `history.parquet`.
        system: The same for its `system.parquet`; None without system metrics.
        writer: The library that encoded them.
        optional: The optional columns of the table of runs for which it has a value.
        files: The files that it logged, in the order of their bytes.
        console: Its console log; None without one.
        artifacts: The artifacts that it logged and used, whose contents are other files; None without any.
        redacted: The number of redaction markers of each kind in it.
    """

    file: Path
    path: RunPath
    coverage: Coverage
    history: Encoded
    system: Encoded | None
    writer: str
    optional: frozenset[str]
    files: tuple[FileRecord, ...]
    console: ConsoleRecord | None
    artifacts: ArtifactsSource | None
    redacted: Mapping[str, int]

    def info(self) -> RunInfo:
        """Read its facts from the file, so that the configs of many runs need not be in memory.

        Raises:
            BundleDamagedError: The file is damaged.
        """
        record, _ = _read_record(self.file)
        return info_from_fields(record["info"])

    def described(self) -> tuple[RunInfo, tuple[MetricFacts, ...]]:
        """Read its facts from the file, and those about the columns of its history.

        Raises:
            BundleDamagedError: The file is damaged.
        """
        record, _ = _read_record(self.file)
        return info_from_fields(record["info"]), facts_from_field(record["facts"])

    def history_chunks(self) -> Iterator[bytes]:
        """Return the bytes of its `history.parquet` in chunks."""
        return file_part(self.file, 0, self.history.bytes)

    def nested_batches(self) -> Iterator[pa.Table]:
        """Iterate over the steps and the nested values of its rows.

        Raises:
            DataError: The history is damaged.
        """
        with FilePart(self.file, 0, self.history.bytes) as part:
            yield from read_batches(part, (), expected_rows=self.history.rows)

    def system_chunks(self) -> Iterator[bytes]:
        """Return the bytes of its `system.parquet` in chunks."""
        return file_part(self.file, self.history.bytes, self.system.bytes if self.system else 0)

    def file_sources(self) -> Iterator[FileSource]:
        """Iterate over its files, in the order of a bundle."""
        start = self.history.bytes + (self.system.bytes if self.system else 0)
        for record in self.files:
            yield _StoredFile(record, self.file, start)
            start += record.bytes

    def console_chunks(self) -> Iterator[bytes]:
        """Return the bytes of its compressed console log in chunks."""
        start = self.history.bytes + (self.system.bytes if self.system else 0)
        start += sum(record.bytes for record in self.files)
        return file_part(self.file, start, self.console.bytes if self.console else 0)


@dataclass(frozen=True, slots=True)
class _StoredFile:
    """A file that a stored run logged."""

    record: FileRecord
    file: Path
    start: int

    def chunks(self) -> Iterator[bytes]:
        """Return its bytes in chunks."""
        return file_part(self.file, self.start, self.record.bytes)


class _ArtifactsField(TypedDict):
    """The artifacts of a stored run: their records, and the sizes and hashes of their contents."""

    table: str
    contents: list[tuple[int, str]]


class _Record(TypedDict):
    """The JSON object after the bytes of a stored run."""

    info: dict[str, Any]
    facts: FactsField
    coverage: dict[str, Any]
    history: dict[str, Any]
    system: dict[str, Any] | None
    writer: str
    files: NotRequired[list[dict[str, Any]]]
    console: NotRequired[dict[str, Any] | None]
    artifacts: NotRequired[_ArtifactsField | None]
    redacted: NotRequired[dict[str, int]]


def store_run(file: Path, run: BundleRun, *, history: EncodedHistory | None = None) -> StoredRun:
    """Encode a run into a file, which appears only when it is complete.

    Several threads may store runs at once, each into its own file.

    Args:
        file: The new file.
        run: The run.
        history: Its history, if it is encoded already; then its batches are not read.

    Raises:
        DataError: A value cannot be stored, or two files of the run have the same name.
        OSError: The file cannot be written.
    """
    with new_file(file, durable=False) as out:
        if history is None:
            encoded, facts = write_history(run.batches, out)
        else:
            encoded, facts = history.encoded, history.facts
            out.write(history.data)
        system = None
        if run.system is not None and run.system.num_rows:
            # Offsets in a Parquet file count from the beginning of the sink, so this one has a separate sink.
            sink = io.BytesIO()
            system = write_table(lambda: [run.system], sink, system=True)
            out.write(sink.getbuffer())
        files = _write_files(out, run.files)
        console = _write_console(out, run.console)
        record = _Record(
            info=info_fields(run.info),
            facts=facts,
            coverage=coverage_fields(run.coverage),
            history=asdict(encoded),
            system=asdict(system) if system else None,
            writer=WRITER if history is None else history.writer,
            files=files,
            console=console,
            artifacts=_artifacts_field(run.artifacts),
            redacted=dict(run.redacted),
        )
        _write_record(out, record)
    return _stored(file, record, run.artifacts)


def copy_run(file: Path, copied: CopiedRun) -> StoredRun:
    """Copy a run of a bundle into a file byte for byte, without decoding it.

    Args:
        file: The new file, which appears only when it is complete.
        copied: The run.

    Raises:
        BundleDamagedError: The bundle is damaged.
        OSError: The file cannot be written.
    """
    run = copied.run
    with new_file(file, durable=False) as out:
        out.writelines(run.history_chunks())
        out.writelines(run.system_chunks())
        files = _write_files(out, list(run.files.values()) if copied.files is None else copied.files)
        console = _write_console(out, copied.console or run.console)
        artifacts = copied.artifacts or run.artifacts
        system = run.system_encoded
        record = _Record(
            info=info_fields(copied.info or run.info),
            facts=facts_field(run.metric_facts()),
            coverage=coverage_fields(copied.coverage or run.coverage),
            history=asdict(run.history_encoded),
            system=asdict(system) if system else None,
            writer=run.writer,
            files=files,
            console=console,
            artifacts=_artifacts_field(artifacts),
            redacted=dict(copied.redacted),
        )
        _write_record(out, record)
    return _stored(file, record, artifacts)


def optional_fields(info: RunInfo) -> frozenset[str]:
    """Return the optional columns of the table of runs for which a run has a value."""
    return frozenset(name for name in OPTIONAL if getattr(info, name) is not None)


def restate_run(stored: StoredRun, info: RunInfo) -> StoredRun:
    """Replace the facts of a stored run, and nothing else.

    Raises:
        BundleDamagedError: The file is damaged.
        OSError: The file cannot be written.
    """
    record, size = _read_record(stored.file)
    changed: _Record = {**record, "info": info_fields(info)}
    with new_file(stored.file) as out:
        out.writelines(file_part(stored.file, 0, size))
        _write_record(out, changed)
    return _stored(stored.file, changed, stored.artifacts)


def read_stored(file: Path, *, contents: Path) -> StoredRun:
    """Read the description of a run that another process stored, and check every byte of it.

    Args:
        file: The file.
        contents: The folder of the contents of artifacts.

    Raises:
        BundleDamagedError: The file is incomplete or damaged.
    """
    record, size = _read_record(file)
    if "facts" not in record:  # stored by an earlier version
        raise _damaged(file)
    stored = _stored(file, record, _read_artifacts(record.get("artifacts"), contents))
    expected = stored.history.bytes + (stored.system.bytes if stored.system else 0)
    expected += stored.console.bytes if stored.console else 0
    if expected + sum(kept.bytes for kept in stored.files) != size or not _has_its_hashes(stored):
        raise _damaged(file)
    return stored


def _has_its_hashes(stored: StoredRun) -> bool:
    """Return whether each part of a stored run has the hash that its record says."""
    parts = [(stored.history.hash, stored.history_chunks())]
    if stored.system is not None:
        parts.append((stored.system.hash, stored.system_chunks()))
    parts += [(source.record.hash, iter(source.chunks())) for source in stored.file_sources()]
    if stored.console is not None:
        parts.append((stored.console.hash, stored.console_chunks()))
    held = () if stored.artifacts is None else stored.artifacts.contents
    parts += [(content.record.hash, iter(content.chunks())) for content in held]
    return all(_sha256(chunks) == expected for expected, chunks in parts)


def _sha256(chunks: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return f"sha256:{digest.hexdigest()}"


def _write_files(out: BinaryIO, files: Sequence[FileSource]) -> list[dict[str, Any]]:
    """Append the bytes of files in the order of their names, and return their records in that order.

    Raises:
        DataError: Two files have the same name, or a file does not have the size that its record says.
    """
    sources = {source.record.name: source for source in files}
    records = in_order(source.record for source in files)
    for record in records:
        before = out.tell()
        out.writelines(sources[record.name].chunks())
        if out.tell() - before != record.bytes:
            raise DataError(f"file {record.name!r} has {out.tell() - before} bytes, not {record.bytes}")
    return [asdict(record) for record in records]


def _write_console(out: BinaryIO, console: ConsoleSource | None) -> dict[str, Any] | None:
    """Append the bytes of a console log, and return its record.

    Raises:
        DataError: It does not have the size that its record says.
    """
    if console is None:
        return None
    before, record = out.tell(), console.record
    out.writelines(console.chunks())
    if out.tell() - before != record.bytes:
        raise DataError(f"the console log has {out.tell() - before} bytes, not {record.bytes}")
    return asdict(record)


def _artifacts_field(artifacts: ArtifactsSource | None) -> _ArtifactsField | None:
    if artifacts is None:
        return None
    records = [content.record for content in artifacts.contents]
    return _ArtifactsField(
        table=b"".join(artifacts.table.chunks()).decode(),
        contents=[(record.bytes, record.hash) for record in records],
    )


def _read_artifacts(found: _ArtifactsField | None, folder: Path) -> ArtifactsSource | None:
    if found is None:
        return None
    records = [ContentRecord(size, digest) for size, digest in found["contents"]]
    files = [ContentFile(record, folder / record.hash.removeprefix("sha256:")) for record in records]
    if any(not file.path.exists() or file.path.stat().st_size != file.record.bytes for file in files):
        raise _damaged(folder)
    return GivenArtifacts(table=content_of(found["table"].encode()), contents=files)


def _write_record(out: BinaryIO, record: _Record) -> None:
    data = orjson.dumps(record)
    out.write(data + _TRAILER.pack(len(data), hashlib.sha256(data).digest(), _MAGIC))


def _stored(file: Path, record: _Record, artifacts: ArtifactsSource | None) -> StoredRun:
    info, system, console = record["info"], record["system"], record.get("console")
    return StoredRun(
        file=file,
        path=RunPath(info["entity"], info["project"], info["run_id"]),
        coverage=coverage_from_fields(record["coverage"]),
        history=Encoded(**record["history"]),
        system=Encoded(**system) if system else None,
        writer=record["writer"],
        optional=frozenset(info.keys() & set(OPTIONAL)),
        files=tuple(FileRecord(**fields) for fields in record.get("files", ())),
        console=ConsoleRecord(**console) if console else None,
        artifacts=artifacts,
        redacted=record.get("redacted", {}),
    )


def _read_record(file: Path) -> tuple[_Record, int]:
    """Read the record of a stored run, and the number of bytes before it."""
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
    record: _Record = orjson.loads(data)
    return record, end - size


def file_part(file: Path, start: int, size: int) -> Iterator[bytes]:
    """Iterate over some of the bytes of a file in chunks."""
    with file.open("rb") as source:
        source.seek(start)
        while size > 0 and (chunk := source.read(min(size, CHUNK))):
            size -= len(chunk)
            yield chunk


def _damaged(file: Path) -> BundleDamagedError:
    return BundleDamagedError(f"the stored run {str(file)!r} is incomplete or damaged", path=str(file))
