"""Measure questions about thousands of runs on one process, on several, and on a Dask cluster.

    python benchmarks/engine.py                       # 10,000 runs x 500 rows; 1 and 2 processes, Dask with 2
    python benchmarks/engine.py --runs 1000 --work D  # another size; D keeps the bundle for the next
    python benchmarks/engine.py --question export     # one question, by its title
    python benchmarks/engine.py --memory              # peak of the parent at 1,000, 10,000 and 100,000 runs
    python benchmarks/engine.py --memory --set        # the same of bundle sets, with members of 2,000 runs
    python benchmarks/engine.py --quick               # 40 runs x 20 rows: checks that it works

Each question is a process of its own, the start of Python and of its workers included; the cluster is started
before, as on a real one. Every answer is compared, byte for byte, with that of one process; of an export, its
files. The processor time is that of the command and its processes; workers of Dask are not children of it.
Linux only.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median

from histories import HistorySet
from views import measured, with_empty_cache, written_bundle, written_set

MAIN = """
import re, sys
from pull_logs.cli.main import run
if __name__ == "__main__":
    try:
        run()
    finally:
        status = open("/proc/self/status").read()
        print(1024 * int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]), file=sys.stderr)
"""
"""Runs a command and prints its peak memory in bytes; worker processes import it, and run nothing."""

QUESTIONS: Mapping[str, Sequence[str]] = {
    "compare --at 250": ("compare", "--at", "250", "--best", "val/loss:min", "--top", "5"),
    "compare --column mean": ("compare", "--column", "m=mean(val/loss)", "--sort", "m:min", "--top", "5"),
    "overview, first": ("overview",),
    "compare --where": ("compare", "--where", "val/loss < 1.5", "--best", "val/loss:min", "--top", "5"),
    "--stats of all metrics": ("--stats", "--section", "stats"),
    "overview --assert any": ("overview", "--assert", "any: val/loss < 1e9"),
    "verify": ("verify",),
    "export": ("export", "--force"),
}

EXPORT = "export"
"""The folder that an export writes, next to the bundle."""


def main(arguments: Sequence[str]) -> int:
    """Measure every question on every engine and print a table."""
    options = _options(arguments)
    with ExitStack() as stack:
        folder = options.work or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pull-logs-")))
        if options.memory:
            _print_memory(folder, options.question or QUESTIONS, in_sets=options.set, quick=options.quick)
            return 0
        runs, rows = (40, 20) if options.quick else (options.runs, options.rows)
        bundle = written_bundle(folder, HistorySet(name="views", runs=runs, rows=rows))
        engines: dict[str, list[str]] = {"1 process": ["--jobs", "1"], "2 processes": ["--jobs", "2"]}
        engines["Dask, 2 workers"] = ["--engine", stack.enter_context(_cluster())]
        print(f"{runs:,} runs x {rows:,} rows x 20 metrics, {bundle.stat().st_size / 1e6:.1f} MB\n")
        print(f"| question | {' | '.join(engines)} | same bytes |\n|---|{'---|' * (len(engines) + 1)}")
        for title in options.question or QUESTIONS:
            words = QUESTIONS[title]
            at = (*words[:2], "10", *words[3:]) if options.quick and "--at" in words else words
            print(_line(title, at, engines, bundle, folder, repeats=options.repeats), flush=True)
    return 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=10_000, metavar="N", help="default 10,000")
    parser.add_argument("--rows", type=int, default=500, metavar="N", help="default 500")
    parser.add_argument("--repeats", type=int, default=3, choices=range(1, 21), metavar="N", help="default 3")
    parser.add_argument("--question", action="append", choices=QUESTIONS, metavar="TITLE", help="default all")
    parser.add_argument("--memory", action="store_true", help="measure the memory of the parent alone")
    parser.add_argument("--set", action="store_true", help="measure memory over bundle sets")
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--work", type=Path, help="keep the bundle here for the next run")
    return parser.parse_args(arguments)


@contextmanager
def _cluster() -> Iterator[str]:
    """Start a scheduler and two workers in processes of their own, and yield its address for `--engine`."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        yield cluster.scheduler_address.replace("tcp://", "dask://")


def _command(words: Sequence[str], bundle: Path, engine: Sequence[str]) -> list[str]:
    if words[0] in ("export", "verify"):
        out = ["-o", str(bundle.with_name(EXPORT))] if words[0] == "export" else []
        own = [*words, str(bundle), *out, *engine]
    else:
        own = [*words, "-b", str(bundle), "--max-tokens", "0", "--no-hints", *engine]
    return [sys.executable, "-c", MAIN, *own]


def _written(folder: Path) -> str:
    """Return the hash of the files in a folder."""
    found = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            found.update(f"{file.relative_to(folder)} {file.stat().st_size} ".encode())
            found.update(file.read_bytes())
    return found.hexdigest()


def _line(
    title: str,
    words: Sequence[str],
    engines: Mapping[str, Sequence[str]],
    bundle: Path,
    folder: Path,
    *,
    repeats: int,
) -> str:
    """Measure a question on each engine, by turns."""
    walls: dict[str, list[float]] = {name: [] for name in engines}
    processors: dict[str, list[float]] = {name: [] for name in engines}
    answers = set()
    for _ in range(repeats):
        for name, engine in engines.items():
            found = measured(with_empty_cache(folder / "cache", _command(words, bundle, engine)))
            walls[name].append(found.wall)
            processors[name].append(found.processor)
            answers.add((found.output, _written(bundle.with_name(EXPORT)) if words[0] == "export" else ""))
    cells = [f"{median(walls[name]):.2f} s, {median(processors[name]):.2f} s" for name in engines]
    return f"| {title} | {' | '.join(cells)} | {'yes' if len(answers) == 1 else 'NO'} |"


def _print_memory(folder: Path, titles: Iterable[str], *, in_sets: bool, quick: bool) -> None:
    """Print the peak memory of the parent of two processes, of more and more short runs."""
    sizes = (10, 40) if quick else (1_000, 10_000, 100_000)
    written = partial(written_set, size=20 if quick else 2_000) if in_sets else written_bundle
    bundles = [written(folder, HistorySet(name="views", runs=runs, rows=20)) for runs in sizes]
    heads = [f"{runs:,} runs" for runs in sizes]
    print(f"| question, --jobs 2 | {' | '.join(heads)} |\n|---|{'---|' * len(sizes)}")
    for title in titles:
        words = QUESTIONS[title]
        at = (*words[:2], "10", *words[3:]) if "--at" in words else words
        ask = partial(_command, at, engine=["--jobs", "2"])
        peaks = [measured(with_empty_cache(folder / "cache", ask(bundle))).peak for bundle in bundles]
        print(f"| {title} | {' | '.join(f'{peak / 1e6:.0f} MB' for peak in peaks)} |", flush=True)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
