"""Tests of whether a difference between two groups of runs is larger than the noise of the seed.

    paired t   where the runs of the two groups share their seeds, on the differences seed by seed
    Welch t    otherwise; the groups may differ in size and in spread

Both are two-sided. p values are adjusted by Holm's method over a family: all pairs of groups of a metric,
because the data chose the best group, against which the others are tested. A difference is "larger than seed
noise" if its adjusted p is below 0.05, else "within seed noise", which does not mean that there is none. A
group of one run says nothing about noise and is not tested. See docs/statistics.md.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from pull_logs.analyze.statistics.intervals import mean_and_std, t_interval
from pull_logs.analyze.statistics.student_t import two_sided_tail

ALPHA = 0.05
LARGER, WITHIN, UNTESTED = "larger than seed noise", "within seed noise", "not tested"
VERDICTS = (LARGER, WITHIN, UNTESTED)
TestName: TypeAlias = Literal["paired t", "Welch t"]


@dataclass(frozen=True, slots=True)
class Sample:
    """The finite values of a group of runs.

    Attributes:
        values: One per run.
        seeds: What distinguishes each run from the others of its group; None where nothing does.
    """

    values: tuple[float, ...]
    seeds: tuple[Hashable | None, ...]

    def by_seed(self) -> Mapping[Hashable, float] | None:
        """Return the values by their seeds; None if a run has no seed, or two have the same."""
        if None in self.seeds or max(Counter(self.seeds).values(), default=0) > 1:
            return None
        return dict(zip(self.seeds, self.values, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A t test of the difference between two means.

    Attributes:
        test: The name of the test.
        n: How many values of each group it uses; pairs, if it is paired.
        difference: The first mean minus the second.
        ci_low: The lower end of its 95% interval, not adjusted.
        ci_high: The upper end.
        t: The statistic; infinite where the values do not vary but the means differ.
        df: Degrees of freedom.
        p: The p value of the two-sided test, not adjusted; 1 where nothing varies and nothing differs.
    """

    test: TestName
    n: tuple[int, int]
    difference: float
    ci_low: float
    ci_high: float
    t: float
    df: float
    p: float


def compare_samples(first: Sample, second: Sample) -> Difference | None:
    """Test the difference of two groups; None if one has fewer than two values, or their spread overflows.

    The test is paired if every seed is in its group once and the seeds of the smaller group are all in the
    larger one; the other runs of the larger group are then left out of the test.
    """
    if min(len(first.values), len(second.values)) < 2:
        return None
    pairs = _pairs(first, second)
    found = _paired(pairs) if pairs else _welch(first.values, second.values)
    return found if math.isfinite(found.difference) and not math.isnan(found.p) else None


def _pairs(first: Sample, second: Sample) -> list[tuple[float, float]]:
    ours, theirs = first.by_seed(), second.by_seed()
    if ours is None or theirs is None:
        return []
    shared = [seed for seed in ours if seed in theirs]
    if len(shared) < min(len(ours), len(theirs)):
        return []
    return sorted((ours[seed], theirs[seed]) for seed in shared)


def _paired(pairs: Sequence[tuple[float, float]]) -> Difference:
    with np.errstate(over="ignore", invalid="ignore"):
        mean, std = mean_and_std(np.sort(np.array([left - right for left, right in pairs])))
    n = len(pairs)
    error = (std or 0.0) / math.sqrt(n)
    return _difference("paired t", (n, n), mean, error, df=float(n - 1))


def _welch(first: Sequence[float], second: Sequence[float]) -> Difference:
    (left, left_std), (right, right_std) = (mean_and_std(np.sort(np.array(it))) for it in (first, second))
    n, m = len(first), len(second)
    parts = (left_std or 0.0) ** 2 / n, (right_std or 0.0) ** 2 / m
    total = sum(parts)
    freedom = parts[0] ** 2 / (n - 1) + parts[1] ** 2 / (m - 1)
    return _difference(
        "Welch t",
        (n, m),
        left - right,
        math.sqrt(total),
        df=total**2 / freedom if freedom > 0 and math.isfinite(total) else float(n + m - 2),
    )


def _difference(
    test: TestName, n: tuple[int, int], difference: float, error: float, *, df: float
) -> Difference:
    still = 0.0 if difference == 0 else math.copysign(math.inf, difference)
    t = difference / error if error > 0 else still
    # The interval is that of a sample of df + 1 numbers with this standard error.
    low, high = t_interval(difference, error * math.sqrt(df + 1), df + 1)
    return Difference(
        test=test,
        n=n,
        difference=difference,
        ci_low=low,
        ci_high=high,
        t=t,
        df=df,
        p=two_sided_tail(t, df) if math.isfinite(error) else math.nan,
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p values of a family, adjusted by Holm's step-down method, in their order."""
    count = len(p_values)
    adjusted = [0.0] * count
    greatest = 0.0
    for rank, index in enumerate(sorted(range(count), key=lambda index: p_values[index])):
        greatest = max(greatest, min((count - rank) * p_values[index], 1.0))
        adjusted[index] = greatest
    return adjusted
