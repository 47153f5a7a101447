from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from fakeruns import FakeRun, subjects, training
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.analyze import Picking, View, answer
from pull_logs.analyze.results import AssertionResult
from pull_logs.errors import ExpressionError, UnknownNameError

CELLS = st.none() | st.floats(-3, 3) | st.just(math.nan)
ROWS = st.lists(st.tuples(CELLS, CELLS), max_size=8)


def verdict(text: str, *runs: FakeRun, **view: Any) -> AssertionResult:
    (found,) = answer(subjects(*runs), View(asserts=(text,), **view))["assertions"]
    return found


def told(text: str, *runs: FakeRun, **view: Any) -> list[tuple[str, str]]:
    return [(broken["run"], broken["message"]) for broken in verdict(text, *runs, **view)["broken"]]


def history(rows: list[tuple[float | None, float | None]]) -> FakeRun:
    return FakeRun({"_step": step, "a": a, "b": b} for step, (a, b) in enumerate(rows))


@given(ROWS)
def test_any_holds_where_one_row_holds_and_all_where_no_row_that_has_the_metrics_breaks_it(
    rows: list[tuple[float | None, float | None]],
) -> None:
    both = [(a, b) for a, b in rows if a is not None and b is not None]
    known = FakeRun([{"_step": 0, "a": 1, "b": 0}])  # so that the names are known whatever the rows hold
    run = history(rows)
    some = [entry[0] for entry in told("any: a > b", run, known)]
    assert ("A" not in some) == any(a > b for a, b in both)
    every = [entry[0] for entry in told("all: a > b", run, known)]
    assert ("A" not in every) == (bool(both) and all(a > b for a, b in both))


def test_without_a_word_it_is_about_the_summary_or_else_the_last_value() -> None:
    run = training(summary={"val/acc": 0.25}, config={"lr": 0.1})
    assert verdict("val/acc > 0.2", run)["holds"]
    assert told("val/acc > 0.5", run) == [("A", "val/acc = 0.25")]
    assert told("summary.val/acc > 0.5 and config.lr == 0.1", run) == [
        ("A", "config.lr = 0.1, summary.val/acc = 0.25")
    ]
    assert told("train/loss < 0.1", run) == [("A", "train/loss = 0.208333")]
    assert told('state == "crashed"', run) == [("A", "state = 'finished'")]


def test_a_computed_column_can_be_asserted() -> None:
    evals = (("half", "train/loss / 2"),)
    assert told("half < 0.1", training(), evals=evals) == [("A", "half = 0.104167")]
    assert verdict("all: half < 2", training(), evals=evals)["holds"]


def test_a_missing_value_is_no_reason_to_pass() -> None:
    runs = training(summary={"acc": 1}), FakeRun([{"_step": 0, "x": 1}], summary={"acc": None})
    assert told("acc > 0", *runs) == [("B", "acc is missing")]
    assert told("any: x > 0", *runs) == [("A", "in none of 12 rows: x is missing")]
    assert told("all: x > 0", *runs) == [("A", "no row has all of its metrics")]
    assert told("step 3: x > 0", *runs) == [("A", "x is missing"), ("B", "its last step is 0")]
    assert told("step 0: _step == 0", FakeRun()) == [("A", "it has no rows")]


def test_all_names_the_first_row_that_breaks_it_and_counts_the_others() -> None:
    run = training()
    (broken,) = verdict("all: val/acc > 0.9", run)["broken"]
    assert broken == {
        "run": "A",
        "path": "acme/nano/r1",
        "message": "val/acc = 0.833333 at step 2, and 1 more of 4 rows",
        "step": 2,
        "values": {"val/acc": 1 - 1 / 6},
    }
    assert verdict("all: val/acc is missing or val/acc > 0.8", run)["holds"]


def test_a_step_means_the_last_values_until_then() -> None:
    run = training()
    assert told("step 7: val/acc > 0.9 and train/loss < 1", run) == [
        ("A", "train/loss = 0.3125, val/acc = 0.888889")
    ]
    assert told("step 20: val/acc > 0.9", run) == [("A", "its last step is 11")]
    assert verdict("step 11: val/acc > 0.9", run)["holds"]


def test_rows_are_those_that_the_view_looks_at() -> None:
    run = training()
    assert not verdict("all: train/loss < 0.5", run)["holds"]
    assert verdict("all: train/loss < 0.5", run, where="_step > 5")["holds"]
    assert verdict("all: train/loss < 0.5", run, picking=Picking(last=3))["holds"]


def test_any_tells_how_far_the_values_went() -> None:
    assert told("any: val/acc > 1", training()) == [
        ("A", "in none of 12 rows: val/acc from 0.833333 to 0.933333")
    ]
    rows = FakeRun([{"_step": 0, "x": math.nan}, {"_step": 1, "x": math.nan}])
    assert told("any: x > 1", rows) == [("A", "in none of 2 rows: x has no number")]


