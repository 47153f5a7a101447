"""Rank statistics: Spearman's correlation with its interval, and the analysis of variance of ranks by values.

Ranks are not changed by one run that diverged, nor by whether a metric is looked at on a log scale. With
scipy instead, every comparison would load a large dependency; tests compare all of them with scipy and
statsmodels. See docs/statistics.md, "Effects of settings".
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from pull_logs.analyze.statistics import incomplete_beta, two_sided_tail
from pull_logs.frames import Floats

_NORMAL = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, slots=True, kw_only=True)
class Association:
    """How two variables vary together.

    Attributes:
        strength: Spearman's rho, from -1 to 1; or the share of the variance of ranks that values explain,
            adjusted for their number, at most 1.
        low: The lower end of the 95% interval of rho; None where it is undefined.
        high: The upper end.
        p: The p value of the hypothesis that there is no association.
    """

    strength: float
    low: float | None = None
    high: float | None = None
    p: float


def average_ranks(values: Sequence[float]) -> Floats:
    """Return the ranks from 1 on; equal values share the mean of their ranks."""
    array = np.asarray(values, np.float64)
    _, inverse, counts = np.unique(array, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: Floats = (ends - (counts - 1) / 2.0)[inverse]
    return ranks


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> Association | None:
    """Return Spearman's rho; None for fewer than three pairs, or where one of the two does not vary.

    p is that of the t approximation with n - 2 degrees of freedom. The interval is Fisher's, with the
    standard error of Bonett and Wright (2000), sqrt((1 + rho^2 / 2) / (n - 3)); it needs four pairs.
    """
    n = len(x)
    if n < 3:
        return None
    left, right = average_ranks(x), average_ranks(y)
    left, right = left - left.mean(), right - right.mean()
    spread = math.sqrt(float(left @ left) * float(right @ right))
    if spread == 0:
        return None
    rho = min(1.0, max(-1.0, float(left @ right) / spread))
    rest = (1 - rho) * (1 + rho)
    t = math.copysign(math.inf, rho) if rest <= 0 else rho * math.sqrt((n - 2) / rest)
    p = two_sided_tail(t, n - 2)
    if n < 4:
        return Association(strength=rho, p=p)
    if rest <= 0:
        return Association(strength=rho, low=rho, high=rho, p=p)
    reach = _NORMAL * math.sqrt((1 + rho * rho / 2) / (n - 3))
    middle = math.atanh(rho)
    return Association(strength=rho, low=math.tanh(middle - reach), high=math.tanh(middle + reach), p=p)


def by_values(values: Sequence[Hashable], y: Sequence[float]) -> Association | None:
    """Return how much of the variance of the ranks of `y` the values explain, adjusted for their number.

    That is the adjusted R2 of the means of the ranks over k values, 1 - (1 - R2) (n - 1) / (n - k); 0 is what
    values without an effect give on average, and it may be below. p is that of the F test of these means, the
    analysis of variance of the ranks (Conover and Iman 1981). None where no value occurs twice, all are the
    same, or `y` does not vary.
    """
    n, groups = len(values), list(dict.fromkeys(values))
    k = len(groups)
    ranks = average_ranks(y)
    ranks = ranks - ranks.mean()
    total = float(ranks @ ranks)
    if not 1 < k < n or total == 0:
        return None
    index = {value: place for place, value in enumerate(groups)}
    members = np.array([index[value] for value in values], np.intp)
    sums = np.bincount(members, weights=ranks, minlength=k)
    between = float((sums * sums / np.bincount(members, minlength=k)).sum())
    share = min(between / total, 1.0)
    rest = 1 - share if share < 1 - 1e-12 else 0.0
    p = incomplete_beta((n - k) / 2, (k - 1) / 2, rest, share)
    return Association(strength=1 - rest * (n - 1) / (n - k), p=p)
