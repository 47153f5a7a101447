from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.analyze.statistics import summary
from pull_logs.analyze.statistics.summary import STATISTICS, describe_all, describe_numbers, has_numbers
from pull_logs.frames.column import Column
from pull_logs.frames.vector import from_cells, numbers

CELLS = st.lists(st.none() | st.floats(-1e6, 1e6) | st.sampled_from([math.nan, math.inf, -math.inf]))


def describe(cells: list[Any]) -> dict[str, Any]:
    return dict(describe_numbers(Column.of(from_cells(cells)), np.arange(len(cells)) * 2))


@given(CELLS)
def test_statistics_are_those_of_pandas_over_the_finite_numbers(cells: list[float | None]) -> None:
    found = describe(cells)
    finite = pd.Series([cell for cell in cells if cell is not None and math.isfinite(cell)], dtype=float)
    assert tuple(found) == STATISTICS
    assert found["count"] == len(finite)
    if finite.empty:
        assert all(found[name] is None for name in ("min", "p50", "max", "mean", "std"))
        return
    for percent in (10, 25, 50, 75, 90):
        assert found[f"p{percent}"] == pytest.approx(finite.quantile(percent / 100), rel=1e-12, abs=1e-9)
    assert (found["min"], found["max"]) == (finite.min(), finite.max())
    assert (cells[found["min_step"] // 2], cells[found["max_step"] // 2]) == (finite.min(), finite.max())
    assert found["mean"] == pytest.approx(finite.mean(), rel=1e-12, abs=1e-9)
    if len(finite) == 1:
        assert found["std"] is None
    else:
        assert found["std"] == pytest.approx(finite.std(ddof=1), rel=1e-9, abs=1e-6)


@given(
    st.integers(0, 9).flatmap(
        lambda rows: st.lists(
            st.lists(
                st.floats(-1e6, 1e6) | st.sampled_from([0.1, -0.0, 1.7e308]), min_size=rows, max_size=rows
            )
            | st.lists(st.none() | st.floats(), min_size=rows, max_size=rows),
            max_size=6,
        )
    ),
    st.integers(1, 20),
)
def test_metrics_together_are_described_as_each_alone(lists: list[list[float | None]], together: int) -> None:
    columns = {str(place): Column.of(from_cells(cells)) for place, cells in enumerate(lists)}
    steps = np.arange(max(map(len, lists), default=0)) * 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(summary, "_CELLS_TOGETHER", together)
        found = describe_all(columns, steps)
    alone = {name: describe_numbers(column, steps) for name, column in columns.items()}
    assert json.dumps(found) == json.dumps(alone)


def test_long_metrics_together_are_described_to_the_last_digit() -> None:
    matrix = np.random.default_rng(0).standard_normal((7, 3_001)) * 1e3
    columns = {str(place): Column.of(numbers(row)) for place, row in enumerate(matrix)}
    steps = np.arange(3_001)
    assert describe_all(columns, steps) == {
        name: describe_numbers(column, steps) for name, column in columns.items()
    }


def test_first_and_last_are_the_present_cells_at_the_ends_whatever_they_are() -> None:
    found = describe([None, -math.inf, 1.0, 2.0, math.nan, None])
    assert (found["first"], found["last"]) == ("-Infinity", "NaN")
    assert (found["count"], found["mean"], found["max"]) == (2, 1.5, 2)


def test_integral_results_are_whole_numbers() -> None:
    found = describe([1.0, 2.0, 3.0])
    assert [type(found[name]) for name in ("min", "p50", "max", "mean", "std")] == [int] * 5


def test_only_the_numbers_of_a_mixed_column_count() -> None:
    found = describe([1, "a", True, 3])
    assert (found["count"], found["mean"], found["first"], found["last"]) == (2, 2, 1, 3)


def test_sums_beyond_all_doubles_are_said_to_be_infinite() -> None:
    assert describe([1.7e308, 1.7e308])["mean"] == "Infinity"


@pytest.mark.parametrize(
    ("cells", "some"), [([1], True), ([math.nan], True), ([True, "a"], False), ([], False)]
)
def test_numbers_are_numbers_even_when_not_finite(cells: list[Any], *, some: bool) -> None:
    assert has_numbers(Column.of(from_cells(cells))) is some


def test_many_numbers_are_no_matter_for_python() -> None:
    values = np.random.default_rng(7).normal(size=100_000)
    found = describe(values.tolist())
    assert found["p90"] == pytest.approx(float(np.percentile(values, 90)))
