"""Runs in groups: every run in exactly one, by values that are the same, kinds compared."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.analyze.questions.grouping import Grouping, identity, is_seed, values_of
from pull_logs.errors import NotFoundError, UsageError
from pull_logs.rows.canonical import canon_record, same
from pull_logs.runs import RunInfo, RunPath

SCALARS: st.SearchStrategy[Any] = st.sampled_from(
    [
        None,
        True,
        False,
        0,
        1,
        1.5,
        -0.0,
        "1",
        "true",
        "null",
        "",
        [1],
        [True],
        ["1"],
        {},
        float("nan"),
        "NaN",
        10**30,
    ]
)
CONFIGS = st.lists(st.dictionaries(st.sampled_from(["lr", "seed", "model"]), SCALARS), min_size=1, max_size=8)


def run(config: dict[str, Any], **facts: Any) -> dict[str, Any]:
    info = RunInfo(path=RunPath("acme", "nano", "r"), name="n", state="finished", config=config, **facts)
    return values_of(info)


def groups(configs: list[dict[str, Any]], *by: str, seeds: tuple[str, ...] = ()) -> list[list[int]]:
    runs = [run(config) for config in configs]
    return Grouping.settle(runs, by, seed_names=seeds).groups(runs)


@given(SCALARS, SCALARS)
def test_values_have_one_identity_exactly_if_they_are_the_same(left: Any, right: Any) -> None:
    left, right = (canon_record({"x": value})["x"] for value in (left, right))
    assert (identity(left) == identity(right)) is same(left, right)


@given(CONFIGS)
def test_every_run_is_in_one_group_with_those_of_its_value(configs: list[dict[str, Any]]) -> None:
    if not any("lr" in config for config in configs):
        return
    found = groups(configs, "lr")
    assert sorted(place for group in found for place in group) == list(range(len(configs)))
    of = {place: number for number, group in enumerate(found) for place in group}
    flat = [canon_record(config) for config in configs]
    for left in range(len(configs)):
        for right in range(len(configs)):
            one, other = flat[left], flat[right]
            alike = ("lr" in one) == ("lr" in other) and ("lr" not in one or same(one["lr"], other["lr"]))
            assert (of[left] == of[right]) is alike


def test_all_but_the_seed_is_everything_else_that_differs() -> None:
    configs = [
        {"lr": lr, "seed": seed, "data": {"seed": seed}, "model": {"width": width}, "same": 1}
        for lr in (0.1, 0.01)
        for width in (8, 16)
        for seed in (0, 1)
    ]
    runs = [run(config) for config in configs]
    found = Grouping.settle(runs, ["all-but:config.seed,data.seed"])
    assert found.by == ("config.lr", "config.model.width")
    assert found.seeds == ("config.seed", "config.data.seed")
    assert found.groups(runs) == [[4, 5], [6, 7], [0, 1], [2, 3]]
    assert found.common_values(runs, 0) == {"config.lr": 0.1, "config.model.width": 8}


def test_a_seed_is_found_by_its_name_and_never_where_it_makes_the_groups() -> None:
    runs = [run({"train": {"seed": seed}, "lr": 0.1}) for seed in (0, 1)]
    assert Grouping.settle(runs, ["lr"]).seeds == ("config.train.seed",)
    assert Grouping.settle(runs, ["train.seed"]).seeds == ()
    assert Grouping.settle(runs, ["seed"]).by == ("config.train.seed",)
    assert Grouping.settle(runs, ["train.seed"], seed_names=["lr"]).seeds == ("config.lr",)


@pytest.mark.parametrize(
    ("name", "seed"),
    [("config.seed", True), ("config.data_seed", True), ("config.a.random_state", True), ("config.Seed", True),  # noqa: E501
     ("config.seeds", False), ("config.reseed_every", False), ("seed", False)],
)  # fmt: skip
def test_keys_that_are_called_like_a_seed(name: str, seed: bool) -> None:  # noqa: FBT001 - a test's parameter
    assert is_seed(name) is seed


def test_fields_of_a_run_group_too() -> None:
    runs = [run({}, group="a", tags=("x", "y")), run({}, group="b", tags=("y", "x")), run({}, tags=("x",))]
    assert Grouping.settle(runs, ["group"]).groups(runs) == [[0], [1], [2]]
    assert Grouping.settle(runs, ["tags"]).groups(runs) == [[0, 1], [2]]


def test_a_name_that_no_run_has_names_the_nearest() -> None:
    with pytest.raises(NotFoundError) as caught:
        groups([{"lr": 1, "seed": 0}], "config.lrr")
    assert caught.value.message == "--group-by 'config.lrr': no run has 'config.lrr'"
    assert caught.value.hint.startswith("the nearest are 'config.lr'")
    with pytest.raises(NotFoundError, match="--group-by 'all-but:sede': no run has 'sede'"):
        groups([{"lr": 1, "seed": 0}], "all-but:sede")


def test_a_name_that_may_be_several_keys_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        groups([{"a": {"lr": 1}, "b": {"lr": 1}}], "lr")
    assert (
        str(caught.value)
        == "--group-by 'lr' may be any of 'config.a.lr', 'config.b.lr'; write the complete name"
    )


def test_what_differs_inside_groups_beside_the_seed_is_told() -> None:
    runs = [run({"lr": 1, "seed": s, "epochs": e}) for s, e in ((0, 5), (1, 5), (2, 9))]
    found = Grouping.settle(runs, ["lr"])
    assert found.confounders(runs, found.groups(runs)) == ["config.epochs"]


def test_a_run_without_a_seed_has_none_and_two_keys_make_one() -> None:
    runs = [run({"seed": 0, "data_seed": 1}), run({"seed": 0, "data_seed": 2}), run({})]
    found = Grouping.settle(runs, ["state"])
    seeds = found.seeds_of(runs)
    assert seeds[2] is None
    assert seeds[0] != seeds[1]
