"""One side of a comparison, in a process of its own; the environment names the server.

    python benchmarks/contender.py loop|pool|ours OPTIONS

OPTIONS is JSON. Prints one line of JSON: rows read, seconds, and peak memory. Each side imports its modules
before the clock starts.
"""

from __future__ import annotations

import argparse
import json
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
    """The measurements of one side.

    Attributes:
        rows: The rows that were read.
        seconds: The time from the first request to the last row, or to the sealed bundle.
        peak: The peak memory of this process in bytes, without its children.
        bundle_bytes: The size of the bundle; 0 for the SDK, which makes none.
    """

    rows: int
    seconds: float
    peak: int
    bundle_bytes: int = 0


def read_with_sdk(*, threads: int, runs: int | None) -> Result:
    """Scan the runs with `scan_history`, and discard the rows."""
    import wandb

    began = time.perf_counter()
    found = list(wandb.Api(timeout=60).runs(PROJECT_PATH))[:runs]
    with ThreadPoolExecutor(threads) as pool:
        rows = sum(pool.map(_scan, found)) if threads > 1 else sum(map(_scan, found))
    return Result(rows=rows, seconds=time.perf_counter() - began, peak=own_peak())


def _scan(run: Any) -> int:
    return sum(1 for _ in run.scan_history())


def pull_ours(out: Path) -> Result:
    """Download the project into a sealed and verified bundle."""
    # pyarrow imports pandas, and httpx imports httpcore, on first use; these count as imports too.
    import httpcore  # noqa: F401
    import pandas as pd  # noqa: F401

    from pull_logs.fetch.pipeline import pull_sync
    from pull_logs.fetch.selection import Selection

    began = time.perf_counter()
    report = pull_sync(Selection(projects=(PROJECT_PATH,)), out=out)
    seconds = time.perf_counter() - began
    if report.incomplete:
        raise SystemExit(f"incomplete: {report.incomplete[0]}")
    return Result(rows=report.seal.rows, seconds=seconds, peak=own_peak(), bundle_bytes=report.seal.bytes)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("side", choices=("loop", "pool", "ours"))
    parser.add_argument("options", type=json.loads)
    arguments = parser.parse_args()
    side, options = arguments.side, arguments.options
    if side == "ours":
        result = pull_ours(Path(options["out"]))
    else:
        result = read_with_sdk(threads=THREADS if side == "pool" else 1, runs=options["runs"])
    print(json.dumps(asdict(result)), flush=True)
