"""The statistics of a sample against pandas and scipy, and the coverage of its intervals."""

from __future__ import annotations

import math
import re
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from checkout import ROOT
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.analyze.statistics import intervals
from pull_logs.analyze.statistics.intervals import (
    bootstrap_interval,
    describe_sample,
    iqm_interval,
    middle_share,
)
from pull_logs.analyze.statistics.student_t import t_quantile

SAMPLES = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30)


def close(value: float | None, expected: float, values: list[float]) -> bool:
    """Equal to 1e-9 of the numbers that it was made of."""
    scale = max(map(abs, values))
    return value is not None and abs(value - expected) <= 1e-9 * max(scale, abs(expected))


@given(SAMPLES)
def test_statistics_are_those_of_pandas_and_scipy(values: list[float]) -> None:
    found, series = describe_sample(values), pd.Series(values)
    assert found.n == len(values)
    assert close(found.mean, series.mean(), values)
    assert close(found.std, series.std(ddof=1), values)
    assert close(found.median, series.median(), values)
    assert close(found.iqm, scipy.stats.trim_mean(values, 0.25), values)
    assert (found.min, found.max) == (min(values), max(values))
    error = scipy.stats.sem(values)
    if error > 0:
        low, high = scipy.stats.t.interval(0.95, len(values) - 1, series.mean(), error)
        assert close(found.ci_low, low, values)
        assert close(found.ci_high, high, values)


@given(SAMPLES, st.randoms())
@pytest.mark.parametrize("interval", ["t", "bootstrap"])
def test_the_order_of_the_runs_is_nothing_to_their_statistics(
    interval: str, values: list[float], random: object
) -> None:
    shuffled = list(values)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis types its randoms as object
    kind = "t" if interval == "t" else "bootstrap"
    assert describe_sample(shuffled, interval=kind) == describe_sample(values, interval=kind)  # type: ignore[arg-type]  # one of the two words


@pytest.mark.parametrize("values", [[], [3.5]])
def test_fewer_than_two_numbers_have_no_spread_and_no_interval(values: list[float]) -> None:
    found = asdict(describe_sample(values))
    assert {found[name] for name in ("std", "ci_low", "ci_high")} == {None}
    assert found["mean"] == (values[0] if values else None)


@pytest.mark.parametrize("interval", ["t", "bootstrap"])
def test_equal_numbers_have_no_spread_at_all(interval: str) -> None:
    kind = "t" if interval == "t" else "bootstrap"
    found = describe_sample([0.1] * 7, interval=kind)  # type: ignore[arg-type]  # one of the two words
    assert (found.mean, found.std, found.ci_low, found.ci_high) == (0.1, 0.0, 0.1, 0.1)


def test_numbers_that_overflow_say_so_and_do_not_warn() -> None:
    found = describe_sample([1e308, 1.7e308, -1.7e308])
    assert found.n == 3
    assert found.std == math.inf


def test_a_bootstrap_is_the_same_each_time_and_lies_in_the_sample() -> None:
    values = np.array([1.0, 2.0, 4.0, 8.0])
    first = bootstrap_interval(values)
    assert first == bootstrap_interval(values[::-1])
    assert 1 <= first[0] < 3.75 < first[1] <= 8


def test_a_bootstrap_of_few_numbers_is_that_of_all_resamples() -> None:
    values = np.array([0.0, 1.0, 5.0])
    means = np.array(
        [np.mean(drawn) for drawn in np.stack(np.meshgrid(values, values, values)).reshape(3, -1).T]
    )
    low, high = np.quantile(np.repeat(means, 400), [0.025, 0.975])
    assert bootstrap_interval(values) == pytest.approx((low, high), abs=1e-12)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=12))
