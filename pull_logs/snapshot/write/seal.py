"""From finished runs to a bundle: the one place where a bundle's file comes to be.

A bundle is written beside its name, flushed to disk, checked, and only then
given the name; killed at any instant, there is the old file or the new one.
What it holds depends on the runs alone, not on the order in which they came.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from threading import Event, Lock

import pyarrow as pa

from pull_logs.errors import BundleDamagedError, UsageError
from pull_logs.runs import Coverage, RunInfo, RunPath
from pull_logs.snapshot.disk import disk_errors, sync_file, sync_folder
from pull_logs.snapshot.format import (
    DIGEST,
    FORMAT,
    FORMAT_BYTES,
    HISTORY,
    MANIFEST,
    RUNS,
    SYSTEM,
    WRITER,
    ContainerWriter,
    ContentHasher,
    Encoded,
    FileResource,
    FileSource,
    Manifest,
    Resource,
    RunRow,
    encode_runs,
    file_members,
    folder_of_file,
    member_folders,
    member_order,
    render_digest,
    render_manifest,
    sha256,
)
from pull_logs.snapshot.read import Run, verify_bundle
from pull_logs.snapshot.write.stored_run import Batches, StoredRun, copy_run, store_run

_THREADS = min(4, os.cpu_count() or 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleRun:
    """A run to put into a bundle.

    Attributes:
        info: Its facts.
        coverage: What of it arrived.
        batches: Gives its rows in step order, one row a step, as batches; called twice, in any thread.
        system: Its system metrics as one system batch.
        files: The files that it logged.
    """

    info: RunInfo
    coverage: Coverage
    batches: Batches
    system: pa.Table | None = None
    files: Sequence[FileSource] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SealReport:
    """A sealed bundle.

    Attributes:
        path: Where it is.
        bytes: Its size.
        runs: Its runs.
        rows: Rows of all histories together.
        bundle_id: SHA-256 of its manifest, `sha256:<hex>`.
        content_id: The identity of its content, whichever writer encoded it.
        incomplete: The runs that are not whole, and why.
        files: Files that runs logged.
        file_bytes: Their bytes together.
    """

    path: Path
    bytes: int
    runs: int
    rows: int
    bundle_id: str
    content_id: str
    incomplete: tuple[tuple[RunPath, str], ...]
    files: int = 0
    file_bytes: int = 0


def write_bundle(
    out: Path,
    runs: Iterable[BundleRun | Run],
    *,
    redacted: Mapping[str, int] | None = None,
    metrics: str | None = None,
) -> SealReport:
    """Make a bundle of runs that are at hand; runs of another bundle are copied byte for byte.

    Args:
        out: The bundle's name.
        runs: The runs, in any order; asked for one at a time, in other threads than the caller's.
        redacted: How many markers of each kind they hold, for the manifest; read when all runs have come, so
            that what gives them may count on the way.
        metrics: Which metrics were kept, for the manifest; None for all.

    Raises:
        UsageError: Two runs have one path.
        DataError: A value cannot be kept.
        PullLogsError: The disk is full or does not take the file.
    """
    with (
        disk_errors(out, hint="free some space and try again; nothing was changed"),
        tempfile.TemporaryDirectory(prefix=f".{out.name}.", suffix=".tmp", dir=out.parent) as folder,
    ):
        stored = _store_all(Path(folder), runs)
        return seal_runs(stored, out=out, temp=Path(folder, "bundle.zip"), redacted=redacted, metrics=metrics)


def _store_all(folder: Path, runs: Iterable[BundleRun | Run]) -> list[StoredRun]:
    """Encode runs in a few threads, each of which asks for the next run when it has stored one."""
    source, turn, ended = enumerate(runs), Lock(), Event()
    stored: list[StoredRun] = []

    def work() -> None:
        try:
            while not ended.is_set():
                with turn:
                    number, run = next(source, (0, None))
                if run is None:
                    return
                stored.append(_store(folder / f"{number}.run", run))
        finally:
            ended.set()

    with ThreadPoolExecutor(_THREADS) as pool:
        try:
            for future in as_completed([pool.submit(work) for _ in range(_THREADS)]):
                future.result()
        finally:
            ended.set()
    return stored


def _store(file: Path, run: BundleRun | Run) -> StoredRun:
    if isinstance(run, Run):
        return copy_run(file, run, durable=False)
    return store_run(
        file,
        info=run.info,
        coverage=run.coverage,
        batches=run.batches,
        system=run.system,
        files=run.files,
        durable=False,
    )


def seal_runs(
    stored: Iterable[StoredRun],
    *,
    out: Path,
    temp: Path,
    redacted: Mapping[str, int] | None = None,
    metrics: str | None = None,
) -> SealReport:
    """Make a bundle of stored runs, check it, and give it its name.

    Args:
        stored: The runs, in any order.
        out: The bundle's name.
        temp: A file to be, on the same file system as `out`.
        redacted: How many markers of each kind the runs hold, for the manifest.
        metrics: Which metrics were kept, for the manifest; None for all.

    Raises:
        UsageError: Two runs have one path.
        BundleDamagedError: What was written is not what can be read: a stored run or the disk is damaged.
        OSError: The disk does not take it.
    """
    runs = sorted(stored, key=lambda run: run.path)
    for left, right in pairwise(runs):
        if left.path == right.path:
            raise UsageError(f"run {str(left.path)!r} is given twice")
    hasher = ContentHasher()
    table = encode_runs(_rows(runs, hasher), sweep_configs=any(run.swept for run in runs))
    identity = hasher.content_id()
    members = _members(runs)
    table_resource = _table_resource(table, rows=len(runs))
    told = _manifest(members, table_resource, content=identity, redacted=redacted or {})
    manifest = render_manifest(replace(told, metrics=metrics or None))
    size = _write(temp, table=table, members=members, manifest=manifest)
    with ThreadPoolExecutor(1) as pool:
        durable = pool.submit(sync_file, temp)
        report = verify_bundle(temp, deep=False)
        durable.result()
    if report.damages:
        raise BundleDamagedError(
            f"the new bundle {str(out)!r} was not written as it should be: {report.damages[0].reason}",
            path=str(out),
            member=report.damages[0].member,
            hint="remove what was spooled and try again",
        )
    temp.replace(out)
    sync_folder(out.parent)
    return SealReport(
        path=out,
        bytes=size,
        runs=len(runs),
        rows=sum(run.history.rows for run in runs),
        bundle_id=sha256(manifest),
        content_id=identity,
        incomplete=tuple((run.path, run.coverage.reason) for run in runs if not run.coverage.complete),
        files=sum(len(run.files) for run in runs),
        file_bytes=sum(record.bytes for run in runs for record in run.files),
    )


def _rows(runs: Iterable[StoredRun], hasher: ContentHasher) -> Iterator[RunRow]:
    """The row of each run; on the way it is added to the identity, so that its facts are read once."""
    for run in runs:
        info = run.info()
        hasher.add(info, run.history.rows_hash)
        yield RunRow(
            info=info,
            coverage=run.coverage,
            rows=run.history.rows,
            first_step=run.history.first_step,
            last_step=run.history.last_step,
        )


@dataclass(frozen=True, slots=True)
class _Member:
    """A file of a run that is to be in the bundle."""

    resource: Resource | FileResource
    size: int
    chunks: Callable[[], Iterator[bytes]]


def _members(runs: Iterable[StoredRun]) -> dict[str, _Member]:
    """The files of all runs by their members' names, in the order of a bundle."""
    by_path = {run.path: run for run in runs}
    members: dict[str, _Member] = {}
    for path, folder in member_folders(by_path).items():
        run = by_path[path]
        parts = [(f"{folder}/{HISTORY}", run.history, run.history_chunks)]
        if run.system is not None:
            parts.append((f"{folder}/{SYSTEM}", run.system, run.system_chunks))
        for name, encoded, chunks in parts:
            members[name] = _Member(_resource(name, run, encoded), encoded.bytes, chunks)
        places = file_members(folder, [record.name for record in run.files]) if run.files else {}
        for record, chunks in run.file_chunks():
            name = places[record.name]
            members[name] = _Member(FileResource(path=name, record=record), record.bytes, chunks)
    return dict(sorted(members.items()))


