"""Rows that are read when a text shows them: the text is the same, and few histories are opened."""

from __future__ import annotations

from typing import Any

import pytest
from fakeruns import FakeRun, subjects, training
from hypothesis import given
from hypothesis import strategies as st
from rowkit import calm_rows, canonical, nasty_rows

from pull_logs.analyze import Subject, View, answer, arrange
from pull_logs.cli.hints import show_hints
from pull_logs.cli.render import render_text
from pull_logs.cli.sections import view_sections
from pull_logs.errors import DamageError
from pull_logs.interface import Sources

full_rows = st.lists(
    st.fixed_dictionaries({"loss": st.floats(-9, 9) | st.integers(), "val/acc": st.floats(0, 1)}),
    min_size=1,
    max_size=30,
).map(lambda rows: [{"_step": step, **row} for step, row in enumerate(rows)])

views = st.fixed_dictionaries(
    {
        "select": st.sampled_from([None, ".", "loss"]),
        "show_all": st.booleans(),
        "human": st.booleans(),
        "stats": st.booleans(),
        "quantiles": st.sampled_from([(), (50.0, 97.5)]),
        "max_rows": st.sampled_from([0, 3, 200]),
        "max_tokens": st.sampled_from([300, 1_000, 100_000]),
    }
)


def shown(runs: list[Subject], view: View) -> str:
    found = arrange(answer(runs, view), unfold=not view.folds)
    return render_text(view_sections(found), max_tokens=view.max_tokens)


@given(st.lists(full_rows | calm_rows | nasty_rows, min_size=1, max_size=5), views)
def test_a_text_is_the_same_whether_its_rows_are_read_on_request(
    runs: list[list[dict[str, Any]]], options: dict[str, Any]
) -> None:
    usual = [{"_step": 0, "loss": 1, "val/acc": 2}]
    written = list(enumerate([*map(canonical, runs), usual]))
    indexed, plain = (
        subjects(*(FakeRun(rows, run_id=f"r{number}", indexed=known) for number, rows in written))
        for known in (True, False)
    )
    assert shown(indexed, View(**options, on_request=True)) == shown(plain, View(**options))


def test_a_text_of_many_runs_opens_the_histories_that_it_shows() -> None:
    runs = [training(40, run_id=f"r{number}", indexed=True) for number in range(200)]
    text = shown(subjects(*runs), View(max_tokens=2_000, on_request=True))
    assert text.count("[HISTORY] run=") == 3
    assert 'rows_total=40 rows_matched=40 rows_shown=7 hidden=0 sampling="extremes 7/40"' in text
    assert "# cut to 3 of 200 runs, 7 of 24 rows; --select, --where or --last shows others" in text
    opened = [index for index, run in enumerate(runs) if run.reads]
    assert opened == list(range(len(opened)))
    assert 3 <= len(opened) <= 12


def test_statistics_of_many_runs_read_the_histories_that_are_shown() -> None:
    runs = [training(40, run_id=f"r{number}", indexed=True) for number in range(200)]
    text = shown(subjects(*runs), View(stats=True, select="train/loss", max_tokens=2_000, on_request=True))
    assert "[STATS] metric=train/loss runs=200" in text
    assert "# cut to 12 of 200 runs; --select REGEX shows others" in text
    opened = [index for index, run in enumerate(runs) if run.reads]
    assert opened == list(range(len(opened)))
    assert 12 <= len(opened) <= 60


def test_hints_about_statistics_name_runs_that_end_in_nan_without_reading_them() -> None:
    rows: list[dict[str, Any]] = [{"_step": 0, "loss": 1}, {"_step": 1, "loss": float("nan")}]
    runs = [FakeRun(rows[:number], run_id=f"r{number}", indexed=True) for number in (1, 2)]
    found = answer(subjects(*runs), View(stats=True, max_tokens=2_000, on_request=True))
    hints = list(show_hints(found, Sources(bundles=("a.wandb.zip",))))
    look = ("--select", "^loss$", "--where", "not isfinite(`loss`)")
    assert hints == [("pull-logs", "-b", "a.wandb.zip", "-r", "acme/nano/r2", *look)]
    assert [run.reads for run in runs] == [[], []]


def test_an_index_without_a_metric_of_the_history_is_damaged() -> None:
    run = FakeRun([{"_step": 0, "loss": 1}], indexed=True)
    found = answer(subjects(run), View(stats=True, on_request=True))
    run.batch = FakeRun([{"_step": 0, "loss": "a"}]).batch
    with pytest.raises(DamageError) as raised:
        dict(found["stats"]["A"]["loss"])
    assert raised.value.message == "the index of metrics has others than the history of acme/nano/r1"


def test_a_screen_without_rows_opens_no_history() -> None:
    runs = [training(40, run_id=name, indexed=True) for name in ("a", "b")]
    assert "[COMPARISON]" in shown(subjects(*runs), View(human=True, max_tokens=2_000))
    assert [run.reads for run in runs] == [[], []]


@pytest.mark.parametrize(
    "rows",
    [
        [{"_step": 0, "loss": float("nan")}, {"_step": 1, "loss": 1}],
        [{"_step": 0, "loss": 1, "note": "a"}, {"_step": 1, "loss": 1}],
        [{"_step": 0, "loss": 1}, {"_step": 1, "_timestamp": 1}],
    ],
    ids=["not finite", "text", "a hidden row"],
)
def test_a_history_that_the_index_does_not_say_enough_of_is_read_at_once(rows: list[dict[str, Any]]) -> None:
    run = FakeRun(rows, indexed=True)
    found = answer(subjects(run), View(max_tokens=2_000, on_request=True))
    assert isinstance(found["history"]["A"]["rows"], list)
    assert run.reads
