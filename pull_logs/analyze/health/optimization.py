"""The flags of the optimizer: gradients that explode, and learning rates that cannot be meant."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping

import numpy as np

from pull_logs.analyze.health.curves import Curve, Series, median
from pull_logs.analyze.health.findings import HealthFinding
from pull_logs.frames import Floats, Steps

_FEWEST = 20
"""The fewest values with which gradients can explode."""
_FEWEST_RATES = 10
_EXPLODED = 10.0
_NUMBER = re.compile(r"\d+")
_FEWEST_GROUPS = 3


def gradient_series(steps: Steps, values: Floats) -> Series | None:
    """Return what to judge a norm of gradients by; None if it cannot have exploded.

    Args:
        steps: The step of each value.
        values: Its finite values.
    """
    positive = values > 0
    if not positive.all():
        steps, values = steps[positive], values[positive]
    if len(values) < _FEWEST:
        return None
    ordered = np.sort(values)
    if float(ordered[-1]) < _EXPLODED * float(ordered[len(values) // 8]):
        return None
    return Series(steps, values, 1, positive=True)


def gradient_flags(name: str, curve: Curve) -> Iterator[HealthFinding]:
    """Yield where a norm of gradients explodes."""
    row = _first_outburst(curve)
    if row is None:
        row = _growth(curve)
    if row is None:
        return
    before = float(median(curve.values[max(row - 5 * curve.width, 0) : row]))
    peak = float(curve.values[row:].max())
    yield HealthFinding(
        flag="gradient_explosion",
        step=int(curve.steps[row]),
        metric=name,
        message=f"{curve.shown(before)} before, {curve.shown(peak)} at its peak",
    )


def _first_outburst(curve: Curve) -> int | None:
    """Return the first row that is far above the levels before it; the first tenth does not count."""
    width, levels = curve.width, curve.levels
    first = max(3, len(levels) // 10)
    usual = np.maximum(np.maximum(levels[first - 1 : -1], levels[first - 2 : -2]), levels[first - 3 : -3])
    rows = curve.values[first * width : len(levels) * width]
    above = rows - np.repeat(usual, width)
    below = np.sort(np.maximum(-above, 0.0))[int(0.9 * len(above))]
    found = np.flatnonzero(above > max(math.log(_EXPLODED), 6 * curve.noise, 3 * float(below)))
    return first * width + int(found[0]) if len(found) else None


def _growth(curve: Curve) -> int | None:
    """Return the first row of a growth that lasts to the end."""
    levels = curve.levels
    usual = float(median(levels))
    last = float(levels[-max(2, len(levels) // 20) :].min())
    if last - usual <= max(math.log(_EXPLODED), 6 * curve.level_noise) or last <= float(
        levels[: len(levels) // 2].max()
    ):
        return None
    near = usual + max(math.log(2), 3 * curve.level_noise)
    begin = int(np.flatnonzero(levels <= near)[-1]) + 1
    return min(begin, len(levels) - 1) * curve.width


def rate_flags(rates: Mapping[str, tuple[Steps, Floats]]) -> Iterator[HealthFinding]:
    """Yield what is wrong with the learning rates of a run.

    Args:
        rates: The steps and the finite values of each.
    """
    off = {name for name, (_, values) in rates.items() if not values.any()}
    for name, (steps, values) in rates.items():
        if not len(values):
            continue
        found = None
        if name in off:
            if len(off) == len(rates) and len(values) >= _FEWEST_RATES:
                found = 0, "0 at every step"
        else:
            found = _wrong_rate(values)
        if found:
            yield HealthFinding(
                flag="learning_rate", step=int(steps[found[0]]), metric=name, message=found[1]
            )
    yield from _groups_that_stay(rates)


def _wrong_rate(values: Floats) -> tuple[int, str] | None:
    """Return the row where a learning rate is wrong, and how."""
    high = float(values.max())
    if float(values.min()) < 0:
        row = int(np.argmax(values < 0))
        return row, f"{float(values[row]):.4g} is negative"
    if len(values) < _FEWEST_RATES or float(values.min()) > high / 2:
        return None
    zero = len(values) - int(np.flatnonzero(values)[-1]) - 1
    if zero >= max(3, len(values) / 10):
        return len(values) - zero, f"0 for the last {zero / len(values):.0%} of its values"
    before, after = values[:-1], values[1:]
    peak = np.maximum.accumulate(before)
    decayed = (before <= peak / 2) & (peak > 0)
    jumps = np.flatnonzero(decayed & (after >= 2 * before) & (after > high / 10))
    if not len(jumps) or int(jumps[-1]) - int(jumps[0]) != len(jumps) - 1:
        return None  # no jump, or a schedule with restarts
    row = int(jumps[0])
    return row + 1, f"{float(before[row]):.4g} after a decay, then {float(after[row]):.4g}"


def _groups_that_stay(rates: Mapping[str, tuple[Steps, Floats]]) -> Iterator[HealthFinding]:
    """Yield the one group of parameters whose rate stays while those of all other groups decay."""
    families: dict[str, list[str]] = {}
    for name in rates:
        families.setdefault(_NUMBER.sub("#", name), []).append(name)
    for names in families.values():
        staying = [name for name in names if _stays(rates[name][1])]
        others = [name for name in names if name not in staying]
        if len(staying) != 1 or len(names) < _FEWEST_GROUPS or not all(_decays(rates[n][1]) for n in others):
            continue
        steps, values = rates[staying[0]]
        yield HealthFinding(
            flag="learning_rate",
            step=int(steps[0]),
            metric=staying[0],
            message=f"{float(values[0]):.4g} at every step, while the {len(others)} others decay",
        )


def _stays(values: Floats) -> bool:
    return len(values) >= _FEWEST_RATES and float(values[0]) > 0 and bool((values == values[0]).all())


def _decays(values: Floats) -> bool:
    return len(values) >= _FEWEST_RATES and float(values[-1]) <= float(values.max()) / 2
