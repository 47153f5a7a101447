"""Lists in configs and tags: searched item by item, and an error or a note says how."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pull_logs.analyze.questions.run_filter import keep_runs, list_note, search_advice
from pull_logs.errors import ExpressionError
from pull_logs.runs import RunInfo, RunPath

SCALARS = st.integers(-3, 3) | st.sampled_from(["baseline", "v1.0", "1"]) | st.booleans()
LISTS = st.lists(SCALARS | st.none() | st.just({"a": 1}), max_size=4)


def info(value: Any, *tags: str, run_id: str = "r1") -> RunInfo:
    config = {} if value is None else {"nested": {"list": value}, "other": 1}
    return RunInfo(
        path=RunPath("acme", "nano", run_id), name="run", state="finished", tags=tags, config=config
    )


def same(one: Any, other: Any) -> bool:
    return isinstance(one, bool) == isinstance(other, bool) and type(one) is type(other) and one == other


@given(st.lists(LISTS, min_size=1, max_size=4), SCALARS)
@settings(max_examples=60)
def test_contains_finds_an_item_of_its_kind_in_any_list(lists: list[list[Any]], item: Any) -> None:
    runs = [info(value, run_id=f"r{place}") for place, value in enumerate(lists)]
    found = keep_runs(runs, f"config.nested.list contains {json.dumps(item)}")
    assert found == tuple(any(same(one, item) for one in value) for value in lists)


def test_a_list_beside_a_text_in_another_run_is_searched_too() -> None:
    runs = [info(["baseline", "v1.0"]), info("baseline, v1.0"), info("other"), info(None)]
    assert keep_runs(runs, 'config.nested.list contains "baseline"') == (True, True, False, False)
    assert keep_runs(runs, 'config.nested.list not contains "baseline"') == (False, False, True, False)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("config.nested.list == 12", "look into a list with 'config.nested.list contains 12'"),
        ("12 == config.nested.list", "look into a list with 'config.nested.list contains 12'"),
        ('config.nested.list != "a"', "look into a list with 'config.nested.list not contains \"a\"'"),
        ("config.nested.list in [12]", "write 'config.nested.list contains 12'"),
        (
            "config.nested.list not in [1, 2]",
            "write 'config.nested.list not contains 1 and config.nested.list not contains 2'",
        ),
        ("config.nested.list[0] == 12", "a list has no index here; look into it with 'x contains ...'"),
    ],
)
def test_a_comparison_with_a_list_says_what_to_write(text: str, hint: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        keep_runs([info([6, 12])], text)
    assert caught.value.hint == hint


def test_what_the_hint_says_holds() -> None:
    assert keep_runs([info([6, 12])], "config.nested.list contains 12") == (True,)


def test_a_filter_that_keeps_nothing_because_of_a_kind_says_what_to_write() -> None:
    runs = [info([6, "12"])]
    for text, has, write in (
        ('config.nested.list contains "6"', '6, not "6"', "6"),
        ("config.nested.list contains 12", '"12", not 12', '"12"'),
    ):
        advice = f"config.nested.list has {has}; write 'config.nested.list contains {write}'"
        assert keep_runs(runs, text) == (False,)
        assert search_advice(runs, text) == advice
    assert search_advice(runs, "config.nested.list contains 7") == ""


def test_a_filter_that_a_list_passes_because_it_is_not_its_item_is_noted() -> None:
    runs = [info(None, "baseline", "v1.0")]
    note = "tags is compared as a complete list; 'tags not contains \"baseline\"' looks into it"
    for text in (
        'tags != "baseline"',
        'tags not in ["baseline"]',
        'state == "finished" and tags != "baseline"',
    ):
        assert keep_runs(runs, text) == (True,)
        assert list_note(runs, text) == note
    assert list_note(runs, 'tags != "other"') == ""
    assert list_note(runs, 'tags not contains "baseline"') == ""
