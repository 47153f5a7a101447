"""How likely a test is to decide, and how many runs it takes.

All of it is for a true difference and true standard deviations that are given: those of the data, where a
user asks how many more seeds would decide. Powers are integrals over the distribution of the estimated
standard deviation, by Gauss-Legendre quadrature; tests compare them with the noncentral t distribution of
scipy and the powers of statsmodels, within 1e-9.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from pull_logs.analyze.inference.significance import Difference, welch_df
from pull_logs.analyze.statistics import t_quantile

Floats: TypeAlias = npt.NDArray[np.float64]
Decision: TypeAlias = Literal["difference", "equivalence"]

POWER = 0.8
"""The share of repetitions in which a planned test is to decide."""
MOST_RUNS = 10_000
"""Runs per group beyond which no plan is made."""

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(20)
_SPREAD = 12.0
_PANELS = 12
_ERFC = np.frompyfunc(math.erfc, 1, 1)


@dataclass(frozen=True, slots=True)
class SeedPlan:
    """How many runs would decide between two groups.

    Attributes:
        sizes: The runs that each group then has; pairs, twice, for a paired test.
        more: The runs to add to each group.
        decision: What would be found: that the groups differ, or that they are equivalent.
    """

    sizes: tuple[int, int]
    more: tuple[int, int]
    decision: Decision


def t_test_power(shift: float, df: float, alpha: float, *, sides: Literal[1, 2] = 2) -> float:
    """Return the probability that a t test finds a difference.

    Args:
        shift: The true difference in standard errors; that of a one-sided test is positive if it is there.
        df: Degrees of freedom.
        alpha: The significance level.
        sides: 2 for a two-sided test.
    """
    critical = t_quantile(1 - alpha / sides, df)
    found = _mean_over_spread(lambda s: _normal_cdf(shift - critical * s), df, shift / critical, 1 / critical)
    if sides == 2:
        found += _mean_over_spread(
            lambda s: _normal_cdf(-shift - critical * s), df, -shift / critical, 1 / critical
        )
    return found


def tost_power(shift: float, half: float, df: float, alpha: float) -> float:
    """Return the probability that TOST finds two groups equivalent.

    Args:
        shift: The true difference in standard errors.
        half: The margin in standard errors.
        df: Degrees of freedom.
        alpha: The significance level.
    """
    critical = t_quantile(1 - alpha, df)

    def inside(s: Floats) -> Floats:
        reach = half - critical * s
        return np.where(reach > 0, _normal_cdf(reach - shift) - _normal_cdf(-reach - shift), 0.0)

    return _mean_over_spread(inside, df, half / critical, 1 / critical, (half - abs(shift)) / critical)


def _normal_cdf(x: Floats) -> Floats:
    return np.asarray(_ERFC(-x / math.sqrt(2)), np.float64) / 2


def _mean_over_spread(
    function: Callable[[Floats], Floats], df: float, middle: float, width: float, *further: float
) -> float:
    """Return the mean of a function of s, the estimated standard deviation divided by the true one.

    Args:
        function: The function.
        df: The degrees of freedom of s: df * s**2 has the chi-squared distribution.
        middle: Where the function changes fastest.
        width: How wide that change is.
        further: Where it changes fast as well.
    """
    reach = _SPREAD / math.sqrt(2 * df)
    low, high = max(0.0, 1 - reach), 1 + reach
    steps = [0.0, *(sign * width * far for sign in (-1, 1) for far in (0.5, 1, 2, 4, 8))]
    marks = {low, high, *np.linspace(low, high, _PANELS)}
    marks |= {low + (high - low) * 2.0**-power for power in range(1, 30)} if low == 0 else set()
    marks |= {at + step for at in (middle, *further) for step in steps}
    edges = np.array(sorted(mark for mark in marks if low <= mark <= high))
    half = np.diff(edges)[:, None] / 2
    s = (edges[:-1, None] + half + half * _NODES).ravel()
    weights = (half * _WEIGHTS).ravel()
    log_density = (df - 1) * np.log(s) - df * s**2 / 2 + math.log(2) + df / 2 * math.log(df / 2)
    return float((weights * np.exp(log_density - math.lgamma(df / 2)) * function(s)).sum())


def plan_seeds(found: Difference, alpha: float, *, margin: float | None = None) -> SeedPlan | None:
    """Return how many runs would decide at a power of 80%, if the data have the true values.

    That is the least number with which either the difference is found or, with a margin that is larger than
    the difference, the groups are found equivalent. A group that has more runs already gets no others.

    Args:
        found: The test that did not decide.
        alpha: The significance level.
        margin: The largest difference that does not matter, in units of the metric.

    Returns:
        None if it takes more than `MOST_RUNS` runs per group.
    """
    plans: list[tuple[int, Decision]] = []
    size = least_size(lambda n: _finds(found, n, alpha), min(found.n))
    if size is not None:
        plans.append((size, "difference"))
    if margin is not None and abs(found.difference) < margin:
        size = least_size(lambda n: _finds_equivalent(found, n, alpha, margin), min(found.n))
        if size is not None:
            plans.append((size, "equivalence"))
    if not plans:
        return None
    size, decision = min(plans)
    sizes = (max(size, found.n[0]), max(size, found.n[1]))
    return SeedPlan(sizes, (sizes[0] - found.n[0], sizes[1] - found.n[1]), decision)


def _error_and_df(found: Difference, size: int) -> tuple[float, float]:
    """Return the standard error and the degrees of freedom of a test with at least `size` runs per group."""
    if found.paired:
        n = max(size, found.n[0])
        return found.stds[0] / math.sqrt(n), float(n - 1)
    sizes = (max(size, found.n[0]), max(size, found.n[1]))
    stds = (found.stds[0], found.stds[1])
    error = math.hypot(stds[0] / math.sqrt(sizes[0]), stds[1] / math.sqrt(sizes[1]))
    return error, welch_df(stds, sizes)


def _finds(found: Difference, size: int, alpha: float) -> bool:
    error, df = _error_and_df(found, size)
    if error == 0:
        return found.difference != 0
    return t_test_power(abs(found.difference) / error, df, alpha) >= POWER


def _finds_equivalent(found: Difference, size: int, alpha: float, margin: float) -> bool:
    error, df = _error_and_df(found, size)
    return error == 0 or tost_power(found.difference / error, margin / error, df, alpha) >= POWER


def least_size(enough: Callable[[int], bool], size: int) -> int | None:
    """Return the least size, above the given one, that is enough; None if `MOST_RUNS` is not."""
    low, high = size, size + 1
    while not enough(high):
        if high >= MOST_RUNS:
            return None
        low, high = high, min(2 * high, MOST_RUNS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def runs_to_find(sigmas: float, alpha: float) -> int | None:
    """Return how many runs per side a one-sided Welch test takes to find a difference at a power of 80%.

    Args:
        sigmas: The difference in standard deviations of both sides.
        alpha: The significance level.
    """
    return least_size(
        lambda n: t_test_power(sigmas * math.sqrt(n / 2), 2.0 * n - 2, alpha, sides=1) >= POWER, 1
    )


def runs_for(found: Difference, difference: float, alpha: float) -> int | None:
    """Return how many runs per side such a one-sided test takes to find a difference at a power of 80%.

    Args:
        found: A test, whose standard deviations are taken for the true ones.
        difference: The true difference, above 0.
        alpha: The significance level.
    """

    def enough(size: int) -> bool:
        error, df = _error_and_df(found, size)
        return error == 0 or t_test_power(difference / error, df, alpha, sides=1) >= POWER

    return least_size(enough, min(found.n))


def detectable_shift(df: float, alpha: float) -> float:
    """Return the true difference, in standard errors, that a one-sided test finds with a power of 80%."""
    low, high = 0.0, 1.0
    while t_test_power(high, df, alpha, sides=1) < POWER:
        low, high = high, 2 * high
    while high - low > 1e-6 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if t_test_power(middle, df, alpha, sides=1) >= POWER else (middle, high)
    return high


def plan_text(more: Sequence[int], labels: Sequence[str]) -> str:
    """Return in words how many seeds to add: `12 more seeds each`."""
    noun = "seed" if max(more) == 1 else "seeds"
    if more[0] == more[1]:
        return f"{more[0]} more {noun} each"
    parts = [f"{count} in {label}" for count, label in zip(more, labels, strict=True) if count]
    return " and ".join(parts).replace(" in ", f" more {noun} in ", 1)
