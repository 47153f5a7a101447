"""Runs judged together get the findings that each gets alone, and every curve has its own scale."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.analyze.health import RunColumns, find_all_flags, find_flags
from pull_logs.analyze.health.curves import FEWEST, Series, curves_of
from pull_logs.analyze.health.outcomes import Possible, outcome_flags, possible_flags
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


@given(st.lists(shapes(), max_size=5), st.integers(0, 31))
def test_the_first_conditions_of_a_flag_rule_out_nothing_that_it_finds(
    shapes: list[Floats], scores: int
) -> None:
    names = ("train/loss", "val/loss", "eval/loss", "loss", "val/acc")
    series = {
        name: Series(
            np.flatnonzero(finite).astype(np.int64), values[finite], -1 if scores >> number & 1 else 1
        )
        for number, (name, values) in enumerate(zip(names, shapes, strict=False))
        if np.count_nonzero(finite := np.isfinite(values)) >= FEWEST
    }
    with np.errstate(all="ignore"):
        curves = dict(zip(series, curves_of(list(series.values())), strict=True))
        every = [Possible() for _ in curves]
        assert list(outcome_flags(curves, possible_flags(list(curves.values())))) == list(
            outcome_flags(curves, every)
        )
