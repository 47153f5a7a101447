"""Tests between groups against scipy's, and the words that are made of them."""

from __future__ import annotations

import math

import pytest
import scipy.stats
from hypothesis import assume, given
from hypothesis import strategies as st

from pull_logs.analyze.inference.significance import Difference, Sample, compare_samples, holm

VALUES = st.lists(st.floats(-1e3, 1e3).map(lambda value: round(value, 6)), min_size=2, max_size=12)


def seeded(values: list[float], start: int = 0) -> Sample:
    return Sample(tuple(values), tuple(range(start, start + len(values))))


def unseeded(values: list[float]) -> Sample:
    return Sample(tuple(values), (None,) * len(values))


def found(first: Sample, second: Sample) -> Difference:
    difference = compare_samples(first, second)
    assert difference is not None
    return difference


@pytest.mark.filterwarnings("ignore:Precision loss")  # scipy warns of groups that do not vary
@given(VALUES, VALUES)
def test_welch_is_that_of_scipy(first: list[float], second: list[float]) -> None:
    assume(max(scipy.stats.sem(first), scipy.stats.sem(second)) > 1e-3)
    ours = found(unseeded(first), unseeded(second))
    theirs = scipy.stats.ttest_ind(first, second, equal_var=False)
    low, high = theirs.confidence_interval(0.95)
    assert (ours.test, ours.n) == ("Welch t", (len(first), len(second)))
    assert (ours.t, ours.df, ours.p) == pytest.approx((theirs.statistic, theirs.df, theirs.pvalue), rel=1e-9)
    assert (ours.ci_low, ours.ci_high) == pytest.approx((low, high), rel=1e-9, abs=1e-6)


@pytest.mark.filterwarnings("ignore:Precision loss")
@given(
    st.lists(
        st.tuples(*[st.floats(-1e3, 1e3).map(lambda value: round(value, 6))] * 2), min_size=2, max_size=12
    )
)
def test_groups_that_share_their_seeds_are_paired_as_scipy_pairs_them(
    pairs: list[tuple[float, float]],
) -> None:
    first, second = ([pair[side] for pair in pairs] for side in (0, 1))
    assume(scipy.stats.sem([left - right for left, right in pairs]) > 1e-3)
    turned = Sample(tuple(reversed(second)), tuple(reversed(range(len(second)))))
    ours = found(seeded(first), turned)
    theirs = scipy.stats.ttest_rel(first, second)
    low, high = theirs.confidence_interval(0.95)
    assert (ours.test, ours.n) == ("paired t", (len(pairs), len(pairs)))
    assert (ours.t, ours.df, ours.p) == pytest.approx((theirs.statistic, theirs.df, theirs.pvalue), rel=1e-9)
    assert (ours.ci_low, ours.ci_high) == pytest.approx((low, high), rel=1e-9, abs=1e-6)


def test_a_larger_group_is_paired_over_the_seeds_of_the_smaller() -> None:
    ours = found(seeded([1.0, 2.0, 4.0]), seeded([0.5, 1.0, 2.0, 90.0, 80.0]))
    assert (ours.test, ours.n) == ("paired t", (3, 3))
    assert ours.p == pytest.approx(scipy.stats.ttest_rel([1, 2, 4], [0.5, 1, 2]).pvalue)


@pytest.mark.parametrize(
    "second",
    [
        seeded([1.0, 2.0, 2.5], start=1),
        Sample((1.0, 2.0, 2.5), (0, 1, 1)),
        Sample((1.0, 2.0, 2.5), (0, 1, None)),
    ],
    ids=["other seeds", "a seed twice", "a run without a seed"],
)
def test_groups_that_do_not_share_their_seeds_are_not_paired(second: Sample) -> None:
    assert found(seeded([1.0, 2.0, 4.0]), second).test == "Welch t"


@pytest.mark.parametrize("few", [[], [1.0]])
def test_fewer_than_two_values_are_not_tested(few: list[float]) -> None:
    assert compare_samples(seeded(few), seeded([1.0, 2.0])) is None
    assert compare_samples(seeded([1.0, 2.0]), seeded(few)) is None


def test_values_that_do_not_vary_differ_for_certain_or_not_at_all() -> None:
    apart = found(unseeded([0.1] * 3), unseeded([0.2] * 3))
    assert (apart.t, apart.p, apart.ci_low, apart.ci_high) == (-math.inf, 0.0, -0.1, -0.1)
    same = found(unseeded([0.1] * 3), unseeded([0.1] * 2))
    assert (same.difference, same.t, same.p) == (0.0, 0.0, 1.0)


def test_values_that_overflow_are_not_tested() -> None:
    assert compare_samples(unseeded([1.7e308, -1.7e308]), unseeded([1.0, 2.0])) is None


@given(st.lists(st.floats(0, 1), max_size=20))
def test_holm_is_what_its_definition_says(p_values: list[float]) -> None:
    count = len(p_values)
    order = sorted(p_values)
    for p, adjusted in zip(p_values, holm(p_values), strict=True):
        place = len(order) - order[::-1].index(p) - 1
        assert adjusted == max(min((count - i) * order[i], 1.0) for i in range(place + 1))
        assert p <= adjusted <= 1


def test_holm_on_an_example_from_a_textbook() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
