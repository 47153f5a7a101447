from __future__ import annotations

import json
import re
from typing import Any

import pytest
from answertext import view_json
from fakeruns import FakeRun, subjects, training
from hostileruns import hostile_subjects
from hypothesis import given, settings
from hypothesis import strategies as st

from pull_logs.analyze import Subject, View, answer
from pull_logs.cli.render.budget import MIN_JSON_TOKENS
from pull_logs.cli.render.tokens import count_tokens
from pull_logs.errors import UsageError

VIEWS = st.sampled_from(
    [View(), View(human=True), View(schema=True, stats=True), View(show_all=True), View(max_rows=2)]
)


def shape(value: Any) -> type:
    return type(value)


@given(hostile_subjects(), VIEWS)
@settings(max_examples=60)
def test_without_a_limit_the_json_is_the_answer(runs: list[Subject], view: View) -> None:
    found = answer(runs, view)
    text = view_json(found)
    assert json.loads(text) == found
    assert text.isprintable() or not any(ord(char) < 32 for char in text)
    assert len(text.splitlines()) == 1


@given(hostile_subjects(), VIEWS, st.integers(MIN_JSON_TOKENS, 900))
@settings(max_examples=150)
def test_json_never_takes_more_than_its_tokens_and_stays_of_one_shape(
    runs: list[Subject], view: View, tokens: int
) -> None:
    found = answer(runs, view)
    text = view_json(found, max_tokens=tokens)
    assert count_tokens(text + "\n") <= tokens
    fitted = json.loads(text)
    assert list(fitted) == list(found)
    assert {name: shape(value) for name, value in fitted.items()} == {
        name: shape(value) for name, value in found.items()
    }
    if fitted != found:
        assert any("cut to " in note for note in fitted["notes"])


def test_a_cut_history_keeps_its_ends_and_counts_its_rows() -> None:
    fitted = json.loads(view_json(answer(subjects(training(3000)), View(max_rows=0)), max_tokens=600))
    history = fitted["history"]["A"]
    steps = [row[0] for row in history["rows"]]
    assert (steps[0], steps[-1]) == (0, 2999)
    assert history["rows_shown"] == len(steps) == fitted["runs"][0]["rows_shown"]
    assert history["sampling"] == f"extremes {len(steps)}/3000"
    assert fitted["notes"] == [
        f"history cut to {len(steps)} of 3000 rows; --select, --where or --last shows others"
    ]


def test_runs_whose_history_was_cut_away_show_no_rows() -> None:
    runs = [training(50, run_id=f"r{number}") for number in range(40)]
    fitted = json.loads(view_json(answer(subjects(*runs), View()), max_tokens=1500))
    kept = {run["label"]: run["rows_shown"] for run in fitted["runs"]}
    assert kept
    assert all(
        shown == (fitted["history"][run]["rows_shown"] if run in fitted["history"] else 0)
        for run, shown in kept.items()
    )


def test_long_text_is_cut_before_keys_are() -> None:
    run = FakeRun(config={"note": "x" * 5000, "list": list(range(3000)), "lr": 0.1})
    config = json.loads(view_json(answer(subjects(run), View(human=True)), max_tokens=600))["config"]["A"]
    assert list(config) == ["note", "list", "lr"]
    assert config["note"].endswith("x…")
    assert config["list"] == list(range(len(config["list"])))
    assert 0 < len(config["list"]) < 3000


def test_a_key_that_is_longer_than_a_text_may_be_is_left_out() -> None:
    run = FakeRun(config={"k" * 50_000: 1, "lr": 0.1})
    fitted = json.loads(view_json(answer(subjects(run), View(human=True)), max_tokens=600))
    assert fitted["config"] == {"A": {"lr": 0.1}}
    (note,) = fitted["notes"]
    assert re.fullmatch(
        r"config cut to 1 of 2 keys, texts of \d+ characters; --max-tokens N shows more", note
    )


@pytest.mark.parametrize("tokens", [MIN_JSON_TOKENS, 16000])
def test_a_huge_answer_fits(tokens: int) -> None:
    wide = FakeRun([{"_step": step, **{f"metric/{n}": n / 7 for n in range(2000)}} for step in range(3)])
    text = view_json(answer(subjects(wide, wide, training()), View()), max_tokens=tokens)
    assert count_tokens(text + "\n") <= tokens


def test_a_budget_for_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="--max-tokens 1 is too small for any answer"):
        view_json(answer([], View()), max_tokens=1)
