"""Make a bundle from runs.

A bundle is written to a temporary file in the same file system, flushed to the disk and verified before it
gets its name. If the process is killed at any moment, there is either the old file or the new one. The
bytes depend on the runs alone, not on the order in which they are given.
"""

from __future__ import annotations

import io
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from threading import Event, Lock
from typing import TYPE_CHECKING, TypeAlias

from pull_logs.errors import BundleDamagedError, UsageError
from pull_logs.runs import RunPath
from pull_logs.snapshot.disk import disk_errors, replace_file, sync_file
from pull_logs.snapshot.format import (
    ARTIFACTS,
    DIGEST,
    FORMAT,
    MANIFEST,
    METRICS,
    RUNS,
    ContainerWriter,
    ContentHasher,
    Manifest,
    MetricsWriter,
    Resources,
    RunRow,
    encode_runs,
    member_order,
    render_digest,
    render_format,
    render_manifest,
    sha256,
)
from pull_logs.snapshot.read import Run, verify_bundle
from pull_logs.snapshot.write.compression import compressed_members
from pull_logs.snapshot.write.destination import check_bundle_output, check_same_selection
from pull_logs.snapshot.write.media import media_members
from pull_logs.snapshot.write.members import Member, SealedRun, members_of, resources_of, table_member
from pull_logs.snapshot.write.run_sources import BundleRun, CopiedRun, EncodedRun
from pull_logs.snapshot.write.stored_run import store_run
from pull_logs.snapshot.write.temporary_folder import temporary_folder

if TYPE_CHECKING:
    from pull_logs.snapshot.write.bundled_run import SelectedRun, SharedFile

_THREADS = min(4, os.cpu_count() or 1)

_SHORT = 16_384
"""Up to this many rows, copying columns is mostly Python."""

Source: TypeAlias = "BundleRun | CopiedRun | SelectedRun | EncodedRun"
"""A run to encode; of a bundle, a run to copy with some changes, with some metrics, or as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SealReport:
    """A new bundle.

    Attributes:
        path: The file.
        bytes: The size of the file.
        runs: The number of runs.
        rows: The number of rows of all histories.
        bundle_id: SHA-256 of the manifest, `sha256:<hex>`.
        content_id: The identity of the content, which does not depend on the library that encoded it.
        incomplete: The runs that are incomplete, each with the reason.
        files: The number of files that the runs logged.
        file_bytes: The total size of these files.
        console_lines: The number of lines of the console logs.
        contents: The number of contents of artifacts.
        content_bytes: The total size of these contents.
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
    console_lines: int = 0
    contents: int = 0
    content_bytes: int = 0


def write_bundle(
    out: Path,
    runs: Iterable[Source],
    *,
    metrics: str | None = None,
    read: Iterable[Run] = (),
    force: bool = False,
) -> SealReport:
    """Make a bundle of runs; runs of another bundle are copied byte for byte.

    Args:
        out: The bundle; if it is a symbolic link, the file that it names is replaced.
        runs: The runs, in any order. They are taken from the iterable one at a time, in other threads.
        metrics: The regular expression of the metrics that were kept, for the manifest; None for all.
        read: The runs of bundles that `runs` reads. A bundle that is `out` is closed before it is replaced,
            because Windows replaces no open file.
        force: Whether to replace what is not a bundle, or a bundle of another selection.

    Raises:
        UsageError: Two runs have the same path, or `out` cannot be written or must not be replaced.
        FileMissingError: The folder of `out` does not exist.
        DataError: A value cannot be stored.
        PullLogsError: The disk is full, or the file cannot be written.
    """
    target = check_bundle_output(out, force=force)
    with (
        disk_errors(out, hint="free some space and try again; nothing was changed"),
        temporary_folder(target.parent) as folder,
    ):
        stored = _store_all(folder, runs)
        if not force:
            check_same_selection(out, [run.path for run in stored], metrics=metrics)
        report = seal_runs(
            stored,
            out=target,
            temp=folder / "bundle.zip",
            metrics=metrics,
            before_replacing=partial(_close_replaced, read, target),
        )
    return replace(report, path=out)


def _close_replaced(read: Iterable[Run], target: Path) -> None:
    """Close the bundle that is replaced, if it is one of those that were read."""
    replaced: dict[str, bool] = {}
    for run in read:
        path = run.bundle_path
        if path not in replaced:
            replaced[path] = _is_file(path, target)
        if replaced[path]:
            run.close_bundle()


def _is_file(path: str, other: Path) -> bool:
    """Return whether two paths are those of one existing file."""
    try:
        return other.samefile(path)
    except OSError:
        return False


def _store_all(folder: Path, runs: Iterable[Source]) -> list[SealedRun]:
    """Store runs in several threads; each takes the next run when it has stored one."""
    from pull_logs.snapshot.write.bundled_run import SharedFile

    source, turn, ended = enumerate(runs), Lock(), Event()

    def work(worker: int) -> list[SealedRun]:
        stored: list[SealedRun] = []
        shared = SharedFile(folder / f"{worker}.histories")
        try:
            while not ended.is_set():
                with turn:
                    number, run = next(source, (0, None))
                    if run is None:
                        break
                    if _is_short(run):
                        # Two threads would wait for the interpreter's lock after each short read and hash.
                        stored.append(_store(folder / f"{number}.run", shared, run))
                        continue
                stored.append(_store(folder / f"{number}.run", shared, run))
        finally:
            shared.close()
            ended.set()
        return stored

    with ThreadPoolExecutor(_THREADS) as pool:
        try:
            futures = [pool.submit(work, worker) for worker in range(_THREADS)]
            return [stored for future in as_completed(futures) for stored in future.result()]
        finally:
            ended.set()


