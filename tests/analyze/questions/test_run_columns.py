"""Columns of runs: equal to a loop over the rows, whatever the order of the runs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from fakeruns import FakeRun, subjects
from hypothesis import given, settings
from hypothesis import strategies as st

from pull_logs.analyze.answers.comparison import Comparison, compare_runs
from pull_logs.analyze.questions.run_columns import RunColumn
from pull_logs.analyze.questions.run_filter import keep_runs
from pull_logs.analyze.statistics.ranking import Criterion
from pull_logs.errors import UnknownNameError, UsageError

Rows = Sequence[Mapping[str, Any]]


def finite(rows: Rows, name: str) -> list[float]:
    return [row[name] for row in rows if name in row and math.isfinite(row[name])]


def first_step(rows: Rows, holds: Callable[[Mapping[str, Any]], bool]) -> int | None:
    return next((row["_step"] for row in rows if holds(row)), None)


NAIVE: Mapping[str, Callable[[Rows, int], Any]] = {
    "mean(loss)": lambda rows, _: statistics.fmean(finite(rows, "loss")) if finite(rows, "loss") else None,
    "count(loss)": lambda rows, _: len(finite(rows, "loss")),
    "first_step(loss < 0)": lambda rows, _: first_step(rows, lambda row: row.get("loss", 1) < 0),
    "last(loss) * 2": lambda rows, _: next(
        (row["loss"] * 2 for row in reversed(rows) if "loss" in row), None
    ),
    "loss": lambda rows, _: next((row["loss"] for row in reversed(rows) if "loss" in row), None),
    "rows": lambda rows, _: len(rows),
    "last_step": lambda rows, _: rows[-1]["_step"] if rows else None,
    "config.lr + 1": lambda _, lr: lr + 1,
    "mean(loss > config.lr)": lambda rows, lr: (
        sum(row.get("loss", -math.inf) > lr for row in rows) / len(rows) if rows else None
    ),
}
"""What each expression means, as a loop over the rows and the config."""

ROWS = st.lists(
    st.fixed_dictionaries(
        {}, optional={"loss": st.floats(-9, 9) | st.just(math.nan), "acc": st.integers(0, 3)}
    ),
    max_size=8,
).map(lambda cells: [{"_step": 3 * place, **row} for place, row in enumerate(cells)])


@st.composite
def several_runs(draw: st.DrawFn) -> list[tuple[Rows, int]]:
    runs = draw(st.lists(st.tuples(ROWS, st.integers(-2, 2)), min_size=1, max_size=5))
    anchored = [{"_step": 0, "loss": 1.0, "acc": 1}]
    return [(anchored, 0), *runs]


def fakes(runs: Sequence[tuple[Rows, int]]) -> list[FakeRun]:
    return [FakeRun(rows, run_id=f"r{place}", config={"lr": lr}) for place, (rows, lr) in enumerate(runs)]


def columns(runs: Sequence[FakeRun], **question: Any) -> dict[str, dict[str, Any]]:
    """The values of the columns, by the id of the run."""
    found = compare_runs(subjects(*runs), Comparison(**question))
    ids = {run["label"]: run["path"].rpartition("/")[2] for run in found["runs"]}
    return {
        entry["name"]: {ids[label]: value for label, value in entry["values"].items()}
        for entry in found["columns"]
    }


ALL = tuple(RunColumn(f"c{place}", text) for place, text in enumerate(NAIVE))


def same(found: Any, expected: Any) -> bool:
    if isinstance(expected, float) and math.isnan(expected):
        return str(found) == "NaN"
    if expected is None or found is None:
        return found is expected
    return bool(found == pytest.approx(expected, rel=1e-12, abs=1e-12))


@settings(max_examples=40)
@given(several_runs())
def test_a_column_is_what_a_loop_over_the_rows_of_each_run_gives(runs: list[tuple[Rows, int]]) -> None:
    found = columns(fakes(runs), columns=ALL)
    for column in ALL:
        for place, (rows, lr) in enumerate(runs):
            value = found[column.name].get(f"r{place}")
            assert same(value, NAIVE[column.text](rows, lr)), (column.text, rows)


@settings(max_examples=40)
@given(several_runs(), st.randoms())
def test_the_order_of_the_runs_does_not_matter(runs: list[tuple[Rows, int]], random: Any) -> None:
    ours = fakes(runs)
    mixed = ours[:]
    random.shuffle(mixed)
    assert columns(ours, columns=ALL) == columns(mixed, columns=ALL)


@settings(max_examples=40)
@given(several_runs())
def test_totals_are_over_the_finite_numbers_of_all_runs(runs: list[tuple[Rows, int]]) -> None:
    question = Comparison(
        columns=(RunColumn("m", "mean(loss)"), RunColumn("hours", "rows / 3600")),
        sort=Criterion("m", "min"),
        top=1,
    )
    found = compare_runs(subjects(*fakes(runs)), question)
    assert len(found["runs"]) == 1
    means = [value for rows, lr in runs if (value := NAIVE["mean(loss)"](rows, lr)) is not None]
    first, second = found["column_totals"]
    assert (first["column"], first["n"], first["missing"]) == ("m", len(means), len(runs) - len(means))
    for name, value in (
        ("sum", math.fsum(means)),
        ("mean", statistics.fmean(means)),
        ("median", statistics.median(means)),
        ("min", min(means)),
        ("max", max(means)),
        ("std", statistics.stdev(means) if len(means) > 1 else None),
    ):
        assert same(first[name], value)  # type: ignore[literal-required]
    assert second["sum"] == pytest.approx(sum(len(rows) for rows, _ in runs) / 3600)


@settings(max_examples=40)
@given(several_runs())
def test_a_rank_by_a_column_is_in_its_order_with_missing_values_last(runs: list[tuple[Rows, int]]) -> None:
    question = Comparison(columns=(RunColumn("m", "mean(loss)"),), sort=Criterion("m", "max"))
    found = compare_runs(subjects(*fakes(runs)), question)
    values = [entry["value"] for entry in found["ranking"]]
    present = [value for value in values if value is not None]
    assert values == [*sorted(present, reverse=True), *[None] * (len(values) - len(present))]


@settings(max_examples=40)
@given(several_runs())
def test_rows_that_are_left_out_and_columns_that_are_computed_are_those_of_other_runs(
    runs: list[tuple[Rows, int]],
) -> None:
    """`--where` and `--eval` give what runs of those rows with that column give."""
    other = [
        (
            [
                {**row, **({"twice": row["loss"] * 2} if "loss" in row else {})}
                for row in rows
                if row["_step"] < 9
            ],
            lr,
        )
        for rows, lr in runs
    ]
    question: dict[str, Any] = {"columns": (RunColumn("m", "mean(twice)"),), "select": "."}
    ours = compare_runs(
        subjects(*fakes(runs)), Comparison(**question, where="_step < 9", evals=(("twice", "loss * 2"),))
    )
    theirs = compare_runs(subjects(*fakes(other)), Comparison(**question))
    assert ours["columns"] == theirs["columns"]
    by_name = [
        {entry["name"]: (entry["value"], entry["min"], entry["max_step"]) for entry in found["comparison"]}
        for found in (ours, theirs)
    ]
    assert by_name[0] == by_name[1]


def test_runs_are_ranked_by_a_field_a_config_key_or_metadata_that_is_no_metric() -> None:
    runs = [
        FakeRun([{"_step": 0, "loss": 1.0}], run_id="r0", name="b", config={"lr": 0.1}),
        FakeRun([{"_step": 0, "loss": 2.0}, {"_step": 1}], run_id="r1", name="a", config={"lr": 0.3}),
    ]

    def order(name: str, end: Any) -> list[str]:
        found = compare_runs(subjects(*runs), Comparison(sort=Criterion(name, end)))
        return [entry["path"][-2:] for entry in found["ranking"]]

    assert order("name", "min") == ["r1", "r0"]
    assert order("name", "max") == ["r0", "r1"]
    assert order("rows", "max") == ["r1", "r0"]
    assert order("config.lr", "max") == order("lr", "max") == ["r1", "r0"]
    found = compare_runs(subjects(*runs), Comparison(sort=Criterion("name", "min")))
    assert found["answer"] == "first by name (min): B, a"


def test_a_metric_hides_what_is_derived_of_a_run_but_no_field() -> None:
    run = FakeRun([{"_step": 0, "rows": 7.0, "duration": 8.0, "state": 9.0}], run_id="r0")
    found = columns(
        [run], columns=tuple(RunColumn(name, name) for name in ("rows", "duration", "state", "last_step"))
    )
    assert found == {
        "rows": {"r0": 7},
        "duration": {"r0": 8},
        "state": {"r0": "finished"},
        "last_step": {"r0": 0},
    }


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("tok/s=mean(a)", RunColumn("tok/s", "mean(a)")),
        (" reach = first_step(val/loss < 3)", RunColumn("reach", "first_step(val/loss < 3)")),
        ("rows", RunColumn("rows", "rows")),
        ("a == 1", RunColumn("a == 1", "a == 1")),
        ("a >= 1", RunColumn("a >= 1", "a >= 1")),
        ("b=a == 1", RunColumn("b", "a == 1")),
        ('x=state == "a=b"', RunColumn("x", 'state == "a=b"')),
    ],
)
def test_a_column_is_a_name_with_an_expression_or_the_expression_alone(text: str, column: RunColumn) -> None:
    assert RunColumn.parse(text) == column


@pytest.mark.parametrize("text", ["", "=3", "a=", "1a=2"])
def test_a_column_without_name_or_expression_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        RunColumn.parse(text)


def test_a_filter_of_open_runs_knows_their_rows_and_one_of_records_does_not() -> None:
    runs = fakes([([{"_step": 4, "loss": 1.0}], 0), ([], 1)])
    assert keep_runs(runs, "rows > 0 and last_step == 4 and complete") == (True, False)
    with pytest.raises(UnknownNameError, match="no run column is named 'rows'"):
        keep_runs([run.info for run in runs], "rows > 0")
