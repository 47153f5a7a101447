"""Metrics at one place of their histories: against numpy's interpolation, and by situation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from fakeruns import FakeRun
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.analyze.questions.alignment import DEFINED, Alignment, Position, Reading
from pull_logs.analyze.statistics.ranking import Goal
from pull_logs.errors import UsageError
from pull_logs.frames.frame import Frame

SERIES = st.dictionaries(st.integers(0, 50), st.floats(-1e3, 1e3), min_size=1, max_size=12)


def read(
    rows: list[dict[str, Any]], name: str, *, checkpoint: int | None = None, **how: Any
) -> Reading | None:
    axes = how.pop("axes", {})
    return (
        Alignment(**how).read(Frame(FakeRun(rows)), [name], axes=axes, checkpoint_step=checkpoint).get(name)
    )


@given(SERIES, st.integers(-5, 60) | st.floats(0, 50))
def test_a_step_between_rows_is_interpolated_as_numpy_does(series: dict[int, float], where: float) -> None:
    rows = [{"_step": step, "loss": value} for step, value in sorted(series.items())]
    found = read(rows, "loss", position=Position("step", float(where)))
    assert found is not None
    steps = sorted(series)
    if not steps[0] <= where <= steps[-1]:
        assert (found.value, found.x, found.interpolated) == (None, None, False)
        return
    expected = np.interp(where, steps, [series[step] for step in steps])
    assert found.value == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert found.interpolated is (where not in steps)
    assert found.x == where


@given(SERIES, st.integers(0, 60))
def test_previous_takes_the_last_row_before(series: dict[int, float], where: int) -> None:
    rows = [{"_step": step, "loss": value} for step, value in sorted(series.items())]
    found = read(rows, "loss", position=Position("step", float(where)), interpolation="previous")
    assert found is not None
    before = [step for step in sorted(series) if step <= where]
    expected = series[before[-1]] if before and where <= max(series) else None
    assert found.value == expected


def test_the_last_number_is_not_the_last_cell() -> None:
    rows: list[dict[str, Any]] = [
        {"_step": 0, "x": 1},
        {"_step": 1, "x": 2**53 + 1},
        {"_step": 2, "x": "done"},
        {"_step": 3, "y": 1},
    ]
    found = read(rows, "x")
    assert found == Reading(value=2**53 + 1, x=1, min=1, min_step=0, max=2**53 + 1, max_step=1)
    assert found.number == float(2**53 + 1)


def test_nan_is_a_number_and_a_text_metric_is_none() -> None:
    rows: list[dict[str, Any]] = [{"_step": 0, "x": 1.0, "t": "a"}, {"_step": 1, "x": math.nan, "t": "b"}]
    found = read(rows, "x")
    assert found is not None
    assert math.isnan(found.value)
    assert (found.x, found.min, found.max) == (1, 1, 1)
    assert read(rows, "t") is None


ROWS = [
    {"_step": 0, "acc": 0.5, "loss": 3.0, "epoch": 1},
    {"_step": 10, "acc": 0.9, "epoch": 2},
    {"_step": 20, "acc": 0.7, "loss": 1.0, "epoch": 4},
]


@pytest.mark.parametrize(
    ("how", "name", "value", "x"),
    [
        ({"position": Position("best"), "best": Goal("acc", "max")}, "acc", 0.9, 10),
        ({"position": Position("best"), "best": Goal("acc", "max")}, "loss", 3, 0),
        ({"position": Position("best"), "best": Goal("acc", "min")}, "acc", 0.5, 0),
        ({"position": Position("best"), "best": Goal("none", "min")}, "acc", None, None),
        ({"position": Position("step", 3.0), "axis": "epoch"}, "acc", 0.8, 3),
        ({"position": Position("step", 4.0), "axis": "epoch"}, "loss", 1, 4),
        ({"position": Position("step", 3.0), "axis": "none"}, "acc", None, None),
        ({"axis": "epoch"}, "acc", 0.7, 4),
        ({"position": Position("step", 3.0), "axis": DEFINED, "axes": {"acc": "epoch"}}, "acc", 0.8, 3),
        ({"position": Position("step", 5.0), "axis": DEFINED, "axes": {"acc": "epoch"}}, "loss", 2.5, 5),
    ],
)
def test_places_and_axes(how: dict[str, Any], name: str, value: float | None, x: float | None) -> None:
    found = read(ROWS, name, **how)
    assert found is not None
    assert found.value == (None if value is None else pytest.approx(value))
    assert found.x == x


@pytest.mark.parametrize(("step", "value"), [(None, None), (9, 0.5), (10, 0.9), (99, 0.7)])
def test_a_checkpoint_reads_what_was_logged_until_its_step(step: int | None, value: float | None) -> None:
    found = read(ROWS, "acc", checkpoint=step, position=Position("checkpoint"))
    assert found is not None
    assert found.value == value


def test_a_resumed_axis_that_goes_back_counts_what_was_logged_later() -> None:
    rows = [
        {"_step": s, "epoch": e, "loss": v}
        for s, (e, v) in enumerate([(1, 9.0), (2, 8.0), (2, 5.0), (3, 4.0)])
    ]
    found = read(rows, "loss", position=Position("step", 2.0), axis="epoch")
    assert found is not None
    assert (found.value, found.interpolated) == (5, False)


@pytest.mark.parametrize("text", ["", "first", "nan", "inf", "1e999", "3 4"])
def test_a_place_is_a_word_or_a_finite_number(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Position.parse(text)
    assert str(caught.value) == (
        f"--at {text!r} is not a valid position; give a step, or last, best or checkpoint"
    )


@pytest.mark.parametrize(("text", "value"), [("last", "last"), ("100", 100), ("0.5", 0.5), ("1e3", 1000)])
def test_an_answer_has_the_position_as_it_was_given(text: str, value: object) -> None:
    assert Position.parse(text).value == value
