"""Student's t distribution: tails and quantiles, by the incomplete beta function.

Only one function and its inverse are needed; with scipy instead, every comparison would load a large
dependency. Tests compare both with scipy's values, within 1e-9 relative.
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

_TINY = 1e-300
_PRECISION = 3e-16
_TERMS = 100_000
_LARGE = 1000.0
"""From here on an asymptotic series is more exact than the difference of two logarithms of gamma."""


def two_sided_tail(t: float, df: float) -> float:
    """Return the probability of a value at least as far from 0 as `t`: the p value of a two-sided t test.

    Args:
        t: The statistic; the tail of an infinite one is 0.
        df: Degrees of freedom, above 0, not necessarily an integer.
    """
    if math.isinf(t):
        return 0.0
    square = t * t
    if math.isinf(square):  # the tail is a power of t here, and the square of t exceeds all doubles
        return math.exp(df / 2 * math.log(df) - df * math.log(abs(t)) - _log_beta(df / 2) - math.log(df / 2))
    return _beta_tail(df / 2, df / (df + square), square / (df + square))


def upper_tail(t: float, df: float) -> float:
    """Return the probability of a value of at least `t`: the p value of a one-sided t test."""
    half = two_sided_tail(t, df) / 2
    return half if t >= 0 else 1 - half


def _beta_tail(a: float, x: float, y: float) -> float:
    """Return the regularised incomplete beta function I_x(a, 1/2); `y` is 1 - x with all its digits."""
    if x <= 0 or y <= 0:
        return float(y <= 0)
    front = math.exp(a * math.log(x) + math.log(y) / 2 - _log_beta(a))
    if x < (a + 1) / (a + 2.5):
        return front * _fraction(a, 0.5, x) / a
    return 1 - front * _fraction(0.5, a, y) / 0.5


def incomplete_beta(a: float, b: float, x: float, y: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b).

    Args:
        a: Above 0.
        b: Above 0.
        x: From 0 to 1.
        y: 1 - x with all its digits.
    """
    if x <= 0 or y <= 0:
        return float(y <= 0)
    log_beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    front = math.exp(a * math.log(x) + b * math.log(y) - log_beta)
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(a, b, x) / a
    return 1 - front * _fraction(b, a, y) / b


def _log_beta(a: float) -> float:
    """Return the logarithm of the beta function B(a, 1/2)."""
    if a < _LARGE:
        return math.lgamma(a) + math.lgamma(0.5) - math.lgamma(a + 0.5)
    series = 1 - 1 / (8 * a) + 1 / (128 * a**2) + 5 / (1024 * a**3) - 21 / (32768 * a**4)
    return math.lgamma(0.5) - math.log(a) / 2 - math.log(series)


def _fraction(a: float, b: float, x: float) -> float:
    """Return the continued fraction of the incomplete beta function (DLMF 8.17.22), by Lentz's method."""
    found, upper, lower = 1.0, 1.0, 0.0
    for term in range(1, _TERMS):
        m = term // 2
        if term % 2:
            step = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            step = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        lower = 1 / ((1 + step * lower) or _TINY)
        upper = (1 + step / upper) or _TINY
        found *= upper * lower
        if abs(upper * lower - 1) < _PRECISION:
            break
    return 1 / found


@lru_cache(maxsize=4096)
def t_quantile(probability: float, df: float) -> float:
    """Return the value below which a t-distributed one is with this probability.

    Args:
        probability: Between 0 and 1, both excluded.
        df: Degrees of freedom, above 0.
    """
    if probability < 0.5:
        return -t_quantile(1 - probability, df)
    if probability == 0.5:
        return 0.0
    tail = 2 * (1 - probability)
    low, high = 0.0, max(NormalDist().inv_cdf(probability), 1.0)
    while two_sided_tail(high, df) > tail:
        low, high = high, 2 * high
    guess = (low + high) / 2
    while True:
        too_far = two_sided_tail(guess, df) - tail
        low, high = (guess, high) if too_far > 0 else (low, guess)
        step = guess + too_far / (2 * _density(guess, df))
        following = step if low < step < high else (low + high) / 2
        if abs(following - guess) <= 4e-16 * guess or not low < following < high:
            return following
        guess = following


def _density(t: float, df: float) -> float:
    return math.exp(-(df + 1) / 2 * math.log1p(t * t / df) - math.log(df) / 2 - _log_beta(df / 2))
