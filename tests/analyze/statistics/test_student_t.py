"""Student's t against scipy's."""

from __future__ import annotations

import math

import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.analyze.statistics.student_t import t_quantile, two_sided_tail

FREEDOM = st.floats(0.5, 5000) | st.sampled_from([1.0, 2.0, 3.0, 9.0, 999.0, 1000.0, 1999.0, 2001.0, 1e5])


@given(st.floats(0, 1e4), FREEDOM)
def test_tails_are_those_of_scipy(t: float, df: float) -> None:
    expected = 2 * scipy.stats.t.sf(t, df)
    assert two_sided_tail(t, df) == pytest.approx(expected, rel=1e-9, abs=1e-250)
    assert two_sided_tail(-t, df) == two_sided_tail(t, df)


@given(st.floats(0.001, 0.999), FREEDOM)
def test_quantiles_are_those_of_scipy(probability: float, df: float) -> None:
    assert t_quantile(probability, df) == pytest.approx(
        scipy.stats.t.ppf(probability, df), rel=1e-9, abs=1e-12
    )


@given(st.floats(0.51, 0.9999), FREEDOM)
def test_a_quantile_is_where_the_tail_begins(probability: float, df: float) -> None:
    assert two_sided_tail(t_quantile(probability, df), df) == pytest.approx(2 * (1 - probability), rel=1e-9)


def test_the_ends_of_the_line() -> None:
    assert two_sided_tail(0.0, 3) == 1
    assert two_sided_tail(math.inf, 3) == 0
    assert two_sided_tail(1e200, 1) == pytest.approx(2 / (math.pi * 1e200), rel=1e-9)
    assert t_quantile(0.5, 3) == 0
    assert t_quantile(0.975, 1) == pytest.approx(math.tan(math.pi * 0.475), rel=1e-12)