def _manifest(
    members: Mapping[str, _Member], table: Resource, *, content: str, redacted: Mapping[str, int]
) -> Manifest:
    resources, files = {RUNS: table}, dict[str, list[FileResource]]()
    for name, member in members.items():
        if isinstance(member.resource, FileResource):
            files.setdefault(folder_of_file(name) or "", []).append(member.resource)
        else:
            resources[name] = member.resource
    return Manifest(content_id=content, resources=resources, redacted=redacted, files=files)


def _resource(name: str, run: StoredRun, encoded: Encoded) -> Resource:
    return Resource(
        path=name,
        bytes=encoded.bytes,
        hash=encoded.hash,
        rows=encoded.rows,
        rows_hash=encoded.rows_hash,
        footer_bytes=encoded.footer_bytes,
        footer_hash=encoded.footer_hash,
        writer=run.writer,
    )


def _table_resource(table: bytes, *, rows: int) -> Resource:
    footer = 8 + int.from_bytes(table[-8:-4], "little")
    return Resource(
        path=RUNS,
        bytes=len(table),
        hash=sha256(table),
        rows=rows,
        rows_hash=None,
        footer_bytes=footer,
        footer_hash=sha256(table[-footer:]),
        writer=WRITER,
    )


def _write(temp: Path, *, table: bytes, members: Mapping[str, _Member], manifest: bytes) -> int:
    """Write the ZIP; returns its size in bytes."""
    parts = {FORMAT: FORMAT_BYTES, RUNS: table, MANIFEST: manifest, DIGEST: render_digest(manifest)}
    with temp.open("w+b") as file:
        writer = ContainerWriter(file)
        for name in member_order(members):
            if name in parts:
                writer.add(name, [parts[name]], size=len(parts[name]))
                continue
            writer.add(name, members[name].chunks(), size=members[name].size)
        return writer.finish()
