"""The page on expressions says what the language does: every example, every error, every function."""

from __future__ import annotations

import math
import re

import pytest
from checkout import ROOT

from pull_logs.analyze.expressions.compile import compile_expression
from pull_logs.analyze.expressions.functions import FUNCTIONS
from pull_logs.errors import ExpressionError, UnknownNameError
from pull_logs.frames.vector import Vector, from_cells

PAGE = (ROOT / "docs" / "expressions.md").read_text()
MISSING = "-"


def blocks(kind: str) -> list[str]:
    return [
        line for block in re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()
    ]


def cell(text: str) -> object:
    if text.startswith("["):
        return [cell(item) for item in text[1:-1].split(",") if item]
    if text in ("true", "false"):
        return text == "true"
    if text in (MISSING, "NaN", "Infinity"):
        return {MISSING: None, "NaN": math.nan, "Infinity": math.inf}[text]
    return float(text) if re.fullmatch(r"-?[\d.]+", text) else text


def rows() -> dict[str, Vector]:
    heads, *lines = (line.split() for line in blocks("rows"))
    columns = zip(*(map(cell, line) for line in lines), strict=True)
    return {name: from_cells(column) for name, column in zip(heads, columns, strict=True)}


EXAMPLES = [tuple(re.split(r"\s+=>\s+", line)) for line in blocks("examples")]


@pytest.mark.parametrize(("text", "answer"), EXAMPLES)
def test_an_example_of_the_page_is_so(text: str, answer: str) -> None:
    frame = rows()
    found = compile_expression(text, list(frame)).evaluate(frame, 5).to_list()
    wanted = [cell(part) for part in answer.split(", ")]
    assert [shown(value) for value in found] == [shown(value) for value in wanted]


def shown(value: object) -> str:
    """A value with its kind: 1 and 1.0 are one number, and true is another value."""
    return (
        repr(float(value)) if isinstance(value, (int, float)) and not isinstance(value, bool) else repr(value)
    )


def errors() -> list[tuple[str, str, str]]:
    lines = blocks("errors")
    return [
        (text, told[: told.index("^") + 1], told[told.index("^") + 2 :])
        for text, told in zip(lines[::2], lines[1::2], strict=True)
    ]


@pytest.mark.parametrize(("text", "caret", "message"), errors())
def test_an_error_of_the_page_is_told_so(text: str, caret: str, message: str) -> None:
    frame = rows()
    with pytest.raises((ExpressionError, UnknownNameError)) as caught:
        compile_expression(text, list(frame)).condition(frame, 5)
    told, source, pointer = str(caught.value).split("\n")
    assert (told, source[4:], pointer[4:].rstrip()) == (message, text, caret)


def test_the_page_lists_every_function_as_it_is_called() -> None:
    tables = re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE)
    listed = {signature for cells in tables for signature in re.findall(r"`([^`]+)`", cells)}
    assert listed == {function.signature for function in FUNCTIONS.values()}
    used = {name for text, _ in EXAMPLES for name in re.findall(r"(\w+)\(", text)}
    assert used >= FUNCTIONS.keys() - {"min"}
