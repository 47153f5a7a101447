"""Keys with a dot in them: named as they are written, unless nested keys have that spelling too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pull_logs.analyze.questions import Grouping, RunCondition, keep_runs, values_of
from pull_logs.errors import ExpressionError, UnknownNameError, UsageError
from pull_logs.frames import join_path
from pull_logs.runs import RunInfo, RunPath

KEYS = st.sampled_from(["a", "b", "a.b", "b.a", "a.b.a"])
RECORDS: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.dictionaries(KEYS, st.integers(0, 2), min_size=1, max_size=2),
    lambda inner: st.dictionaries(KEYS, st.integers(0, 2) | inner, min_size=1, max_size=2),
    max_leaves=4,
)
SECTIONS = st.sampled_from(["config", "summary"])


def run(config: Mapping[str, Any], summary: Mapping[str, Any] | None = None) -> RunInfo:
    return RunInfo(
        path=RunPath("acme", "nano", "r"),
        name="n",
        state="finished",
        config=dict(config),
        summary=dict(summary or {}),
    )


def leaves(record: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in record.items():
        if isinstance(value, dict):
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value


def spelled(records: list[dict[str, Any]], dotted: str) -> list[tuple[str, ...]]:
    """Return every path to a value that is written like this with dots between its keys."""
    return sorted({path for record in records for path, _ in leaves(record) if ".".join(path) == dotted})


def dotted_names(records: list[dict[str, Any]]) -> st.SearchStrategy[str]:
    return st.sampled_from(sorted({".".join(path) for record in records for path, _ in leaves(record)}))


@given(st.lists(RECORDS, min_size=1, max_size=3), SECTIONS, st.data())
def test_a_dotted_name_is_the_one_key_of_that_spelling(
    records: list[dict[str, Any]], section: str, data: st.DataObject
) -> None:
    assume(any(list(leaves(record)) for record in records))
    name = data.draw(dotted_names(records))
    runs = [run(record) if section == "config" else run({}, record) for record in records]
    text = f"{section}.{name} == 1"
    paths = spelled(records, name)
    if len(paths) == 1:
        expected = tuple(dict(leaves(record)).get(paths[0]) == 1 for record in records)
        assert keep_runs(runs, text) == expected
        condition = RunCondition(text)
        assert tuple(map(condition.holds, runs)) == expected
        return
    with pytest.raises(ExpressionError) as caught:
        keep_runs(runs, text)
    assert all(f"`{section}.{join_path(path)}`" in caught.value.message for path in paths)
    condition = RunCondition(text)
    with pytest.raises(ExpressionError, match="fits more than one run column"):
        list(map(condition.holds, runs))


@given(st.lists(RECORDS, min_size=1, max_size=3), SECTIONS, st.data())
def test_a_name_in_backticks_is_exactly_one_key(
    records: list[dict[str, Any]], section: str, data: st.DataObject
) -> None:
    every = sorted({path for record in records for path, _ in leaves(record)})
    assume(every)
    path = data.draw(st.sampled_from(every))
    runs = [run(record) if section == "config" else run({}, record) for record in records]
    expected = tuple(dict(leaves(record)).get(path) == 1 for record in records)
    assert keep_runs(runs, f"`{section}.{join_path(path)}` == 1") == expected


@given(st.lists(RECORDS, min_size=1, max_size=3), st.sampled_from(["", "config."]), st.data())
def test_groups_and_seeds_are_named_in_the_same_way(
    records: list[dict[str, Any]], prefix: str, data: st.DataObject
) -> None:
    assume(any(list(leaves(record)) for record in records))
    name = data.draw(dotted_names(records))
    values = [values_of(run(record)) for record in records]
    paths = spelled(records, name)
    if len(paths) > 1:
        for texts, seeds in (((prefix + name,), ()), ((f"all-but:{prefix}{name}",), ()), ((), (name,))):
            with pytest.raises(UsageError) as caught:
                Grouping.settle(values, texts, seed_names=seeds)
            assert all(f"`config.{join_path(path)}`" in caught.value.message for path in paths)
        return
    key = f"config.{join_path(paths[0])}"
    assert Grouping.settle(values, [prefix + name]).by == (key,)
    assert Grouping.settle(values, [f"`{key}`"]).by == (key,)
    assert key not in Grouping.settle(values, [f"all-but:{prefix}{name}"]).by
    assert Grouping.settle(values, [], seed_names=[prefix + name]).seeds == (key,)


@pytest.mark.parametrize(
    "config",
    [{"a.b.c": 1}, {"a.b": {"c": 1}}, {"a": {"b.c": 1}}, {"a": {"b": {"c": 1}}}],
    ids=["dots", "dots, then nested", "nested, then dots", "nested"],
)
def test_any_mixture_of_dots_and_nesting_is_found(config: dict[str, Any]) -> None:
    assert keep_runs([run(config), run({"x": 0})], "config.a.b.c == 1") == (True, False)
    assert keep_runs([run({}, config), run({"x": 0})], "summary.a.b.c/2 == 0.5") == (True, False)
    assert keep_runs([run(config), run({})], "`config.a.b.c` is missing") == (False, True)


def test_two_spellings_are_an_error_that_shows_both() -> None:
    with pytest.raises(ExpressionError) as caught:
        keep_runs([run({"a": {"b": 1}, "a.b": 2})], "config.a.b > 1")
    assert str(caught.value) == (
        "'config.a.b' fits more than one run column: `config.a.b` and `config.a\\.b`,"
        " where \\. is a dot in a key itself; write one of them, with its backticks\n"
        "    config.a.b > 1\n    ~~~~~~~~~^"
    )
    with pytest.raises(UsageError) as refused:
        Grouping.settle([values_of(run({"a": {"b": 1}, "a.b": 2}))], ["a.b"])
    assert str(refused.value) == (
        "--group-by 'a.b': 'a.b' fits more than one config key: `config.a.b` and `config.a\\.b`,"
        " where \\. is a dot in a key itself; write one of them, with its backticks and in single quotes"
    )


def test_two_runs_that_spell_a_key_in_two_ways_are_an_error_too() -> None:
    runs = [run({"a": {"b": 1}}), run({"a.b": 1})]
    condition = RunCondition("config.a.b == 1")
    assert condition.holds(runs[0])
    with pytest.raises(ExpressionError, match="fits more than one run column"):
        condition.holds(runs[1])


def test_a_key_with_a_space_and_a_dot_needs_only_backticks() -> None:
    assert keep_runs([run({"my opt.lr": 1})], "`config.my opt.lr` == 1") == (True,)


def test_a_dotted_name_that_no_run_has_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError) as caught:
        keep_runs([run({"a.b": 1})], "config.a.bb == 1")
    assert caught.value.message.startswith(
        "no run column is named 'config.a.bb'; the nearest are `config.a\\.b`"
    )


def test_a_seed_is_known_by_its_last_key_whichever_way_it_is_written() -> None:
    values = [values_of(run({"train.seed": seed, "lr": 1})) for seed in (0, 1)]
    assert Grouping.settle(values, ["lr"]).seeds == ("config.train\\.seed",)
    assert Grouping.settle(values, ["lr", "all-but:seed"]).seeds == ("config.train\\.seed",)
