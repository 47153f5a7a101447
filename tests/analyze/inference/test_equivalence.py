"""TOST, margins and effect sizes, against statsmodels and rliable."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from rliable.metrics import probability_of_improvement
from statsmodels.stats.meta_analysis import effectsize_smd
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_ind, ttost_paired

from pull_logs.analyze.inference import (
    Difference,
    Margin,
    Sample,
    compare_samples,
    hedges_g,
    holm,
    probability_above,
)
from pull_logs.errors import UsageError

NUMBERS = st.floats(-1e3, 1e3).map(lambda value: round(value, 3))
VALUES = st.lists(NUMBERS, min_size=2, max_size=12)
MARGINS = st.floats(0.01, 500)


def difference_of(first: Sample, second: Sample) -> Difference:
    found = compare_samples(first, second)
    assert found is not None
    return found


@given(VALUES, VALUES, MARGINS)
def test_tost_of_two_groups_is_that_of_statsmodels(
    first: list[float], second: list[float], margin: float
) -> None:
    assume(min(np.std(first), np.std(second)) > 1e-3)
    ours = difference_of(*(Sample(tuple(values), (None,) * len(values)) for values in (first, second)))
    p, above, _ = ttost_ind(first, second, -margin, margin, usevar="unequal")
    assert ours.p_within(margin) == pytest.approx(p, rel=1e-9, abs=1e-12)
    assert ours.p_above(-margin) == pytest.approx(above[1], rel=1e-9, abs=1e-12)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=2, max_size=12), MARGINS)
def test_tost_of_pairs_is_that_of_statsmodels(pairs: list[tuple[float, float]], margin: float) -> None:
    first, second = ([pair[side] for pair in pairs] for side in (0, 1))
    assume(np.std(np.subtract(first, second)) > 1e-3)
    seeds = tuple(range(len(pairs)))
    ours = difference_of(Sample(tuple(first), seeds), Sample(tuple(second), seeds))
    p, _, _ = ttost_paired(np.array(first), np.array(second), -margin, margin)
    assert ours.p_within(margin) == pytest.approx(p, rel=1e-9, abs=1e-12)


def test_groups_that_do_not_vary_are_equivalent_exactly_within_the_margin() -> None:
    found = difference_of(Sample((1.0, 1.0), (None, None)), Sample((1.5, 1.5), (None, None)))
    assert [found.p_within(margin) for margin in (0.6, 0.5, 0.4)] == [0.0, 0.5, 1.0]


@settings(max_examples=20)  # multipletests takes 60 ms
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_that_of_statsmodels(p_values: list[float]) -> None:
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1], rel=1e-12)


@given(VALUES, VALUES)
def test_the_effect_size_is_that_of_statsmodels(first: list[float], second: list[float]) -> None:
    assume(np.std(first) + np.std(second) > 1e-3)
    spreads = [np.std(values, ddof=1) for values in (first, second)]
    theirs, _ = effectsize_smd(
        np.mean(first), spreads[0], len(first), np.mean(second), spreads[1], len(second)
    )
    assert hedges_g(first, second) == pytest.approx(theirs, rel=1e-9, abs=1e-9)


def test_groups_that_do_not_vary_or_have_one_value_have_no_effect_size() -> None:
    assert hedges_g([1.0, 1.0], [2.0, 2.0]) is None
    assert hedges_g([1.0], [2.0, 3.0]) is None


@given(VALUES, VALUES)
def test_the_probability_of_improvement_is_that_of_rliable(first: list[float], second: list[float]) -> None:
    theirs = probability_of_improvement(np.array(first)[:, None], np.array(second)[:, None])
    assert probability_above(first, second) == pytest.approx(theirs, rel=1e-9)
    statistic = scipy.stats.mannwhitneyu(first, second).statistic
    assert probability_above(first, second) == pytest.approx(statistic / len(first) / len(second), rel=1e-9)


def test_a_margin_is_a_number_or_a_percentage() -> None:
    half, absolute = Margin.parse(" 0.5% "), Margin.parse("2e-3")
    assert (half.text, half.relative) == ("0.5%", True)
    assert half.of(-3.0) == pytest.approx(0.015)
    assert (absolute.relative, absolute.of(100.0)) == (False, 0.002)


@pytest.mark.parametrize("text", ["", "%", "0", "-1%", "nan", "inf", "five", "1 %%"])
def test_a_margin_that_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Margin.parse(text)
    assert str(caught.value) == (
        f"--margin {text!r} is not a positive number or percentage; "
        "write the largest difference that does not matter: --margin 0.5% or --margin 0.002"
    )
    assert not math.isnan(Margin.parse("1").value)
