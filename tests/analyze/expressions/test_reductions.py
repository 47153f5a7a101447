"""Reductions: against numpy, scipy, `[STATS]` and `--at`, and by situation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from fakeruns import FakeRun
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from pull_logs.analyze.expressions.compile import compile_expression
from pull_logs.analyze.questions.alignment import Alignment, Position
from pull_logs.analyze.statistics.summary import describe_numbers
from pull_logs.errors import ExpressionError
from pull_logs.frames.column import Column
from pull_logs.frames.frame import Frame
from pull_logs.frames.vector import Vector, from_cells, missing, numbers

NAN, INF = math.nan, math.inf
VALUES = st.one_of(st.floats(-1e6, 1e6), st.integers(-3, 3).map(float))
CELLS = st.one_of(VALUES, VALUES, st.none(), st.sampled_from([NAN, INF, -INF]))
ROWS = st.lists(st.tuples(st.integers(1, 1000), CELLS), max_size=30)


def framed(rows: list[tuple[int, float | None]]) -> dict[str, Vector]:
    steps = np.cumsum(np.array([gap for gap, _ in rows], np.int64))
    return {"_step": numbers(steps), "x": from_cells([cell for _, cell in rows])}


def finite(frame: dict[str, Vector]) -> tuple[list[float], list[float]]:
    pairs = zip(frame["_step"].floats().tolist(), frame["x"].to_list(), strict=True)
    kept = [(step, float(str(cell))) for step, cell in pairs if cell is not None]
    kept = [(step, cell) for step, cell in kept if math.isfinite(cell)]
    return [step for step, _ in kept], [cell for _, cell in kept]


def scalar(text: str, frame: dict[str, Vector]) -> object:
    """The value of one reduction, which is the same in each row."""
    expression = compile_expression(text, frame)
    length = len(frame["_step"])
    one = expression.reduce(frame, length).to_list()[0]
    np.testing.assert_equal(expression.evaluate(frame, length).to_list(), [one] * length)
    return one


def close(found: object, expected: float, values: list[float]) -> None:
    scale = max([1.0, *map(abs, values)])
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9 * scale)


@given(ROWS, st.integers(-3, 3))
def test_the_value_when_a_condition_first_holds_is_the_last_one_until_then(
    rows: list[tuple[int, float | None]], limit: int
) -> None:
    frame = framed(rows)
    cells = [cell for _, cell in rows]
    first = next((place for place, cell in enumerate(cells) if cell is not None and cell < limit), None)
    frame["y"] = from_cells([place if place % 3 else None for place in range(len(rows))])
    expected = (
        None if first is None else next((float(place) for place in range(first, -1, -1) if place % 3), None)
    )
    assert scalar(f"at_first(y, x < {limit})", frame) == expected


@given(ROWS, st.floats(0, 1))
def test_moments_and_quantiles_are_those_of_numpy_over_the_finite_numbers(
    rows: list[tuple[int, float | None]], share: float
) -> None:
    frame = framed(rows)
    _, values = finite(frame)
    assert scalar("count(x)", frame) == len(values)
    if not values:
        names = ["mean(x)", "sum(x)", "std(x)", "median(x)", "quantile(x, 0.5)", "auc(x)", "slope(x, 2)"]
        assert [scalar(name, frame) for name in names] == [None] * len(names)
        return
    close(scalar("mean(x)", frame), float(np.mean(values)), values)
    close(scalar("sum(x)", frame), float(np.sum(values)), [sum(map(abs, values))])
    close(scalar("median(x)", frame), float(np.median(values)), values)
    close(
        scalar(f"quantile(x, {share:.17f})", frame),
        float(np.quantile(values, float(f"{share:.17f}"))),
        values,
    )
    close(scalar("quantile(x, 0)", frame), min(values), [])
    close(scalar("quantile(x, 1)", frame), max(values), [])
    if len(values) > 1:
        close(scalar("std(x)", frame), float(np.std(values, ddof=1)), values)
    else:
        assert scalar("std(x)", frame) is None


@given(ROWS, st.integers(2, 12))
def test_slope_and_area_are_those_of_scipy_over_the_finite_numbers(
    rows: list[tuple[int, float | None]], size: int
) -> None:
    frame = framed(rows)
    steps, values = finite(frame)
    if len(values) >= size:
        close(
            scalar(f"slope(x, {size})", frame), stats.linregress(steps[-size:], values[-size:]).slope, values
        )
    else:
        assert scalar(f"slope(x, {size})", frame) is None
    if len(values) > 1:
        extent = [(steps[-1] - steps[0]) * max(map(abs, values))]
        close(scalar("auc(x)", frame), float(integrate.trapezoid(values, steps)), extent)
    else:
        assert scalar("auc(x)", frame) is None


@given(ROWS)
def test_what_stats_has_too_is_the_same_number(rows: list[tuple[int, float | None]]) -> None:
    frame = framed(rows)
    steps = frame["_step"].values.astype(np.int64)
    listed = describe_numbers(Column.of(frame["x"]), steps)
    for text, name in [
        ("mean(x)", "mean"),
        ("std(x)", "std"),
        ("median(x)", "p50"),
        ("quantile(x, 0.9)", "p90"),
        ("quantile(x, 0)", "min"),
        ("quantile(x, 1)", "max"),
        ("count(x)", "count"),
    ]:
        expected = listed[name]  # type: ignore[literal-required]
        found = scalar(text, frame)
        assert found == (None if expected is None else pytest.approx(expected, rel=1e-12, abs=1e-9))


@given(ROWS.filter(bool), st.integers(0, 3000))
def test_at_reads_a_step_as_at_does(rows: list[tuple[int, float | None]], step: int) -> None:
    frame = framed(rows)
    steps = frame["_step"].values.tolist()
    cells = frame["x"].to_list()
    run = FakeRun(
        {"_step": at, **({} if cell is None else {"x": cell})} for at, cell in zip(steps, cells, strict=True)
    )
    if all(cell is None for cell in cells):
        assert scalar(f"at(x, {step})", frame) is None
        return
    read = Alignment(position=Position("step", float(step))).read(
        Frame(run), ["x"], axes={}, checkpoint_step=None
    )["x"]
    expected = None if read.value is None else float(read.value)
    np.testing.assert_equal(scalar(f"at(x, {step})", frame), expected)


@given(ROWS)
def test_the_steps_of_a_condition_are_its_first_and_last_row(rows: list[tuple[int, float | None]]) -> None:
    frame = framed(rows)
    found = [
        step
        for step, cell in zip(frame["_step"].values.tolist(), frame["x"].to_list(), strict=True)
        if isinstance(cell, float) and cell < 1
    ]
    assert scalar("first_step(x < 1)", frame) == (found[0] if found else None)
    assert scalar("last_step(x < 1)", frame) == (found[-1] if found else None)
    length = len(rows)
    assert scalar("sum(x < 1)", frame) == (len(found) if length else None)
    if length:
        assert scalar("mean(x < 1)", frame) == pytest.approx(len(found) / length)


FRAME = {
    "_step": numbers(np.array([0, 10, 20, 40, 50])),
    "x": from_cells([4.0, None, NAN, 1.0, INF]),
    "flag": from_cells([True, None, False, True, True]),
    "mixed": from_cells([1, "2", True, 3, None]),
    "name": from_cells(["a", "b", None, "a", "c"]),
    "never": missing(5),
    "one": from_cells([None, None, 7, None, None]),
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mean(x)", 2.5),
        ("count(x)", 2.0),
        ("std(one)", None),
        ("auc(one)", None),
        ("mean(one)", 7.0),
        ("count(never)", 0.0),
        ("sum(never)", None),
        ("mean(flag)", 0.75),
        ("sum(flag)", 3.0),
        ("std(flag)", 0.5),
        ("sum(mixed)", 4.0),
        ("auc(x)", 100.0),
        ("slope(x, 2)", -0.075),
        ("slope(x, 3)", None),
        ("at(x, 0)", 4.0),
        ("at(x, 20)", NAN),
        ("at(x, 50)", INF),
        ("at(x, 51)", None),
        ("at(x, -1)", None),
        ("at(mixed, 20)", 1 + 2 * 20 / 40),
        ("first_step(flag)", 0.0),
        ("last_step(not flag)", 20.0),
        ("first_step(never)", None),
        ("last_step(x is missing)", 10.0),
        ("first(name)", "a"),
        ("last(name)", "c"),
        ("last(never)", None),
        ("mean(x - mean(x))", 0.0),
        ("quantile(x, 1/4)", 1.75),
    ],
)
def test_a_reduction_of_odd_cells(text: str, expected: object) -> None:
    np.testing.assert_equal(scalar(text, FRAME), expected)


def test_a_reduction_is_a_constant_within_the_expression_of_a_row() -> None:
    found = compile_expression("x / mean(x)", FRAME).evaluate(FRAME, 5).to_list()
    np.testing.assert_equal(found, [1.6, None, NAN, 0.4, INF])
    holds = compile_expression("x < median(x) and _step > first_step(flag)", FRAME).condition(FRAME, 5)
    assert holds.tolist() == [False, False, False, True, False]


def test_without_steps_what_needs_them_is_missing() -> None:
    frame = {"x": numbers([1.0, 2.0])}
    expression = compile_expression("auc(x) is missing and slope(x, 2) is missing and sum(x) == 3", frame)
    assert expression.names == {"x"}
    assert expression.condition(frame, 2).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mean(name)", "mean(...) needs a number here, and this is a string\n    mean(name)\n         ~~~^"),
        (
            "count(x > 1)",
            (
                "count(...) needs a number here, and this is a bool; "
                "sum(CONDITION) counts the rows where a condition holds\n    count(x > 1)\n          ~~~~^"
            ),
        ),
        (
            "first_step(x)",
            (
                "a condition is needed here, and this is a number; compare it with something\n"
                "    first_step(x)\n               ^"
            ),
        ),
        (
            "quantile(x, 50)",
            "q in quantile(x, q) is a number from 0 to 1, not 50\n    quantile(x, 50)\n                ~^",
        ),
        (
            "quantile(x, x)",
            (
                "q in quantile(x, q) is a number from 0 to 1, written out and the same for every row\n"
                "    quantile(x, x)\n                ^"
            ),
        ),
        (
            "slope(x, 1)",
            "n in slope(x, n) is a whole number from 2, not 1\n    slope(x, 1)\n             ^",
        ),
        (
            "at(x, 1/0)",
            "step in at(x, step) is a finite number, not inf\n    at(x, 1/0)\n          ~~^",
        ),
        (
            "at(x, 'end')",
            (
                "step in at(x, step) is a finite number, written out and the same for every row\n"
                "    at(x, 'end')\n          ~~~~^"
            ),
        ),
    ],
)
def test_what_does_not_fit_a_reduction_is_an_error_that_points_at_it(text: str, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text, FRAME).evaluate(FRAME, 5)
    assert str(caught.value) == message
