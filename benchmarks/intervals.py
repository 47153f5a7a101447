"""Simulate how often the intervals of `compare` contain the true mean.

    python benchmarks/intervals.py --trials 4000   # the table of docs/statistics.md, about half a minute
    python benchmarks/intervals.py --trials 500    # roughly, in seconds

For each number of runs n, n values are drawn and the interval of their mean is computed, `--trials` times,
seeded. For normal data the t interval is exact; exponential data is skewed, as losses can be. The bootstrap
is the function that `--ci bootstrap` calls. Exits with 1 if a t interval of normal data is more than 1.5
points off 95% at n = 3 to 10.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from pull_logs.analyze.statistics.intervals import LEVEL, bootstrap_interval
from pull_logs.analyze.statistics.student_t import t_quantile

SIZES = (2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 50)
MUST = range(3, 11)
OFF = 0.015

Floats = npt.NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, int]], Floats]

SOURCES: dict[str, Draw] = {
    "normal": lambda generator, shape: generator.standard_normal(shape),
    "exponential": lambda generator, shape: generator.exponential(size=shape) - 1,
}


def t_coverage(drawn: Floats) -> float:
    """Return the share of t intervals that contain 0."""
    n = drawn.shape[1]
    half = t_quantile((1 + LEVEL) / 2, n - 1) * drawn.std(axis=1, ddof=1) / math.sqrt(n)
    return float((np.abs(drawn.mean(axis=1)) <= half).mean())


def bootstrap_coverage(drawn: Floats) -> float:
    """Return the share of bootstrap intervals that contain 0."""
    held = 0
    for values in drawn:
        low, high = bootstrap_interval(values)
        held += low <= 0 <= high
    return held / len(drawn)


def main() -> int:
    """Print the table; return 1 if the coverage of t intervals is off."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=20_000, help="intervals of each kind")
    parser.add_argument("--seed", type=int, default=1)
    trials = (options := parser.parse_args()).trials
    print(
        f"coverage of 95% intervals in {trials} trials (standard error {math.sqrt(0.05 * 0.95 / trials):.2%})"
    )
    print("n,t normal,bootstrap normal,t exponential,bootstrap exponential")
    off = []
    for n in SIZES:
        found = []
        for number, draw in enumerate(SOURCES.values()):
            drawn = draw(np.random.default_rng([options.seed, number, n]), (trials, n))
            found += [t_coverage(drawn), bootstrap_coverage(drawn)]
        print(f"{n},{','.join(f'{share:.1%}' for share in found)}", flush=True)
        if n in MUST and abs(found[0] - LEVEL) > OFF:
            off.append(n)
    if off:
        print(f"t intervals are more than {OFF:.1%} off at n = {off}")
    return int(bool(off))


if __name__ == "__main__":
    raise SystemExit(main())