def test_values_that_json_cannot_hold_are_spelled() -> None:
    (broken,) = verdict("all: x < 1", FakeRun([{"_step": 4, "x": math.nan}]))["broken"]
    assert (broken["message"], broken["values"]) == ("x = NaN at step 4", {"x": "NaN"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "step ten: a > 1",
            "'ten' is not a valid step; write it as --assert 'step 1000: val/loss < 2'\n    step ten: a > 1\n         ~~^",  # noqa: E501
        ),
        (
            "any: train/loss >",
            "expected a number, a name, a string or '(', found the end\n    any: train/loss >\n                     ^",  # noqa: E501
        ),
    ],
)
def test_what_is_no_assertion_is_pointed_at_in_the_whole_text(text: str, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        answer(subjects(training()), View(asserts=(text,)))
    assert str(caught.value) == message


def test_an_unknown_name_and_a_wrong_kind_are_pointed_at_behind_the_word() -> None:
    with pytest.raises(UnknownNameError) as unknown:
        answer(subjects(training()), View(asserts=("all: val/ac > 1",)))
    assert unknown.value.span == (5, 11)
    with pytest.raises(ExpressionError) as wrong:
        answer(subjects(training()), View(asserts=("all: train/loss",)))
    assert wrong.value.span == (5, 15)


def test_a_name_with_a_colon_is_a_name() -> None:
    run = FakeRun([{"_step": 0, "step:x": 3, "any": 1}])
    assert verdict("step:x > 2", run)["holds"]
    assert verdict("any > 0", run)["holds"]


def test_a_reduction_is_over_the_rows_of_the_run_and_its_value_is_in_the_message() -> None:
    run = FakeRun(
        [{"_step": step, "loss": 8 - step, "n": step} for step in range(5)],
        config={"target": 5},
        summary={"loss": 100, "final": 3},
    )
    assert verdict("mean(loss) == 6 and loss == 100", run)["holds"]
    assert told("mean(loss) < 2", run) == [("A", "mean(loss) = 6")]
    assert told("quantile(loss, 0.25) > 2 * std(loss) + loss", run) == [
        ("A", "loss = 100, quantile(loss, 0.25) = 5, std(loss) = 1.58114")
    ]
    assert told("first_step(loss < 6) > 3", run) == [("A", "first_step(loss < 6) = 3")]
    assert told("last(ema(loss, 1)) > 4", run) == [("A", "last(ema(loss, 1)) = 4")]
    assert told("first(loss) < 8", run) == [("A", "first(loss) = 8")]
    assert verdict("sum(loss <= config.target) == 2 and mean(final) == 3", run)["holds"]
    (broken,) = verdict("count(loss) > 5", run)["broken"]
    assert broken["values"] == {"count(loss)": 5}


def test_a_reduction_is_over_the_rows_that_the_view_and_the_scope_use() -> None:
    run = FakeRun([{"_step": step, "loss": 8 - step} for step in range(5)])
    assert told("step 1: mean(loss) < 7", run) == [("A", "mean(loss) = 7.5")]
    assert told("all: loss < mean(loss) + 2", run) == [("A", "loss = 8, mean(loss) = 6 at step 0")]
    assert told("any: loss > 2 * mean(loss)", run) == [
        ("A", "in none of 5 rows: loss from 4 to 8, mean(loss) = 6")
    ]
    assert told("mean(loss) > 5", run, where="_step > 2") == [("A", "mean(loss) = 4.5")]
    assert told("mean(loss) > 5", run, picking=Picking(last=1)) == [("A", "mean(loss) = 4")]
    assert verdict("all: mean(loss) == 6", run)["holds"]


def test_a_reduction_of_nothing_does_not_pass() -> None:
    runs = FakeRun([{"_step": 0, "loss": 1}]), FakeRun([{"_step": 0, "x": 1}]), FakeRun()
    assert told("mean(loss) < 2", *runs) == [("B", "mean(loss) is missing"), ("C", "mean(loss) is missing")]
    assert told("count(loss) > 0", *runs) == [("B", "count(loss) = 0"), ("C", "count(loss) = 0")]
    assert told("auc(loss) < 9", runs[0]) == [("A", "auc(loss) is missing")]


def test_a_metric_named_like_a_reduction_is_not_the_reduction() -> None:
    run = FakeRun([{"_step": 0, "x": 1, "mean(x)": 5}])
    assert verdict("mean(x) == 1 and `mean(x)` == 5", run)["holds"]


def test_an_error_within_a_reduction_points_into_the_assertion() -> None:
    run = FakeRun([{"_step": 0, "x": "a"}])
    with pytest.raises(ExpressionError) as caught:
        verdict("all: 1 < mean(x)", run)
    assert str(caught.value) == (
        "mean(...) needs a number here, and this is a string, in run 'A'\n"
        "    all: 1 < mean(x)\n                  ^"
    )


def test_computed_columns_and_conditions_on_rows_reduce_the_complete_history() -> None:
    run = FakeRun([{"_step": step, "loss": 8 - step} for step in range(5)])
    evals = (("part", "loss / mean(loss)"),)
    assert told("mean(part) > 2", run, evals=evals, where="loss < median(loss)") == [
        ("A", "mean(part) = 0.75")
    ]
    assert told("any: _step < 0", run, where="_step >= first_step(loss < 6)") == [
        ("A", "in none of 2 rows: _step from 3 to 4")
    ]


def test_texts_and_lists_of_rows_and_runs_can_be_searched() -> None:
    run = FakeRun(
        [{"_step": 0, "log": "start"}, {"_step": 1, "log": "CUDA oom", "ids": [1, "a"]}],
        config={"layers": [64, 128]},
    )
    run.info = replace(run.info, tags=("baseline", "v1.0"))
    assert told('any: log contains "nan"', run) == [("A", "in none of 2 rows: log has no number")]
    assert told('any: log matches "(?i)OOM$"', run, where="ids contains 1") == []
    assert told('all: log starts_with "s"', run) == [("A", "log = 'CUDA oom' at step 1")]
    assert verdict('tags contains "v1.0" and config.layers contains 64', run)["holds"]
    assert told('tags contains "v1"', run) == [("A", "tags = 'baseline,v1.0'")]
    assert told('first_step(log contains "oom") > 1', run) == [("A", 'first_step(log contains "oom") = 1')]
