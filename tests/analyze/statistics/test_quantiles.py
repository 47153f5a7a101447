"""Percentiles that a view asks for, and bools as 0 and 1."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fakeruns import FakeRun, subjects
from hypothesis import given, settings
from hypothesis import strategies as st

from pull_logs.analyze import View, answer
from pull_logs.analyze.statistics.quantiles import parse_quantiles, quantiles_of
from pull_logs.errors import UsageError
from pull_logs.frames.column import Column
from pull_logs.frames.vector import from_cells


@given(
    st.lists(st.none() | st.floats(-1e6, 1e6) | st.sampled_from([math.nan, math.inf])),
    st.lists(st.floats(0, 100), min_size=1, max_size=4, unique=True),
)
def test_percentiles_are_those_of_numpy_over_the_finite_numbers(
    cells: list[Any], percents: list[float]
) -> None:
    found = list(quantiles_of(Column.of(from_cells(cells)), percents).values())
    finite = [cell for cell in cells if cell is not None and math.isfinite(cell)]
    if not finite:
        assert set(found) == {None}
    elif len({f"{percent:g}" for percent in percents}) == len(percents):
        assert found == pytest.approx(np.percentile(finite, percents).tolist(), rel=1e-12, abs=1e-9)


@given(st.lists(st.none() | st.booleans(), min_size=1, max_size=12))
@settings(max_examples=40)
def test_bools_count_as_0_and_1_and_stay_bools_at_the_ends(cells: list[bool | None]) -> None:
    rows = [{"_step": step, **({"ok": cell} if cell is not None else {})} for step, cell in enumerate(cells)]
    values = pd.Series([cell for cell in cells if cell is not None], dtype=float)
    if values.empty:
        return
    view = View(stats=True, select="^ok$", quantiles=(75.0,))
    entry = answer(subjects(FakeRun(rows)), view)["stats"]["A"]["ok"]
    assert (entry["count"], entry["min"], entry["max"]) == (len(values), values.min(), values.max())
    assert entry["mean"] == pytest.approx(values.mean())
    assert entry["p25"] == pytest.approx(values.quantile(0.25))
    assert (entry["quantiles"] or {})["p75"] == pytest.approx(values.quantile(0.75))
    assert (entry["first"], entry["last"]) == (bool(values.iloc[0]), bool(values.iloc[-1]))
    assert isinstance(entry["first"], bool)


def test_percentages_are_read_in_order_and_once() -> None:
    assert parse_quantiles("95, 50,99.9,50") == (95.0, 50.0, 99.9)
    assert parse_quantiles("0.1,50") == (0.1, 50.0)


@pytest.mark.parametrize("text", ["", "a", "50,", "101", "-1", "nan"])
def test_what_is_no_percentage_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="has something else than numbers from 0 to 100") as caught:
        parse_quantiles(text)
    assert caught.value.hint == "write percentages, as in --quantiles 50,95,99.9"


def test_shares_are_answered_with_the_percentages_that_they_mean() -> None:
    with pytest.raises(UsageError, match="are percentages") as caught:
        parse_quantiles("0.5,0.95")
    assert caught.value.hint == "write --quantiles 50,95"
