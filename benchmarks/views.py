"""Measure views of thousands of runs next to one DuckDB query over the same files, unzipped.

    python benchmarks/views.py                       # 5,000 runs x 500 rows x 20 metrics, medians of three
    python benchmarks/views.py --runs 500 --work D  # another size; D keeps the bundle for the next
    python benchmarks/views.py --memory              # peak memory at 500, 5,000 and 50,000 runs of 20 rows
    python benchmarks/views.py --quick               # 40 runs x 20 rows: checks that it works

Each view is a process of its own, the start of Python included. DuckDB computes, in a process of its own and
with two threads, what the view shows: for every metric its count, extremes and last value in every run, or
the same for one metric. The first overview reads the histories of the metrics that may have a health flag;
the second one finds their flags in the local cache, as the second look at statistics does. Linux only.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from histories import HistorySet
from measuring import PEAK

from pull_logs.rows.batches import batch_from_arrow
from pull_logs.snapshot import BundleRun, add_bundles, open_store, write_bundle

_DUCKDB = """
import re, sys
import duckdb
folder, *metrics = sys.argv[1:]
files = f"read_parquet('{folder}/runs/**/history.parquet', hive_partitioning = true, union_by_name = true)"
names = [name for name, *_ in duckdb.sql(f"DESCRIBE SELECT * FROM {files}").fetchall()]
metrics = metrics or [n for n in names if not n.startswith("_") and n not in ("entity", "project", "run")]
columns = ", ".join(
    f'count("{n}"), min("{n}"), max("{n}"), arg_max("{n}", _step)' for n in metrics
)
duckdb.sql("SET threads = 2")
print(len(duckdb.sql(f"SELECT run, {columns} FROM {files} GROUP BY run ORDER BY run").fetchall()))
print(1024 * int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]), file=sys.stderr)
"""


def main(arguments: Sequence[str]) -> int:
    """Measure every view and print a table."""
    options = _options(arguments)
    if options.memory:
        _print_memory(options)
        return 0
    runs, rows = (40, 20) if options.quick else (options.runs, options.rows)
    histories = HistorySet(name="views", runs=runs, rows=rows)
    with ExitStack() as stack:
        folder = options.work or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pull-logs-")))
        bundle, plain = _written(folder, histories)
        print(f"{runs:,} runs x {rows:,} rows x 20 metrics, {bundle.stat().st_size / 1e6:.1f} MB\n")
        print("| view | wall | processor | peak memory |\n|---|---|---|---|")
        for title, command in _commands(bundle, plain, folder):
            print(_line(title, command, repeats=options.repeats), flush=True)
    return 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=5_000, metavar="N", help="default 5,000")
    parser.add_argument("--rows", type=int, default=500, metavar="N", help="default 500")
    parser.add_argument("--repeats", type=int, default=3, choices=range(1, 21), metavar="N", help="default 3")
    parser.add_argument("--memory", action="store_true", help="measure memory alone, of many short runs")
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--work", type=Path, help="keep the bundle here for the next run")
    return parser.parse_args(arguments)


def _print_memory(options: argparse.Namespace) -> None:
    """Print the peak memory of each view of more and more short runs."""
    sizes = (10, 40) if options.quick else (500, 5_000, 50_000)
    with ExitStack() as stack:
        folder = options.work or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pull-logs-")))
        commands: dict[str, list[Callable[[], list[str]]]] = {}
        for runs in sizes:
            bundle = written_bundle(folder, HistorySet(name="views", runs=runs, rows=20))
            for title, command in _views(bundle, folder):
                commands.setdefault(title, []).append(command)
        print(f"| view | {' | '.join(f'{runs:,} runs' for runs in sizes)} |\n|---|{'---|' * len(sizes)}")
        for title, several in commands.items():
            peaks = [measured(command()).peak for command in several]
            print(f"| {title} | {' | '.join(f'{peak / 1e6:.0f} MB' for peak in peaks)} |", flush=True)


def _written(folder: Path, histories: HistorySet) -> tuple[Path, Path]:
    """Return the bundle and the folder that it is unzipped to; they are written if they are not there."""
    bundle = written_bundle(folder, histories)
    plain = bundle.with_name(bundle.name.removesuffix(".wandb.zip"))
    if not plain.exists():
        with zipfile.ZipFile(bundle) as archive:
            archive.extractall(plain)
    return bundle, plain


def written_bundle(folder: Path, histories: HistorySet) -> Path:
    """Return the bundle, which is written if it is not there."""
    bundle = folder / f"{histories.runs}x{histories.rows}.wandb.zip"
    if not bundle.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_bundle(bundle, map(partial(_run, histories), range(histories.runs)))
    return bundle


def written_set(folder: Path, histories: HistorySet, *, size: int) -> Path:
    """Return a bundle set with members of so many runs, which is written if it is not there."""
    root = folder / f"{histories.runs}x{histories.rows}.set"
    if not root.exists():
        store = open_store(root, create=True)
        for start in range(0, histories.runs, size):
            member = folder / f"{histories.runs}x{histories.rows}-{start}.wandb.zip"
            numbers = range(start, min(start + size, histories.runs))
            write_bundle(member, map(partial(_run, histories), numbers), force=True)
            add_bundles(store, [member])
    return root


def _run(histories: HistorySet, number: int) -> BundleRun:
    batch = batch_from_arrow(histories.table(number))
    return BundleRun(info=histories.info(number), coverage=histories.coverage(), batches=lambda: [batch])


def _commands(bundle: Path, plain: Path, folder: Path) -> Iterator[tuple[str, Callable[[], list[str]]]]:
    yield from _views(bundle, folder)
    duckdb = [sys.executable, "-c", _DUCKDB, str(plain)]
    yield "DuckDB, all metrics", partial(_with_cache, folder / "cache", duckdb)
    yield "DuckDB, one metric", partial(_with_cache, folder / "cache", [*duckdb, "val/loss"])


def _views(bundle: Path, folder: Path) -> Iterator[tuple[str, Callable[[], list[str]]]]:
    ours = [sys.executable, "-c", PEAK]
    views = {
        "overview, first": ["overview"],
        "overview, again": ["overview"],
        "--schema": ["--schema"],
        "compare --best --top 5": ["compare", "--best", "val/loss:min", "--top", "5"],
        "compare --group-by --best": ["compare", "--group-by", "config.lr", "--best", "val/loss:min"],
        "compare, all runs": ["compare"],
        "compare --at best": ["compare", "--best", "val/loss:min", "--at", "best", "--top", "5"],
        "compare --assert": ["compare", "--best", "val/loss:min", "--top", "5", "--assert", "val/loss < 1e9"],
        "--stats of one metric": ["--stats", "--select", "^val/loss$"],
        "the same, again": ["--stats", "--select", "^val/loss$"],
        "the same, all runs": ["--stats", "--select", "^val/loss$", "--max-tokens", "0"],
        "no option": [],
        "info": ["info"],
    }
    cache = folder / "cache"
    for title, words in views.items():
        if title == "overview, first":
            yield title, partial(with_empty_cache, cache, [*ours, *words, str(bundle), "--no-hints"])
        elif title == "info":
            yield title, partial(_with_cache, cache, [*ours, *words, str(bundle)])
        else:
            yield title, partial(_with_cache, cache, [*ours, *words, "-b", str(bundle), "--no-hints"])


def with_empty_cache(cache: Path, command: list[str]) -> list[str]:
    """Return a command with this cache, which is emptied."""
    for file in cache.rglob("*.sqlite"):
        file.unlink()
    return _with_cache(cache, command)


def _with_cache(cache: Path, command: list[str]) -> list[str]:
    return [
        "env",
        f"XDG_CACHE_HOME={cache}",
        f"PYTHONPATH={os.pathsep.join(filter(None, sys.path))}",
        *command,
    ]


def _line(title: str, command: Callable[[], list[str]], *, repeats: int) -> str:
    found = [measured(command()) for _ in range(repeats)]
    walls = [one.wall for one in found]
    processor, peak = median(one.processor for one in found), median(one.peak for one in found)
    return (
        f"| {title} | {median(walls):.2f} s ({min(walls):.2f}-{max(walls):.2f})"
        f" | {processor:.2f} s | {peak / 1e6:.0f} MB |"
    )


@dataclass(frozen=True, slots=True)
class Measured:
    """A command that was measured.

    Attributes:
        wall: Its wall time in seconds.
        processor: Its processor time and that of its children.
        peak: Its peak memory in bytes.
        output: The hash of what it printed.
    """

    wall: float
    processor: float
    peak: int
    output: str


def measured(words: list[str]) -> Measured:
    """Run a command that prints its peak memory at the end of its errors (`PEAK`), and measure it."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    done = subprocess.run(words, check=False, capture_output=True)
    wall = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"{json.dumps(words[3:])} ended with {done.returncode}: {done.stderr.decode()}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    printed = hashlib.sha256(done.stdout).hexdigest()
    return Measured(wall, processor, int(done.stderr.split()[-1]), printed)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
