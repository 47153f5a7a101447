"""Sizes of a difference that do not depend on the unit of the metric."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pull_logs.analyze.statistics import mean_and_std


def hedges_g(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Return the difference of the means in standard deviations: Cohen's d with Hedges' correction.

    The standard deviation is the pooled one, the correction 1 - 3 / (4 n - 9) over all n values, as
    `statsmodels.stats.meta_analysis.effectsize_smd` has it.

    Returns:
        None if a group has fewer than two values, or none varies.
    """
    n, m = len(first), len(second)
    if min(n, m) < 2:
        return None
    (left, left_std), (right, right_std) = (mean_and_std(np.sort(np.array(it))) for it in (first, second))
    with np.errstate(over="ignore", invalid="ignore"):
        squares = (n - 1) * (left_std or 0.0) ** 2 + (m - 1) * (right_std or 0.0) ** 2
        pooled = math.sqrt(squares / (n + m - 2))
    if not (pooled > 0 and math.isfinite(pooled)):
        return None
    # Of two values each the correction divides by 7; it is positive for any two groups that are tested.
    return (left - right) / pooled * (1 - 3 / (4 * (n + m) - 9))


def probability_above(first: Sequence[float], second: Sequence[float]) -> float:
    """Return how often a value of the first group is above one of the second; a tie counts half.

    This is the Mann-Whitney statistic divided by the number of pairs of values.
    """
    ordered = np.sort(np.asarray(second))
    below, not_above = (np.searchsorted(ordered, first, side).sum() for side in ("left", "right"))
    return float((below + not_above) / 2 / (len(first) * len(second)))
