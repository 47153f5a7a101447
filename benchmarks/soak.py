"""Let many `wandb.Api()` readers use one replay server at once; compare every row and watch memory.

    python benchmarks/soak.py --readers 50 --seconds 60

Each reader is a `wandb.Api()` in a thread of its own, ten per process (the SDK's service handles ten requests
of a process at a time). It reads runs in random order, by complete scans, scans of two keys and listings,
without the SDK's cache, and compares the answers with the rows of the bundle. The SDK downloads an exported
file to one file per run in its cache folder and overwrites it while another scan still reads it; so each
process has its own folder, in which no two threads scan one run at a time. The server runs in this process.
Exits with 1 if a row was wrong, an error occurred, or memory grew.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pull_logs.replay import ReplayServer, serve_bundle
from pull_logs.replay.environment import without_wandb
from pull_logs.rows.batches import batch_from_rows
from pull_logs.rows.canonical import canon_row, same
from pull_logs.runs import Coverage, RunInfo, RunPath
from pull_logs.snapshot import BundleRun, open_bundle, write_bundle

RUNS, ROWS = 60, 400
ENTITY, PROJECT = "acme", "soak"
MEMORY = 16_000_000
"""Bytes for decoded histories, and for exports: too few for all runs, so that entries are dropped."""
PER_PROCESS = 10
_SETTLED = 0.25
"""The share of the time after which memory counts as settled."""
MOST_GROWTH = 1.10
_PAGE = os.sysconf("SC_PAGE_SIZE")

Row = dict[str, Any]


def rows_of(number: int) -> list[Row]:
    """Return the unique history of a run; every third one has to be served live."""
    rows: list[Row] = []
    for step in range(ROWS):
        row: Row = {"_step": step, "_timestamp": 1.7e9 + step, "loss": number + 1 / (step + 1)}
        row |= {f"m{at}": number * 1000 + step * (at + 0.5) for at in range(20)}
        if number % 3 == 0:
            row["odd"] = (f"text {number}", 2**70 + number, number + 0.5)[step % 3]
        rows.append(row)
    return rows


def write(path: Path) -> None:
    """Write the bundle that is read."""
    runs = []
    for number in range(RUNS):
        info = RunInfo(
            path=RunPath(ENTITY, PROJECT, f"run{number:03}"),
            name=f"run {number}",
            state="running" if number % 10 == 1 else "finished",
            created_at=f"2026-01-01T00:00:{number:02}Z",
            config={"number": number},
        )
        batch = batch_from_rows(rows_of(number))
        coverage = Coverage(received_rows=ROWS, received_last_step=ROWS - 1)
        runs.append(BundleRun(info=info, coverage=coverage, batches=lambda batch=batch: [batch]))  # type: ignore[misc]  # bound now
    write_bundle(path, runs, force=True)


@dataclass(slots=True)
class Seen:
    """The results of one process of readers."""

    reads: int = 0
    rows: int = 0
    wrong: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    turns: Mapping[str, threading.Lock] = field(
        default_factory=lambda: defaultdict(threading.Lock), repr=False
    )

    def note(self, *, rows: int, fault: str) -> None:
        """Count one read."""
        with self.lock:
            self.reads += 1
            self.rows += rows
            if fault:
                self.wrong.append(fault)


def as_the_sdk_gives(row: Mapping[str, Any]) -> Row:
    """Return a row with integers beyond 64 bits as floats, as the SDK decodes them."""
    return canon_row(
        {
            key: float(value) if isinstance(value, int) and abs(value) >= 2**63 else value
            for key, value in row.items()
        }
    )


def read_once(api: Any, expected: Mapping[str, Sequence[Row]], chance: random.Random, seen: Seen) -> None:
    """Read something and compare it."""
    kind = chance.choice(("scan", "scan", "keys", "list"))
    if kind == "list":
        least = chance.randrange(RUNS)
        found = [
            run.id
            for run in api.runs(
                f"{ENTITY}/{PROJECT}", filters={"config.number": {"$gte": least}}, per_page=20
            )
        ]
        right = [f"run{number:03}" for number in range(least, RUNS)]
        seen.note(rows=0, fault="" if found == right else f"listing from {least}: {found}")
        return
    run_id = chance.choice(sorted(expected))
    run = api.run(f"{ENTITY}/{PROJECT}/{run_id}")
    keys = ["_step", f"m{chance.randrange(20)}"] if kind == "keys" else None
    with seen.turns[run_id]:
        rows = [canon_row(row) for row in run.scan_history(keys=keys, use_cache=False)]
    complete = expected[run_id]
    right_rows = [{key: row[key] for key in keys} for row in complete] if keys else list(complete)
    fine = same(rows, right_rows) and run.config == {"number": int(run_id[3:])}
    seen.note(rows=len(rows), fault="" if fine else f"{kind} of {run_id}: {len(rows)} rows")


def reader_process(bundle: str, readers: int, seconds: float, seed: int) -> None:
    """Read from several threads until the time is over, and print the results."""
    import wandb

    with open_bundle(bundle) as opened:
        expected = {
            run.path.run_id: [as_the_sdk_gives(row) for row in run.scan_history()] for run in opened.runs()
        }
    apis = [wandb.Api() for _ in range(readers)]
    print("ready", flush=True)
    sys.stdin.readline()
    seen, end = Seen(), time.monotonic() + seconds

    def work(index: int) -> None:
        chance = random.Random(seed * 1000 + index)
        while time.monotonic() < end:
            try:
                read_once(apis[index], expected, chance, seen)
            except Exception as exc:  # noqa: BLE001 - the soak counts every error
                with seen.lock:
                    seen.errors.append(f"{type(exc).__name__}: {exc}"[:300])

    with ThreadPoolExecutor(readers) as pool:
        list(pool.map(work, range(readers)))
    print(
        json.dumps(
            {"reads": seen.reads, "rows": seen.rows, "wrong": seen.wrong[:5], "errors": seen.errors[:5]}
        )
    )


def resident() -> int:
    """Return the memory of this process in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


