"""Rank statistics, lines and Pareto fronts: equal to scipy, statsmodels and brute force."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import scipy.special
import scipy.stats
import statsmodels.api as sm
from hypothesis import assume, example, given
from hypothesis import strategies as st

from pull_logs.analyze.relations.effects import key_effects
from pull_logs.analyze.relations.least_squares import fit_line, outliers, studentized
from pull_logs.analyze.relations.pareto import pareto_front
from pull_logs.analyze.relations.ranks import average_ranks, by_values, rank_correlation
from pull_logs.analyze.relations.request import Fit, parse_criteria
from pull_logs.analyze.statistics.ranking import Criterion
from pull_logs.analyze.statistics.student_t import incomplete_beta
from pull_logs.errors import UsageError

NUMBERS = st.integers(-5, 5).map(float) | st.floats(-1e6, 1e6).map(lambda value: round(value, 3))
PAIRS = st.lists(st.tuples(NUMBERS, NUMBERS), min_size=4, max_size=30)


def near(value: float) -> Any:
    return pytest.approx(value, rel=1e-9, abs=1e-9)


@given(st.lists(NUMBERS, min_size=1, max_size=20))
def test_ranks_are_those_of_scipy(values: list[float]) -> None:
    assert average_ranks(values).tolist() == scipy.stats.rankdata(values).tolist()


@given(PAIRS)
def test_a_rank_correlation_is_that_of_scipy_with_the_interval_of_its_formula(
    pairs: list[tuple[float, float]],
) -> None:
    x, y = zip(*pairs, strict=True)
    found = rank_correlation(x, y)
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert found is None
        return
    assert found is not None
    theirs = scipy.stats.spearmanr(x, y)
    assert found.strength == near(theirs.statistic)
    if abs(theirs.statistic) > 1 - 1e-9:
        assert found.low == found.high == found.strength
        return
    assert found.p == pytest.approx(theirs.pvalue, rel=1e-7, abs=1e-9)
    rho, n = theirs.statistic, len(x)
    reach = scipy.stats.norm.ppf(0.975) * math.sqrt((1 + rho**2 / 2) / (n - 3))
    assert (found.low, found.high) == (
        near(math.tanh(math.atanh(rho) - reach)),
        near(math.tanh(math.atanh(rho) + reach)),
    )


@given(st.lists(st.tuples(st.sampled_from("abcd"), NUMBERS), min_size=3, max_size=30))
def test_an_effect_of_values_is_that_of_kruskal_and_of_a_regression_on_ranks(
    rows: list[tuple[str, float]],
) -> None:
    values, y = zip(*rows, strict=True)
    found = by_values(values, y)
    levels = sorted(set(values))
    if not 1 < len(levels) < len(rows) or len(set(y)) == 1:
        assert found is None
        return
    assert found is not None
    ranks = scipy.stats.rankdata(y)
    groups = [
        [rank for (value, _), rank in zip(rows, ranks, strict=True) if value == level] for level in levels
    ]
    design = np.array([[float(value == level) for level in levels] for value in values])
    model = sm.OLS(ranks, design).fit()
    n, k = len(rows), len(levels)
    total = np.sum((ranks - (n + 1) / 2) ** 2)
    r2 = 1 - model.ssr / total
    assert found.strength == near(1 - (1 - r2) * (n - 1) / (n - k))
    assert found.strength == near((scipy.stats.kruskal(*groups).statistic - k + 1) / (n - k))
    if model.ssr > 1e-9 * total:
        assert found.p == pytest.approx(scipy.stats.f_oneway(*groups).pvalue, rel=1e-9, abs=1e-12)
    else:
        assert found.p == 0


@given(st.floats(0.01, 0.99), st.integers(1, 60), st.integers(1, 60))
def test_the_incomplete_beta_function_is_that_of_scipy(x: float, a: int, b: int) -> None:
    expected = scipy.special.betainc(a / 2, b / 2, x)
    assert incomplete_beta(a / 2, b / 2, x, 1 - x) == pytest.approx(expected, rel=1e-9, abs=1e-13)


@given(PAIRS)
def test_a_line_is_that_of_statsmodels(pairs: list[tuple[float, float]]) -> None:
    x, y = (np.array(values) for values in zip(*pairs, strict=True))
    assume(np.ptp(x) > 1e-3 * max(1.0, float(np.abs(x).max())))
    line = fit_line(x.tolist(), y.tolist())
    assert line is not None
    model = sm.OLS(y, sm.add_constant(x, has_constant="add")).fit()
    scale = max(1.0, float(np.abs(y).max()))

    def close(value: Any) -> Any:
        return pytest.approx(value, rel=1e-7, abs=1e-9 * scale)

    assert (line.intercept, line.slope) == (
        close(model.params[0]),
        close(model.params[1]),
    )
    low, high = model.conf_int().T
    assert (line.intercept_low, line.slope_low) == close(tuple(low))
    assert (line.intercept_high, line.slope_high) == close(tuple(high))
    if np.ptp(y) > 0:
        assert line.r2 == near(model.rsquared)
    assert line.residual_std == close(math.sqrt(model.mse_resid))


def sound_points() -> tuple[Any, Any]:
    random = np.random.default_rng(5)
    x = random.uniform(0, 10, 24)
    return x, 3 - 0.5 * x + random.normal(0, 0.1, 24)


def test_a_fit_of_ordinary_data_equals_statsmodels_to_nine_digits() -> None:
    x, y = sound_points()
    y[7] += 2
    line = fit_line(x.tolist(), y.tolist())
    assert line is not None
    result = sm.OLS(y, sm.add_constant(x)).fit()
    low, high = result.conf_int().T
    for ours, theirs in (
        (line.intercept, result.params[0]),
        (line.slope, result.params[1]),
        (line.intercept_low, low[0]),
        (line.slope_low, low[1]),
        (line.intercept_high, high[0]),
        (line.slope_high, high[1]),
        (line.r2, result.rsquared),
        (line.p, result.pvalues[1]),
        (line.residual_std, math.sqrt(result.mse_resid)),
    ):
        assert ours == pytest.approx(theirs, rel=1e-9)
    table = result.outlier_test()
    residuals = y - result.predict()
    assert studentized(x, residuals) == pytest.approx(table[:, 0], rel=1e-9)
    (found,) = outliers(x.tolist(), y.tolist(), line)
    assert found.index == 7
    assert (found.studentized, found.p) == pytest.approx((table[7, 0], table[7, 2]), rel=1e-9)


def test_ordinary_points_have_no_outliers_and_neither_have_points_on_a_line() -> None:
    x, y = sound_points()
    line = fit_line(x.tolist(), y.tolist())
    assert line is not None
    assert outliers(x.tolist(), y.tolist(), line) == []
    exact = fit_line([1.0, 2.0, 3.0, 4.0, 5.0], [2.0, 4.0, 6.0, 8.0, 10.0])
    assert exact is not None
    assert (exact.slope, exact.intercept, exact.r2) == (2.0, 0.0, 1.0)
    assert outliers([1.0, 2.0, 3.0, 4.0, 5.0], [2.0, 4.0, 6.0, 8.0, 10.0], exact) == []


def test_a_line_needs_two_points_that_differ_and_an_interval_three() -> None:
    assert fit_line([1.0], [1.0]) is None
    assert fit_line([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) is None
    two = fit_line([0.0, 1.0], [1.0, 3.0])
    assert two is not None
    assert (two.slope, two.slope_low, two.p, two.residual_std) == (2.0, None, None, None)


POINTS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 2)), max_size=20)


def brute_front(points: Sequence[tuple[int, ...]]) -> set[int]:
    return {
        place
        for place, point in enumerate(points)
        if not any(
            other != point and all(a <= b for a, b in zip(other, point, strict=True)) for other in points
        )
    }


@given(POINTS)
@example([(0, 0, 0), (0, 0, 0)])
def test_a_pareto_front_is_that_of_brute_force(points: list[tuple[int, ...]]) -> None:
    found = pareto_front([tuple(map(float, point)) for point in points])
    assert set(found) == brute_front(points)
    assert len(found) == len(set(found))


KEYS = st.fixed_dictionaries(
    {"config.a": st.sampled_from([1, 2, 4]), "config.b": st.sampled_from(["x", "y"])},
    optional={"config.c": st.floats(0, 1)},
)


@given(st.lists(st.tuples(KEYS, NUMBERS), min_size=2, max_size=12), st.randoms())
def test_effects_do_not_depend_on_the_order_of_the_runs(rows: list[tuple[Any, float]], random: Any) -> None:
    mixed = rows[:]
    random.shuffle(mixed)

    def effects(order: list[tuple[Any, float]]) -> list[Any]:
        found = key_effects([run for run, _ in order], [number for _, number in order])
        return [
            *sorted(
                (
                    item.key,
                    item.by,
                    item.values,
                    round(item.effect, 9),
                    round(item.p_holm, 9),
                    None if item.correlation is None else round(item.correlation.strength, 9),
                )
                for item in found.effects
            ),
            sorted(found.lost),
        ]

    assert effects(rows) == effects(mixed)


def test_the_key_that_matters_comes_first_also_where_its_optimum_is_in_the_middle() -> None:
    runs: list[dict[str, Any]] = [
        {"config.lr": lr, "config.seed": seed, "config.width": 8 * lr, "config.folder": f"{lr}-{seed}"}
        for lr in (1, 2, 3, 4, 5)
        for seed in (0, 1, 2)
    ]
    numbers = [abs(run["config.lr"] - 3) + 0.01 * run["config.seed"] for run in runs]
    found = key_effects(runs, numbers)
    assert [item.key for item in found.effects] == ["config.lr", "config.width", "config.seed"]
    assert found.together == [["config.lr", "config.width"]]
    assert found.lost == ["config.folder"]
    first = found.effects[0]
    assert first.effect > 0.8
    assert first.p_holm < 0.01
    assert first.correlation is not None
    assert abs(first.correlation.strength) < 0.1


def test_a_key_with_another_number_in_every_run_has_the_effect_of_its_ranks() -> None:
    runs = [{"config.lr": 10.0**-place} for place in range(6)]
    (found,) = key_effects(runs, [1.0, 2.0, 3.0, 4.0, 6.0, 5.0]).effects
    assert (found.by, found.values) == ("ranks", 6)
    rho = scipy.stats.spearmanr(range(6), [1, 2, 3, 4, 6, 5]).statistic
    assert found.effect == near(1 - (1 - rho**2) * 5 / 4)


def test_criteria_are_split_at_the_commas_between_them() -> None:
    assert parse_criteria("config.params:min, quantile(val/loss, 0.5):min,val/acc") == (
        Criterion("config.params", "min"),
        Criterion("quantile(val/loss, 0.5)", "min"),
        Criterion("val/acc"),
    )
    assert parse_criteria('`a,b`:max, first_step(x == ","):min')[0] == Criterion("`a,b`", "max")


@pytest.mark.parametrize("text", ["", "a:min", "a:min,", "a:min, a:max"])
def test_one_criterion_alone_or_twice_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="write it as --pareto"):
        parse_criteria(text)


def test_a_fit_has_two_sides() -> None:
    assert Fit.parse(" log(loss) ~ log(config.n) ") == Fit("log(loss)", "log(config.n)")
    for text in ("loss", "~ x", "y ~"):
        with pytest.raises(UsageError, match="is not Y ~ X"):
            Fit.parse(text)
