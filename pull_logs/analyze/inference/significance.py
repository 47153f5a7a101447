"""Tests of whether a difference between two groups of runs is larger than the noise of the seed.

    paired t   where the runs of the two groups share their seeds, on the differences seed by seed
    Welch t    otherwise; the groups may differ in size and in spread
    TOST       two one-sided tests of the same kind: whether the difference is within a margin

The t tests are two-sided. p values are adjusted by Holm's method over a family: all pairs of groups of a
metric, because the data chose the best group, against which the others are tested. A group of one run says
nothing about noise and is not tested. See docs/statistics.md.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from pull_logs.analyze.statistics import mean_and_std, t_interval, upper_tail

ALPHA = 0.05
"""The share of false alarms that a test may have, where the user does not say."""

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
        error: The standard error of the difference.
        stds: The standard deviation of each group; of the differences, once, if the test is paired.
        values: The values of each group that it uses, in the order of the pairs if it is paired.
    """

    test: TestName
    n: tuple[int, int]
    difference: float
    ci_low: float
    ci_high: float
    t: float
    df: float
    p: float
    error: float
    stds: tuple[float, ...]
    values: tuple[tuple[float, ...], tuple[float, ...]]

    @property
    def paired(self) -> bool:
        """Whether it is over pairs of runs with the same seed."""
        return self.test == "paired t"

    def t_above(self, least: float, *, sign: float = 1.0) -> float:
        """Return the statistic of the one-sided test that the true difference is above a number.

        Args:
            least: The number.
            sign: -1 for the second group minus the first.
        """
        return t_statistic(sign * self.difference - least, self.error)

    def p_above(self, least: float, *, sign: float = 1.0) -> float:
        """Return the p value of this test."""
        return upper_tail(self.t_above(least, sign=sign), self.df)

    def p_within(self, margin: float) -> float:
        """Return the p value of TOST: small if the true difference is certainly between -margin and margin.

        Args:
            margin: The bound of differences that do not matter, above 0.
        """
        return max(self.p_above(-margin), self.p_above(-margin, sign=-1.0))


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
    spread = std or 0.0
    return _difference(
        "paired t",
        (tuple(left for left, _ in pairs), tuple(right for _, right in pairs)),
        mean,
        spread / math.sqrt(len(pairs)),
        df=float(len(pairs) - 1),
        stds=(spread,),
    )


def _welch(first: Sequence[float], second: Sequence[float]) -> Difference:
    (left, left_std), (right, right_std) = (mean_and_std(np.sort(np.array(it))) for it in (first, second))
    stds = left_std or 0.0, right_std or 0.0
    return _difference(
        "Welch t",
        (tuple(first), tuple(second)),
        left - right,
        math.hypot(stds[0] / math.sqrt(len(first)), stds[1] / math.sqrt(len(second))),
        df=welch_df(stds, (len(first), len(second))),
        stds=stds,
    )


def welch_df(stds: tuple[float, float], sizes: tuple[int, int]) -> float:
    """Return the degrees of freedom of Welch's test (Welch-Satterthwaite)."""
    parts = [std**2 / n for std, n in zip(stds, sizes, strict=True)]
    total = sum(parts)
    freedom = sum(part**2 / (n - 1) for part, n in zip(parts, sizes, strict=True))
    return total**2 / freedom if freedom > 0 and math.isfinite(total) else float(sum(sizes) - 2)


def _difference(
    test: TestName,
    values: tuple[tuple[float, ...], tuple[float, ...]],
    difference: float,
    error: float,
    *,
    df: float,
    stds: tuple[float, ...],
) -> Difference:
    t = t_statistic(difference, error)
    # The interval is that of a sample of df + 1 numbers with this standard error.
    low, high = t_interval(difference, error * math.sqrt(df + 1), df + 1)
    return Difference(
        test=test,
        n=(len(values[0]), len(values[1])),
        difference=difference,
        ci_low=low,
        ci_high=high,
        t=t,
        df=df,
        p=2 * upper_tail(abs(t), df) if math.isfinite(error) else math.nan,
        error=error,
        stds=stds,
        values=values,
    )


def t_statistic(difference: float, error: float) -> float:
    """Return a t statistic; infinite where the values do not vary but the means differ."""
    if error > 0:
        return difference / error
    return 0.0 if difference == 0 else math.copysign(math.inf, difference)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p values of a family, adjusted by Holm's step-down method, in their order."""
    count = len(p_values)
    adjusted = [0.0] * count
    greatest = 0.0
    for rank, index in enumerate(sorted(range(count), key=lambda index: p_values[index])):
        greatest = max(greatest, min((count - rank) * p_values[index], 1.0))
        adjusted[index] = greatest
    return adjusted
