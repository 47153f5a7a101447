"""Measure how long answers take: expressions next to pandas, statistics and comparisons of many runs.

    python benchmarks/analyze.py                 # all parts, three times each; prints medians
    python benchmarks/analyze.py --only stats    # one part
    python benchmarks/analyze.py --quick         # small sizes: checks that it works, not how fast

The parts and their aims:

    expressions   one --where and three --eval over 1,000,000 rows, next to the same in hand-written pandas:
                  at most 3 times its time
    stats         `pull-logs --stats` over 200 runs x 2,000 rows x 20 metrics: at most 1.5 s of wall time
    compare       `pull-logs compare` over 1,000 runs x 20 rows x 5 metrics: at most 3 s
    memory        the peak of `--stats` and of `compare` over one run of 1,000,000 rows, minus the peak of the
                  same command for one row: at most twice the columns in use

Each command is a process of its own, and the start of Python counts.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from measuring import PEAK
from workloads import Scenario, make_bundle

_EVALS = (
    ("gap", "val/loss - train/loss"),
    ("smooth", "ema(train/loss, 0.1)"),
    ("best", "cummin(val/loss)"),
)
_WHERE = "_step >= 1000 and (gap > 0.1 or smooth < best)"


def main(arguments: Sequence[str]) -> int:
    """Measure the chosen parts and print the results."""
    options = _options(arguments)
    with ExitStack() as stack:
        folder = options.work or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pull-logs-")))
        folder.mkdir(parents=True, exist_ok=True)
        for name, part in _PARTS.items():
            if not options.only or name in options.only:
                print(part(folder, options.quick, options.repeats), flush=True)
    return 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", action="append", choices=list(_PARTS), help="a part; may be repeated")
    parser.add_argument("--repeats", type=int, default=3, choices=range(1, 21), metavar="N", help="default 3")
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--work", type=Path, help="keep the synthetic bundles here for the next run")
    return parser.parse_args(arguments)


def _expressions(_folder: Path, quick: bool, repeats: int) -> str:  # noqa: FBT001 - all parts have one signature
    import numpy as np
    import pandas as pd

    from pull_logs.analyze.expressions.compile import compile_expression
    from pull_logs.frames.vector import Vector, numbers

    count = 20_000 if quick else 1_000_000
    rng = np.random.default_rng(0)
    steps = np.arange(count, dtype=np.int64)
    train = np.exp(-steps / count) + rng.standard_normal(count) * 0.05
    present = rng.random(count) < 0.3
    validation = np.where(present, train + 0.1, np.nan)
    columns = {
        "_step": numbers(steps),
        "train/loss": numbers(train),
        "val/loss": Vector("number", validation, present),
    }
    frame = pd.DataFrame({"_step": steps, "train/loss": train, "val/loss": validation})

    def ours() -> int:
        known = dict(columns)
        for name, text in _EVALS:
            known[name] = compile_expression(text, known).evaluate(known, count)
        kept = np.flatnonzero(compile_expression(_WHERE, known).condition(known, count))
        return min(len(vector.take(kept)) for vector in known.values())

    def theirs() -> int:
        known = frame.assign(
            gap=frame["val/loss"] - frame["train/loss"],
            smooth=frame["train/loss"].ewm(alpha=0.1, adjust=False).mean(),
            best=frame["val/loss"].cummin(),
        )
        kept = (known["_step"] >= 1000) & ((known["gap"] > 0.1) | (known["smooth"] < known["best"]))
        return len(known[kept])

    if ours() != theirs():
        raise SystemExit("expressions: both sides must keep the same rows")
    seconds, other = _seconds(ours, repeats), _seconds(theirs, repeats)
    ratio = seconds / other
    return (
        f"expressions: {count:,} rows, where and three evals: {seconds * 1e3:.0f} ms, "
        f"pandas {other * 1e3:.0f} ms, {ratio:.2f} times (aim: 3)"
    )


def _stats(folder: Path, quick: bool, repeats: int) -> str:  # noqa: FBT001
    scenario = Scenario(name="stats", runs=20 if quick else 200, rows=2_000)
    bundle = make_bundle(scenario, folder)
    words = ("-b", str(bundle), "--stats", "--no-hints")
    return f"stats: {_sizes(scenario)}: {_command_seconds(words, repeats)} (aim: 1.5 s)"


def _compare(folder: Path, quick: bool, repeats: int) -> str:  # noqa: FBT001
    scenario = Scenario(name="compare", runs=100 if quick else 1_000, rows=20, metrics=5)
    bundle = make_bundle(scenario, folder)
    words = ("compare", "-b", str(bundle), "--group-by", "config.lr", "--best", "metric_00:min")
    return f"compare: {_sizes(scenario)}: {_command_seconds(words, repeats)} (aim: 3 s)"


def _memory(folder: Path, quick: bool, _repeats: int) -> str:  # noqa: FBT001
    rows, metrics = (50_000 if quick else 1_000_000), 20
    one, many = (
        make_bundle(Scenario(name="memory", runs=1, rows=count, metrics=metrics), folder)
        for count in (1, rows)
    )
    columns = rows * (metrics + 1) * 8
    peaks = []
    for name, words in (("--stats", ("--stats",)), ("compare", ("compare",))):
        more = _peak((*words, "-b", str(many), "--no-hints")) - _peak((*words, "-b", str(one), "--no-hints"))
        peaks.append(f"{name} {more / 1e6:.0f} MB, {more / columns:.2f} times")
    return (
        f"memory: {rows:,} rows x {metrics} metrics, minus the memory for one row, "
        f"next to the columns in use of {columns / 1e6:.0f} MB: {'; '.join(peaks)} (aim: 2)"
    )


def _sizes(scenario: Scenario) -> str:
    return f"{scenario.runs:,} runs x {scenario.rows:,} rows x {scenario.metrics} metrics"


def _seconds(work: Callable[[], object], repeats: int) -> float:
    def once() -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return median(once() for _ in range(repeats))


def _command_seconds(words: Iterable[str], repeats: int) -> str:
    """Run a command and return its median wall and processor time as text."""
    walls, processors = [], []
    for _ in range(repeats):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "pull_logs", *words], check=True, stdout=subprocess.DEVNULL)
        walls.append(time.perf_counter() - start)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        processors.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return (
        f"{median(walls):.2f} s ({min(walls):.2f}-{max(walls):.2f}), {median(processors):.2f} s of processor"
    )


def _peak(words: Iterable[str]) -> int:
    """Run a command and return its peak memory in bytes."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    return int(done.stderr.split()[-1])


_PARTS: dict[str, Callable[[Path, bool, int], str]] = {
    "expressions": _expressions,
    "stats": _stats,
    "compare": _compare,
    "memory": _memory,
}

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
