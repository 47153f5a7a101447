"""A metric as the flags judge it: on a scale that fits it, by levels, with the size of its noise.

A *level* is the median of a short stretch of values, so that single outliers do not count. The scale is
logarithmic where less is better, all values are positive and the levels span a factor of ten or more: there,
a fall from 100 to 10 is as much as one from 10 to 1. Where more is better, the numbers are negated, so that
less is always better. Every rule that uses a curve compares differences on its scale to each other or to its
noise, so that it does not depend on the unit of the metric.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pull_logs.frames import Floats, Steps, middle

FEWEST = 6
"""The fewest values that make a curve."""
_LEVELS = 100
_SPAN = 10.0
_NORMAL = 1.4826 / 6**0.5
"""The standard deviation of normal noise, as a multiple of the median size of its second differences."""
_OF_MEDIAN = 1.2533
"""The spread of the median of many normal values, as a multiple of that of their mean."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A metric on its scale, less being better.

    Attributes:
        sign: 1 where less is better, -1 where more is.
        logarithmic: Whether the scale is logarithmic.
        steps: The step of each value.
        values: The finite values, on the scale.
        levels: The medians of the stretches, on the scale.
        width: The number of values in a stretch.
        noise: The spread of a single value around its level.
        level_noise: The spread of a level.
    """

    sign: int
    logarithmic: bool
    steps: Steps
    values: Floats
    levels: Floats
    width: int
    noise: float
    level_noise: float

    @classmethod
    def of(cls, steps: Steps, values: Floats, *, sign: int) -> Curve:
        """Return the curve of these finite values, at least `FEWEST`."""
        return _scaled(steps, values, sign, logarithmic=None)

    @classmethod
    def of_positive(cls, steps: Steps, values: Floats, *, sign: int = 1) -> Curve:
        """Return the curve of these positive values, at least `FEWEST`, on a logarithmic scale."""
        return _scaled(steps, values, sign, logarithmic=True)

    def __len__(self) -> int:
        """Return the number of levels."""
        return len(self.levels)

    def step_of(self, level: int) -> int:
        """Return the step where a level begins."""
        return int(self.steps[level * self.width])

    def number(self, value: float) -> float:
        """Return a value of the scale as a number of the metric."""
        number = math.exp(min(value, 709.0)) if self.logarithmic else value
        return -number if self.sign < 0 and not self.logarithmic else number

    def shown(self, value: float) -> str:
        """Return a value of the scale as a text with the number of the metric."""
        return f"{self.number(value):.4g}"

    def smooth(self) -> tuple[Floats, float]:
        """Return the means of a twelfth of the levels each, at every level, and the spread of one."""
        wide = len(self.levels) // 12
        if wide < 2:
            return self.levels, self.level_noise
        sums = np.cumsum(self.levels)
        sums[wide:] -= sums[:-wide].copy()
        return sums[wide - 1 :] / wide, self.level_noise / wide**0.5


def median(values: Floats) -> Floats:
    """Return the median along the last axis; `numpy.median` is ten times slower for a few hundred numbers."""
    return middle(np.sort(values), 0.5)


def _scaled(steps: Steps, values: Floats, sign: int, *, logarithmic: bool | None) -> Curve:
    count = len(values)
    width = max(1, min(5, count // 20), -(-count // _LEVELS))
    levels = values if width == 1 else median(values[: count // width * width].reshape(-1, width))
    if logarithmic is None:
        logarithmic = sign > 0 and spans_decades(levels) and float(values.min()) > 0
    if logarithmic:
        values, levels = np.log(values), np.log(levels)
    if sign < 0:
        values, levels = -values, -levels
    noise = roughness(values)
    of_level = noise * (_OF_MEDIAN if width > 2 else 1) / width**0.5
    if width > 1:
        of_level = max(of_level, roughness(levels))
    return Curve(sign, logarithmic, steps, values, levels, width, noise, of_level)


def spans_decades(levels: Floats) -> bool:
    """Whether levels are positive and differ by a factor of ten or more."""
    low = float(levels.min())
    return low > 0 and float(levels.max()) >= _SPAN * low


def roughness(values: Floats) -> float:
    """Return the spread of values around a smooth line, from their second differences."""
    if len(values) < 3:
        return 0.0
    return _NORMAL * float(median(np.abs(values[2:] - 2 * values[1:-1] + values[:-2])))
