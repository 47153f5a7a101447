"""What W&B's filters and orders mean for the runs of a bundle."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.errors import UsageError
from pull_logs.replay.data.filters import compile_filter, compile_order, sort_runs
from pull_logs.runs import RunInfo, RunPath

INFO = RunInfo(
    path=RunPath("acme", "nano", "r1"),
    name="eager-fox-1",
    state="finished",
    tags=("prod", "v2"),
    group="g",
    job_type="train",
    sweep="sw1",
    user="ada",
    created_at="2026-11-23T10:00:00Z",
    heartbeat_at="2026-11-23T11:00:00Z",
    config={
        "lr": 0.1,
        "opt": {"name": "adam", "lr": 1},
        "a.b": 2,
        "none": None,
        "layers": [1, 2],
        "flag": True,
    },
    summary={"acc": 0.9, "loss": math.nan, "val": {"acc": 0.8}, "_wandb": {"runtime": 55}},
    metadata={"host": "node7"},
)


def holds(document: Mapping[str, Any]) -> bool:
    return compile_filter(json.dumps(document))(INFO)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"state": "finished"},
        {"state": {"$ne": "running"}},
        {"displayName": {"$regex": "^eager"}},
        {"display_name": {"$regex": "(?i)FOX"}},
        {"name": "r1"},
        {"tags": "prod"},
        {"tags": {"$in": ["x", "v2"]}},
        {"tags": {"$nin": ["x"]}},
        {"tags": {"$ne": "x"}},
        {"tags": ["prod", "v2"]},
        {"tags": {"$regex": "^v"}},
        {"config.lr": 0.1},
        {"config.lr.value": {"$lte": 0.1}},
        {"config.opt.name": "adam"},
        {"config.opt.value.name": "adam"},
        {"config.opt": {"lr": 1, "name": "adam"}},
        {"config.a.b": 2},
        {"config.a.b.value": 2},
        {"config.none": None},
        {"config.none": {"$exists": True}},
        {"config.gone": None},
        {"config.gone": {"$exists": False}},
        {"config.gone": {"$ne": 3}},
        {"config.layers": 2},
        {"config.layers": {"$gt": 1, "$lt": 3}},
        {"config.flag": True},
        {"summary_metrics.acc": {"$gt": 0.8, "$lt": 1}},
        {"summaryMetrics.val.acc": {"$gte": 0.8}},
        {"summary_metrics.loss": "NaN"},
        {"createdAt": {"$gte": "2026-11-23"}},
        {"created_at": "2026-11-23T11:00:00+01:00"},
        {"createdAt": {"$lt": "2026-11-23T10:00:00.5"}},
        {"duration": {"$gt": 50}},
        {"host": "node7"},
        {"username": "ada"},
        {"$and": [{"sweep": "sw1"}]},
        {"$or": [{"state": "running"}, {"group": "g", "jobType": "train"}]},
        {"$nor": [{"state": "running"}, {"state": "failed"}]},
        {"config.lr": {"$not": {"$gt": 1}}},
    ],
)
def test_a_filter_that_holds(document: dict[str, Any]) -> None:
    assert holds(document)


@pytest.mark.parametrize(
    "document",
    [
        {"state": "running"},
        {"state": "finished", "name": "other"},
        {"config.lr": {"$gt": "0"}},
        {"config.lr": {"$exists": False}},
        {"config.flag": 1},
        {"config.gone": {"$gt": 0}},
        {"config.gone": {"$regex": ""}},
        {"config.lr": {"$regex": "0"}},
        {"summary_metrics.loss": {"$gt": 0}},
        {"summary_metrics.loss": {"$lt": 0}},
        {"tags": {"$nin": ["prod"]}},
        {"tags": {"$ne": "prod"}},
        {"$or": []},
        {"$nor": [{"state": "finished"}]},
        {"createdAt": {"$gt": "2026-11-23T10:00:00Z"}},
        {"displayName": {"$regex": "^fox"}},
    ],
)
def test_a_filter_that_does_not_hold(document: dict[str, Any]) -> None:
    assert not holds(document)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "a filter is [], not an object"),
        ('{"$xor": []}', "'$xor' is not an operator of W&B's filters"),
        ('{"state": {"$size": 1}}', "'$size' is not an operator of W&B's filters"),
        ('{"$and": {}}', "$and in a filter has {}, not a list"),
        ('{"tags": {"$in": "x"}}', "$in in a filter has 'x', not a list"),
        ('{"config.lr": {"$regex": 3}}', "$regex in a filter must be a string of at most 1000 characters"),
    ],
)
def test_a_filter_that_says_nothing(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        compile_filter(text)
    assert caught.value.message == message


def test_an_unknown_field_is_named_with_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"^runs have no field 'colour'; write config.<key>"):
        compile_filter('{"colour": "red"}')


def test_text_that_is_not_json() -> None:
    with pytest.raises(UsageError, match=r"^a filter is not JSON: "):
        compile_filter("{state}")


def test_a_pattern_that_re2_refuses() -> None:
    with pytest.raises(UsageError) as caught:
        compile_filter('{"name": {"$regex": "(a)\\\\1"}}')
    assert str(caught.value) == (
        r"'(a)\\1' in a filter is not a valid regular expression; RE2 syntax: no look-arounds"
    )


def test_nesting_is_bounded() -> None:
    document: dict[str, Any] = {"state": "finished"}
    for _ in range(40):
        document = {"$and": [document]}
    with pytest.raises(UsageError, match=r"^a filter is nested deeper than 32 levels$"):
        holds(document)


@pytest.mark.timeout(10)
def test_a_pattern_made_to_backtrack_is_matched_in_linear_time() -> None:
    hostile = replace(INFO, name="a" * 50_000 + "!")
    assert not compile_filter('{"displayName": {"$regex": "^(a+)+$"}}')(hostile)


JSON_VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)


@given(value=JSON_VALUES, operand=JSON_VALUES)
def test_negations_are_the_opposite_of_what_they_negate(value: Any, operand: Any) -> None:
    info = replace(INFO, config={"k": value})
    equal, unequal = (compile_filter({"config.k": {name: operand}})(info) for name in ("$eq", "$ne"))
    inside, outside = (compile_filter({"config.k": {name: [operand]}})(info) for name in ("$in", "$nin"))
    assert equal == inside != unequal == outside


@given(value=st.integers() | st.floats(allow_nan=False), operand=st.integers() | st.floats(allow_nan=False))
def test_one_of_less_equal_and_greater_holds_for_numbers(value: float, operand: float) -> None:
    info = replace(INFO, summary={"k": value})
    found = [compile_filter({"summary_metrics.k": {name: operand}})(info) for name in ("$lt", "$eq", "$gt")]
    assert found == [value < operand, value == operand, value > operand]


def run(run_id: str, **changes: Any) -> RunInfo:
    return replace(INFO, path=RunPath("acme", "nano", run_id), **changes)


def test_runs_without_the_field_come_last_either_way() -> None:
    runs = [
        run("a", summary={}),
        run("b", summary={"x": 1}),
        run("c", summary={"x": 2}),
        run("d", summary={"x": math.nan}),
    ]
    up, down = (
        sort_runs(runs, compile_order(order)) for order in ("+summary_metrics.x", "-summary_metrics.x")
    )
    assert [info.path.run_id for info in up] == ["b", "c", "a", "d"]
    assert [info.path.run_id for info in down] == ["c", "b", "a", "d"]


def test_moments_are_ordered_as_such_and_ties_by_path() -> None:
    runs = [
        run("late", created_at="2026-11-23T10:00:01Z"),
        run("b", created_at="2026-11-23T10:00:00.5Z"),
        run("a", created_at="2026-11-23T10:00:00.5Z"),
        run("early", created_at="2026-11-23T10:00:00Z"),
    ]
    assert [i.path.run_id for i in sort_runs(runs, compile_order(None))] == ["early", "a", "b", "late"]
    assert [i.path.run_id for i in sort_runs(runs, compile_order("-created_at"))] == [
        "late",
        "a",
        "b",
        "early",
    ]


def test_several_orders_one_after_the_other() -> None:
    runs = [run("a", config={"lr": 1}, group="x"), run("b", config={"lr": 2}, group="x"), run("c", group="w")]
    order = compile_order("-group,-config.lr.value")
    assert [info.path.run_id for info in sort_runs(runs, order)] == ["b", "a", "c"]


def test_an_order_by_an_unknown_field() -> None:
    with pytest.raises(UsageError, match=r"^runs have no field 'colour'"):
        compile_order("+colour")
