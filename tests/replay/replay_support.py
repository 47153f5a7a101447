"""Runs for the tests of the replay server, and the bundle that holds them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from consolekit import console_of, printed

from pull_logs.rows.batches import batch_from_rows, system_batch_from_rows
from pull_logs.runs import Coverage, RunInfo, RunPath
from pull_logs.snapshot.format import ConsoleLine, StoredConsole
from pull_logs.snapshot.format.file_record import record_of
from pull_logs.snapshot.privacy.file_scrubber import TextFile
from pull_logs.snapshot.write.run_sources import BundleRun
from pull_logs.snapshot.write.seal import write_bundle

Row = dict[str, Any]


def bundle_run(
    path: str,
    rows: Sequence[Mapping[str, Any]],
    *,
    system: Iterable[Mapping[str, Any]] = (),
    files: Mapping[str, tuple[str | None, bytes]] = MappingProxyType({}),
    console: StoredConsole | None = None,
    from_server: bool = True,
    **facts: Any,
) -> BundleRun:
    facts = {"name": f"run {path}", "state": "finished", **facts}
    batch = batch_from_rows(rows)
    events = list(system)
    return BundleRun(
        info=RunInfo(path=RunPath(*path.split("/")), **facts),
        coverage=Coverage(
            promised_rows=len(rows) if from_server else None,
            received_rows=len(rows),
            received_last_step=rows[-1]["_step"] if rows else None,
        ),
        batches=lambda: [batch],
        system=system_batch_from_rows(events) if events else None,
        files=[
            TextFile(record_of(name, [data], mediatype=mediatype), data)
            for name, (mediatype, data) in files.items()
        ],
        console=console,
    )


def write_runs(folder: Path, runs: Iterable[BundleRun]) -> Path:
    path = folder / "runs.wandb.zip"
    write_bundle(path, runs, force=True)
    return path


def plain_rows(count: int, *, stride: int = 1) -> list[Row]:
    """Rows with sparse keys, non-finite numbers, booleans, text, and integers that no double holds."""
    rows = []
    for at in range(count):
        row: Row = {
            "_step": at * stride,
            "_timestamp": 1.7e9 + at / 8,
            "_runtime": at / 8,
            "loss": 1 / (at + 1),
        }
        if at % 10 == 0:
            row |= {"val/acc": at / count, "epoch": at // 10, "note": f"né {at}", "best": at % 20 == 0}
        if at % 100 == 7:
            row["grad"] = (math.nan, math.inf, -math.inf)[at // 100 % 3]
        if at % 50 == 3:
            row["big"] = 2**60 + at
        rows.append(row)
    return rows


def histogram_rows(count: int) -> list[Row]:
    """Rows with dicts and lists that plain Parquet carries exactly."""
    return [
        {
            "_step": at,
            "loss": at / 4,
            "opt.lr": 0.5**at,
            "weights": {"_type": "histogram", "values": [at, 2, 3], "bins": [0, 0.5, 1.5, at + 2.25]},
            "nested": {"a": {"b": at}, "text": "x"},
        }
        for at in range(count)
    ]


def odd_rows(count: int) -> list[Row]:
    """Rows with a key of several kinds, a huge integer, and a list of both numbers and text."""
    odd: Sequence[Any] = (
        1.5,
        "text",
        True,
        2**70 + 1,
        [1, "a", None],
        {"_type": "image-file", "path": "x.png"},
    )
    return [{"_step": at, "loss": at / 8, "odd": odd[at % len(odd)]} for at in range(count)]


FILES: Mapping[str, tuple[str | None, bytes]] = {
    "output.log": ("text/plain; charset=utf-8", "époque 0\n".encode() * 9),
    "media/images/a b%2F.png": ("image/png", bytes(range(256)) * 9),
    "wandb-metadata.json": ("application/json", b'{"host": "box9",   "os": "Linux"}\n'),
    "empty.txt": (None, b""),
}
"""Files that a run logged, with their media types."""

CONSOLE: Sequence[ConsoleLine] = (
    *printed(1200),
    ConsoleLine(
        number=1200, text="\x1b[31mNaN\x00 é\u2028", timestamp="yesterday", level="warn", label="rank-1"
    ),
)
"""What a run printed."""

SWEEP_CONFIG: Row = {
    "name": "lr hunt",
    "method": "bayes",
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {
        "lr": {"min": 1e-05, "max": 1.0, "distribution": "log_uniform_values"},
        "opt": {"values": ["adam", None, "1e-5", True, 3]},
        "größe": {"value": math.inf},
    },
    "run_cap": 20,
}
"""A config with what YAML and JSON spell in different ways."""


def world() -> list[BundleRun]:
    """Runs of three projects of two entities: exported, live, odd and empty ones."""
    common: dict[str, Any] = {"user": "ada", "heartbeat_at": "2026-11-23T12:00:00Z"}
    return [
        bundle_run(
            "acme/nano/plain01",
            plain_rows(2500),
            name="eager-fox-1",
            tags=("prod", "v2"),
            group="g1",
            job_type="train",
            sweep="sweep1",
            sweep_config=SWEEP_CONFIG,
            notes="a note",
            commit="abc123",
            created_at="2026-11-23T10:00:00Z",
            config={"lr": 0.1, "opt": {"name": "adam"}, "a.b": [1, None], "none": None},
            config_internal={"_wandb": {"cli_version": "0.31.0"}, "wandb_version": 1},
            summary={"loss": 0.25, "bad": math.nan, "val": {"acc": 0.5}, "_wandb": {"runtime": 312}},
            system_summary={"system.cpu": 12.5},
            metadata={"host": "node7", "gpu": None, "python": "3.11.7"},
            system=[{"_timestamp": 1.7e9 + at, "_runtime": at, "system.cpu": at / 2} for at in range(40)],
            console=console_of(CONSOLE),
            **common,
        ),
        bundle_run(
            "acme/nano/hist01",
            histogram_rows(30),
            name="zesty-owl-2",
            created_at="2026-11-23T10:00:01Z",
            config={"lr": 0.01},
            summary={"loss": 0.5},
            sweep="sweep1",
            metadata={"host": "as the record has it"},
            files=FILES,
            **common,
        ),
        bundle_run(
            "acme/nano/odd01",
            odd_rows(40),
            created_at="2026-11-23T10:00:02Z",
            state="crashed",
            config={"lr": 0.001},
            **common,
        ),
        bundle_run(
            "acme/nano/live01",
            plain_rows(1200, stride=3),
            created_at="2026-11-23T10:00:03.25Z",
            state="running",
            config={"lr": 0.3},
            summary={"loss": 0.125},
            **common,
        ),
        bundle_run("acme/nano/empty01", [], created_at="2026-11-23T10:00:04Z", state="failed"),
        bundle_run("acme/other/only01", plain_rows(5), created_at="2026-11-22T10:00:00Z"),
        bundle_run("beta/nano/twin01", plain_rows(3), created_at="2026-11-21T10:00:00Z"),
    ]
