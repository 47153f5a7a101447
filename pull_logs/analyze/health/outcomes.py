"""The flags of losses and scores: divergence, spikes, overfitting and plateaus."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pull_logs.analyze.health.curves import (
    Curve,
    Curves,
    Series,
    curves_together,
    larger,
    median,
    smaller,
    smoothed,
)
from pull_logs.analyze.health.findings import HealthFinding
from pull_logs.analyze.statistics import is_held_out, training_partners
from pull_logs.frames import Floats, Mask
from pull_logs.rows.arrays import Ints

_FEWEST = 10
"""The fewest values with which a metric can diverge or be on a plateau."""
_FEWEST_FOR_SPIKE = 20
_FEWEST_FOR_NOISE = 30
"""Below this number of values, the noise is not known well enough to hide an improvement."""
_MOST_JUMPS = 100
"""The most jumps that are looked at in search of the first spike."""
_NO_STEP = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class _Plateaus:
    """Which of some curves are on a plateau, unless they have another flag.

    Attributes:
        level: The level where it begins; -1 for a curve that is on none.
        improved: Whether the curve got better before.
        start: The smooth level there.
        best: The best smooth level.
    """

    level: Ints
    improved: Mask
    start: Floats
    best: Floats


class Outcomes:
    """Losses and scores of runs, and what the first conditions of each flag say about them.

    These are computed for all curves of one length together.

    Args:
        series: The finite values of each.
    """

    def __init__(self, series: Sequence[Series]) -> None:
        count = len(series)
        self._groups = list(curves_together(series))
        self._plateaus = [_plateaus(some) for some in self._groups]
        self._group = np.zeros(count, np.int64)
        self._row = np.zeros(count, np.int64)
        self._overfitting, self._divergence, self._spike = (np.zeros(count, np.bool_) for _ in range(3))
        self._plateau_step = np.full(count, _NO_STEP, np.int64)
        for number, (some, plateaus) in enumerate(zip(self._groups, self._plateaus, strict=True)):
            members = np.array(some.members)
            self._group[members], self._row[members] = number, np.arange(len(members))
            self._overfitting[members] = _may_overfit(some)
            self._divergence[members], self._spike[members] = _may_lose(some)
            on_one = np.flatnonzero(plateaus.level >= 0)
            firsts = (plateaus.level[on_one] * some.width).tolist()
            self._plateau_step[members[on_one]] = [
                some.steps[row][first] for row, first in zip(on_one.tolist(), firsts, strict=True)
            ]

    def flags(self, names: Sequence[str], start: int) -> Iterator[HealthFinding]:
        """Yield what is wrong with the losses and scores of a run.

        A metric that overfits does not diverge as well, and one that does either is not on a plateau. Of the
        metrics on a plateau, only the one that is on it first is named.

        Args:
            names: The names of the metrics.
            start: The index of the series of the first.
        """
        own = slice(start, start + len(names))
        indices = dict(zip(names, range(start, own.stop), strict=True))
        overfitting, diverging = {}, {}
        for name, partner in training_partners(tuple(names)).items():
            index = indices[name]
            if self._overfitting[index]:
                curves = self._curve(index), self._curve(indices[partner])
                overfitting[index] = find_overfitting(name, curves[0], partner, curves[1])
        for index in (start + np.flatnonzero(self._divergence[own])).tolist():
            if overfitting.get(index) is None:
                diverging[index] = find_divergence(names[index - start], self._curve(index))
        found = {index: one for index, one in (overfitting | diverging).items() if one is not None}
        yield from found.values()
        yield from self._first_plateau(names, start, without=found)
        for index in (start + np.flatnonzero(self._spike[own])).tolist():
            other = found.get(index)
            diverged = other.step if other is not None and other.flag == "divergence" else None
            if spike := find_spike(names[index - start], self._curve(index), before=diverged):
                yield spike

    def _curve(self, index: int) -> Curve:
        return self._groups[int(self._group[index])].curve(int(self._row[index]))

    def _first_plateau(
        self, names: Sequence[str], start: int, *, without: Collection[int]
    ) -> Iterator[HealthFinding]:
        """Yield the finding of the metric of a run that is on a plateau first, if one is."""
        steps = self._plateau_step[start : start + len(names)].copy()
        steps[[index - start for index in without]] = _NO_STEP
        count = np.count_nonzero(steps != _NO_STEP)
        if not count:
            return
        first = steps.min()
        name, index = min((names[index], index) for index in np.flatnonzero(steps == first).tolist())
        group, row = int(self._group[start + index]), int(self._row[start + index])
        plateaus, curve = self._plateaus[group], self._groups[group].curve(row)
        begun, best = curve.shown(float(plateaus.start[row])), curve.shown(float(plateaus.best[row]))
        message = f"{begun}, and {best} at its best since"
        if not plateaus.improved[row]:
            message = f"it never got better than {begun}"
        yield HealthFinding(flag="plateau", step=int(first), metric=name, message=message, metrics=int(count))


def _may_overfit(curves: Curves) -> Mask:
    """Whether curves are at their best long before their end (see `find_overfitting`)."""
    count = curves.levels.shape[1]
    smooth, wide = smoothed(curves.levels)
    early: Mask = count - 1 - (smooth.argmin(axis=1) + wide // 2) >= max(2, count * 0.15)
    return early


def _may_lose(curves: Curves) -> tuple[Mask, Mask]:
    """Whether curves lose, or jump by, more than their noise (see `find_divergence` and `find_spike`)."""
    values, levels, noise = curves.values, curves.levels, curves.noise
    loses = curves.signs > 0
    lost = levels[:, -max(2, levels.shape[1] // 20) :].min(axis=1) - levels.min(axis=1)
    length = values.shape[1]
    return (
        loses & (lost > 6 * noise) & (length >= _FEWEST),
        loses & (np.diff(values).max(axis=1) > 10 * noise) & (length >= _FEWEST_FOR_SPIKE),
    )


def _plateaus(curves: Curves) -> _Plateaus:
    """Return which curves are on a plateau: those that do not get visibly better until the end."""
    length, count = curves.values.shape[1], curves.levels.shape[1]
    smooth, wide = smoothed(curves.levels)
    spread = curves.level_noise / wide**0.5
    best = np.minimum.accumulate(smooth, axis=1)
    late_level = max(count * 2 // 3 - wide, 0)
    first, middle, late, last = (best[:, level] for level in (0, max(count // 3 - wide, 0), late_level, -1))
    won = first - last
    exact = 1e-9 * np.abs(last)
    improved: Mask = won > larger(3 * spread, exact)
    visible = 2.5 * spread
    if length < _FEWEST_FOR_NOISE:
        visible = np.where(improved, smaller(visible, won / 30), visible)
    gained = smaller(0.15 * (middle - late), won / 30)
    enough = larger(larger(larger(visible, gained), won / 2000), exact)
    better = (late - last > enough) | _still_falling(curves, enough) | _at_their_bound(curves)
    near = last + larger(spread, won / 50)
    begin = np.minimum(np.argmax(best <= near[:, None], axis=1), late_level)
    level = np.where(improved, begin, 0)
    start = best[np.arange(len(best)), level]
    level[better | (length < _FEWEST)] = -1
    return _Plateaus(level, improved, start, last)


def _still_falling(curves: Curves, least: Floats) -> Mask:
    """Whether the last sixth is clearly below the sixth that is around two thirds."""
    count = curves.levels.shape[1]
    then = curves.levels[:, count * 7 // 12 : count * 9 // 12]
    now = curves.levels[:, count * 10 // 12 :]
    fall = then.sum(axis=1) / then.shape[1] - now.sum(axis=1) / now.shape[1]
    clear = 2 * curves.level_noise * (1 / then.shape[1] + 1 / now.shape[1]) ** 0.5
    falling: Mask = (fall > clear) & (fall > least / 4)
    return falling


def _at_their_bound(curves: Curves) -> Mask:
    """Whether nothing is left to gain: a loss is zero, or a share is 1 or 100%."""
    best, lowest = curves.levels.min(axis=1), curves.values.min(axis=1)
    zero = (best == 0) & (lowest >= 0)
    tops = [(-best >= top * 0.995) & (lowest <= best) & (-lowest <= top) for top in (1.0, 100.0)]
    bound: Mask = ~curves.logarithmic & np.where(curves.signs > 0, zero, tops[0] | tops[1])
    return bound


def find_divergence(name: str, curve: Curve) -> HealthFinding | None:
    """Return where a loss has lost what it had gained, if it has."""
    if curve.sign < 0 or len(curve.values) < _FEWEST:
        return None
    levels = curve.levels
    start, best = float(levels[0]), float(levels.min())
    end = float(levels[-max(2, len(levels) // 20) :].min())
    lost = end - best
    if not lost > max(6 * curve.noise, _least_loss(curve, start, best)):
        return None
    share = 1.0 if is_held_out(name) or (best <= 0 and not curve.logarithmic) else 0.5
    if not lost > share * (start - best):
        return None
    near = best + min(max(lost / 20, 4 * curve.level_noise), lost / 3)
    begin = min(int(np.flatnonzero(levels <= near)[-1]) + 1, len(levels) - 1)
    return HealthFinding(
        flag="divergence",
        step=curve.step_of(begin),
        metric=name,
        message=f"{curve.shown(best)} at its best, {curve.shown(end)} at the end",
    )


def _least_loss(curve: Curve, start: float, best: float) -> float:
    """Return how much a diverging loss must lose at least: half of what it was at its best."""
    if curve.logarithmic:
        return math.log(1.5)
    return best / 2 if best > 0 else max(abs(start), abs(best)) / 2


def find_overfitting(name: str, curve: Curve, partner: str, training: Curve) -> HealthFinding | None:
    """Return where a metric begins to get worse while its training metric gets better, if it does."""
    if training.sign != curve.sign:
        return None
    levels = curve.levels
    smooth, _ = curve.smooth()
    wide = len(levels) - len(smooth) + 1
    lowest = int(np.argmin(smooth))
    best = float(smooth[lowest])
    won = float(levels[0]) - best
    end = float(median(levels[-max(2, len(levels) // 10) :]))
    begin = lowest + wide // 2
    if len(levels) - 1 - begin < max(2, len(levels) * 0.15) or won <= 0:
        return None
    if not end - best > max(won / 20, 3 * curve.level_noise):
        return None
    step = curve.step_of(begin)
    if not _still_better(training, step):
        return None
    return HealthFinding(
        flag="overfitting",
        step=step,
        metric=name,
        message=f"{curve.shown(best)} at its best, {curve.shown(end)} at the end, "
        f"while {partner} still got better",
    )


def _still_better(training: Curve, step: int) -> bool:
    """Whether a training metric is clearly better at the end than it was at this step."""
    starts = training.steps[:: training.width]
    until = max(int(np.searchsorted(starts, step, side="right")), 1)
    then = float(median(training.levels[max(until - 3, 0) : until]))
    now = float(median(training.levels[-max(2, len(training) // 10) :]))
    return then - now > 2 * training.level_noise


def find_spike(name: str, curve: Curve, *, before: int | None) -> HealthFinding | None:
    """Return the first spike, if `before` is given, only one that is over before that step."""
    if curve.sign < 0 or len(curve.values) < _FEWEST_FOR_SPIKE:
        return None
    until = None if before is None else int(np.searchsorted(curve.steps, before)) - 2 * curve.width
    values = curve.values[:until]
    if len(values) < _FEWEST_FOR_SPIKE:
        return None
    rises = np.diff(values)
    least = 10 * curve.noise
    if not float(rises.max()) > least:
        return None
    least = max(least, 6 * float(np.sort(np.abs(rises))[int(0.9 * len(rises))]))
    spikes = []
    back = 5
    for row in np.flatnonzero(rises > least)[:_MOST_JUMPS].tolist():
        if row >= back - 1 and (found := _recovery(curve, values, row)):
            spikes.append((row + 1, found[0]))
            back = found[1]
    if not spikes:
        return None
    row, peak = spikes[0]
    more = f"; {len(spikes)} spikes" if len(spikes) > 1 else ""
    usual = curve.shown(float(median(values[row - 5 : row])))
    return HealthFinding(
        flag="spike",
        step=int(curve.steps[row]),
        metric=name,
        message=f"{usual} before, {curve.shown(peak)} at its peak{more}",
    )


def _recovery(curve: Curve, values: Floats, row: int) -> tuple[float, int] | None:
    """Return the peak after the jump that follows a row, and the row where the metric is back.

    It is back where it and the median of the next values are down to less than a third and a half of the
    jump, within a twentieth of all values.
    """
    before = float(median(values[row - 4 : row + 1]))
    after = values[row + 1 : row + 1 + max(10, len(values) // 20)]
    peak = float(after[: max(5, len(values) // 50)].max())
    height = peak - before
    if not height > (math.log(1.25) if curve.logarithmic else abs(before) / 10):
        return None
    low = np.flatnonzero(after <= before + height / 3)
    if not len(low):
        return None
    back = row + 1 + int(low[0])
    if float(median(values[back : back + 5])) > before + height / 2:
        return None
    return peak, back
