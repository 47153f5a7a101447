"""Reduced curves: every extreme and every kind of value that is not finite survives."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.report.curves import ABOVE, BELOW, MEAN_LEVELS, NAN, reduce_curve

VALUES = st.lists(
    st.floats(-1e6, 1e6) | st.sampled_from([math.nan, math.inf, -math.inf, 0.0]), min_size=1, max_size=300
)
LIMITS = st.integers(4, 80)


@given(VALUES, LIMITS)
def test_the_extremes_and_ends_of_a_curve_stay_at_their_steps(values: list[float], limit: int) -> None:
    steps = np.arange(len(values), dtype=np.float64) * 3
    curve = reduce_curve(steps, np.array(values), limit=limit)
    finite = {step: value for step, value in zip(steps, values, strict=True) if math.isfinite(value)}
    kept = dict(zip(curve.steps.tolist(), curve.values.tolist(), strict=True))
    assert kept.items() <= finite.items()
    if finite:
        assert min(kept.values()) == min(finite.values())
        assert max(kept.values()) == max(finite.values())
    for step in (steps[0], steps[-1]):
        assert (step in kept) == (step in finite)


@given(VALUES, LIMITS)
def test_each_kind_of_value_that_is_not_finite_keeps_its_first_step(values: list[float], limit: int) -> None:
    steps = np.arange(len(values), dtype=np.float64)
    curve = reduce_curve(steps, np.array(values), limit=limit)
    marks = list(zip(curve.mark_steps.tolist(), curve.mark_codes.tolist(), strict=True))
    assert marks == sorted(marks)
    for code, kind in {NAN: "nan", ABOVE: "inf", BELOW: "-inf"}.items():
        there = [index for index, value in enumerate(values) if str(value) == kind]
        marked = [step for step, found in marks if found == code]
        assert set(marked) <= set(there)
        assert marked[:1] == there[:1]


@given(VALUES, LIMITS)
def test_buckets_are_few_and_count_and_average_what_they_stand_for(values: list[float], limit: int) -> None:
    steps = np.arange(len(values), dtype=np.float64)
    curve = reduce_curve(steps, np.array(values), limit=limit)
    finite = np.array([value for value in values if math.isfinite(value)])
    if not len(curve.counts):
        assert curve.values.tolist() == finite.tolist()
        return
    assert len(curve.values) == 2 * len(curve.counts) <= limit + 4
    assert curve.counts.sum() == len(finite)
    low, high = curve.values.reshape(-1, 2).min(axis=1), curve.values.reshape(-1, 2).max(axis=1)
    means = low + (high - low) * curve.means / MEAN_LEVELS
    level = (high - low) / MEAN_LEVELS
    total, allowed = float((means * curve.counts).sum()), float((level * curve.counts).sum())
    assert total == pytest.approx(finite.sum(), abs=allowed + 1e-3)


def test_a_short_curve_keeps_every_value() -> None:
    curve = reduce_curve(np.array([1.0, 5.0, 9.0]), np.array([2.0, math.nan, 3.0]), limit=3)
    assert (curve.steps.tolist(), curve.values.tolist()) == ([1, 9], [2, 3])
    assert (curve.mark_steps.tolist(), curve.mark_codes.tolist()) == ([5], [NAN])
    assert not len(curve.counts)


def test_the_largest_doubles_stay_extremes() -> None:
    values = np.array([1e308, -1e308, 1.5e308] * 20)
    curve = reduce_curve(np.arange(60.0), values, limit=10)
    assert (curve.values.min(), curve.values.max()) == (-1e308, 1.5e308)