def _is_short(run: Source) -> bool:
    """Whether storing a run takes less time than other threads need to work meanwhile."""
    from pull_logs.snapshot.write.bundled_run import SelectedRun

    return isinstance(run, SelectedRun) and run.run.rows <= _SHORT and not run.run.remote


def _store(file: Path, shared: SharedFile, run: Source) -> SealedRun:
    from pull_logs.snapshot.write.bundled_run import SelectedRun, bundle_run_copy, bundle_selected_run

    if isinstance(run, BundleRun):
        return store_run(file, run)
    if isinstance(run, SelectedRun):
        return bundle_selected_run(file, shared, run)
    return bundle_run_copy(file, run if isinstance(run, CopiedRun) else CopiedRun(run=run))


def seal_runs(
    stored: Iterable[SealedRun],
    *,
    out: Path,
    temp: Path,
    metrics: str | None = None,
    before_replacing: Callable[[], object] = lambda: None,
) -> SealReport:
    """Make a bundle of stored runs, verify it, and give it its name.

    Args:
        stored: The runs, in any order.
        out: The bundle.
        temp: A new file in the same file system as `out`.
        metrics: The regular expression of the metrics that were kept, for the manifest; None for all.
        before_replacing: Called when the new bundle is verified, before it gets its name.

    Raises:
        UsageError: Two runs have the same path.
        BundleDamagedError: The file was not written correctly: a stored run or the disk is damaged.
        OSError: The file cannot be written.
    """
    runs = sorted(stored, key=lambda run: run.path)
    for left, right in pairwise(runs):
        if left.path == right.path:
            raise UsageError(f"run {str(left.path)!r} is given twice")
    with (
        tempfile.TemporaryFile(dir=temp.parent) as index_file,
        tempfile.TemporaryFile(dir=temp.parent) as media_file,
        tempfile.TemporaryFile(dir=temp.parent) as tables_file,
    ):
        hasher, index = ContentHasher(), MetricsWriter(index_file)
        table = encode_runs(
            _rows(runs, hasher, index), optional=frozenset().union(*(run.optional for run in runs))
        )
        index.close()
        content_id = hasher.content_id()
        media = media_members(runs, index=media_file, tables=tables_file)
        with compressed_members(media | members_of(runs), folder=temp.parent) as compressed:
            members = {
                RUNS: table_member(RUNS, io.BytesIO(table), rows=len(runs)),
                METRICS: table_member(METRICS, index_file, rows=index.rows),
            } | dict(sorted(compressed.items()))
            resources, files, consoles, contents = resources_of(members)
            described = Manifest(
                content_id=content_id,
                resources=Resources.of(resources.values()),
                redacted=_redacted(runs),
                files=files,
                consoles=consoles,
                contents=contents,
                metrics=metrics or None,
            )
            manifest = render_manifest(described)
            size = _write(temp, members=members, version=described.version, manifest=manifest)
    _verify(temp, out)
    before_replacing()
    replace_file(temp, out)
    report = _report(out, runs, size=size, bundle_id=sha256(manifest), content_id=content_id)
    held = [content for name, content in contents.items() if not name.endswith(ARTIFACTS)]
    return replace(report, contents=len(held), content_bytes=sum(one.record.bytes for one in held))


def _redacted(runs: Iterable[SealedRun]) -> Mapping[str, int]:
    """Count the redaction markers of all runs by kind."""
    counts: Counter[str] = Counter()
    for run in runs:
        counts.update(run.redacted)
    return counts


def _verify(temp: Path, out: Path) -> None:
    """Wait until a new bundle is on the disk, and verify it meanwhile."""
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


def _report(
    out: Path, runs: Sequence[SealedRun], *, size: int, bundle_id: str, content_id: str
) -> SealReport:
    return SealReport(
        path=out,
        bytes=size,
        runs=len(runs),
        rows=sum(run.history.rows for run in runs),
        bundle_id=bundle_id,
        content_id=content_id,
        incomplete=tuple((run.path, run.coverage.reason) for run in runs if not run.coverage.complete),
        files=sum(len(run.files) for run in runs),
        file_bytes=sum(record.bytes for run in runs for record in run.files),
        console_lines=sum(run.console.lines for run in runs if run.console is not None),
    )


def _rows(runs: Iterable[SealedRun], hasher: ContentHasher, index: MetricsWriter) -> Iterator[RunRow]:
    """Return the row of each run in the table of runs, and add its facts to the content id and the index."""
    for run in runs:
        info, facts = run.described()
        hasher.add(info, run.history.rows_hash)
        index.add(run.path, facts)
        yield RunRow(
            info=info,
            coverage=run.coverage,
            rows=run.history.rows,
            first_step=run.history.first_step,
            last_step=run.history.last_step,
        )


def _write(temp: Path, *, members: Mapping[str, Member], version: int, manifest: bytes) -> int:
    """Write the ZIP file and return its size in bytes."""
    parts = {FORMAT: render_format(version), MANIFEST: manifest, DIGEST: render_digest(manifest)}
    with temp.open("w+b") as file:
        writer = ContainerWriter(file)
        for name in member_order(members):
            if name in parts:
                writer.add(name, [parts[name]], size=len(parts[name]))
                continue
            writer.add(name, members[name].chunks(), size=members[name].size)
        return writer.finish()
