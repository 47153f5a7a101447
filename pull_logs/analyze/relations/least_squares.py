"""A line through values of runs, by least squares: slope, intervals, R2, and runs that are far from it.

With logarithms on both sides the slope is the exponent of a power law. Tests compare every number with
statsmodels. See docs/statistics.md, "Fits".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pull_logs.analyze.statistics import t_quantile, two_sided_tail
from pull_logs.frames import Floats

ALPHA = 0.05
"""The level of the intervals, and of the test for outliers over all runs together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The line `y = intercept + slope * x` with the least squared error.

    Attributes:
        n: The points.
        slope: The slope.
        slope_low: The lower end of its 95% interval; None for two points.
        slope_high: The upper end.
        intercept: The intercept.
        intercept_low: The lower end of its 95% interval.
        intercept_high: The upper end.
        p: The p value of a slope of 0.
        r2: The share of the variance of y that the line explains; None where y does not vary.
        residual_std: The standard deviation of the residuals, with n - 2 degrees of freedom.
    """

    n: int
    slope: float
    slope_low: float | None
    slope_high: float | None
    intercept: float
    intercept_low: float | None
    intercept_high: float | None
    p: float | None
    r2: float | None
    residual_std: float | None

    def at(self, x: float) -> float:
        """Return the value of the line."""
        return self.intercept + self.slope * x


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlier:
    """A point that is too far from the line through the others.

    Attributes:
        index: Its index.
        residual: Its distance from the line through all points.
        studentized: Its externally studentized residual.
        p: Its p value, adjusted by Bonferroni's method for looking at all points.
    """

    index: int
    residual: float
    studentized: float
    p: float


def fit_line(x: Sequence[float], y: Sequence[float]) -> Line | None:
    """Return the line through finite points; None for fewer than two, or where x does not vary."""
    n = len(x)
    if n < 2:
        return None
    xs, ys = np.asarray(x, np.float64), np.asarray(y, np.float64)
    center, mean = float(xs.mean()), float(ys.mean())
    along, across = xs - center, ys - mean
    width = float(along @ along)
    if not width > 0 or not math.isfinite(width):
        return None
    slope = float(along @ across) / width
    intercept = mean - slope * center
    residuals = across - slope * along
    error, total = float(residuals @ residuals), float(across @ across)
    r2 = 1 - error / total if total > 0 else None
    if n == 2:
        return Line(
            n=n, slope=slope, slope_low=None, slope_high=None, intercept=intercept, intercept_low=None,
            intercept_high=None, p=None, r2=r2, residual_std=None,
        )  # fmt: skip
    std = math.sqrt(error / (n - 2))
    slope_error, level_error = std / math.sqrt(width), std * math.sqrt(1 / n + center * center / width)
    reach = t_quantile(1 - ALPHA / 2, n - 2)
    exact = 0.0 if slope == 0 else math.copysign(math.inf, slope)
    return Line(
        n=n,
        slope=slope,
        slope_low=slope - reach * slope_error,
        slope_high=slope + reach * slope_error,
        intercept=intercept,
        intercept_low=intercept - reach * level_error,
        intercept_high=intercept + reach * level_error,
        p=two_sided_tail(slope / slope_error if slope_error > 0 else exact, n - 2),
        r2=r2,
        residual_std=std,
    )


def outliers(x: Sequence[float], y: Sequence[float], line: Line) -> list[Outlier]:
    """Return the points whose distance from the line through the others is significant, the farthest first.

    Each is tested by its externally studentized residual with n - 3 degrees of freedom; p is adjusted by
    Bonferroni's method. Fewer than four points have no outliers.
    """
    n = line.n
    if n < 4:
        return []
    xs, ys = np.asarray(x, np.float64), np.asarray(y, np.float64)
    residuals = ys - (line.intercept + line.slope * xs)
    found = [
        Outlier(
            index=index,
            residual=float(residuals[index]),
            studentized=float(one),
            p=min(1.0, n * two_sided_tail(float(one), n - 3)),
        )
        for index, one in enumerate(studentized(xs, residuals))
        if not math.isnan(one)
    ]
    far = [item for item in found if item.p < ALPHA]
    return sorted(far, key=lambda item: (-abs(item.studentized), item.index))


def studentized(x: Floats, residuals: Floats) -> Floats:
    """Return the externally studentized residuals; NaN of a point that alone determines the slope."""
    n, along = len(x), x - x.mean()
    leverage = 1 / n + along * along / float(along @ along)
    rest = 1 - leverage
    with np.errstate(all="ignore"):
        error = float(residuals @ residuals)
        others = (error - residuals * residuals / rest) / (n - 3)
        found: Floats = residuals / np.sqrt(np.maximum(others, 0.0) * rest)
    # What is left is rounding where the points are on the line, or the others are.
    scale = float(np.abs(residuals).max(initial=0.0))
    noise = (others <= 1e-20 * max(error, 1e-300)) & (np.abs(residuals) <= 1e-9 * max(scale, 1e-300))
    found[(rest <= 1e-12) | noise | (scale == 0.0)] = np.nan
    return found
