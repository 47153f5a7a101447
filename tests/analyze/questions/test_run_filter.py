from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.analyze.expressions.parser import parse
from pull_logs.analyze.questions.run_filter import RunCondition, keep_runs, search_advice
from pull_logs.analyze.questions.server_filter import prefilter
from pull_logs.errors import ExpressionError, NotFoundError
from pull_logs.replay.data.filters import compile_filter
from pull_logs.runs import RunInfo, RunPath

RUNS = [
    RunInfo(
        path=RunPath("acme", "nano", f"r{index}"),
        name=name,
        state=state,
        tags=tags,
        config={"lr": lr, "model": {"depth": index}, "layers": [64, index, "x"]},
        summary=summary,
    )
    for index, (name, state, tags, lr, summary) in enumerate(
        [
            ("first", "finished", ("b", "a"), 0.1, {"val/acc": 0.95}),
            ("second", "running", (), 0.001, {"val/acc": 0.5}),
            ("third", "finished", ("a",), 0.001, {}),
        ]
    )
]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ('config.lr <= 1e-3 and state == "finished"', (False, False, True)),
        ("summary.val/acc > 0.9", (True, False, False)),
        ("summary.val/acc is missing", (False, False, True)),
        ("config.model.depth in [1, 2]", (False, True, True)),
        ('tags == "a,b"', (True, False, False)),
        ('name != "first" and run_id != "r2"', (False, True, False)),
        ('group == "none"', (False, False, False)),
        ('tags contains "a"', (True, False, True)),
        ('tags contains "a,b"', (False, False, False)),
        ('tags not contains "a"', (False, True, False)),
        ('tags starts_with "b"', (True, False, False)),
        ('name matches "^(f|th)ir"', (True, False, True)),
        ('name contains "ir" and not name starts_with "f"', (False, False, True)),
        ("config.layers contains 1", (False, True, False)),
        ('config.layers contains "1"', (False, False, False)),
        ('config.layers matches "X"', (False, False, False)),
    ],
)
def test_a_run_expression_keeps_the_runs_that_hold(text: str, kept: tuple[bool, ...]) -> None:
    assert keep_runs(RUNS, text) == kept


def test_a_name_that_no_run_has_is_told_with_the_nearest() -> None:
    with pytest.raises(NotFoundError, match=r"config\.lr"):
        keep_runs(RUNS, "config.lrr > 1")


def test_a_number_is_no_condition() -> None:
    with pytest.raises(ExpressionError):
        keep_runs(RUNS, "config.lr")


@pytest.mark.parametrize(
    ("text", "document"),
    [
        (
            'config.lr <= 1e-3 and summary.val/acc > 0.9 and state == "finished"',
            {
                "$and": [
                    {"config.lr.value": {"$lte": 0.001}},
                    {"summary_metrics.val/acc": {"$gt": 0.9}},
                    {"state": {"$eq": "finished"}},
                ]
            },
        ),
        (
            "0.1 < config.lr < 2",
            {"$and": [{"config.lr.value": {"$gt": 0.1}}, {"config.lr.value": {"$lt": 2.0}}]},
        ),
        ('name in ["a", "b"]', {"displayName": {"$in": ["a", "b"]}}),
        ("config.lr < 1 or abs(config.lr) > 2", {}),
        ("config.lr < 1 and abs(config.lr) > 2", {"config.lr.value": {"$lt": 1.0}}),
        ("config.lr/2 < 1", {}),
        ("config.lr/config.wd < 1", {}),
        ("config.model.depth == 2", {}),
        ("config.lr != 1", {}),
        ("not config.lr == 1", {}),
        ("config.seed == 9007199254740993", {}),
        ('heartbeat_at >= "2026-01-01"', {}),
        ('tags contains "a"', {"tags": {"$in": ["a"]}}),
        ('tags not contains "a"', {}),
        ('not tags contains "a"', {}),
        ('tags matches "a"', {}),
        ('name contains "a-b"', {"displayName": {"$regex": "a-b"}}),
        ('name starts_with "cnn"', {"displayName": {"$regex": "^cnn"}}),
        ('name matches "^cnn"', {"displayName": {"$regex": "^cnn"}}),
        ('name contains "^cnn"', {}),
        ('name matches "a.b"', {}),
        ('name matches "a$"', {}),
        ('name starts_with ""', {}),
        ('state contains "ing"', {}),
        ('config.lr contains "a"', {}),
    ],
)
def test_only_what_the_server_surely_reads_alike_is_asked_of_it(text: str, document: dict[str, Any]) -> None:
    assert prefilter(parse(text)) == document


VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([0.5, 1e-3, float("nan"), "a", "b", [1, "a"]])
)
INFOS = st.builds(
    lambda config, summary, state, group, name, tags: RunInfo(
        path=RunPath("acme", "nano", "r"),
        name=name,
        tags=tuple(tags),
        state=state,
        group=group,
        config=config,
        summary=summary,
    ),
    st.dictionaries(st.sampled_from(["lr", "wd", "x/y", "x"]), VALUES),
    st.dictionaries(st.sampled_from(["acc", "val/acc", "val"]), VALUES),
    st.sampled_from(["finished", "running"]),
    st.none() | st.sampled_from(["a", "b"]),
    st.sampled_from(["n", "a", "ba", "a-b", "^a", "\na"]),
    st.lists(st.sampled_from(["a", "b", "a b", "a,b", "^a"]), max_size=3),
)
NAMES = st.sampled_from(
    [
        "config.lr",
        "config.x/y",
        "config.lr/2",
        "config.x/config.wd",
        "summary.val/acc",
        "summary.acc",
        "state",
        "group",
    ]
)
LITERALS = st.sampled_from(["1", "-2", "0.5", "1e-3", '"a"', '"finished"', "true"])
ATOMS = st.one_of(
    st.builds("{} {} {}".format, NAMES, st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), LITERALS),
    st.builds("{} < {} <= {}".format, LITERALS, NAMES, LITERALS),
    st.builds("{} {} [{}, {}]".format, NAMES, st.sampled_from(["in", "not in"]), LITERALS, LITERALS),
    st.builds("{} is missing".format, NAMES),
    st.builds(
        "{} {}{} {}".format,
        st.sampled_from(["name", "tags", "state", "group", "config.lr"]),
        st.sampled_from(["", "not "]),
        st.sampled_from(["contains", "matches", "starts_with"]),
        st.sampled_from(['"a"', '"^a"', '"a$"', '"a b"', '""', '"a-"']),
    ),
)
CONDITIONS = st.recursive(
    ATOMS,
    lambda inner: (
        st.builds("({}) {} ({})".format, inner, st.sampled_from(["and", "or"]), inner)
        | st.builds("not ({})".format, inner)
    ),
    max_leaves=5,
)


@given(CONDITIONS, INFOS)
def test_the_prefilter_never_loses_a_run_that_the_expression_keeps(text: str, info: RunInfo) -> None:
    condition = RunCondition(text)
    try:
        kept = condition.holds(info)
    except ExpressionError:
        return
    if kept:
        assert compile_filter(condition.prefilter)(info)


@pytest.mark.parametrize(
    "text", ["not (config.lrr)", "(( `config.lrr` )) > 1", "not ((config.lrr) is missing)"]
)
def test_a_name_in_parentheses_that_a_run_lacks_is_missing_there(text: str) -> None:
    condition = RunCondition(text)
    assert [condition.holds(run) for run in RUNS] == [text == "not (config.lrr)"] * 3
    assert condition.absent == ("config.lrr",)


def test_a_condition_knows_which_names_no_run_has() -> None:
    condition = RunCondition("config.lrr > 1 or config.lr > 0.05")
    assert [condition.holds(run) for run in RUNS] == [True, False, False]
    assert condition.absent == ("config.lrr",)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        (
            'state == "running" and "b" == tags',
            "tags is compared as a complete list; write 'tags contains \"b\"' for one item",
        ),
        (
            'tags in ["z", "b"]',
            "tags is compared as a complete list; write 'tags contains \"b\"' for one item",
        ),
        ('tags == "z"', ""),
        ('tags == "a,b"', ""),
        ('tags != "b"', ""),
        ('state == "a"', ""),
    ],
)
def test_an_equality_with_one_of_several_tags_is_answered_with_contains(text: str, advice: str) -> None:
    assert search_advice(RUNS, text) == advice
    condition = RunCondition(text)
    for run in RUNS:
        condition.holds(run)
    assert condition.advice == advice


def test_a_list_in_a_column_of_mixed_kinds_is_answered_with_contains_too() -> None:
    path = RunPath("acme", "nano", "r")
    mixed = [RunInfo(path=path, name="one", state="finished", config={"layers": 8}), *RUNS]
    assert keep_runs(mixed, "config.layers == 64") == (False,) * 4
    expected = "config.layers is compared as a complete list; write 'config.layers contains 64' for one item"
    assert search_advice(mixed, "config.layers == 64") == expected
    assert search_advice(mixed, "config.layers == true") == ""


def test_a_filter_of_runs_has_no_rows_to_reduce() -> None:
    message = (
        "mean(x) is over the rows of a history, and a filter of runs has none; "
        "compare a value of summary.*, or ask with --where, --eval or --assert\n"
        "    config.lr > 0 and mean(val/acc) > 1\n"
        "                      ~~~~~~~~~~~~^"
    )
    text = "config.lr > 0 and mean(val/acc) > 1"
    with pytest.raises(ExpressionError) as caught:
        keep_runs(RUNS, text)
    assert str(caught.value) == message
    with pytest.raises(ExpressionError) as caught:
        RunCondition(text)
    assert str(caught.value) == message
