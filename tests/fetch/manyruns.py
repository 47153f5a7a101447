"""A project of runs of every kind, in the states of yesterday and today, to pull and interrupt."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
from artifactkit import Version, artifacts_of, reference
from consolekit import console_of, printed

from pull_logs.rows.batches import batch_from_rows, system_batch_from_rows
from pull_logs.runs import Coverage, RunInfo, RunPath
from pull_logs.snapshot import BundleRun, write_bundle
from pull_logs.snapshot.format.file_record import record_of
from pull_logs.snapshot.privacy.file_scrubber import TextFile

RUNS = 54
SHARD_ROWS = 6_000
"""Rows of an exported file: the long run has eight of them."""

TABLE_ROWS = 3_000
"""Rows of the largest table: its JSON arrives in several pieces."""

SYSTEM_ROWS = tuple({"_timestamp": 1e9 + second, "system.cpu": second / 8} for second in range(90))

WEIGHTS = [
    Version(
        {"model.pt": random.Random(number).randbytes(40_000), "shared.json": b"{}", f"{number}/é.txt": b"x"},
        project="many",
        version=number,
        algorithm="XXH128" if number == 3 else "MD5",
        logged_by=f"acme/many/done{2 * number + 1:02}",
    )
    for number in range(4)
]
DATA = Version(
    {f"part-{number:02}": random.Random(90 + number).randbytes(9_000) for number in range(20)},
    name="data",
    project="many",
    type="dataset",
    references=[reference("elsewhere", "s3://bucket/key")],
    logged_by="acme/many/maker",
)
LARGE = Version(
    {"large.bin": random.Random(7).randbytes(2_000_000), "empty": b""},
    name="large",
    project="many",
    logged_by="acme/many/long",
)
"""Artifacts of small files, of many, and with one that arrives in several pieces."""


def write_project(path: Path, *, today: bool) -> Path:
    """Write the bundle of the project; of yesterday's some runs are shorter or still running."""
    write_bundle(path, _runs(today=today), force=True)
    return path


def _runs(*, today: bool) -> Iterator[BundleRun]:
    for number in range(30):
        files = {"output.log": b"done\n" * number, "media/a b.png": bytes([number]) * 900}
        yield _run(
            f"done{number:02}",
            _numbers(100 + 13 * number, 8, seed=number),
            system=number % 4 == 0,
            files=files if number % 3 == 0 else {},
            printed_lines=40 * number if number % 5 == 1 else 0,
            logged=[WEIGHTS[number // 2]] if number in (1, 3, 5, 7) else [],
            used=[DATA, WEIGHTS[number % 4]] if number > 8 and number % 3 == 1 else [],
        )
    for number in range(8):
        rows = 300 + 50 * number + (40 if today else 0)
        log = {"output.log": b"row\n" * rows}
        yield _run(
            f"live{number}",
            _numbers(rows, 5, seed=number, stride=7),
            state="running",
            files=log,
            printed_lines=rows,
        )
    for number in range(6):
        odd = [_odd_row(step, number) for step in range(60)]
        yield _run(f"odd{number}", batch_from_rows(odd), system=True)
    for number in range(4):
        yield _pictures(number, steps=4 if today else 3)
    for number in range(3):
        changed = {"note": "today" if today else "yesterday"}
        yield _run(f"noted{number}", _numbers(50, 3, seed=number), summary=changed, state="crashed")
    yield _run("empty", batch_from_rows([]))
    # Longer than what is held in memory, so that their pieces go to the spool as they arrive.
    weights = {"weights.bin": random.Random(5).randbytes(3_000_000)}
    yield _run(
        "long",
        _numbers(8 * SHARD_ROWS, 24, seed=1),
        system=True,
        files=weights,
        printed_lines=5_000,
        logged=[LARGE],
        used=[DATA],
    )
    yield _run("longlive", _numbers(6_000 if today else 5_000, 100, seed=2), state="running")


def _run(
    run_id: str,
    batch: pa.Table,
    *,
    state: str = "finished",
    summary: Mapping[str, Any] | None = None,
    system: bool = False,
    files: Mapping[str, bytes] = MappingProxyType({}),
    printed_lines: int = 0,
    logged: Sequence[Version] = (),
    used: Sequence[Version] = (),
) -> BundleRun:
    info = RunInfo(
        path=RunPath("acme", "many", run_id),
        name=f"run {run_id}",
        state=state,
        tags=("b", "a"),
        created_at="2026-01-02T03:04:05Z",
        config={"lr": 0.1, "nested": {"deep": [1, None]}},
        summary=summary or {"rows": batch.num_rows},
    )
    last = batch.column("_step")[-1].as_py() if batch.num_rows else None
    coverage = Coverage(received_rows=batch.num_rows, received_last_step=last)
    table = system_batch_from_rows(SYSTEM_ROWS) if system else None
    saved = [TextFile(record_of(name, [data]), data) for name, data in files.items()]
    return BundleRun(
        info=info,
        coverage=coverage,
        batches=lambda: [batch],
        system=table,
        files=saved,
        console=console_of(printed(printed_lines)) if printed_lines else None,
        artifacts=artifacts_of(logged, used) if logged or used else None,
    )


def _pictures(number: int, *, steps: int) -> BundleRun:
    """A run with a table, an image with a mask and a list of pages at each step, and a best table."""
    rows, files = list[dict[str, Any]](), dict[str, bytes]()
    for step in range(steps):
        paths = {
            "table": f"media/table/pred_{step}.table.json",
            "image": f"media/images/a {step}.png",
            "mask": f"media/images/mask/{step}.mask.png",
            "page": "media/html/same.html",
        }
        mask = {"_type": "mask", "path": paths["mask"]}
        image = {"_type": "image-file", "path": paths["image"], "caption": f"at {step}", "masks": {"m": mask}}
        page = {"_type": "html-file", "path": paths["page"]}
        table = {"_type": "table-file", "path": paths["table"]}
        rows.append({"_step": step, "pred": table, "val": {"a": image}, "pages": [page, page]})
        chance = random.Random(10 * number + step)
        files[paths["table"]] = _table(TABLE_ROWS if step == 0 else 5, chance)
        files[paths["image"]] = chance.randbytes(20_000)
        files[paths["mask"]] = chance.randbytes(300)
        files[paths["page"]] = b"<p>same"
    files["media/html/unnamed.html"] = b"no row points to it"
    return _run(f"pictures{number}", batch_from_rows(rows), summary={"best": rows[-1]["pred"]}, files=files)


def _table(rows: int, chance: random.Random) -> bytes:
    cells = [
        [2**53 + row, chance.random(), math.nan if row % 7 == 0 else f"text {row}"] for row in range(rows)
    ]
    return json.dumps({"columns": ["id", "score", "mixed"], "data": cells}).encode()


def _numbers(rows: int, columns: int, *, seed: int, stride: int = 1) -> pa.Table:
    chance = np.random.default_rng(seed)
    numbers = {f"m{number:03}": chance.integers(0, 999, rows) / 8 for number in range(columns)}
    return pa.table({"_step": np.arange(rows) * stride, **numbers})


def _odd_row(step: int, seed: int) -> dict[str, Any]:
    chance = random.Random(100 * seed + step)
    values: Sequence[Any] = (1.5, "text", True, 2**70, float("nan"), {"_type": "histogram", "values": [step]})
    return {"_step": step, "mixed": chance.choice(values), "loss": step / 4}
