"""The JSON of every answer is what the shipped schema says, whatever was logged and whatever was cut."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import pytest
from answertext import overview_json, overview_text, view_json
from fakeruns import FakeRun, subjects, training
from hostileruns import hostile_subjects
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from test_golden import CASES, GOLDEN

from pull_logs.analyze import Picking, Subject, View, answer, overview
from pull_logs.cli.render.budget import MIN_JSON_TOKENS

VIEWS = st.sampled_from(
    [
        View(),
        View(human=True),
        View(schema=True, stats=True),
        View(show_all=True, max_rows=2),
        View(
            picking=Picking(last=3),
            asserts=("any: _step > 3", "all: _step >= 0", "step 2: _step == 2", "_step > 1"),
        ),
    ]
)


def validator(command: str) -> Draft202012Validator:
    schema = json.loads((files("pull_logs") / "data" / "schemas" / f"{command}.json").read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


SHOW, OVERVIEW = validator("show"), validator("overview")


@given(hostile_subjects(), VIEWS, st.just(0) | st.integers(MIN_JSON_TOKENS, 900))
@settings(max_examples=50)
def test_any_answer_of_the_bare_view_is_valid(runs: list[Subject], view: View, tokens: int) -> None:
    SHOW.validate(json.loads(view_json(answer(runs, view), max_tokens=tokens)))


@given(
    hostile_subjects(),
    st.just(0) | st.integers(MIN_JSON_TOKENS, 900),
    st.sampled_from([(), ("any: _step > 3", 'state == "[RUNS]\\n"', "step 2: _step == 2")]),
)
@settings(max_examples=50)
def test_any_overview_is_valid_and_never_takes_more_than_its_tokens(
    runs: list[Subject], tokens: int, asserts: tuple[str, ...]
) -> None:
    found = overview(runs, asserts=asserts if runs else ())
    text = overview_json(found, max_tokens=tokens)
    OVERVIEW.validate(json.loads(text))
    assert text.count("\n") == 1
    reported = overview_text(found, max_tokens=tokens)
    assert not tokens or max(len(text.encode()), len(reported.encode())) <= 3 * tokens


@pytest.mark.parametrize("name", CASES)
def test_every_golden_answer_is_valid(name: str) -> None:
    found = json.loads((GOLDEN / f"{name}.json").read_text())
    {"show": SHOW, "overview": OVERVIEW}[found["command"]].validate(found)


@pytest.mark.parametrize(
    "change",
    [
        {"format": "pull-logs/1"},
        {"notes": None},
        {"more": 1},
        {"history": {"A": {}}},
        {"stats": {"A": {"loss": {"count": -1}}}},
    ],
)
def test_a_schema_refuses_what_an_answer_is_not(change: dict[str, Any]) -> None:
    sound = answer(subjects(training()), View())
    SHOW.validate(sound)
    assert not SHOW.is_valid({**sound, **change})


def test_a_thousand_runs_make_a_short_overview() -> None:
    runs = [
        FakeRun(
            [{"_step": step, "train/loss": 1 / (step + 1), f"own/{number % 50}": 1.0} for step in range(12)],
            run_id=f"r{number}",
            config={"lr": number % 7, "seed": number},
        )
        for number in range(1000)
    ]
    text = overview_json(overview(subjects(*runs)), max_tokens=0)
    assert len(text) < 3 * 4000
