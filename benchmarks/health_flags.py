"""Measure how often the health flags of `overview` are found in labelled curves, and how often without cause.

    python benchmarks/health_flags.py                # 2,000 curves, the table of docs/health.md
    python benchmarks/health_flags.py --count 200    # roughly
    python benchmarks/health_flags.py --kinds        # each kind of curve, and what was found in it

Found: the curves that have the flag and got it. At its step: those where it begins in the rows that the label
allows. False alarms: the curves that do not have the flag and got it.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from labelled_curves import Labelled, labelled_curves

from pull_logs.analyze.health import FLAGS, Flag, find_flags
from pull_logs.frames import Column, numbers
from pull_logs.runs import RunInfo, RunPath


@dataclass(slots=True)
class Rate:
    """What became of one flag.

    Attributes:
        true: The curves that have it.
        found: Those of them that got it.
        placed: Those of them where it begins at the right step.
        other: The curves that do not have it.
        false: Those of them that got it.
    """

    true: int = 0
    found: int = 0
    placed: int = 0
    other: int = 0
    false: int = 0


def found_in(one: Labelled) -> dict[str, float]:
    """Return the flags that were found in a curve, and the rows where they begin."""
    count = len(next(iter(one.metrics.values())))
    steps = np.arange(count, dtype=np.int64) * one.every
    columns = {name: _column(values) for name, values in one.metrics.items()}
    times = None if one.timestamps is None else _column(one.timestamps)
    info = RunInfo(path=RunPath("a", "b", "c"), name="n", state="finished")
    found = find_flags(info, columns, steps, times)
    return {finding.flag: (finding.step or 0) / one.every for finding in found}


def _column(values: np.ndarray) -> Column:
    return Column.of(numbers(values))


def measure(curves: Iterable[Labelled]) -> tuple[Mapping[Flag, Rate], Mapping[str, Counter[str]]]:
    """Return the rates by flag, and by kind of curve how often each flag was found."""
    rates = {flag: Rate() for flag in FLAGS}
    kinds: dict[str, Counter[str]] = {}
    for one in curves:
        found = found_in(one)
        kinds.setdefault(one.kind, Counter()).update(["", *found, *(f"true {flag}" for flag in one.truth)])
        for flag, rate in rates.items():
            if allowed := one.truth.get(flag):
                rate.true += 1
                rate.found += flag in found
                rate.placed += flag in found and allowed[0] <= found[flag] <= allowed[1]
            else:
                rate.other += 1
                rate.false += flag in found
    return rates, kinds


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=2000, help="how many curves")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", action="store_true", help="show each kind of curve")
    options = parser.parse_args()
    rates, kinds = measure(labelled_curves(options.count, options.seed))
    if options.kinds:
        for name, counts in sorted(kinds.items()):
            shown = ", ".join(f"{flag} {count}" for flag, count in sorted(counts.items()) if flag)
            print(f"{name} ({counts['']}): {shown or 'nothing'}")
        return 0
    print("| flag | found | at its step | false alarms |\n|---|---|---|---|")
    for flag, rate in rates.items():
        found = f"{rate.found} of {rate.true}" if rate.true else "none made"
        print(f"| `{flag}` | {found} | {rate.placed if rate.true else ''} | {rate.false} of {rate.other} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
