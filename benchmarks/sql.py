"""Measure `pull-logs sql` next to plain DuckDB over the same files, unzipped.

    python benchmarks/sql.py                       # 5,000 runs x 500 rows x 20 metrics, and 4 long runs
    python benchmarks/sql.py --runs 500 --work D  # another size; D keeps the bundles for the next
    python benchmarks/sql.py --quick               # small sizes: checks that it works

Each side is a process of its own, the start of Python included, with two threads. DuckDB reads the Hive
folders with `union_by_name`, as docs/bundle-format.md shows it. Linux only.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from histories import HistorySet

from pull_logs.rows.batches import batch_from_arrow
from pull_logs.snapshot import BundleRun, write_bundle

_AIM = 1.3

_DUCKDB = """
import sys
import duckdb
folder, query = sys.argv[1:]
duckdb.sql("SET threads = 2")
duckdb.sql("SET enable_progress_bar = false")
files = f"read_parquet('{folder}/runs/**/history.parquet', hive_partitioning = true, union_by_name = true)"
print(len(duckdb.sql(query.replace("FROM history", f"FROM {files}")).fetchall()))
"""

_OURS = """
import sys
from pull_logs.analyze.sql import open_query
from pull_logs.snapshot import open_bundle
with open_bundle(sys.argv[1]) as bundle, open_query(list(bundle.runs()), sys.argv[2]) as rows:
    print(len(list(rows)))
"""

_QUERIES: Mapping[str, str] = {
    "one metric": 'SELECT run, min("{0}"), arg_max("{0}", _step) FROM history GROUP BY run',
    "four metrics": 'SELECT run, min("{0}"), max("{1}"), avg("{2}"), count("{3}") FROM history GROUP BY run',
    "all metrics": "SELECT run, {all} FROM history GROUP BY run",
    "one run": "SELECT _step, \"{0}\" FROM history WHERE run = '{run}'",
    "last steps": 'SELECT run, avg("{0}") FROM history WHERE _step >= {late} GROUP BY run',
    "count": "SELECT count(*) FROM history",
}


@dataclass(frozen=True, slots=True)
class _Timed:
    """How long a query took, in seconds of the clock and of processors, and how many rows its answer has."""

    seconds: float
    processor: float
    rows: int


def main(arguments: Sequence[str]) -> int:
    """Measure every query and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5000)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(arguments)
    many, long = ((40, 20), (2, 100_000)) if options.quick else ((options.runs, options.rows), (4, 1_000_000))
    print(f"| runs x rows | query | sql: clock, processor | DuckDB | times (aim: {_AIM}) |")
    print("|---|---|---|---|---|")
    with ExitStack() as stack:
        work = options.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for runs, rows in (many, long):
            _measure_set(work, HistorySet(name=f"sql-{runs}-{rows}", runs=runs, rows=rows), options)
    return 0


def _measure_set(work: Path, histories: HistorySet, options: argparse.Namespace) -> None:
    bundle, plain = _written(work, histories)
    names = [name for name in histories.table(0).column_names if not name.startswith("_")]
    texts = {
        "all": ", ".join(f'min("{name}"), max("{name}")' for name in names),
        "run": _path(0).rpartition("/")[2],
        "late": histories.rows - histories.rows // 10,
    }
    for title, form in _QUERIES.items():
        query = form.format(*names, **texts)
        ours, theirs = (
            _best([sys.executable, "-c", script, str(where), query], 1 if options.quick else options.repeats)
            for script, where in ((_OURS, bundle), (_DUCKDB, plain))
        )
        assert ours.rows == theirs.rows, (title, ours, theirs)
        size = f"{histories.runs:,} x {histories.rows:,}"
        times = ours.seconds / theirs.seconds
        print(
            f"| {size} | {title} | {ours.seconds:.2f} s, {ours.processor:.2f} s"
            f" | {theirs.seconds:.2f} s, {theirs.processor:.2f} s | {times:.2f} |",
            flush=True,
        )


def _written(work: Path, histories: HistorySet) -> tuple[Path, Path]:
    """Return the bundle, and the folder that it was unzipped to."""
    bundle, plain = work / f"{histories.name}.wandb.zip", work / histories.name
    if not bundle.exists():
        write_bundle(bundle, (_run(histories, number) for number in range(histories.runs)))
    if not plain.exists():
        with zipfile.ZipFile(bundle) as file:
            file.extractall(plain)
    return bundle, plain


def _path(number: int) -> str:
    return f"acme/sql/run{number:05d}"


def _run(histories: HistorySet, number: int) -> BundleRun:
    table: Callable[[], list[object]] = partial(_batch, histories, number)
    return BundleRun(info=histories.info(number), coverage=histories.coverage(), batches=table)


def _batch(histories: HistorySet, number: int) -> list[object]:
    return [batch_from_arrow(histories.table(number))]


def _best(command: list[str], repeats: int) -> _Timed:
    timed = [_once(command) for _ in range(repeats)]
    return _Timed(median(one.seconds for one in timed), median(one.processor for one in timed), timed[0].rows)


def _once(command: list[str]) -> _Timed:
    root = str(Path(__file__).resolve().parent.parent)
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": root})
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return _Timed(wall, processor, int(done.stdout))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
