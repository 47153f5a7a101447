from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from fakeruns import FakeRun
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.analyze.statistics.schema import describe_column
from pull_logs.frames.column import Column
from pull_logs.frames.frame import Frame
from pull_logs.frames.metric_facts import extremes, middle
from pull_logs.frames.vector import from_cells, numbers

CELLS = st.lists(st.none() | st.floats() | st.integers(-5, 5) | st.booleans() | st.sampled_from(["a", "b"]))


def column(*values: Any) -> Column:
    return Frame(FakeRun({"_step": step, "x": value} for step, value in enumerate([*values]))).column("x")


def described(found: Column) -> dict[str, Any]:
    return dict(describe_column("x", found, np.arange(len(found.vector)) * 3))


@given(CELLS)
def test_counts_add_up_and_the_range_is_that_of_the_finite_numbers(cells: list[Any]) -> None:
    entry = described(Column.of(from_cells(cells)))
    present = [cell for cell in cells if cell is not None]
    numeric = [cell for cell in present if not isinstance(cell, (bool, str))]
    finite = [cell for cell in numeric if math.isfinite(cell)]
    assert list(entry) == [
        "name",
        "type",
        "count",
        "missing",
        "nonfinite",
        "min",
        "max",
        "first_step",
        "last_step",
        "interval",
    ]
    assert entry["count"] == len(present)
    assert entry["missing"] == len(cells) - len(present)
    assert entry["nonfinite"] == len(numeric) - len(finite)
    assert entry["min"] == (min(finite) if finite else None)
    assert entry["max"] == (max(finite) if finite else None)


@pytest.mark.parametrize(
    ("values", "type_"),
    [
        ((1, 0.5), "number"),
        ((1, 2**62, -3), "int"),
        ((1, math.nan), "number"),
        ((1, math.inf), "number"),
        ((2**53 + 1, 2.0**70), "int"),
        ((True, False), "bool"),
        (("a", "b"), "string"),
        ((1, "a"), "mixed"),
        ((1, True), "mixed"),
        (({"_type": "histogram", "bins": [1]},), "histogram"),
        (({"_type": "image-file"}, {"_type": "images/separated"}), "image"),
        (({"_type": "image-file"}, {"_type": "table-file"}), "mixed"),
        (([1, 2],), "list"),
        (({"_type": "bokeh-file"},), "bokeh-file"),
    ],
)
def test_a_type_is_that_of_all_cells(values: tuple[Any, ...], type_: str) -> None:
    assert described(column(*values))["type"] == type_


def test_a_column_without_cells_is_empty() -> None:
    assert described(Column.of(from_cells([None, None]))) == {
        "name": "x",
        "type": "empty",
        "count": 0,
        "missing": 2,
        "nonfinite": 0,
        "min": None,
        "max": None,
        "first_step": None,
        "last_step": None,
        "interval": None,
    }


def test_the_range_of_huge_whole_numbers_keeps_every_digit() -> None:
    entry = described(column(2**53 + 1, 2**53 + 3, None))
    assert (entry["min"], entry["max"]) == (2**53 + 1, 2**53 + 3)


def test_extremes_are_the_first_rows_that_have_them() -> None:
    assert extremes(Column.of(numbers([3.0, 1.0, math.nan, 5.0, 1.0, 5.0]))) == (1, 3)
    assert extremes(Column.of(numbers([math.nan, math.inf]))) == (None, None)


@pytest.mark.parametrize(
    ("logged", "interval"),
    [
        ([7], None),
        ([0, 10, 20, 30], 10),
        ([0, 1, 11], 5.5),
        ([0, 10, 20, 900], 10),
        ([-(2**63), 2**63 - 1], 2**64),
    ],
)
def test_the_interval_is_the_median_of_the_steps_from_one_cell_to_the_next(
    logged: list[int], interval: float | None
) -> None:
    entry = describe_column("x", Column.of(numbers([1.0] * len(logged))), np.array(logged, np.int64))
    assert entry["interval"] == interval
    assert (entry["first_step"], entry["last_step"]) == (logged[0], logged[-1])


def test_steps_without_a_cell_are_no_part_of_the_rhythm() -> None:
    entry = described(column(None, 1, None, 2, None, 3, None))
    assert (entry["first_step"], entry["last_step"], entry["interval"]) == (3, 15, 6)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40), st.floats(0, 1))
def test_a_quantile_is_that_of_numpy(values: list[float], share: float) -> None:
    ordered = np.sort(np.array(values))
    assert middle(ordered, share) == pytest.approx(float(np.quantile(ordered, share)), rel=1e-12, abs=1e-9)
