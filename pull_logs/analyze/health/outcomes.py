"""The flags of losses and scores: divergence, spikes, overfitting and plateaus."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from pull_logs.analyze.health.curves import Curve, median, same_length, smoothed
from pull_logs.analyze.health.findings import HealthFinding
from pull_logs.analyze.statistics import is_held_out, training_partners
from pull_logs.frames import Floats, Mask

_FEWEST = 10
"""The fewest values with which a metric can diverge or be on a plateau."""
_FEWEST_FOR_SPIKE = 20
_FEWEST_FOR_NOISE = 30
"""Below this number of values, the noise is not known well enough to hide an improvement."""
_MOST_JUMPS = 100
"""The most jumps that are looked at in search of the first spike."""


class Possible(NamedTuple):
    """Which flags a curve may have, as the first conditions of each say."""

    overfitting: bool = True
    divergence: bool = True
    plateau: bool = True
    spike: bool = True


def outcome_flags(curves: Mapping[str, Curve], possible: Sequence[Possible]) -> Iterator[HealthFinding]:
    """Yield what is wrong with the losses and scores of a run.

    A metric that overfits does not diverge as well, and one that does either is not on a plateau.

    Args:
        curves: The curves by the names of the metrics.
        possible: Which flags each of them may have, as `possible_flags` returns it.
    """
    partners = training_partners(tuple(curves))
    for (name, curve), may in zip(curves.items(), possible, strict=True):
        partner = partners.get(name)
        found = None
        if may.overfitting and partner is not None:
            found = _overfitting(name, curve, partner, curves[partner])
        if found is None and may.divergence:
            found = _divergence(name, curve)
        if found is None and may.plateau:
            found = _plateau(name, curve)
        if found:
            yield found
        diverged = found.step if found is not None and found.flag == "divergence" else None
        if may.spike and (spike := _spike(name, curve, before=diverged)):
            yield spike


def possible_flags(curves: Sequence[Curve]) -> list[Possible]:
    """Return which flags curves may have; the conditions of those of one length are checked together."""
    found: dict[int, Possible] = {}
    for members in same_length([curve.values for curve in curves]):
        found |= zip(members, _possible_together([curves[index] for index in members]), strict=True)
    return [found[index] for index in range(len(curves))]


def _possible_together(curves: Sequence[Curve]) -> Iterator[Possible]:
    values, levels = (np.array([getattr(curve, name) for curve in curves]) for name in ("values", "levels"))
    loses = np.array([curve.sign > 0 for curve in curves])
    noise, of_level = (
        np.array([getattr(curve, name) for curve in curves]) for name in ("noise", "level_noise")
    )
    smooth, wide = smoothed(levels)
    length, count = values.shape[1], levels.shape[1]
    lost = levels[:, -max(2, count // 20) :].min(axis=1) - levels.min(axis=1)
    return map(
        Possible,
        (count - 1 - (smooth.argmin(axis=1) + wide // 2) >= max(2, count * 0.15)).tolist(),
        (loses & (lost > 6 * noise) & (length >= _FEWEST)).tolist(),
        (~_got_better(smooth, of_level / wide**0.5, count, length) & (length >= _FEWEST)).tolist(),
        (loses & (np.diff(values).max(axis=1) > 10 * noise) & (length >= _FEWEST_FOR_SPIKE)).tolist(),
    )


def _got_better(smooth: Floats, spread: Floats, count: int, length: int) -> Mask:
    """Whether curves got visibly better until the end, so that they are on no plateau (see `_plateau`)."""
    wide = count - smooth.shape[1] + 1
    best = np.minimum.accumulate(smooth, axis=1)
    first, middle, late, last = (
        best[:, index] for index in (0, max(count // 3 - wide, 0), max(count * 2 // 3 - wide, 0), -1)
    )
    won = first - last
    exact = 1e-9 * np.abs(last)
    visible = 2.5 * spread
    if length < _FEWEST_FOR_NOISE:
        improved = won > np.maximum(3 * spread, exact)
        visible = np.where(improved, np.minimum(visible, won / 30), visible)
    enough = np.maximum(visible, np.minimum(0.15 * (middle - late), won / 30))
    better: Mask = late - last > np.maximum(np.maximum(enough, won / 2000), exact)
    return better


def _divergence(name: str, curve: Curve) -> HealthFinding | None:
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


def _overfitting(name: str, curve: Curve, partner: str, training: Curve) -> HealthFinding | None:
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


def _plateau(name: str, curve: Curve) -> HealthFinding | None:
    if len(curve.values) < _FEWEST or _at_its_bound(curve):
        return None
    count = len(curve.levels)
    smooth, spread = curve.smooth()
    wide = count - len(smooth) + 1
    best = np.minimum.accumulate(smooth)
    first, middle, late, last = (
        float(best[index]) for index in (0, max(count // 3 - wide, 0), max(count * 2 // 3 - wide, 0), -1)
    )
    won = first - last
    exact = 1e-9 * abs(last)
    improved = won > max(3 * spread, exact)
    visible = 2.5 * spread
    if improved and len(curve.values) < _FEWEST_FOR_NOISE:
        visible = min(visible, won / 30)
    enough = max(visible, min(0.15 * (middle - late), won / 30), won / 2000, exact)
    if late - last > enough or _still_falling(curve, enough):
        return None
    if not improved:
        begin, message = 0, f"it never got better than {curve.shown(first)}"
    else:
        near = last + max(spread, won / 50)
        begin = min(int(np.flatnonzero(best <= near)[0]), max(count * 2 // 3 - wide, 0))
        message = f"{curve.shown(float(best[begin]))}, and {curve.shown(last)} at its best since"
    return HealthFinding(flag="plateau", step=curve.step_of(begin), metric=name, message=message)


def _still_falling(curve: Curve, least: float) -> bool:
    """Whether the last sixth is clearly below the sixth that is around two thirds."""
    count = len(curve.levels)
    then, now = curve.levels[count * 7 // 12 : count * 9 // 12], curve.levels[count * 10 // 12 :]
    fall = float(then.sum()) / len(then) - float(now.sum()) / len(now)
    clear = 2 * curve.level_noise * (1 / len(then) + 1 / len(now)) ** 0.5
    return fall > clear and fall > least / 4


def _at_its_bound(curve: Curve) -> bool:
    """Whether nothing is left to gain: a loss is zero, or a share is 1 or 100%."""
    if curve.logarithmic:
        return False
    best = float(curve.levels.min())
    if curve.sign > 0:
        return best == 0 <= float(curve.values.min())
    return any(top * 0.995 <= -best <= -float(curve.values.min()) <= top for top in (1.0, 100.0))


def _spike(name: str, curve: Curve, *, before: int | None) -> HealthFinding | None:
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
