"""Simulate the verdicts of `compare`, its advice on seeds, and the regression gate.

    python benchmarks/verdicts.py                # the tables of docs/statistics.md: 10,000 trials
    python benchmarks/verdicts.py --trials 200   # roughly, in seconds

The tests are the functions that `compare` calls. Runs are drawn from a normal distribution with standard
deviation 1, seeded; in a pair, both runs share a part of their noise (`correlation`). Exits with 1 if false
alarms are more than alpha, or the gate finds a regression of two standard deviations at n = 5 and alpha 0.05
in fewer than 80% of trials, by more than three standard errors.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pull_logs.analyze.inference import (
    Difference,
    Sample,
    compare_samples,
    holm,
    permutation_p,
    plan_seeds,
)

Floats = npt.NDArray[np.float64]

TRIALS = 10_000
MOST_SEEDS = 100
"""The runs per group beyond which nobody follows the advice."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A measured share, and the bound that it must keep.

    Attributes:
        table: The table that it belongs to.
        row: Its row and column, in words.
        share: The share.
        at_most: What it may be at most; None without such a bound.
        at_least: What it must be at least.
    """

    table: str
    row: str
    share: float
    at_most: float | None = None
    at_least: float | None = None

    def holds(self, trials: int) -> bool:
        """Whether the bound is kept, within three standard errors."""
        slack = 3 * math.sqrt(0.25 / trials)
        if self.at_most is not None:
            slack = 3 * math.sqrt(self.at_most * (1 - self.at_most) / trials)
            return self.share <= self.at_most + slack
        return self.at_least is None or self.share >= self.at_least - slack


def difference_of(first: Floats, second: Floats, *, paired: bool) -> Difference:
    """Return the test of two groups as `compare` makes it."""
    keys = tuple(range(len(first))) if paired else (None,) * len(first)
    others = tuple(range(len(second))) if paired else (None,) * len(second)
    found = compare_samples(Sample(tuple(first.tolist()), keys), Sample(tuple(second.tolist()), others))
    if found is None:
        raise ValueError("a group has fewer than two values")
    return found


def draw(
    generator: np.random.Generator,
    n: int,
    *,
    correlation: float = 0.0,
    spread: float = 1.0,
    skewed: bool = False,
) -> tuple[Floats, Floats]:
    """Draw the noise of two groups of n runs.

    Args:
        generator: Where the numbers come from.
        n: Runs per group.
        correlation: The part of the variance that both runs of a pair share.
        spread: The standard deviation of the second group; that of the first is 1.
        skewed: Whether the noise is exponential instead of normal.
    """
    if skewed:
        return generator.exponential(size=n) - 1, (generator.exponential(size=n) - 1) * spread
    shared = generator.standard_normal(n) * math.sqrt(correlation)
    own = generator.standard_normal((2, n)) * math.sqrt(1 - correlation)
    return shared + own[0], (shared + own[1]) * spread


def share(trials: int, seed: Sequence[int], trial: Callable[[np.random.Generator], bool]) -> float:
    """Return the share of trials in which something is found."""
    generator = np.random.default_rng(list(seed))
    return sum(trial(generator) for _ in range(trials)) / trials


def found_better(
    n: int, *, shift: float = 0.0, paired: bool = False, alpha: float = 0.05, **noise: float
) -> Callable[[np.random.Generator], bool]:
    """Return a trial: whether two groups whose means differ by `shift` are found to be different."""

    def trial(generator: np.random.Generator) -> bool:
        first, second = draw(generator, n, **noise)  # type: ignore[arg-type]  # the keywords of draw
        return difference_of(first + shift, second, paired=paired).p < alpha

    return trial


def found_equivalent(
    n: int, *, shift: float, margin: float, paired: bool
) -> Callable[[np.random.Generator], bool]:
    """Return a trial: whether two groups whose means differ by `shift` are found to be equivalent."""

    def trial(generator: np.random.Generator) -> bool:
        first, second = draw(generator, n)
        return difference_of(first + shift, second, paired=paired).p_within(margin) < 0.05

    return trial


def gate_fails(
    n: int,
    *,
    alpha: float,
    worse: float = 0.0,
    margin: float = 0.0,
    metrics: int = 1,
    paired: bool = False,
    correlation: float = 0.0,
) -> Callable[[np.random.Generator], bool]:
    """Return a trial: whether a gate over some metrics, of which the first is worse, fails."""

    def trial(generator: np.random.Generator) -> bool:
        p_values = []
        for metric in range(metrics):
            new, base = draw(generator, n, correlation=correlation)
            moved = new + (margin + worse if metric == 0 else margin)
            p_values.append(difference_of(moved, base, paired=paired).p_above(margin))
        return min(holm(p_values)) < alpha

    return trial


def false_positives(trials: int) -> Iterator[Cell]:
    """Yield how often groups without a difference are found to be different."""
    for n in (2, 3, 5, 10):
        for number, (name, options) in enumerate(
            {
                "Welch": {},
                "Welch, spread 1 and 3": {"spread": 3.0},
                "Welch, exponential": {"skewed": True},
                "paired": {"paired": True, "correlation": 0.5},
            }.items()
        ):
            found = share(trials, (1, n, number), found_better(n, **options))  # type: ignore[arg-type]  # of the trial
            # Exact only for normal noise; Welch's test is approximate for spreads that differ.
            bound = 0.05 if name in ("Welch", "paired") else None
            yield Cell("false positives", f"n={n}, {name}", found, at_most=bound)


def powers(trials: int) -> Iterator[Cell]:
    """Yield how often a difference is found."""
    for n in (3, 5, 10, 20):
        for shift in (1.0, 2.0):
            found = share(trials, (2, n, int(shift)), found_better(n, shift=shift))
            yield Cell("power", f"n={n}, {shift:g} std", found)
        paired = found_better(n, shift=1.0, paired=True, correlation=0.5)
        yield Cell("power", f"n={n}, 1 std, paired", share(trials, (2, n, 9), paired))


def equivalences(trials: int) -> Iterator[Cell]:
    """Yield how often groups are found equivalent within one standard deviation, rightly and wrongly."""
    for n in (3, 5, 10, 20):
        for shift, bound in ((0.0, None), (1.0, 0.05)):
            trial = found_equivalent(n, shift=shift, margin=1.0, paired=False)
            found = share(trials, (3, n, int(shift)), trial)
            yield Cell("equivalence", f"n={n}, margin 1 std, true {shift:g}", found, at_most=bound)


_PAIRED = {"paired": True, "correlation": 0.5}


def false_alarms(trials: int) -> Iterator[Cell]:
    """Yield how often a gate fails although nothing is worse than it may be."""
    cases = {"Welch": {}, "paired": _PAIRED, "3 metrics": {"metrics": 3}, "at the margin": {"margin": 0.5}}
    for n in (2, 3, 5, 7, 10):
        for alpha in (0.05, 0.01):
            for name, options in cases.items():
                trial = gate_fails(n, alpha=alpha, **options)  # type: ignore[arg-type]  # the keywords
                found = share(trials, (4, n, int(alpha * 100)), trial)
                yield Cell("false alarms", f"n={n}, alpha={alpha:g}, {name}", found, at_most=alpha)


def gate_powers(trials: int) -> Iterator[Cell]:
    """Yield how often a gate finds a regression of two standard deviations."""
    cases = {"Welch": {}, "paired, correlation 0": {"paired": True}, "paired, correlation 0.5": _PAIRED}
    for n in (2, 3, 5, 7, 10):
        for alpha in (0.05, 0.01):
            for name, options in cases.items():
                trial = gate_fails(n, alpha=alpha, worse=2.0, **options)  # type: ignore[arg-type]  # the keywords
                found = share(trials, (4, n, int(alpha * 100)), trial)
                bound = 0.8 if n == 5 and alpha == 0.05 else None
                yield Cell("gate power", f"n={n}, alpha={alpha:g}, {name}", found, at_least=bound)


@dataclass(frozen=True, slots=True)
class Advice:
    """What became of the advice on seeds.

    Attributes:
        pilot: The runs per group of the first look.
        shift: The true difference in standard deviations.
        undecided: The share of first looks that are undecided.
        quantiles: The 10, 50 and 90 percentiles of the runs per group that are then advised.
        decided: The share of these that the second look decides, over all runs, where the advice is followed.
        positive: The share of all trials that end with a difference, at the first or the second look.
    """

    pilot: int
    shift: float
    undecided: float
    quantiles: tuple[float, float, float]
    decided: float
    positive: float


def follow_advice(trials: int, pilot: int, shift: float) -> Advice:
    """Look at a few runs, follow the advice where it asks for at most `MOST_SEEDS`, and look again."""
    generator = np.random.default_rng([5, pilot, int(10 * shift)])
    advised: list[float] = []
    second = decided = positive = 0
    for _ in range(trials):
        first, other = draw(generator, pilot)
        found = difference_of(first + shift, other, paired=False)
        if found.p < 0.05:
            positive += 1
            continue
        plan = plan_seeds(found, 0.05)
        advised.append(math.inf if plan is None else plan.sizes[0])
        if plan is None or max(plan.sizes) > MOST_SEEDS:
            continue
        more = draw(generator, plan.more[0])
        both = np.concatenate([first, more[0]]) + shift, np.concatenate([other, more[1]])
        second += 1
        better = difference_of(*both, paired=False).p < 0.05
        decided += better
        positive += better
    low, middle, high = np.quantile(advised, (0.1, 0.5, 0.9), method="lower")
    return Advice(
        pilot=pilot,
        shift=shift,
        undecided=len(advised) / trials,
        quantiles=(float(low), float(middle), float(high)),
        decided=decided / max(second, 1),
        positive=positive / trials,
    )


def planned_power(trials: int, shift: float) -> tuple[int, float]:
    """Return the runs that the true values ask for, and how often they find the difference."""
    half = 1 / math.sqrt(2)  # two values that far from their mean have the standard deviation 1
    plan = plan_seeds(
        difference_of(np.array([shift - half, shift + half]), np.array([-half, half]), paired=False), 0.05
    )
    if plan is None:
        raise ValueError("the difference takes too many runs")
    n = plan.sizes[0]
    return n, share(trials, (6, int(10 * shift)), found_better(n, shift=shift))


def advice_rows(trials: int) -> Iterator[Cell]:
    """Yield what the advice on seeds is worth."""
    for shift in (0.5, 1.0, 1.5, 2.0):
        n, power = planned_power(trials, shift)
        yield Cell("advice, true values", f"{shift:g} std: n={n}", power, at_least=0.8)
    for pilot in (3, 5, 10):
        for shift in (0.0, 1.0):
            one = follow_advice(trials // 5, pilot, shift)  # each plans
            ends = "/".join(f"{value:.0f}" for value in one.quantiles)
            row = f"pilot n={pilot}, true {shift:g} std"
            yield Cell("advice, undecided first looks", f"{row}: then n={ends}", one.undecided)
            yield Cell("advice, decided by the second look", row, one.decided)
            yield Cell("advice, a difference in the end", row, one.positive)


def found_over_tasks(n: int, *, shift: float) -> Callable[[np.random.Generator], bool]:
    """Return a trial: whether two groups are found to be different over four tasks of other difficulty."""

    def trial(generator: np.random.Generator) -> bool:
        pairs = []
        for difficulty in range(4):
            first, second = draw(generator, n)
            pairs.append((first + shift + 10 * difficulty, second + 10 * difficulty))
        return permutation_p(pairs) < 0.05

    return trial


def tasks(trials: int) -> Iterator[Cell]:
    """Yield false positives and powers of the permutation test, in a fifth of the trials: each permutes."""
    for n in (2, 3, 5):
        for shift, bound in ((0.0, 0.05), (1.0, None)):
            found = share(trials // 5, (7, n, int(shift)), found_over_tasks(n, shift=shift))
            yield Cell("four tasks", f"n={n}, true {shift:g} std", found, at_most=bound)


TABLES = (false_positives, powers, equivalences, false_alarms, gate_powers, advice_rows, tasks)


def main() -> int:
    """Print the tables; return 1 if a bound is broken."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=TRIALS, help="trials per number")
    trials = parser.parse_args().trials
    print(f"{trials} trials; standard error {math.sqrt(0.05 * 0.95 / trials):.2%} at 5%")
    broken = []
    table = ""
    for cells in TABLES:
        for cell in cells(trials):
            if cell.table != table:
                table = cell.table
                print(f"[{table}]")
            print(f"{cell.row},{cell.share:.1%}", flush=True)
            if not cell.holds(trials):
                broken.append(cell)
    for cell in broken:
        print(f"out of bounds: {cell.table}, {cell.row}: {cell.share:.2%}")
    return int(bool(broken))


if __name__ == "__main__":
    raise SystemExit(main())
