"""Whether new runs are worse than a baseline: the test of a regression gate.

The test is one-sided: only a worsening counts, by more than the margin if there is one. It is paired where
the runs of both sides match, else Welch's (see `significance`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pull_logs.analyze.inference.effects import hedges_g
from pull_logs.analyze.inference.margins import Margin
from pull_logs.analyze.inference.power import POWER, detectable_shift, runs_for, t_test_power
from pull_logs.analyze.inference.significance import Difference, Sample, compare_samples
from pull_logs.analyze.statistics import Direction, mean, t_quantile, total

TYPICAL = 2.0
"""The regression, in standard deviations, for which the power of a gate is stated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Regression:
    """The test of one metric.

    Attributes:
        found: The difference, new minus base, and its kind of test.
        new: The mean of the new runs that the test uses.
        base: The mean of the runs of the baseline that it uses.
        worse: How much worse the new mean is; below 0 if it is better.
        margin: How much worse it may be, in units of the metric.
        t: The statistic.
        p: The p value of the one-sided test that it is worse by more than the margin, not adjusted.
        at_most: The upper end of the one-sided interval of `worse`, at the level 1 - alpha.
        effect: `worse` in standard deviations (Hedges' g); None where nothing varies.
        detectable: The worsening that such a gate finds with a power of 80%.
        power: The probability that it finds a worsening of two standard deviations beyond the margin; 1 where
            nothing varies.
        needed: The runs per side with which that power is 80%; None where it is, or takes too many.
    """

    found: Difference
    new: float
    base: float
    worse: float
    margin: float
    t: float
    p: float
    at_most: float
    effect: float | None
    detectable: float
    power: float
    needed: int | None


def find_regression(
    new: Sample, base: Sample, direction: Direction, *, alpha: float, margin: Margin | None = None
) -> Regression | None:
    """Test whether new runs are worse than those of a baseline; None if a side has fewer than two values.

    Args:
        new: The finite values of the new runs.
        base: Those of the baseline.
        direction: The better end of the metric.
        alpha: The share of false alarms.
        margin: How much worse they may be; a percentage is of the mean of the baseline.
    """
    found = compare_samples(new, base)
    if found is None:
        return None
    sign = 1.0 if direction == "min" else -1.0
    new_mean, base_mean = map(mean, found.values)
    allowed = margin.of(base_mean) if margin else 0.0
    worse = sign * found.difference
    typical = TYPICAL * math.sqrt(sum(map(_variance, found.values)) / 2)
    power = 1.0 if found.error == 0 else t_test_power(typical / found.error, found.df, alpha, sides=1)
    reach = t_quantile(1 - alpha, found.df) * found.error
    effect = hedges_g(*found.values)
    return Regression(
        found=found,
        new=new_mean,
        base=base_mean,
        worse=worse,
        margin=allowed,
        t=found.t_above(allowed, sign=sign),
        p=found.p_above(allowed, sign=sign),
        at_most=worse + reach,
        effect=None if effect is None else sign * effect,
        detectable=allowed + detectable_shift(found.df, alpha) * found.error,
        power=power,
        needed=runs_for(found, typical, alpha) if power < POWER else None,
    )


def _variance(values: tuple[float, ...]) -> float:
    center = mean(values)
    return total([(value - center) * (value - center) for value in values]) / (len(values) - 1)
