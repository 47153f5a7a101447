"""The test of a regression gate, against scipy and statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given
from hypothesis import strategies as st
from statsmodels.stats.power import TTestIndPower

from pull_logs.analyze.inference import Margin, Regression, Sample, find_regression
from pull_logs.analyze.statistics import Direction

NUMBERS = st.floats(-1e3, 1e3).map(lambda value: round(value, 3))
VALUES = st.lists(NUMBERS, min_size=2, max_size=12)


def unpaired(values: list[float]) -> Sample:
    return Sample(tuple(values), (None,) * len(values))


def paired(values: list[float]) -> Sample:
    return Sample(tuple(values), tuple(range(len(values))))


def regression_of(new: Sample, base: Sample, direction: Direction, margin: str | None) -> Regression:
    allowed = None if margin is None else Margin.parse(margin)
    found = find_regression(new, base, direction, alpha=0.05, margin=allowed)
    assert found is not None
    return found


@given(VALUES, VALUES, st.sampled_from([None, "3"]))
def test_without_pairs_it_is_the_one_sided_welch_test_of_scipy(
    new: list[float], base: list[float], margin: str | None
) -> None:
    assume(min(np.std(new), np.std(base)) > 1e-3)
    allowed = float(margin or 0)
    for direction, shifted, side in (("min", -allowed, "greater"), ("max", allowed, "less")):
        ours = regression_of(unpaired(new), unpaired(base), direction, margin)  # type: ignore[arg-type]  # of the two words
        theirs = scipy.stats.ttest_ind(np.add(new, shifted), base, equal_var=False, alternative=side)
        assert ours.p == pytest.approx(theirs.pvalue, rel=1e-9, abs=1e-12)
        sign = 1 if direction == "min" else -1
        assert ours.worse == pytest.approx(sign * (np.mean(new) - np.mean(base)), abs=1e-9)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=2, max_size=12))
def test_with_pairs_it_is_the_one_sided_paired_test_of_scipy(pairs: list[tuple[float, float]]) -> None:
    new, base = ([pair[side] for pair in pairs] for side in (0, 1))
    assume(np.std(np.subtract(new, base)) > 1e-3)
    ours = regression_of(paired(new), paired(base), "min", None)
    theirs = scipy.stats.ttest_rel(new, base, alternative="greater")
    assert ours.t == pytest.approx(theirs.statistic, rel=1e-9)
    assert ours.p == pytest.approx(theirs.pvalue, rel=1e-9, abs=1e-12)
    upper = scipy.stats.ttest_rel(new, base, alternative="less").confidence_interval(0.95).high
    assert ours.at_most == pytest.approx(upper, rel=1e-9, abs=1e-9)


def test_a_percentage_is_of_the_mean_of_the_baseline() -> None:
    found = regression_of(unpaired([1.2, 1.3, 1.4]), unpaired([1.0, 1.1, 0.9]), "min", "10%")
    assert found.base == pytest.approx(1.0)
    assert found.margin == pytest.approx(0.1)
    assert found.p > regression_of(unpaired([1.2, 1.3, 1.4]), unpaired([1.0, 1.1, 0.9]), "min", None).p


def test_a_worsening_has_a_positive_effect_whichever_end_is_better() -> None:
    low, high = unpaired([0.1, 0.2, 0.3]), unpaired([0.7, 0.8, 0.9])
    for new, base, direction in ((high, low, "min"), (low, high, "max")):
        found = regression_of(new, base, direction, None)  # type: ignore[arg-type]  # one of the two words
        assert found.worse == pytest.approx(0.6)
        assert found.effect == pytest.approx(6 * (1 - 3 / (4 * 6 - 9)))
        assert found.p < 0.01
    better = regression_of(low, high, "min", None)
    assert better.worse == pytest.approx(-0.6)
    assert better.p > 0.99


def test_the_power_of_equal_spreads_is_that_of_statsmodels() -> None:
    values = [1.0, 2.0, 3.0, 4.0, 5.0]
    found = regression_of(unpaired(values), unpaired(values), "min", None)
    assert found.power == pytest.approx(TTestIndPower().power(2.0, 5, 0.05, alternative="larger"), abs=1e-9)
    assert found.needed is None
    few = regression_of(unpaired([1.0, 2.0]), unpaired([1.0, 2.0]), "min", None)
    assert few.power < 0.8
    assert few.needed == 4


def test_runs_that_do_not_vary_are_worse_or_not_for_certain() -> None:
    worse = regression_of(unpaired([2.0, 2.0]), unpaired([1.0, 1.0]), "min", None)
    assert (worse.p, worse.effect, worse.power) == (0.0, None, 1.0)
    allowed = regression_of(unpaired([2.0, 2.0]), unpaired([1.0, 1.0]), "min", "1.5")
    assert allowed.p == 1.0


@pytest.mark.parametrize("few", [[], [1.0]])
def test_fewer_than_two_runs_are_not_tested(few: list[float]) -> None:
    assert find_regression(unpaired(few), unpaired([1.0, 2.0]), "min", alpha=0.05) is None
    assert find_regression(unpaired([1.0, 2.0]), unpaired(few), "min", alpha=0.05) is None
