"""Powers and numbers of seeds, against scipy, statsmodels and their definitions."""

from __future__ import annotations

import math

import pytest
import scipy.integrate
import scipy.stats
from hypothesis import assume, given
from hypothesis import strategies as st
from statsmodels.stats.power import TTestIndPower, TTestPower

from pull_logs.analyze.inference import Difference, Sample, compare_samples
from pull_logs.analyze.inference.power import (
    MOST_RUNS,
    POWER,
    detectable_shift,
    plan_seeds,
    plan_text,
    runs_to_find,
    t_test_power,
    tost_power,
)

LEVELS = st.sampled_from([0.2, 0.05, 0.01, 0.001])


def difference_of(first: list[float], second: list[float], *, paired: bool = False) -> Difference:
    seeds = [tuple(range(len(values))) if paired else (None,) * len(values) for values in (first, second)]
    found = compare_samples(Sample(tuple(first), seeds[0]), Sample(tuple(second), seeds[1]))
    assert found is not None
    return found


def is_power(ours: float, theirs: float) -> None:
    """Require equality, except where scipy's noncentral t gives no number."""
    assume(math.isfinite(theirs))
    assert ours == pytest.approx(theirs, abs=1e-9)


@given(st.integers(2, 60), st.floats(0.05, 3), LEVELS)
def test_the_power_of_two_groups_is_that_of_statsmodels(n: int, sigmas: float, alpha: float) -> None:
    ours = t_test_power(sigmas * math.sqrt(n / 2), 2 * n - 2, alpha)
    is_power(ours, TTestIndPower().power(sigmas, n, alpha))


@given(st.integers(2, 60), st.floats(0.05, 3), LEVELS)
def test_the_power_of_pairs_is_that_of_statsmodels(n: int, sigmas: float, alpha: float) -> None:
    ours = t_test_power(sigmas * math.sqrt(n), n - 1, alpha)
    is_power(ours, TTestPower().power(sigmas, n, alpha))


@given(st.integers(2, 60), st.floats(0.05, 3), LEVELS)
def test_the_power_of_one_side_is_that_of_statsmodels(n: int, sigmas: float, alpha: float) -> None:
    ours = t_test_power(sigmas * math.sqrt(n), n - 1, alpha, sides=1)
    is_power(ours, TTestPower().power(sigmas, n, alpha, alternative="larger"))


@pytest.mark.parametrize("df", [1, 1.3, 2.7, 9.5, 1000])
@pytest.mark.parametrize("shift", [0.3, 3.16, 15])
@pytest.mark.parametrize("alpha", [0.2, 0.01, 1e-5])
def test_any_degrees_of_freedom_have_the_noncentral_t_of_scipy(df: float, shift: float, alpha: float) -> None:
    theirs = scipy.stats.nct.sf(scipy.stats.t.ppf(1 - alpha, df), df, shift)
    assert t_test_power(shift, df, alpha, sides=1) == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize("df", [1, 4, 9.5, 200])
@pytest.mark.parametrize("shift", [0, 0.5, 2])
@pytest.mark.parametrize("half", [1, 3, 10])
def test_the_power_of_tost_is_its_integral(df: float, shift: float, half: float) -> None:
    critical = scipy.stats.t.ppf(0.95, df)

    def inside(s: float) -> float:
        density = 2 * df * s * scipy.stats.chi2.pdf(df * s * s, df)
        reach = half - critical * s
        chance: float = scipy.stats.norm.cdf(reach - shift) - scipy.stats.norm.cdf(-reach - shift)
        return float(density * chance)

    theirs, _ = scipy.integrate.quad(inside, 0, half / critical, epsabs=1e-13, epsrel=1e-12, limit=500)
    assert tost_power(shift, half, df, 0.05) == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize("sigmas", [0.3, 0.8, 1.5])
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_seeds_are_planned_as_statsmodels_plans_them(sigmas: float, alpha: float) -> None:
    half = 1 / math.sqrt(2)  # two values that far from their mean have the standard deviation 1
    found = difference_of([sigmas - half, sigmas + half], [-half, half])
    plan = plan_seeds(found, alpha)
    n = math.ceil(TTestIndPower().solve_power(sigmas, None, alpha, POWER))
    assert plan is not None
    assert (plan.sizes, plan.more, plan.decision) == ((n, n), (n - 2, n - 2), "difference")
    paired = difference_of([sigmas - half, sigmas + half], [0.0, 0.0], paired=True)
    plan = plan_seeds(paired, alpha)
    n = math.ceil(TTestPower().solve_power(sigmas, None, alpha, POWER))
    assert plan is not None
    assert plan.sizes == (n, n)


def test_a_group_that_has_enough_runs_gets_no_more() -> None:
    plan = plan_seeds(difference_of([0.0, 2.0, 1.0] * 20, [0.5, 2.5, 1.0]), 0.05)
    assert plan is not None
    assert (plan.sizes[0] - 60, plan.sizes[1] - 3) == plan.more
    few = plan_seeds(difference_of([0.0, 2.0, 1.0] * 4, [1.5, 2.5]), 0.05)
    assert few is not None
    assert few.more[0] == 0 < few.more[1]


def test_equivalence_is_planned_where_it_takes_fewer_seeds_than_the_difference() -> None:
    found = difference_of([1.0, 1.2, 1.1], [1.01, 1.19, 1.13])
    difference = plan_seeds(found, 0.05)
    equivalence = plan_seeds(found, 0.05, margin=0.15)
    assert equivalence is not None
    assert equivalence.decision == "equivalence"
    assert difference is None or difference.sizes > equivalence.sizes
    assert plan_seeds(found, 0.05, margin=1e-9) == difference


def test_what_takes_too_many_seeds_has_no_plan() -> None:
    assert plan_seeds(difference_of([0.0, 1.0], [0.0, 1.0 + 1e-6]), 0.05) is None
    assert MOST_RUNS == 10_000


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ((12, 12), "12 more seeds each"),
        ((1, 1), "1 more seed each"),
        ((0, 5), "5 more seeds in G2"),
        ((1, 0), "1 more seed in G1"),
        ((3, 5), "3 more seeds in G1 and 5 in G2"),
    ],
)
def test_a_plan_in_words(more: tuple[int, int], text: str) -> None:
    assert plan_text(more, ("G1", "G2")) == text


def test_runs_for_a_gate_are_those_of_statsmodels() -> None:
    for alpha, sigmas in ((0.05, 2.0), (0.01, 2.0), (0.05, 0.5)):
        n = TTestIndPower().solve_power(sigmas, None, alpha, POWER, alternative="larger")
        assert runs_to_find(sigmas, alpha) == math.ceil(n)


@given(st.integers(1, 60), LEVELS)
def test_the_detectable_difference_is_found_with_the_planned_power(df: int, alpha: float) -> None:
    shift = detectable_shift(df, alpha)
    assert t_test_power(shift, df, alpha, sides=1) == pytest.approx(POWER, abs=1e-4)
