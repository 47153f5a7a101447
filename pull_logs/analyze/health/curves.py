"""A metric as the flags judge it: on a scale that fits it, by levels, with the size of its noise.

A *level* is the median of a short stretch of values, so that single outliers do not count. The scale is
logarithmic where less is better, all values are positive and the levels span a factor of ten or more: there,
a fall from 100 to 10 is as much as one from 10 to 1. Where more is better, the numbers are negated, so that
less is always better. Every rule that uses a curve compares differences on its scale to each other or to its
noise, so that it does not depend on the unit of the metric.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pull_logs.frames import Floats, Mask, Steps, middle
from pull_logs.rows.arrays import Ints

FEWEST = 6
"""The fewest values that make a curve."""
_LEVELS = 100
CELLS_TOGETHER = 2**17
"""The most values of curves that are computed together: a megabyte, which stays in a processor's cache."""
_SPAN = 10.0
_NORMAL = 1.4826 / 6**0.5
"""The standard deviation of normal noise, as a multiple of the median size of its second differences."""
_OF_MEDIAN = 1.2533
"""The spread of the median of many normal values, as a multiple of that of their mean."""


class Series(NamedTuple):
    """The finite values of a metric, at least `FEWEST`.

    Attributes:
        steps: The step of each value.
        values: The values.
        sign: 1 where less is better, -1 where more is.
        positive: Whether the scale is logarithmic, because all values are positive; None if levels decide it.
    """

    steps: Steps
    values: Floats
    sign: int
    positive: bool | None = None


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
        smooth, wide = smoothed(self.levels)
        return smooth, self.level_noise / wide**0.5


def smoothed(levels: Floats) -> tuple[Floats, int]:
    """Return the means of a twelfth of the levels each, along the last axis, and how many these are."""
    wide = levels.shape[-1] // 12
    if wide < 2:
        return levels, 1
    sums = np.cumsum(levels, axis=-1)
    sums[..., wide:] -= sums[..., :-wide].copy()
    return sums[..., wide - 1 :] / wide, wide


def median(values: Floats) -> Floats:
    """Return the median along the last axis; `numpy.median` is ten times slower for a few hundred numbers."""
    return middle(np.sort(values), 0.5)


@dataclass(frozen=True, slots=True)
class Curves:
    """Curves of one length; the attributes are those of `Curve`, with a row for each.

    Attributes:
        members: The index of each among the series that they were made of.
        signs: 1 where less is better, -1 where more is.
        logarithmic: Whether the scale is logarithmic.
        steps: The step of each value.
        values: The finite values, on the scale.
        levels: The medians of the stretches, on the scale.
        width: The number of values in a stretch.
        noise: The spread of a single value around its level.
        level_noise: The spread of a level.
    """

    members: Sequence[int]
    signs: Ints
    logarithmic: Mask
    steps: Sequence[Steps]
    values: Floats
    levels: Floats
    width: int
    noise: Floats
    level_noise: Floats

    def curve(self, row: int) -> Curve:
        """Return one of them."""
        return Curve(
            sign=int(self.signs[row]),
            logarithmic=bool(self.logarithmic[row]),
            steps=self.steps[row],
            values=self.values[row],
            levels=self.levels[row],
            width=self.width,
            noise=float(self.noise[row]),
            level_noise=float(self.level_noise[row]),
        )


def curves_of(series: Sequence[Series]) -> list[Curve]:
    """Return the curve of each series."""
    curves: dict[int, Curve] = {}
    for some in curves_together(series):
        curves |= {index: some.curve(row) for row, index in enumerate(some.members)}
    return [curves[index] for index in range(len(series))]


def curves_together(series: Sequence[Series]) -> Iterator[Curves]:
    """Yield the curves of all series, those of one length together.

    Most metrics of a run and of runs have one length. For a few hundred values, a call of numpy takes longer
    than what it computes.
    """
    for members in same_length([one.values for one in series]):
        yield _scaled([series[index] for index in members], members)


def same_length(values: Sequence[Floats]) -> Iterator[list[int]]:
    """Yield the indices of arrays of one length, so many that they do not have too many values together."""
    found: dict[int, list[int]] = {}
    for index, array in enumerate(values):
        found.setdefault(len(array), []).append(index)
    for length, indices in found.items():
        count = max(CELLS_TOGETHER // max(length, 1), 1)
        yield from (indices[start : start + count] for start in range(0, len(indices), count))


def _scaled(series: Sequence[Series], members: Sequence[int]) -> Curves:
    """Return the curves of series of one length."""
    values = np.array([one.values for one in series], np.float64)
    signs = np.array([one.sign for one in series])
    count, width = values.shape[1], _width(values.shape[1])
    levels = values
    if width > 1:
        levels = median(values[:, : count // width * width].reshape(len(series), -1, width))
    positive = np.array([one.positive is True for one in series])
    judged = np.array([one.positive is None for one in series]) & (signs > 0)
    logarithmic = positive | (judged & _spans_decades(levels) & (values.min(axis=1) > 0))
    for scaled in (values, levels)[: 2 if width > 1 else 1]:
        for row in np.flatnonzero(logarithmic).tolist():
            scaled[row] = np.log(scaled[row])
        scaled[signs < 0] = -scaled[signs < 0]
    noise = roughness(values)
    level_noise = noise * (_OF_MEDIAN if width > 2 else 1) / width**0.5
    if width > 1:
        level_noise = larger(level_noise, roughness(levels))
    return Curves(
        members=members,
        signs=signs,
        logarithmic=logarithmic,
        steps=[one.steps for one in series],
        values=values,
        levels=levels,
        width=width,
        noise=noise,
        level_noise=level_noise,
    )


def _width(count: int) -> int:
    """Return how many of so many values are in a stretch."""
    return max(1, min(5, count // 20), -(-count // _LEVELS))


def _spans_decades(levels: Floats) -> Mask:
    """Whether levels, along the last axis, are positive and differ by a factor of ten or more."""
    low = levels.min(axis=-1)
    spans: Mask = (low > 0) & (levels.max(axis=-1) >= _SPAN * low)
    return spans


def larger(first: Floats, second: Floats) -> Floats:
    """Return the larger of two numbers; the first where they cannot be compared, as `max` does."""
    return np.where(second > first, second, first)


def smaller(first: Floats, second: Floats) -> Floats:
    """Return the smaller of two numbers; the first where they cannot be compared, as `min` does."""
    return np.where(second < first, second, first)


def roughness(values: Floats) -> Floats:
    """Return the spread of values, along the last axis, around a smooth line: from second differences."""
    if values.shape[-1] < 3:
        return np.zeros(values.shape[:-1])
    return _NORMAL * median(np.abs(values[..., 2:] - 2 * values[..., 1:-1] + values[..., :-2]))
