"""Reads runs with the SDK, run by run, into a bundle.

The SDK runs in a process of its own, because its service, its settings and its cache belong to a process. Its
cache is empty at the beginning: the SDK never checks whether what it has there is still what W&B has.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Timer
from typing import Any

import pyarrow as pa

from pull_logs.errors import NetworkError
from pull_logs.fetch.api import Settings
from pull_logs.fetch.discovery import FoundRun, read_node
from pull_logs.rows.batches import batch_from_rows, steps_of
from pull_logs.rows.canonical import parse_json
from pull_logs.rows.merge import Lane, LanedBatch, merge_batches
from pull_logs.runs import Coverage, RunPath
from pull_logs.snapshot import BundleRun, write_bundle

SILENT_SECONDS = 600.0
"""The program is ended when it prints nothing for this time: a page of rows takes the SDK far less."""

_PROGRAM = "pull_logs.fetch.sdk.program"
_ERRORS = "sdk-errors.txt"
_LONGEST = 300


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
        NetworkError: The SDK could not be started, or ended before it read all runs.
        DataError: It gave a row or a fact that cannot be stored.
        PullLogsError: The disk does not accept the bundle.
    """
    out = folder / "sdk.wandb.zip"
    failed: dict[RunPath, str] = {}
    received: dict[RunPath, int] = {}
    with _running(paths, folder, settings) as lines:
        write_bundle(out, _runs(lines, paths, settings, failed=failed, received=received), force=True)
    if missing := set(paths) - failed.keys() - received.keys():
        raise NetworkError(f"the SDK did not read run {min(missing)}: {_last_line(folder / _ERRORS)}")
    return SdkRuns(out, failed, received)


@contextmanager
def _running(paths: Sequence[RunPath], folder: Path, settings: Settings) -> Iterator[Iterator[Any]]:
    """Run the program, and give the lines that it prints."""
    environment = {
        **os.environ,
        "WANDB_BASE_URL": settings.base_url,
        "WANDB_CACHE_DIR": str(folder / "cache"),
        "WANDB_CONFIG_DIR": str(folder / "config"),
        "WANDB_DATA_DIR": str(folder / "data"),
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_SILENT": "true",
    }
    if settings.api_key:
        environment["WANDB_API_KEY"] = settings.api_key
    with (folder / _ERRORS).open("wb") as errors:
        process = subprocess.Popen(  # noqa: S603 - the words are fixed; the runs come on stdin
            [sys.executable, "-m", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            text=True,
            encoding="utf-8",
        )
        try:
            assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - pipes
            with process.stdin as stdin:
                json.dump([str(path) for path in paths], stdin)
            yield _lines(process)
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def _lines(process: subprocess.Popen[str]) -> Iterator[Any]:
    """Yield what the program prints, and end it when it prints nothing for a long time."""
    stdout = iter(process.stdout or ())
    while True:
        timer = Timer(SILENT_SECONDS, process.kill)
        timer.start()
        try:
            line = next(stdout, None)
        finally:
            timer.cancel()
        if line is None:
            return
        yield parse_json(line)


def _last_line(file: Path) -> str:
    lines = file.read_text(errors="replace").strip().splitlines()
    return lines[-1][:_LONGEST] if lines else "it ended without a message"


def _runs(
    lines: Iterator[Any],
    paths: Sequence[RunPath],
    settings: Settings,
    *,
    failed: dict[RunPath, str],
    received: dict[RunPath, int],
) -> Iterator[BundleRun]:
    """Yield the runs in the lines of the program; what failed and how many rows arrived are recorded."""
    by_name = {str(path): path for path in paths}
    found: FoundRun | None = None
    batches: list[pa.Table] = []
    for line in lines:
        if "failed" in line:
            failed[by_name[line["failed"]]] = str(line["error"])[:_LONGEST]
            found, batches = None, []
        elif "run" in line:
            path = by_name[line["run"]]
            found = read_node(
                line["node"], entity=path.entity, project=path.project, host=settings.host, now=0.0
            )
            batches = []
        elif "rows" in line:
            batches.append(batch_from_rows(line["rows"]))
        elif found is not None:
            rows = sum(batch.num_rows for batch in batches)
            received[found.path] = rows
            yield _bundle_run(found, batches, rows)


def _bundle_run(found: FoundRun, batches: Sequence[pa.Table], rows: int) -> BundleRun:
    merged = list(merge_batches([LanedBatch(Lane.SHARD, batch) for batch in batches]))
    last = max((int(steps_of(batch)[-1]) for batch in merged if batch.num_rows), default=None)
    coverage = Coverage(
        promised_rows=found.promise.rows,
        promised_last_step=found.promise.last_step,
        received_rows=rows,
        received_last_step=last,
    )
    return BundleRun(info=found.info, coverage=coverage, batches=lambda: merged)
