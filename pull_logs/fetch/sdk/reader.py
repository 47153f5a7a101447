"""Reads runs with the SDK, run by run, into a bundle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from pull_logs.errors import ServerError, SignInError
from pull_logs.fetch.api import Settings
from pull_logs.fetch.discovery import FoundRun, read_node
from pull_logs.fetch.sdk.process import SdkProcess
from pull_logs.fetch.sdk.rows_file import batches_in
from pull_logs.rows.batches import steps_of
from pull_logs.rows.merge import Lane, LanedBatch, merge_batches
from pull_logs.runs import Coverage, RunPath
from pull_logs.snapshot import BundleRun, write_bundle

_ROWS = "rows.jsonl"


@dataclass(frozen=True, slots=True)
class SdkRuns:
    """What the SDK read.

    Attributes:
        path: The bundle with the runs that it read.
        failed: Why it could not read a run, by path.
        received: The number of rows that it gave for each run; those of one step are counted each.
    """

    path: Path
    failed: Mapping[RunPath, str] = field(default_factory=dict)
    received: Mapping[RunPath, int] = field(default_factory=dict)


def read_with_sdk(paths: Sequence[RunPath], *, folder: Path, settings: Settings) -> SdkRuns:
    """Read runs with the SDK into a bundle.

    Args:
        paths: The runs.
        folder: A folder for the bundle and for the files of the SDK.
        settings: The address of the API and the credentials.

    Raises:
        NetworkError: The SDK could not be started, or its process ended.
        DataError: It gave a row or a fact that cannot be stored.
        PullLogsError: The disk does not accept the bundle.
    """
    out = folder / "sdk.wandb.zip"
    failed: dict[RunPath, str] = {}
    received: dict[RunPath, int] = {}
    with closing(SdkProcess(settings, folder / "sdk")) as process:
        runs = _runs(process, paths, settings, file=folder / _ROWS, failed=failed, received=received)
        write_bundle(out, runs, force=True)
    return SdkRuns(out, failed, received)


def _runs(
    process: SdkProcess,
    paths: Sequence[RunPath],
    settings: Settings,
    *,
    file: Path,
    failed: dict[RunPath, str],
    received: dict[RunPath, int],
) -> Iterator[BundleRun]:
    """Yield the runs that the SDK reads; what failed and how many rows arrived are recorded."""
    for path in paths:
        try:
            (facts,) = process.ask("facts", path=str(path))
            rows = sum(line["rows"] for line in process.ask("rows", path=str(path), file=str(file)))
        except (ServerError, SignInError) as exc:
            failed[path] = exc.message
            continue
        received[path] = rows
        found = read_node(
            facts["node"], entity=path.entity, project=path.project, host=settings.host, now=0.0
        )
        yield _bundle_run(found, file, rows)


def _bundle_run(found: FoundRun, file: Path, rows: int) -> BundleRun:
    merged = list(merge_batches([LanedBatch(Lane.SHARD, batch) for batch in batches_in(file)]))
    last = max((int(steps_of(batch)[-1]) for batch in merged if batch.num_rows), default=None)
    coverage = Coverage(
        promised_rows=found.promise.rows,
        promised_last_step=found.promise.last_step,
        received_rows=rows,
        received_last_step=last,
    )
    return BundleRun(info=found.info, coverage=coverage, batches=lambda: merged)
