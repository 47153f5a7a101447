"""Measure a replay server with 10,000 runs: its start, listings, and memory while runs are read.

    python benchmarks/replay.py [--runs 10000]

Each side runs in a process of its own. The start is compared with the simple approach: reading the record of
every run before the first answer. Prints one line of JSON per measurement.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
from memory import own_peak

from pull_logs.replay import ReplayServer, serve_bundle
from pull_logs.rows.batches import batch_from_rows
from pull_logs.runs import Coverage, RunInfo, RunPath
from pull_logs.snapshot.read.bundle import open_bundle
from pull_logs.snapshot.write.run_sources import BundleRun
from pull_logs.snapshot.write.seal import write_bundle

ROWS = 20
READ = 3000
"""The number of runs whose histories are read while memory is measured."""

_PAGE = """
query Runs($filters: JSONString, $order: String, $first: Int) {
  project(name: "big", entityName: "acme") {
    runCount(filters: $filters)
    runs(filters: $filters, order: $order, first: $first) { edges { node { name state } } }
  }
}
"""
_RUN = """
query Run($name: String!) {
  project(name: "big", entityName: "acme") { run(name: $name) { config summaryMetrics history(samples: 50) } }
}
"""


def make_bundle(path: Path, runs: int) -> None:
    """Write a project of small runs with configs of thirty keys."""
    write_bundle(path, (_small_run(at, runs) for at in range(runs)), force=True)


def _small_run(at: int, runs: int) -> BundleRun:
    batch = batch_from_rows(
        [{"_step": step, "loss": 1 / (step + 1), "acc": at / runs} for step in range(ROWS)]
    )
    info = RunInfo(
        path=RunPath("acme", "big", f"r{at:05}"),
        name=f"run {at}",
        state="finished",
        created_at=f"2026-11-{1 + at % 28:02}T10:00:00Z",
        config={"lr": at / runs, **{f"option{number}": number for number in range(30)}},
        summary={"loss": 1 / (at + 1)},
    )
    coverage = Coverage(received_rows=ROWS, received_last_step=ROWS - 1)
    return BundleRun(info=info, coverage=coverage, batches=lambda: [batch])


def ask(server: ReplayServer, client: httpx.Client, query: str, **variables: object) -> float:
    """Send a query and return the seconds until its answer."""
    began = time.perf_counter()
    body = {"query": query, "variables": variables}
    answer = client.post(f"{server.url}/graphql", json=body)
    assert "errors" not in answer.json(), answer.text
    return time.perf_counter() - began


def peak() -> float:
    """Return the peak memory of this process so far, in megabytes."""
    return own_peak() / 1e6


def measure_server(path: str) -> None:
    """Measure the start, three listings, and the memory while many runs are read."""
    began, worked = time.perf_counter(), time.process_time()
    with serve_bundle(path, memory=16_000_000) as server:
        started, worked = time.perf_counter() - began, time.process_time() - worked
        with httpx.Client(auth=("api", server.api_key), timeout=600, trust_env=False) as client:
            figures: dict[str, object] = {"side": "serve", "start_seconds": round(started, 3)}
            figures["start_processor_seconds"] = round(worked, 3)
            figures["start_megabytes"] = round(peak())
            figures["first_page_seconds"] = round(ask(server, client, _PAGE, first=50), 3)
            wanted = '{"config.lr": {"$lt": 0.5}, "summary_metrics.loss": {"$gt": 0}}'
            figures["filtered_seconds"] = round(ask(server, client, _PAGE, first=50, filters=wanted), 3)
            figures["ordered_seconds"] = round(ask(server, client, _PAGE, first=50, order="-config.lr"), 3)
            ask(server, client, _RUN, name="r00000")
            figures["megabytes_after_1_run"] = round(peak())
            for at in range(1, READ + 1):
                ask(server, client, _RUN, name=f"r{at:05}")
                if at in (READ // 3, READ * 2 // 3, READ):
                    figures[f"megabytes_after_{at}_runs"] = round(peak())
    sys.stdout.write(json.dumps(figures) + "\n")


def measure_records(path: str) -> None:
    """Measure reading every record first."""
    began, worked = time.perf_counter(), time.process_time()
    with open_bundle(path) as bundle:
        records = [run.info for run in bundle.runs()]
        seconds, worked = time.perf_counter() - began, time.process_time() - worked
    figures = {
        "side": "all records first",
        "runs": len(records),
        "start_seconds": round(seconds, 3),
        "start_processor_seconds": round(worked, 3),
        "start_megabytes": round(peak()),
    }
    sys.stdout.write(json.dumps(figures) + "\n")


def main() -> None:
    """Make the bundle, then measure each side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--bundle", default="", help="a bundle from an earlier run")
    parser.add_argument("--side", choices=["serve", "records"])
    options = parser.parse_args()
    if options.side:
        (measure_server if options.side == "serve" else measure_records)(options.bundle)
        return
    with tempfile.TemporaryDirectory() as folder:
        bundle = options.bundle or f"{folder}/many.wandb.zip"
        if not options.bundle:
            make_bundle(Path(bundle), options.runs)
        for side in ("serve", "records", "serve", "records"):
            subprocess.run(
                [sys.executable, __file__, "--bundle", bundle, "--side", side], check=True, timeout=1200
            )


if __name__ == "__main__":
    main()
