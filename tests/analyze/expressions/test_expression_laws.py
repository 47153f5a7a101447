"""The laws of expressions, over trees, texts and frames that hypothesis makes up."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from expression_strategies import (
    COMPARATORS,
    PRODUCT_OPERATORS,
    any_trees,
    condition_trees,
    floats,
    frames,
    numeric_trees,
    texts,
    trees,
    wild_trees,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st
from naive_expressions import KindError, cell_of, kind_of

from pull_logs.analyze.expressions.compile import compile_expression
from pull_logs.analyze.expressions.evaluator import condition, evaluate
from pull_logs.analyze.expressions.functions import FUNCTIONS
from pull_logs.analyze.expressions.nodes import Call, Name, Node, Number
from pull_logs.analyze.expressions.parser import parse
from pull_logs.analyze.expressions.resolver import resolve
from pull_logs.analyze.expressions.tokenizer import is_bare_name
from pull_logs.errors import ExpressionError, UnknownNameError
from pull_logs.frames.vector import Vector, numbers

LAW = settings(max_examples=500)
SINGLE = [f"x {operator} y" for operator in ["+", "-", "**", *PRODUCT_OPERATORS, *COMPARATORS]] + [
    *["-y", "x ** 2", "y ** 0.5", "x in [0, 1, -1]", "y not in [0, 1]", "min(x, y)", "max(x, y)"],
    *["round(y)", "round(x, 2)", "lag(y, 2)", "first(y)", "last(y)"],
    *["abs(y)", "log(y)", "log10(y)", "exp(y)", "sqrt(y)", "isnan(y)", "isfinite(y)"],
    *["diff(y)", "cumsum(y)", "cummin(y)", "cummax(y)"],
]
REDUCTIONS = [function.name for function in FUNCTIONS.values() if function.reduces]
KNOWN = ("_step", "x", "y", "flag", "kind", "tags", "lists", "mixed", "image", "empty", "gone")


def same_cell(left: object, right: object) -> bool:
    """Equal, kinds and the sign of zero included; NaN is NaN."""
    if isinstance(left, bool) or isinstance(right, bool) or not isinstance(left, float):
        return type(left) is type(right) and left == right
    if not isinstance(right, float):
        return False
    if math.isnan(left) or math.isnan(right):
        return math.isnan(left) and math.isnan(right)
    return left == right and math.copysign(1, left) == math.copysign(1, right)


def as_float(cell: object) -> object:
    return float(cell) if isinstance(cell, int) and not isinstance(cell, bool) and abs(cell) < 2**60 else cell


def check_against_naive(node: Node, frame: dict[str, Vector], length: int) -> None:
    columns = {name: (str(vector.kind), vector.to_list()) for name, vector in frame.items()}
    try:
        kind = kind_of(node, columns)
    except KindError:
        with pytest.raises(ExpressionError):
            evaluate(node, frame, length=length)
        return
    with np.errstate(all="ignore"):
        expected = [cell_of(node, columns, row) for row in range(length)]
    vector = evaluate(node, frame, length=length)
    found = vector.to_list()
    assert vector.kind == kind
    assert len(found) == length
    assert all(map(same_cell, map(as_float, found), map(as_float, expected))), (found, expected)
    if kind in {"bool", "mixed"}:
        assert condition(node, frame, length=length).tolist() == [cell is True for cell in expected]


@LAW
@given(trees)
def test_the_text_of_a_tree_parses_back_to_that_tree(tree: Node) -> None:
    assert parse(str(tree)) == tree


def parsed(text: str) -> Node | ExpressionError:
    try:
        return parse(text)
    except ExpressionError as error:
        return error


@settings(max_examples=1500)
@given(texts)
@example("\x00")
@example("'\\")
@example("x in [" + "1," * 2000)
def test_any_text_parses_or_raises_an_error_whose_span_lies_in_it(text: str) -> None:
    found = parsed(text)
    if isinstance(found, ExpressionError):
        start, end = found.span
        assert 0 <= start <= end <= len(text)
        assert found.source == text
        assert str(found).rpartition("\n")[2].endswith("^")
    else:
        assert parse(str(found)) == found


@LAW
@given(numeric_trees, frames())
def test_vectorised_arithmetic_is_the_naive_one(tree: Node, found: tuple[dict[str, Vector], int]) -> None:
    check_against_naive(tree, *found)


@pytest.mark.parametrize("text", SINGLE)
@settings(max_examples=100)
@given(st.lists(st.tuples(floats, floats, st.booleans()), max_size=12))
def test_each_operator_and_function_alone_is_the_naive_one(
    text: str, rows: list[tuple[float, float, bool]]
) -> None:
    x, y, present = (np.array([row[place] for row in rows]) for place in range(3))
    frame = {"x": numbers(x), "y": numbers(y, present.astype(np.bool_))}
    check_against_naive(parse(text), frame, len(rows))


@LAW
@given(condition_trees, frames())
def test_vectorised_conditions_are_the_naive_ones(tree: Node, found: tuple[dict[str, Vector], int]) -> None:
    check_against_naive(tree, *found)


@LAW
@given(any_trees, frames())
def test_kinds_fit_or_not_as_the_naive_reading_says(tree: Node, found: tuple[dict[str, Vector], int]) -> None:
    check_against_naive(tree, *found)


@LAW
@given(wild_trees, frames())
def test_what_resolves_evaluates_to_a_vector_or_raises_an_expression_error(
    tree: Node, found: tuple[dict[str, Vector], int]
) -> None:
    frame, length = found
    try:
        resolved = resolve(tree, KNOWN, source="")
        vector = evaluate(resolved.node, frame, length=length)
    except ExpressionError:
        return
    assert resolved.names <= set(KNOWN)
    assert len(vector) == length


smoothed = st.one_of(st.sampled_from([0.0, 1.0, -1.0, 1e300, -1e300, 1e-300]), st.floats(-1e6, 1e6))
rough = st.one_of(smoothed, st.sampled_from([math.nan, math.inf, -math.inf]))
cells = st.lists(st.one_of(st.none(), smoothed), max_size=70)
rough_cells = st.lists(st.one_of(st.none(), smoothed, rough), max_size=20)


def vector_of(values: list[float | None]) -> Vector:
    present = np.array([value is not None for value in values], np.bool_)
    return numbers(np.array([7.0 if value is None else value for value in values], np.float64), present)


def check_close(found: Any, expected: float | None, greatest: float) -> None:
    if expected is None or math.isnan(expected) or math.isinf(expected):
        assert same_cell(found, expected)
    else:
        assert abs(found - expected) <= 1e-12 * greatest


@LAW
@given(st.one_of(cells, rough_cells), st.one_of(st.sampled_from([1.0, 0.5, 0.1, 1e-6]), st.floats(1e-9, 1)))
@example(values=[2.2250738585e-313, 0.0, 0.0], alpha=0.125)
@example(values=[2.2250738585e-313, 0.0, 3.0, 0.0, 1e-310], alpha=0.125)
@example(values=[0.0, 1e-310, math.inf, 1e-310, math.nan], alpha=0.125)
def test_ema_is_its_loop_within_1e_12_of_the_greatest_magnitude(
    values: list[float | None], alpha: float
) -> None:
    tree = Call("ema", (Name("x"), Number(alpha)))
    found = evaluate(tree, {"x": vector_of(values)}, length=len(values)).to_list()
    average: float | None = None
    greatest = 0.0
    for cell, value in zip(found, values, strict=True):
        if value is None:
            assert cell is None
            continue
        average = value if average is None else alpha * value + (1 - alpha) * average
        greatest = max(greatest, abs(value) if math.isfinite(value) else 0.0)
        check_close(cell, average, greatest)


def naive_mean(window: list[float]) -> float:
    if all(map(math.isfinite, window)):
        return float(sum(map(Fraction, window), Fraction(0)) / len(window))
    return sum(value for value in window if not math.isfinite(value))


@LAW
@given(st.one_of(cells, rough_cells), st.integers(1, 40))
def test_rolling_mean_is_the_exact_mean_within_1e_12_of_the_greatest_magnitude(
    values: list[float | None], size: int
) -> None:
    tree = Call("rolling_mean", (Name("x"), Number(float(size))))
    found = evaluate(tree, {"x": vector_of(values)}, length=len(values)).to_list()
    so_far: list[float] = []
    for cell, value in zip(found, values, strict=True):
        if value is None:
            assert cell is None
            continue
        so_far.append(value)
        window = so_far[-size:]
        expected = naive_mean(window) if len(window) == size else None
        check_close(cell, expected, max((abs(each) for each in window if math.isfinite(each)), default=0.0))


@LAW
@given(numeric_trees, frames(), st.integers(0, 6))
def test_no_row_depends_on_a_later_one_but_through_a_reduction(
    tree: Node, found: tuple[dict[str, Vector], int], rows: int
) -> None:
    frame, length = found
    if rows > length or any(f"{name}(" in str(tree) for name in REDUCTIONS):
        return
    head = {name: vector.take(np.arange(rows)) for name, vector in frame.items()}
    whole = evaluate(tree, frame, length=length).to_list()[:rows]
    assert all(map(same_cell, evaluate(tree, head, length=rows).to_list(), whole))


parts = st.lists(st.sampled_from(["a", "b", "c", "2", "10"]), min_size=1, max_size=4)
column_sets = st.sets(st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join), min_size=1)


def naive_readings(pieces: list[str], known: set[str]) -> list[list[str]]:
    """Every way to join the pieces of a name into known names and numbers."""
    if not pieces:
        return [[]]
    found = []
    for cut in range(1, len(pieces) + 1):
        head = "/".join(pieces[:cut])
        if head in known or head.isdigit():
            found += [[head, *rest] for rest in naive_readings(pieces[cut:], known)]
    return found


@LAW
@given(parts, column_sets)
def test_a_bare_name_is_the_column_or_the_one_division_with_the_fewest_splits(
    tail: list[str], known: set[str]
) -> None:
    pieces = ["a", *tail]
    text = "/".join(pieces)
    assert is_bare_name(text)
    readings = naive_readings(pieces, known)
    fewest = min(map(len, readings), default=0)
    best = [reading for reading in readings if len(reading) == fewest]
    if not readings:
        with pytest.raises(UnknownNameError):
            compile_expression(text, known)
    elif len(best) > 1:
        with pytest.raises(ExpressionError, match="can be read as"):
            compile_expression(text, known)
    else:
        expression = compile_expression(text, known)
        assert str(expression.node) == " / ".join(best[0])
        assert expression.names == {part for part in best[0] if not part.isdigit()}
        assert bool(expression.notes) == (fewest == 1 and len(readings) > 1)


@LAW
@given(wild_trees)
def test_what_is_resolved_resolves_to_itself(tree: Node) -> None:
    try:
        resolved = resolve(tree, KNOWN, source="")
    except ExpressionError:
        return
    again = resolve(resolved.node, KNOWN, source="")
    assert again == resolved
