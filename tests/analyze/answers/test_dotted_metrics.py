"""Metrics with a dot in a key of their own, in every option that names one metric."""

from __future__ import annotations

from typing import Any

import pytest
from fakeruns import FakeRun, subjects

from pull_logs.analyze import View, answer
from pull_logs.analyze.answers import Comparison, compare_runs
from pull_logs.analyze.questions import Position
from pull_logs.analyze.statistics import Criterion
from pull_logs.errors import ExpressionError, UsageError

NESTED = {"val": {"top.1": 1}}
LITERAL = {"val.top": {"1": 1}}
BOTH = {**NESTED, **LITERAL}


def runs(*shapes: dict[str, Any]) -> list[FakeRun]:
    """Runs of two rows, whose metrics of these shapes hold the number of the run, then a smaller one."""
    return [
        FakeRun(
            [
                {
                    "_step": step,
                    **{outer: dict.fromkeys(inner, number / (1 + step)) for outer, inner in shape.items()},
                }
                for step in (0, 1)
            ],
            run_id=f"r{number}",
            config={"lr": number},
        )
        for number, shape in enumerate(shapes, 1)
    ]


@pytest.mark.parametrize(("option", "shape"), [("best", NESTED), ("sort", NESTED), ("best", LITERAL)])
def test_a_metric_is_ranked_by_its_name_without_backslashes(option: str, shape: dict[str, Any]) -> None:
    criterion = Criterion("val.top.1", "max")
    question = Comparison(best=criterion) if option == "best" else Comparison(sort=criterion)
    found = compare_runs(subjects(*runs(shape, shape)), question)
    assert [(entry["run"], entry["value"]) for entry in found["ranking"]] == [("B", 1), ("A", 0.5)]


def test_an_axis_is_named_without_backslashes() -> None:
    found = compare_runs(subjects(*runs(NESTED)), Comparison(axis="val.top.1", at=Position.parse("1")))
    assert found["alignment"]["x"] == "val.top\\.1"


@pytest.mark.parametrize("shape", [NESTED, LITERAL])
def test_rows_and_computed_columns_take_it_too(shape: dict[str, Any]) -> None:
    view = View(where="val.top.1 < 1", evals=(("double", "val.top.1*2"),), select="double")
    found = answer(subjects(*runs(shape)), view)
    assert found["history"]["A"]["rows"] == [[1, 1]]


def test_two_spellings_of_a_metric_are_an_error_that_shows_both() -> None:
    both = (
        "'val.top.1' fits more than one metric: `val.top\\.1` and `val\\.top.1`,"
        " where \\. is a dot in a key itself"
    )
    with pytest.raises(UsageError) as ranked:
        compare_runs(subjects(*runs(BOTH)), Comparison(best=Criterion("val.top.1", "max")))
    assert str(ranked.value) == f"--best: {both}; write one of them, with its backticks and in single quotes"
    with pytest.raises(ExpressionError) as filtered:
        answer(subjects(*runs(BOTH)), View(where="val.top.1 < 1"))
    assert filtered.value.message == both
    question = Comparison(best=Criterion.parse("`val\\.top.1`:max"))
    assert compare_runs(subjects(*runs(BOTH, BOTH)), question)["ranking"][0]["run"] == "B"


def test_a_metric_with_a_dot_is_asserted_by_its_summary() -> None:
    run = FakeRun([{"_step": 0, "val.acc": 0.1}], summary={"val.acc": 0.9})
    found = answer(subjects(run), View(asserts=("val.acc > 0.5",)))
    assert found["assertions"][0]["holds"]
