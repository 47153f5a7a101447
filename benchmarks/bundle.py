"""Measure size and speed of a bundle next to other formats for the same rows, and print the tables.

    python benchmarks/bundle.py [--only PART] [--repeats 3] [--quick] [--work DIR] [--json FILE]

Each side of each task runs in a process of its own (all in this one with `--quick`), in turns, `--repeats`
times; medians are printed. `benchmarks/README.md` describes what is measured.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import zstandard
from bundlework import TASKS
from formats import FORMATS, NAME, NDJSON, OURS, PARQUET
from histories import SETS, HistorySet, small

from pull_logs.rows.canonical import canonical_text
from pull_logs.snapshot.format.names import MANIFEST
from pull_logs.snapshot.read.bundle import open_bundle

HERE = Path(__file__).resolve().parent
RECORDED = HERE.parent / "fixtures" / "digits.wandb.zip"
PARTS = ("sizes", "seal", "read", "many")

_LIMIT_SECONDS = 900.0
_MANIFEST_ENTRY = 450
_SIZE_TITLES = ("rows", "JSON MB", *(f"{side} MB" for side in FORMATS), "bundle", "aim", "verdict")
_SPEED_TITLES = (
    "what",
    "side",
    "median",
    "range",
    "processor",
    "to the bundle's",
    "MB",
    "peak MB (before)",
    "aim",
    "verdict",
)

Results = Mapping[str, Sequence[Mapping[str, Any]]]
"""The measurements of each side of a task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A line of the table: a task and its aim.

    Attributes:
        part: The part of the table.
        what: The title of the line.
        task: The task of `bundlework`.
        histories: The set of histories.
        sides: The formats that are measured.
        seconds: The most seconds for the bundle; 0 for no aim.
        of_parquet: The most time for the bundle as a multiple of that for plain Parquet; 0 for no aim.
        rate: The fewest bytes of the bundle per second; 0 for no aim.
    """

    part: str
    what: str
    task: str
    histories: str = "float32"
    sides: Sequence[str] = tuple(FORMATS)
    seconds: float = 0.0
    of_parquet: float = 0.0
    rate: float = 0.0

    def aim(self) -> str:
        """Return the aim as text."""
        aims = [f"<= {_time(self.seconds)}"] if self.seconds else []
        aims += [f"<= {self.of_parquet} x {PARQUET}"] if self.of_parquet else []
        aims += [f">= {self.rate / 1e6:.0f} MB/s"] if self.rate else []
        return ", ".join(aims)

    def verdict(self, results: Results) -> str:
        """Return whether the aim was reached, and by how much it was missed."""
        ours = _seconds(results[OURS])
        if self.seconds:
            return _reached(ours / self.seconds)
        if self.of_parquet:
            return _reached(ours / _seconds(results[PARQUET]) / self.of_parquet)
        if self.rate:
            return _reached(self.rate * ours / results[OURS][0]["bytes"])
        return ""


FIGURES = (
    Figure(part="seal", what="sealed and verified, from Arrow columns", task="write", seconds=1.2),
    Figure(part="seal", what="sealed and verified, from JSON rows", task="write-json", seconds=5.0),
    Figure(part="read", what="all rows to pandas", task="load", of_parquet=1.2),
    Figure(part="read", what="one column of one run", task="column", seconds=0.003),
    Figure(part="read", what="verify, every byte", task="verify-quick", sides=(OURS,), rate=400e6),
    Figure(part="read", what="verify, every byte and every row", task="verify", sides=(OURS,)),
    Figure(
        part="many",
        what="opened, one run looked up",
        task="open",
        histories="many",
        sides=(OURS,),
        seconds=0.5,
    ),
    Figure(part="many", what="one column of one run", task="column", histories="many", sides=(OURS,)),
)

_LEAST_RATIO = {"float32": 8.0, "float64": 4.0}
"""How many times smaller than JSON a bundle should be."""


class Bench:
    """Runs tasks, and keeps written files for tasks that read them.

    Args:
        folder: The folder for the files.
        quick: Whether to use small sizes.
        repeats: How often each side does a task.
    """

    def __init__(self, folder: Path, *, quick: bool, repeats: int) -> None:
        self._folder, self._quick, self._repeats = folder, quick, repeats
        self.found: dict[str, Results] = {}

    def histories(self, name: str) -> HistorySet:
        """Return the set of that name, in the chosen size."""
        chosen = next(histories for histories in SETS if histories.name == name)
        return small(chosen) if self._quick else chosen

    def folder(self, name: str, side: str) -> Path:
        """Return the folder for the files of a side."""
        return self._folder / f"{name}-{'quick-' if self._quick else ''}{side.replace(' ', '-')}"

    def written(self, name: str, side: str) -> Path:
        """Return the folder of a side with its files, which are written if they are missing."""
        folder = self.folder(name, side)
        if not folder.exists():
            self._work("write", name, side)
        return folder

    def measure(self, figure: Figure) -> Results:
        """Let each side do a task, in turns."""
        results: dict[str, list[Mapping[str, Any]]] = {side: [] for side in figure.sides}
        if not figure.task.startswith("write"):
            for side in figure.sides:
                self.written(figure.histories, side)
        for _ in range(self._repeats):
            for side in figure.sides:
                results[side].append(self._work(figure.task, figure.histories, side))
        self.found[f"{figure.histories}: {figure.what}"] = results
        return results

    def _work(self, task: str, name: str, side: str) -> Mapping[str, Any]:
        print(f"{name}: {task}, {side}", file=sys.stderr, flush=True)
        if self._quick:
            return asdict(TASKS[task](side, self.histories(name), self.folder(name, side)))
        options = {"set": name, "side": side, "folder": str(self.folder(name, side))}
        done = subprocess.run(
            [sys.executable, str(HERE / "bundlework.py"), task, json.dumps(options)],
            stdout=subprocess.PIPE,
            check=True,
            timeout=_LIMIT_SECONDS,
        )
        measured: Mapping[str, Any] = json.loads(done.stdout)
        return measured


def main(arguments: Sequence[str]) -> int:
    """Measure the chosen parts and print the tables."""
    options = _options(arguments)
    parts = options.only or PARTS
    with ExitStack() as stack:
        folder = options.work or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pull-logs-")))
        folder.mkdir(parents=True, exist_ok=True)
        bench = Bench(folder, quick=options.quick, repeats=options.repeats)
        if "sizes" in parts:
            _print("Sizes", _SIZE_TITLES, _size_lines(bench, quick=options.quick))
        for part in PARTS[1:]:
            if part in parts:
                figures = [figure for figure in FIGURES if figure.part == part]
                title = _title(bench.histories(figures[0].histories))
                _print(title, _SPEED_TITLES, _speed_lines(bench, figures, quick=options.quick))
    if options.json:
        options.json.write_text(json.dumps(bench.found, indent=1))
    return 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", action="append", choices=PARTS, help="a part of the table; may be repeated")
    parser.add_argument("--repeats", type=int, default=3, choices=range(1, 21), metavar="N", help="default 3")
    parser.add_argument(
        "--quick", action="store_true", help="small sizes: checks that it works, not how fast"
    )
    parser.add_argument("--work", type=Path, help="keep written files here for the next run")
    parser.add_argument("--json", type=Path, help="write every measurement here")
    return parser.parse_args(arguments)


def _print(title: str, titles: Sequence[str], lines: Iterable[Sequence[str]]) -> None:
    print(f"\n### {title}\n\n| {' | '.join(titles)} |\n|{'---|' * len(titles)}", flush=True)
    for line in lines:
        print(f"| {' | '.join(line)} |", flush=True)


def _title(histories: HistorySet) -> str:
    return f"{histories.name}: {histories.runs:,} runs x {histories.rows:,} rows x 20 metrics"


def _size_lines(bench: Bench, *, quick: bool) -> Iterable[Sequence[str]]:
    for name in ("float32", "float64", "short"):
        sizes = {side: _size(bench.written(name, side)) for side in FORMATS}
        rows = _json_size(bench.written(name, NDJSON))
        least = _LEAST_RATIO.get(name)
        share = least * sizes[OURS] / rows if least else sizes[OURS] / sizes[NDJSON]
        yield (
            _title(bench.histories(name)),
            *(f"{size / 1e6:.2f}" for size in (rows, *sizes.values())),
            f"{rows / sizes[OURS]:.2f} x smaller, {sizes[OURS] / sizes[NDJSON]:.2f} of {NDJSON}",
            f">= {least:g} x smaller" if least else f"<= {NDJSON}",
            "" if quick else _reached(share),
        )
        entry = _manifest_entry(bench.written(name, OURS) / NAME)
        yield (
            f"{name}: bytes per entry of the manifest",
            *[""] * (len(FORMATS) + 1),
            f"{entry:.0f}",
            f"<= {_MANIFEST_ENTRY}",
            _reached(entry / _MANIFEST_ENTRY),
        )
    yield _recorded()


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


def _json_size(folder: Path) -> int:
    """Return the bytes of the JSON in NDJSON files."""
    return sum(int(zstandard.frame_content_size(file.read_bytes()[:32])) for file in folder.iterdir())


def _manifest_entry(bundle: Path) -> float:
    with open_bundle(bundle) as opened:
        return opened._container.sizes[MANIFEST] / len(opened.manifest.resources)  # noqa: SLF001 - the size is not public


def _recorded() -> Sequence[str]:
    """Return the line of the recorded runs, whose JSON includes configs, summaries and system metrics."""
    packer = zstandard.ZstdCompressor(level=3)
    rows = packed = 0
    with open_bundle(RECORDED) as bundle:
        for run in bundle.runs():
            texts = [canonical_text(row) for row in (*run.scan_history(), *run.system_rows())]
            texts += map(canonical_text, (run.config, run.summary, run.metadata))
            data = "\n".join(texts).encode()
            rows, packed = rows + len(data), packed + len(packer.compress(data))
        runs, count = len(bundle), sum(run.rows for run in bundle.runs())
    size = RECORDED.stat().st_size
    shown = {OURS: size, NDJSON: packed}
    return (
        f"recorded: {runs} runs, {count:,} rows, with configs and system metrics",
        f"{rows / 1e6:.2f}",
        *(f"{shown[side] / 1e6:.2f}" if side in shown else "" for side in FORMATS),
        f"{rows / size:.2f} x smaller, {size / packed:.2f} of {NDJSON}",
        "",
        "",
    )


def _speed_lines(bench: Bench, figures: Iterable[Figure], *, quick: bool) -> Iterable[Sequence[str]]:
    for figure in figures:
        results = bench.measure(figure)
        ours = _seconds(results[OURS])
        for side, some in results.items():
            times = sorted(one["seconds"] for one in some)
            moved = some[0]["bytes"]
            rate = f" ({moved / _seconds(some) / 1e6:.0f}/s)" if figure.task.startswith("verify") else ""
            mine = side == OURS
            yield (
                figure.what if mine else "",
                side,
                _time(_seconds(some)),
                f"{_time(times[0])} - {_time(times[-1])}",
                _time(median(one["processor"] for one in some)),
                "" if mine else f"{_seconds(some) / ours:.2f}",
                f"{moved / 1e6:.3g}{rate}",
                f"{max(one['peak'] for one in some) / 1e6:.0f} ({some[0]['before'] / 1e6:.0f})",
                figure.aim() if mine else "",
                figure.verdict(results) if mine and not quick else "",
            )


def _seconds(some: Sequence[Mapping[str, Any]]) -> float:
    return median(float(one["seconds"]) for one in some)


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 0.1 else f"{seconds * 1e3:.2f} ms"


def _reached(share: float) -> str:
    """Return the verdict for a figure, given as a share of its limit."""
    return "reached" if share <= 1 else f"missed by {share - 1:.0%}"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
