"""One side of a comparison, in a process of its own, which the environment leads to the server.

    python benchmarks/contender.py loop|pool|ours OPTIONS

OPTIONS is JSON. Prints one line of JSON: rows read, seconds it took and memory it had at most. Imports come
before the clock starts, on every side.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from memory import own_peak
from workloads import PROJECT_PATH

THREADS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a side did.

    Attributes:
        rows: Rows that were read.
        seconds: From the first question to the last row, or to the sealed bundle.
        peak: Most bytes of memory that this process had, its children not counted.
        bundle_bytes: Size of the bundle; 0 for the SDK, which makes none.
    """

    rows: int
    seconds: float
    peak: int
    bundle_bytes: int = 0


def read_with_sdk(*, threads: int, runs: int | None) -> Result:
    """Scan the runs with `scan_history`, and drop the rows."""
    import wandb

    began = time.perf_counter()
    found = list(wandb.Api(timeout=60).runs(PROJECT_PATH))[:runs]
    with ThreadPoolExecutor(threads) as pool:
        rows = sum(pool.map(_scan, found)) if threads > 1 else sum(map(_scan, found))
    return Result(rows=rows, seconds=time.perf_counter() - began, peak=own_peak())


def _scan(run: Any) -> int:
    return sum(1 for _ in run.scan_history())


def pull_ours(out: Path) -> Result:
    """Pull the project into a sealed and verified bundle."""
    # pyarrow imports pandas, and httpx httpcore, when they are first used: imports all the same.
    import httpcore  # noqa: F401
    import pandas as pd  # noqa: F401

    from pull_logs.fetch.pipeline import pull_sync
    from pull_logs.fetch.selection import Selection

    began = time.perf_counter()
    report = pull_sync(Selection(projects=(PROJECT_PATH,)), out=out)
    seconds = time.perf_counter() - began
    if report.incomplete:
        raise SystemExit(f"not whole: {report.incomplete[0]}")
    return Result(rows=report.seal.rows, seconds=seconds, peak=own_peak(), bundle_bytes=report.seal.bytes)


if __name__ == "__main__":
    side, options = sys.argv[1], json.loads(sys.argv[2])
    if side == "ours":
        result = pull_ours(Path(options["out"]))
    else:
        result = read_with_sdk(threads=THREADS if side == "pool" else 1, runs=options["runs"])
    print(json.dumps(asdict(result)), flush=True)
