"""Runs judged together get the findings that each gets alone, and every curve has its own scale."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.analyze.health import HealthFinding, RunColumns, find_all_flags, find_flags
from pull_logs.analyze.health.curves import FEWEST, Curve, Series, curves_of
from pull_logs.analyze.health.outcomes import Outcomes, find_divergence, find_overfitting, find_spike
from pull_logs.analyze.statistics import training_partners
from pull_logs.frames import Column, Floats, numbers
from pull_logs.runs import RunInfo, RunPath

NAMES = ("train/loss", "val/loss", "val/acc", "grad_norm", "lr", "tokens_per_sec", "step_time", "other")
NUMBERS = st.floats(-1e6, 1e6) | st.sampled_from([0.0, 1.0, 1e-9, 1e308, -1e308])


@st.composite
def shapes(draw: st.DrawFn) -> Floats:
    """A curve that falls, rises, stays, jumps or leaves the numbers, with noise of its own."""
    count = draw(st.sampled_from([0, 5, 6, 20, 30, 100, 500]))
    noise = np.random.default_rng(draw(st.integers(0, 9))).normal(
        0, draw(st.sampled_from([0, 0.01, 1])), count
    )
    x = np.linspace(0, 1, count)
    shape = draw(st.sampled_from(["fall", "rise", "flat", "decades", "jump", "u", "special"]))
    values = {
        "fall": 2 - x,
        "rise": 1 + x,
        "flat": np.full(count, 0.5),
        "decades": 10 ** (3 - 4 * x),
        "jump": 1 - x + 5 * (np.abs(x - 0.5) < 0.02),
        "u": (x - 0.4) ** 2,
        "special": np.resize(np.array(draw(st.lists(NUMBERS, min_size=1, max_size=5))), count),
    }[shape] + noise
    for row in draw(st.lists(st.integers(0, max(count - 1, 0)), max_size=2)) if count else ():
        values[row] = draw(st.sampled_from([np.nan, np.inf, -np.inf, 0.0, 1e300]))
    return values


@st.composite
def runs(draw: st.DrawFn) -> RunColumns:
    curves = draw(st.dictionaries(st.sampled_from(NAMES), shapes(), max_size=5))
    length = max(map(len, curves.values()), default=0)
    padded = {name: np.concatenate([np.full(length - len(one), np.nan), one]) for name, one in curves.items()}
    times = draw(st.sampled_from([None, 1.0, 1000.0]))
    return RunColumns(
        run=RunInfo(
            path=RunPath("a", "b", "c"), name="n", state=draw(st.sampled_from(["finished", "crashed"]))
        ),
        metrics={name: Column.of(numbers(one)) for name, one in padded.items()},
        steps=np.arange(length, dtype=np.int64) * 10,
        timestamps=None if times is None else Column.of(numbers(np.arange(length) * times)),
    )


@given(st.lists(runs(), max_size=4))
def test_runs_together_have_the_findings_of_each_alone(items: list[RunColumns]) -> None:
    alone = [find_flags(one.run, one.metrics, one.steps, one.timestamps) for one in items]
    assert find_all_flags(items) == alone


@given(st.lists(st.tuples(shapes(), st.sampled_from([1, -1])), max_size=6))
def test_curves_together_are_those_of_each_alone(shapes: list[tuple[Floats, int]]) -> None:
    series = [
        Series(np.flatnonzero(finite).astype(np.int64), values[finite], sign)
        for values, sign in shapes
        if np.count_nonzero(finite := np.isfinite(values)) >= FEWEST
    ]
    with np.errstate(all="ignore"):
        together = curves_of(series)
        for curve, one in zip(together, series, strict=True):
            (alone,) = curves_of([one])
            facts = [
                (it.sign, it.logarithmic, it.width, str(it.noise), str(it.level_noise))
                for it in (curve, alone)
            ]
            assert facts[0] == facts[1]
            assert curve.values.tobytes() == alone.values.tobytes()
            assert curve.levels.tobytes() == alone.levels.tobytes()


@given(st.lists(shapes(), max_size=6), st.integers(0, 63))
def test_outcomes_together_have_the_flags_of_the_plain_definitions(shapes: list[Floats], scores: int) -> None:
    names = ("train/loss", "val/loss", "eval/loss", "loss", "val/acc", "a/loss")
    series = {
        name: Series(
            np.flatnonzero(finite).astype(np.int64), values[finite], -1 if scores >> number & 1 else 1
        )
        for number, (name, values) in enumerate(zip(names, shapes, strict=False))
        if np.count_nonzero(finite := np.isfinite(values)) >= FEWEST
    }
    with np.errstate(all="ignore"):
        found = Outcomes(list(series.values())).flags(tuple(series), 0)
        plain = list(plain_flags(dict(zip(series, curves_of(list(series.values())), strict=True))))
        plateaus = [one for one in plain if one.flag == "plateau"]
        expected = {one for one in plain if one.flag != "plateau"}
        if plateaus:
            first = min(plateaus, key=lambda one: (one.step, one.metric))
            expected.add(replace(first, metrics=len(plateaus)))
        assert set(found) == expected


def plain_flags(curves: Mapping[str, Curve]) -> Iterator[HealthFinding]:
    """Yield every flag of every curve, one curve after the other."""
    partners = training_partners(tuple(curves))
    for name, curve in curves.items():
        partner = partners.get(name)
        found = None if partner is None else find_overfitting(name, curve, partner, curves[partner])
        found = found or find_divergence(name, curve)
        found = found or plain_plateau(name, curve)
        if found:
            yield found
        diverged = found.step if found is not None and found.flag == "divergence" else None
        if spike := find_spike(name, curve, before=diverged):
            yield spike


def plain_plateau(name: str, curve: Curve) -> HealthFinding | None:
    """Return the plateau of one curve, as docs/health.md defines it."""
    if len(curve.values) < 10 or at_its_bound(curve):
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
    if improved and len(curve.values) < 30:
        visible = min(visible, won / 30)
    enough = max(visible, min(0.15 * (middle - late), won / 30), won / 2000, exact)
    if late - last > enough or still_falling(curve, enough):
        return None
    if not improved:
        begin, message = 0, f"it never got better than {curve.shown(first)}"
    else:
        near = last + max(spread, won / 50)
        begin = min(int(np.flatnonzero(best <= near)[0]), max(count * 2 // 3 - wide, 0))
        message = f"{curve.shown(float(best[begin]))}, and {curve.shown(last)} at its best since"
    return HealthFinding(flag="plateau", step=curve.step_of(begin), metric=name, message=message)


def still_falling(curve: Curve, least: float) -> bool:
    count = len(curve.levels)
    then, now = curve.levels[count * 7 // 12 : count * 9 // 12], curve.levels[count * 10 // 12 :]
    fall = float(then.sum()) / len(then) - float(now.sum()) / len(now)
    clear = 2 * curve.level_noise * (1 / len(then) + 1 / len(now)) ** 0.5
    return fall > clear and fall > least / 4


def at_its_bound(curve: Curve) -> bool:
    if curve.logarithmic:
        return False
    best = float(curve.levels.min())
    if curve.sign > 0:
        return best == 0 <= float(curve.values.min())
    return any(top * 0.995 <= -best <= -float(curve.values.min()) <= top for top in (1.0, 100.0))
