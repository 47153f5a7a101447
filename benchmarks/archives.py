"""Compare a pull of everything with wandb-archive: time, requests, and what each keeps of a run.

    python benchmarks/archives.py --archiver PATH [--runs 20] [--repeats 3]

PATH is the command `wandb-archive`, from an environment of its own (it needs Python 3.12 or newer). Both read
the same server, which replays a bundle of runs with every kind of data (`everything.py`), each in a process
of its own with nothing cached, in turns; medians are printed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow.parquet as pq
from everything import LINES, SYSTEM_ROWS, history, make_runs
from measuring import Server, environment, serving
from workloads import Scenario

from pull_logs.rows.canonical import same
from pull_logs.snapshot import Run, open_bundle

OURS, OTHER = "pull-logs fetch", "wandb-archive backup"
_CONFIG = """
source: {{entity: acme, base_url: {url}}}
destination: {{type: local, path: {out}}}
archive:
  include:
    {{code: true, console_logs: true, run_files: all, logged_artifacts: all, used_artifacts: references}}
  security: {{profile: private}}
"""
Kept = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass of one side: wall time and the requests that it took."""

    seconds: float
    requests: int
    graphql: int


def main(arguments: Sequence[str]) -> int:
    """Measure both sides, and print what each took and kept."""
    parser = argparse.ArgumentParser(description="compare a pull of everything with wandb-archive")
    parser.add_argument("--archiver", required=True, type=Path, help="the command wandb-archive")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="pull-logs-") as name:
        folder = Path(name)
        make_runs(folder / "all.wandb.zip", runs=options.runs)
        scenario = Scenario(name="archives", runs=options.runs, rows=len(history()))
        passes: dict[str, list[Pass]] = {OURS: [], OTHER: []}
        with serving(scenario, folder / "all.wandb.zip") as server:
            for number in range(options.repeats):
                for side, found in passes.items():
                    out = folder / f"{number}"
                    out.mkdir(exist_ok=True)
                    found.append(_measure(server, side, out, options.archiver))
        _print(passes, _ours(folder / "0" / "out.wandb.zip"), _other(folder / "0" / "archive"), options.runs)
    return 0


def _measure(server: Server, side: str, out: Path, archiver: Path) -> Pass:
    if side == OURS:
        target = str(out / "out.wandb.zip")
        everything = ["--system", "--console", "--files", "*", "--artifacts", "all"]
        command = [sys.executable, "-m", "pull_logs", "fetch", "-p", "acme/bench", "-o", target, *everything]
    else:
        config = out / "archive.yaml"
        config.write_text(_CONFIG.format(url=server.url, out=out / "archive"), encoding="utf-8")
        command = [str(archiver.absolute()), "--quiet", "backup", str(config)]
    variables = {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": server.api_key, "HOME": str(out)}
    server.reset()
    began = time.perf_counter()
    done = subprocess.run(
        command, env=environment(variables), cwd=out, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{side} failed: {done.stderr[-500:]}")
    traffic = server.reset()
    return Pass(seconds, traffic["requests"], traffic["graphql"])


def _print(passes: Mapping[str, Sequence[Pass]], ours: Kept, other: Kept, runs: int) -> None:
    print(f"| {runs} runs | {OURS} | {OTHER} |\n|---|---|---|")
    for title, pick in (
        ("seconds", lambda one: one.seconds),
        ("requests", lambda one: one.requests),
        ("of them GraphQL", lambda one: one.graphql),
    ):
        cells = (f"{median(map(pick, found)):,.4g}" for found in passes.values())
        print(f"| {title} | {' | '.join(cells)} |")
    print(f"\n| of each run | {OURS} | {OTHER} |\n|---|---|---|")
    for title, kept in ours.items():
        print(f"| {title} | {kept} | {other[title]} |")


def _ours(out: Path) -> Kept:
    """Return what a bundle has of its first run, by kind."""
    with open_bundle(out) as bundle:
        run = bundle["run00000"]
        rows, expected = list(run.scan_history()), history()
        equal = sum(same(found, row) for found, row in zip(rows, expected, strict=True))
        logged = run.logged_artifacts()
        of_used = [entry for one in run.used_artifacts() for entry in one.entries.values()]
        return {
            "rows of the history": f"{equal} of {len(expected)} equal",
            "NaN and infinities": _values(rows, expected, "loss", range(3, 5)),
            "strings, booleans": _values(rows, expected, "phase", range(0, 500, 10)),
            "integers above 2^53": _values(rows, expected, "tokens", range(0, 500, 10)),
            "histograms": _values(rows, expected, "gradients", range(0, 500, 100)),
            "rows of system metrics": f"{_system_rows(run)} of {SYSTEM_ROWS}",
            "lines of the console log": f"{len(list(run.console_logs()))} of {LINES}",
            "run files, media included": f"{len(run.files)} of 4",
            "files of logged artifacts": f"{sum(len(one.entries) for one in logged)} of 2",
            "files of used artifacts": f"{sum(entry.ref is None for entry in of_used)} of 1",
            "references of artifacts": "recorded",
            "form": "one file",
        }


def _system_rows(run: Run) -> int:
    table = run.system_table()
    return 0 if table is None else int(table.num_rows)


def _values(
    rows: Sequence[Mapping[str, Any]], expected: Sequence[Mapping[str, Any]], key: str, steps: range
) -> str:
    kept = sum(same(rows[step].get(key), expected[step].get(key)) for step in steps)
    return f"{kept} of {len(steps)}"


def _other(out: Path) -> Kept:
    """Return what an archive has of the first run, by kind."""
    catalog = max((out / "catalogs").iterdir()) / "files.parquet"
    files = {
        one["logical_path"]: out / one["blob_path"]
        for one in pq.read_table(catalog).to_pylist()
        if one["run_path"] == "acme/bench/run00000"
    }
    metrics = pq.read_table(files["data/metrics.parquet"]).to_pylist()
    values = {(one["metric"], one["step"]): one["value"] for one in metrics}
    texts = sum(("phase", step) in values for step in range(0, 500, 10))
    longs = [(values.get(("tokens", row["_step"])), row["tokens"]) for row in history() if "tokens" in row]
    exact = sum(same(found, logged) for found, logged in longs)
    system = pq.read_metadata(files["data/system_metrics.parquet"]).num_rows
    raw = [name for name in files if name.startswith("raw/history/")]
    rows = sum(pq.read_metadata(files[name]).num_rows for name in raw)
    kinds = {name.split("/")[0] for name in files}
    return {
        "rows of the history": f"{rows} in the raw export, {len(metrics)} values in its table",
        "NaN and infinities": f"{sum(('loss', step) in values for step in (3, 4))} of 2 in its table",
        "strings, booleans": f"{texts} of 50 in its table",
        "integers above 2^53": f"{exact} of 50 exact in its table",
        "histograms": f"{pq.read_metadata(files['data/histograms.parquet']).num_rows} of 5",
        "rows of system metrics": f"{system} of {SYSTEM_ROWS}",
        "lines of the console log": f"{len(files['console.jsonl'].read_text().splitlines())} of {LINES}",
        "run files, media included": f"{sum(name.startswith('run-files/') for name in files)} of 4",
        "files of logged artifacts": f"{sum(name.startswith('artifacts/logged/') for name in files)} of 2",
        "files of used artifacts": "0 of 1 (`references`; `all` fails at the reference)",
        "references of artifacts": "recorded" if "artifacts.json" in kinds else "no",
        "form": f"{sum(one.is_file() for one in out.rglob('*'))} files",
    }


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
