"""Situations of evaluating: missing cells, NaN, kinds, and each function over both."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pull_logs.analyze.expressions.compile import compile_expression
from pull_logs.errors import ExpressionError
from pull_logs.frames.vector import Vector, bools, constant, from_cells, missing, numbers

NAN, INF = math.nan, math.inf

FRAME = {
    "_step": numbers(np.arange(5)),
    "x": from_cells([1.0, None, NAN, 4.0, INF]),
    "y": from_cells([2, 0, 1, None, -3]),
    "flag": from_cells([True, False, None, True, False]),
    "name": from_cells(["a", "b", None, "a", "c"]),
    "mixed": from_cells([1, "1", True, None, {"_type": "histogram"}]),
    "image": from_cells([{"_type": "image-file"}, None, None, None, [1]]),
    "never": missing(5),
}


def value(text: str) -> list[object]:
    return compile_expression(text, FRAME).evaluate(FRAME, 5).to_list()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x + y", [3.0, None, NAN, None, INF]),
        ("x - x", [0.0, None, NAN, 0.0, NAN]),
        ("-y", [-2.0, -0.0, -1.0, None, 3.0]),
        ("1 / y", [0.5, INF, 1.0, None, -1 / 3]),
        ("-1 / (y - y)", [-INF, -INF, -INF, None, -INF]),
        ("y / 0 * 0", [NAN, NAN, NAN, None, NAN]),
        ("y // 2", [1.0, 0.0, 0.0, None, -2.0]),
        ("_step // 0.1", [0.0, 9.0, 19.0, 29.0, 39.0]),
        ("y % 2", [0.0, 0.0, 1.0, None, 1.0]),
        ("y // 0", [INF, NAN, INF, None, -INF]),
        ("y % 0", [NAN, NAN, NAN, None, NAN]),
        ("y ** 2", [4.0, 0.0, 1.0, None, 9.0]),
        ("2 ** -y", [0.25, 1.0, 0.5, None, 8.0]),
        ("y ** 0.5", [math.sqrt(2), 0.0, 1.0, None, NAN]),
        ("-2 ** 2", [-4.0] * 5),
        ("_step * 2", [0.0, 2.0, 4.0, 6.0, 8.0]),
        ("mixed * 2", [2.0, None, None, None, None]),
        ("never + 1", [None] * 5),
        ("null + 1", [None] * 5),
        ("null", [None] * 5),
        ("'s'", ["s"] * 5),
    ],
)
def test_arithmetic_is_that_of_float64_and_missing_stays_missing(text: str, expected: list[object]) -> None:
    np.testing.assert_equal(value(text), expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x < 4", [0]),
        ("x >= 4", [3, 4]),
        ("x == x", [0, 3, 4]),
        ("x != x", [2]),
        ("x != 1", [2, 3, 4]),
        ("not x != 1", [0, 1]),
        ("x is missing", [1]),
        ("x is not missing", [0, 2, 3, 4]),
        ("x + y is missing", [1, 3]),
        ("0 < x < 4", [0]),
        ("-4 < y < x", [4]),
        ("y in [2, -3]", [0, 4]),
        ("y not in [2, -3]", [1, 2]),
        ("x not in [1]", [2, 3, 4]),
        ("y in []", []),
        ("y not in []", [0, 1, 2, 4]),
        ("name == 'a'", [0, 3]),
        ("name != 'a'", [1, 4]),
        ("name < 'b'", [0, 3]),
        ("'a' < name <= 'c'", [1, 4]),
        ("name in ['a', 'c', 1]", [0, 3, 4]),
        ("name not in ['a']", [1, 4]),
        ("flag", [0, 3]),
        ("not flag", [1, 2, 4]),
        ("flag == false", [1, 4]),
        ("flag != true", [1, 4]),
        ("flag in [true]", [0, 3]),
        ("flag or y == 0", [0, 1, 3]),
        ("flag and x > 1", [3]),
        ("x > 1 | flag & y > 1", [0, 3, 4]),
        ("mixed", [2]),
        ("mixed == 1", [0]),
        ("mixed != 1", [1, 2, 4]),
        ("mixed == '1'", [1]),
        ("mixed == true", [2]),
        ("mixed < 2", [0]),
        ("mixed < true", []),
        ("mixed == mixed", [0, 1, 2]),
        ("mixed in [1, true]", [0, 2]),
        ("mixed not in [1, true]", [1, 4]),
        ("mixed == image", []),
        ("never == 1 or never != 1 or never in [1] or never not in [1]", []),
        ("x == null or x != null", []),
        ("image is not missing", [0, 4]),
        ("isnan(x)", [2]),
        ("isfinite(x)", [0, 3]),
        ("not isfinite(x)", [1, 2, 4]),
        ("true", [0, 1, 2, 3, 4]),
        ("null", []),
    ],
)
def test_a_condition_is_true_or_false_and_never_missing(text: str, expected: list[int]) -> None:
    expression = compile_expression(text, FRAME)
    mask = expression.condition(FRAME, 5)
    assert mask.dtype == np.bool_
    assert np.flatnonzero(mask).tolist() == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("abs(y)", [2.0, 0.0, 1.0, None, 3.0]),
        ("log(y)", [math.log(2), -INF, 0.0, None, NAN]),
        ("log10(y * 50)", [2.0, -INF, math.log10(50), None, NAN]),
        ("exp(y - y)", [1.0, 1.0, 1.0, None, 1.0]),
        ("sqrt(y)", [math.sqrt(2), 0.0, 1.0, None, NAN]),
        ("round(y / 4)", [0.0, 0.0, 0.0, None, -1.0]),
        ("round(y / 7, 2)", [0.29, 0.0, 0.14, None, -0.43]),
        ("round(35184372088832.75)", [35184372088833.0] * 5),
        ("round(x * 1e300, 15)", [1e300, None, NAN, 4e300, INF]),
        ("min(x, y)", [1.0, None, NAN, None, -3.0]),
        ("max(x, y, 2)", [2.0, None, NAN, None, INF]),
        ("diff(x)", [None, None, NAN, NAN, INF]),
        ("diff(y)", [None, -2.0, 1.0, None, -4.0]),
        ("cumsum(y)", [2.0, 2.0, 3.0, None, 0.0]),
        ("cumsum(x)", [1.0, None, NAN, NAN, NAN]),
        ("cummin(y)", [2.0, 0.0, 0.0, None, -3.0]),
        ("cummax(x)", [1.0, None, 1.0, 4.0, INF]),
        ("cummin(x * (y - y) / 0)", [NAN, None, NAN, None, NAN]),
        ("ema(y, 0.5)", [2.0, 1.0, 1.0, None, -1.0]),
        ("ema(x, 0.5)", [1.0, None, NAN, NAN, NAN]),
        ("ema(y, 1)", [2.0, 0.0, 1.0, None, -3.0]),
        ("ema(y, 1/2)", [2.0, 1.0, 1.0, None, -1.0]),
        ("rolling_mean(y, 2)", [None, 1.0, 0.5, None, -1.0]),
        ("rolling_mean(y, 3)", [None, None, 1.0, None, -2 / 3]),
        ("rolling_mean(x, 1)", [1.0, None, NAN, 4.0, INF]),
        ("rolling_mean(x, 2)", [None, None, NAN, NAN, INF]),
        ("rolling_mean(y, 5)", [None] * 5),
        ("rolling_mean(_step * 0 + 1.5e308, 2)", [None, 1.5e308, 1.5e308, 1.5e308, 1.5e308]),
        ("first(y)", [2.0] * 5),
        ("last(y)", [-3.0] * 5),
        ("first(name)", ["a"] * 5),
        ("last(never)", [None] * 5),
        ("last(image)", [[1]] * 5),
        ("first(null)", [None] * 5),
        ("lag(y)", [None, 2, 0, None, 1]),
        ("lag(y, 2)", [None, None, 2, None, 0]),
        ("lag(y, 9)", [None] * 5),
        ("lag(name)", [None, "a", None, "b", "a"]),
        ("lag(flag) == false", [False, False, False, True, False]),
        ("lag(mixed)", [None, 1, "1", None, True]),
        ("diff(mixed)", [None] * 5),
        ("cumsum(1)", [1.0, 2.0, 3.0, 4.0, 5.0]),
        ("y / first(y)", [1.0, 0.0, 0.5, None, -1.5]),
    ],
)
def test_functions_pass_over_missing_cells_and_follow_what_is_said_of_nan(
    text: str, expected: list[object]
) -> None:
    np.testing.assert_equal(value(text), expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("flag + 1", "'+' needs a number here, and this is a bool\n    flag + 1\n    ~~~^"),
        ("1 - name", "'-' needs a number here, and this is a string\n    1 - name\n        ~~~^"),
        ("2 ** (x < 1)", "'**' needs a number here, and this is a bool\n    2 ** (x < 1)\n         ~~~~~~^"),
        ("-image", "'-' needs a number here, and this is a JSON value\n    -image\n     ~~~~^"),
        ("log(name)", "log(...) needs a number here, and this is a string\n    log(name)\n        ~~~^"),
        ("flag == 1", "a bool cannot be compared with a number\n    flag == 1\n    ~~~~~~~~^"),
        ("1 < x < name", "a number cannot be compared with a string\n    1 < x < name\n        ~~~~~~~^"),
        (
            "image == image",
            (
                "a JSON value cannot be compared with a JSON value; "
                "look into a list with 'image contains ...'\n"
                "    image == image\n    ~~~~~~~~~~~~~^"
            ),
        ),
        ("flag < true", "bools have no order\n    flag < true\n    ~~~~~~~~~~^"),
        (
            "name in [1, 2]",
            "a string cannot be in a list without any of its kind\n    name in [1, 2]\n    ~~~~~~~~~~~~~^",
        ),
        (
            "image == 1",
            (
                "a JSON value cannot be compared with a number; look into a list with 'image contains 1'\n"
                "    image == 1\n    ~~~~~~~~~^"
            ),
        ),
        (
            "x contains 1",
            "'contains' searches a string or a list, and this is a number\n    x contains 1\n    ^",
        ),
        (
            "flag matches 'a'",
            "'matches' searches a string or a list, and this is a bool\n    flag matches 'a'\n    ~~~^",
        ),
        (
            "name contains 1",
            'a string contains nothing but strings; write "1"\n    name contains 1\n                  ^',
        ),
        (
            "x and flag",
            "a condition is needed here, and this is a number; compare it with something\n    x and flag\n    ^",  # noqa: E501
        ),
        (
            "not name",
            "a condition is needed here, and this is a string; compare it with something\n    not name\n        ~~~^",  # noqa: E501
        ),
        (
            "ema(x, 2)",
            "alpha in ema(x, alpha) is a number above 0 and at most 1, not 2\n    ema(x, 2)\n           ^",
        ),
        (
            "ema(x, y)",
            (
                "alpha in ema(x, alpha) is a number above 0 and at most 1, written out and the same for every row\n"  # noqa: E501
                "    ema(x, y)\n           ^"
            ),
        ),
        (
            "rolling_mean(x, 0/0)",
            "n in rolling_mean(x, n) is a whole number from 1, not nan\n    rolling_mean(x, 0/0)\n                    ~~^",  # noqa: E501
        ),
        (
            "lag(x, 1.5)",
            "n in lag(x, n=1) is a whole number from 1, not 1.5\n    lag(x, 1.5)\n           ~~^",
        ),
        (
            "round(x, -1)",
            "digits in round(x, digits=0) is a whole number from 0 to 15, not -1\n    round(x, -1)\n             ~^",  # noqa: E501
        ),
    ],
)
def test_kinds_that_do_not_fit_are_an_error_that_points_at_them(text: str, message: str) -> None:
    expression = compile_expression(text, FRAME)
    with pytest.raises(ExpressionError) as caught:
        expression.evaluate(FRAME, 5)
    assert str(caught.value) == message


def test_a_number_is_no_condition() -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression("x * 2", FRAME).condition(FRAME, 5)
    assert str(caught.value) == (
        "a condition is needed here, and this is a number; compare it with something\n    x * 2\n    ~~~~^"
    )


def test_a_known_column_that_this_frame_lacks_is_missing_in_every_row() -> None:
    expression = compile_expression("gone > 1 or gone is missing", ["gone"])
    assert expression.condition({}, 2).tolist() == [True, True]


def test_an_expression_reads_only_the_columns_that_it_names() -> None:
    class Lazy(dict[str, Vector]):
        asked: list[str]

        def __getitem__(self, name: str) -> Vector:
            self.asked.append(name)
            return super().__getitem__(name)

    frame = Lazy(FRAME)
    frame.asked = []
    expression = compile_expression("x < y and x > 0", frame)
    expression.evaluate(frame, 5)
    assert sorted(frame.asked) == ["x", "y"]
    assert expression.names == {"x", "y"}


def test_runs_are_filtered_by_the_same_language() -> None:
    runs = {
        "config.lr": from_cells([1e-3, 1e-2, None, "auto"]),
        "summary.val/acc": from_cells([0.95, 0.99, 0.97, 0.96]),
        "state": from_cells(["finished", "crashed", "finished", "finished"]),
    }
    text = 'config.lr <= 1e-3 and summary.val/acc > 0.9 and state == "finished"'
    assert compile_expression(text, runs).condition(runs, 4).tolist() == [True, False, False, False]


@pytest.mark.parametrize("alpha", [0.9, 0.5, 0.1, 1e-3, 1e-6])
def test_ema_forgets_nothing_of_a_long_history_that_weighs_anything(alpha: float) -> None:
    values = np.zeros(5000)
    values[[0, 1000, 4321]] = [1.0, -7.0, 3.0]
    loop = [1.0]
    for step in range(1, 5000):
        loop.append(alpha * values[step] + (1 - alpha) * loop[-1])
    frame = {"x": numbers(values)}
    found = compile_expression(f"ema(x, {alpha})", frame).evaluate(frame, 5000)
    assert np.abs(found.floats() - np.array(loop)).max() <= 7e-12


def test_rolling_mean_is_not_spoilt_by_what_has_left_the_window() -> None:
    values = np.ones(3000)
    values[10] = 1e300
    frame = {"x": numbers(values)}
    found = compile_expression("rolling_mean(x, 777)", frame).evaluate(frame, 3000)
    assert found.count == 3000 - 776
    assert set(found.values[787:]) == {1.0}


def test_an_empty_frame_has_an_empty_answer_and_still_checks_kinds() -> None:
    frame = {"x": numbers([]), "flag": bools([])}
    assert value_of("ema(x, 0.5) + rolling_mean(x, 3) + diff(x)", frame) == []
    assert value_of("first(x) + lag(x)", frame) == []
    with pytest.raises(ExpressionError, match="needs a number here"):
        value_of("flag + 1", frame)


def value_of(text: str, frame: dict[str, Vector]) -> list[object]:
    return compile_expression(text, frame).evaluate(frame, 0).to_list()


def test_the_deepest_expression_that_parses_evaluates() -> None:
    text = "1 + 2 * (" * 33 + "x" + ")" * 33
    assert len(compile_expression(text, FRAME).evaluate(FRAME, 5)) == 5


def test_an_answer_can_be_written_to() -> None:
    vector = compile_expression("1", FRAME).evaluate(FRAME, 5)
    vector.values[0] = 2.0
    assert vector.to_list() == [2.0, 1.0, 1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        ([1, None, 2.5], "number"),
        ([True, None], "bool"),
        (["a", None], "string"),
        ([{}, [1]], "other"),
        ([1, True], "mixed"),
        ([None, None], "mixed"),
        ([], "mixed"),
    ],
)
def test_the_kind_of_a_vector_is_that_of_all_its_cells(cells: list[object], kind: str) -> None:
    vector = from_cells(cells)
    assert vector.kind == kind
    assert vector.to_list() == cells
    assert vector.count == sum(cell is not None for cell in cells)
    assert [vector.cell(row) for row in range(len(cells))] == cells


def test_integers_beyond_all_doubles_are_infinities() -> None:
    assert from_cells([10**400, -(10**400)]).to_list() == [INF, -INF]
    frame = {"big": from_cells([2**70, 10**400, "x"])}
    assert compile_expression("big + 0", frame).evaluate(frame, 3).to_list() == [2.0**70, INF, None]


def test_a_constant_of_every_kind_fills_its_rows() -> None:
    assert constant(1, 2).to_list() == [1.0, 1.0]
    assert constant("a", 2).to_list() == ["a", "a"]
    assert constant(True, 2).kind == "bool"
    assert constant(None, 2).to_list() == [None, None]


def test_arrays_that_do_not_fit_make_no_vector() -> None:
    with pytest.raises(ValueError, match="do not fit together"):
        Vector("number", np.zeros(2), np.ones(3, np.bool_))
    with pytest.raises(ValueError, match="make no vector of kind 'number'"):
        Vector("number", np.zeros(2, np.bool_), np.ones(2, np.bool_))
