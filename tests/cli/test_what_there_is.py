"""Questions about what is not there are answered with what there is."""

from __future__ import annotations

import json

import pytest
from checkout import ROOT
from fakeruns import FakeRun, subjects

from pull_logs.analyze.answers import Comparison, compare_runs
from pull_logs.analyze.answers.view import incomplete_notes
from pull_logs.analyze.statistics import Criterion
from pull_logs.cli.main import main
from pull_logs.runs import Coverage

BUNDLE = ("-b", str(ROOT / "fixtures" / "digits.wandb.zip"))


def run_of(values: list[float], run_id: str) -> FakeRun:
    return FakeRun([{"_step": step, "val/loss": value} for step, value in enumerate(values)], run_id=run_id)


def test_rows_around_a_step_after_the_end_are_announced(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*BUNDLE, "-r", "cnn1e1s0", "--around", "999999", "--window", "1", "--json"]) == 0
    notes = json.loads(capsys.readouterr().out)["notes"]
    assert "--around 999999 is after the last step, 263; the rows nearest to it are shown" in notes


def test_a_display_name_is_answered_with_the_id(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*BUNDLE, "-r", "cnn-lr0.1-s0"]) == 3
    assert capsys.readouterr().err.endswith("it is the name of the run 'acme/digits/cnn1e1s0'\n")


def test_an_unknown_project_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*BUNDLE, "-p", "acme/digit"]) == 3
    assert capsys.readouterr().err.endswith("does not contain acme/digit; the nearest is 'acme/digits'\n")


def test_incomplete_runs_are_grouped_by_their_reason() -> None:
    lost = Coverage(complete=False, reason="3 rows are missing")
    torn = Coverage(complete=False, reason="the log is torn")
    runs = [FakeRun(coverage=coverage) for coverage in (lost, torn, Coverage(), lost)]
    assert incomplete_notes(subjects(*runs)) == [
        "A, D are incomplete: 3 rows are missing",
        "B is incomplete: the log is torn",
    ]


def test_the_answer_says_where_it_was_read_and_what_is_best_by_best_values() -> None:
    runs = subjects(run_of([2.0, 0.5, 1.5], "a"), run_of([2.0, 1.5, 1.0], "b"))
    found = compare_runs(runs, Comparison(best=Criterion("val/loss")))
    assert found["answer"] == (
        "best val/loss (min): B, 1; single runs say nothing about seed noise: --group-by all-but:SEED"
    )
    assert found["answer_note"] == "read at its last value (by best values it is A, 0.5: --at best)"


def test_a_run_that_failed_at_once_is_not_the_step_to_compare_at() -> None:
    runs = subjects(run_of([2.0], "a"), run_of([2.0] * 90, "b"), run_of([2.0] * 100, "c"))
    found = compare_runs(runs, Comparison())
    assert ["--at", "89"] in found["next"]
    assert (
        "the runs end at different steps, the first at 0, and are compared at their ends; "
        "--at 89 compares those that reach it at one step"
    ) in found["notes"]