@contextmanager
def watched(every: float) -> Iterator[list[int]]:
    """Sample the memory of this process while the block runs."""
    samples, over = [resident()], threading.Event()

    def watch() -> None:
        while not over.wait(every):
            samples.append(resident())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield samples
    finally:
        over.set()
        thread.join()


def run_readers(
    server: ReplayServer, bundle: Path, readers: int, seconds: float
) -> tuple[dict[str, Any], list[int]]:
    """Start all readers at once; return their results and samples of the server's memory."""
    environment = {**without_wandb(os.environ), **server.environment()}
    with ExitStack() as stack:
        processes = []
        for seed, first in enumerate(range(0, readers, PER_PROCESS)):
            count = min(PER_PROCESS, readers - first)
            cache = stack.enter_context(tempfile.TemporaryDirectory(prefix="pull-logs-soak-cache-"))
            words = [sys.executable, __file__, "--reader", str(bundle), str(count), str(seconds), str(seed)]
            processes.append(
                stack.enter_context(
                    subprocess.Popen(
                        words,
                        env=environment | {"WANDB_CACHE_DIR": cache},
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        text=True,
                    )
                )
            )
        for process in processes:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
        server.requests.clear()
        with watched(1.0) as samples:
            for process in processes:
                assert process.stdin
                process.stdin.write("go\n")
                process.stdin.flush()
            results = [json.loads(process.communicate()[0]) for process in processes]
    together = {
        "reads": sum(one["reads"] for one in results),
        "rows": sum(one["rows"] for one in results),
        "wrong": [text for one in results for text in one["wrong"]],
        "errors": [text for one in results for text in one["errors"]],
    }
    return together, samples


def main() -> int:
    """Run the soak and print its figures; return 0 if nothing was wrong."""
    parser = argparse.ArgumentParser(description="Many wandb.Api() readers of one replay server.")
    parser.add_argument("--readers", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pull-logs-soak-") as folder:
        bundle = Path(folder) / "soak.wandb.zip"
        write(bundle)
        with serve_bundle(bundle, memory=MEMORY) as server:
            results, samples = run_readers(server, bundle, options.readers, options.seconds)
            requests = server.requests.total
    settled = samples[int(len(samples) * _SETTLED) :]
    half = len(settled) // 2
    growth = statistics.median(settled[half:]) / statistics.median(settled[:half] or settled)
    figures = {
        "readers": options.readers,
        "seconds": options.seconds,
        "requests": requests,
        **results,
        "server_mb_each_5s": [round(size / 1e6) for size in samples[::5]],
        "growth": round(growth, 3),
    }
    print(json.dumps(figures, indent=1))
    fine = not results["wrong"] and not results["errors"] and results["reads"] > 0 and growth <= MOST_GROWTH
    return 0 if fine else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--reader"]:
        reader_process(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5]))
    else:
        raise SystemExit(main())