def test_a_bootstrap_is_the_percentile_bootstrap_of_scipy(values: list[float]) -> None:
    ordered = np.sort(values)
    theirs = scipy.stats.bootstrap(
        (ordered,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    low, high = bootstrap_interval(np.array(values))
    assert close(low, theirs.low, values)
    assert close(high, theirs.high, values)


def test_a_bootstrap_of_many_numbers_is_about_as_wide_as_the_t_interval() -> None:
    values = np.random.default_rng(1).standard_normal(5000)
    found = describe_sample(values.tolist())
    assert bootstrap_interval(values) == pytest.approx((found.ci_low, found.ci_high), abs=2e-3)


@pytest.mark.parametrize("n", range(3, 11))
def test_t_intervals_hold_the_mean_of_normal_data_as_often_as_they_say(n: int) -> None:
    drawn = np.random.default_rng(n).standard_normal((40_000, n))
    half = t_quantile(0.975, n - 1) * drawn.std(axis=1, ddof=1) / math.sqrt(n)
    covered = float((abs(drawn.mean(axis=1)) <= half).mean())
    assert covered == pytest.approx(0.95, abs=0.005)
    for values in drawn[:5].tolist():  # and the function gives these very intervals
        found = describe_sample(values)
        half = t_quantile(0.975, n - 1) * float(np.std(values, ddof=1)) / math.sqrt(n)
        assert found.ci_high == pytest.approx(float(np.mean(values)) + half, rel=1e-12)


@pytest.mark.parametrize("n", [3, 5, 10])
def test_the_bootstrap_falls_short_at_few_runs_by_what_the_page_says(n: int) -> None:
    page = (ROOT / "docs" / "statistics.md").read_text()
    table = page.partition("| n | t, normal | bootstrap, normal |")[2]
    told = re.search(rf"^\| {n} \| [\d.]+% \| ([\d.]+)% ", table, re.MULTILINE)
    assert told
    drawn = np.random.default_rng(n).standard_normal((1500, n))
    held = [low <= 0 <= high for low, high in map(bootstrap_interval, drawn)]
    assert np.mean(held) == pytest.approx(float(told[1]) / 100, abs=0.035)


@pytest.mark.parametrize("n", [2, 4, 5, 9, 30])
def test_the_interval_of_the_interquartile_mean_is_the_bootstrap_of_scipy(n: int) -> None:
    values = np.sort(np.random.default_rng(n).normal(size=n))
    theirs = scipy.stats.bootstrap(
        (values,),
        lambda drawn, axis: scipy.stats.trim_mean(drawn, 0.25, axis=axis),
        n_resamples=10_000,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    assert iqm_interval(values[::-1].tolist()) == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize("shape", ["normal", "lognormal", "two modes"])
def test_the_interval_of_very_many_numbers_is_that_of_drawing_each_of_them(shape: str) -> None:
    generator = np.random.default_rng(1)
    values = generator.normal(size=9_000)
    if shape == "lognormal":
        values = np.exp(2 * values)
    elif shape == "two modes":
        values += 10 * (generator.random(9_000) < 0.5)
    drawn = np.sort(values[generator.integers(0, 9_000, (1_000, 9_000))], axis=1)[:, 2_250:6_750].mean(axis=1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    found = iqm_interval(values.tolist())
    assert found == iqm_interval(values[::-1].tolist())
    # The ends of a percentile interval of 1,000 resamples are known to about a twentieth of its width.
    assert found == pytest.approx((low, high), abs=0.08 * (high - low))


def test_an_interval_of_the_interquartile_mean_takes_two_numbers_and_is_a_point_of_equal_ones() -> None:
    assert iqm_interval([]) == iqm_interval([1.0]) == (None, None)
    assert iqm_interval([0.1, 0.1, 0.1]) == (0.1, 0.1)


@given(st.lists(st.floats(), min_size=1, max_size=40))
def test_the_middle_share_is_that_of_numpy(values: list[float]) -> None:
    numbers = np.array(values)
    with np.errstate(over="ignore", invalid="ignore"):
        expected = np.quantile(numbers, (0.025000000000000022, 0.975))
        found = middle_share(numbers, 0.95)
    assert np.array_equal(expected, found, equal_nan=True)


@pytest.mark.parametrize("n", [2, 3, 53, 2_500])
def test_resamples_are_the_same_however_many_are_sorted_together(
    n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.random.default_rng(n).normal(size=n).tolist()
    found = []
    for together in (1, 2**19, 2**22):
        monkeypatch.setattr(intervals, "_SORTED_AT_ONCE", together)
        intervals._kept_indices.cache_clear()
        found.append(iqm_interval(values))
    assert found[0] == found[1] == found[2]
