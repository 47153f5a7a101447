"""One side of a comparison, in a process of its own; the environment names the server.

    python benchmarks/contender.py bare|loop|pool|ours OPTIONS

OPTIONS is JSON. Prints one line of JSON: rows read, seconds, and peak memory. The seconds do not include the
imports of the SDK and of the bare requests. The process is measured from outside too.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from memory import own_peak

ENTITY, PROJECT = "acme", "bench"
PROJECT_PATH = f"{ENTITY}/{PROJECT}"

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


def read_bare() -> Result:
    """Send the requests of a pull, and decode nothing."""
    import anyio
    import bare

    began = time.perf_counter()
    rows = anyio.run(bare.read_bare, ENTITY, PROJECT)
    return Result(rows=rows, seconds=time.perf_counter() - began, peak=own_peak())


def pull_ours(out: Path) -> Result:
    """Run the command `pull-logs fetch`; its report says how long the download took."""
    from pull_logs.cli.main import run

    report = out.with_suffix(".json")
    words = ["fetch", "-p", PROJECT_PATH, "-o", str(out), "--report-json", str(report), "--strict"]
    sys.argv[1:] = words
    with redirect_stdout(io.StringIO()), suppress(SystemExit):
        run()
    found = json.loads(report.read_bytes())
    return Result(
        rows=found["rows"], seconds=found["seconds"], peak=own_peak(), bundle_bytes=out.stat().st_size
    )


if __name__ == "__main__":
    # httpx imports trio wherever it is installed, which with pull-logs is for its tests only.
    sys.modules["trio"] = None  # type: ignore[assignment]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("side", choices=("bare", "loop", "pool", "ours"))
    parser.add_argument("options", type=json.loads)
    arguments = parser.parse_args()
    side, options = arguments.side, arguments.options
    if side == "ours":
        result = pull_ours(Path(options["out"]))
    elif side == "bare":
        result = read_bare()
    else:
        result = read_with_sdk(threads=THREADS if side == "pool" else 1, runs=options["runs"])
    print(json.dumps(asdict(result)), flush=True)
