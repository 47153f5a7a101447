"""Answers in which families are one entry, and what matters most comes first."""

from __future__ import annotations

from typing import Any

from fakeruns import FakeRun, subjects
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.analyze import View, answer, arrange, overview
from pull_logs.analyze.answers import Comparison, compare_runs, rank_of
from pull_logs.analyze.questions.families import find_families

LAYERS = [f"layers.{n}.norm" for n in range(6)]


def run(run_id: str, *, scale: float = 1.0, layers: int = 6, **facts: Any) -> FakeRun:
    return FakeRun(
        (
            {
                "_step": step,
                "train/loss": scale / (1 + step),
                "val/loss": scale / (1 + step) + 0.1,
                "lr": 0.1,
                **{f"layers.{n}.norm": scale * (n + step) for n in range(layers)},
            }
            for step in range(4)
        ),
        run_id=run_id,
        **facts,
    )


def shown(*runs: FakeRun, unfold: bool = False, **view: Any) -> Any:
    return arrange(answer(subjects(*runs), View(**view)), unfold=unfold)


def test_a_schema_has_one_entry_for_a_family_and_the_losses_first() -> None:
    found = shown(run("a"), schema=True)
    assert [entry["name"] for entry in found["schema"]["A"]] == [
        "_step", "val/loss", "train/loss", "lr", "layers.{0..5}.norm",
    ]  # fmt: skip
    assert found["schema"]["A"][-1] == {
        "name": "layers.{0..5}.norm",
        "type": "int",
        "count": 24,
        "missing": 0,
        "nonfinite": 0,
        "min": 0,
        "max": 8,
        "first_step": 0,
        "last_step": 3,
        "interval": 1,
        "members": 6,
    }
    (note,) = found["notes"]
    assert note == (
        "names that differ only in numbers are one row, such as the 6 of layers.{0..5}.norm; "
        "--select REGEX or --unfold shows each"
    )


def test_unfolded_nothing_is_joined_or_lost() -> None:
    found = shown(run("a"), schema=True, unfold=True)
    assert [entry["name"] for entry in found["schema"]["A"]] == [
        "_step",
        "val/loss",
        "train/loss",
        *LAYERS,
        "lr",
    ]
    assert found["notes"] == []


def test_statistics_of_a_family_are_counts_and_extremes() -> None:
    found = shown(run("a"), stats=True)["stats"]["A"]
    assert list(found) == ["val/loss", "train/loss", "lr", "layers.{0..5}.norm"]
    family = {name: value for name, value in found["layers.{0..5}.norm"].items() if value is not None}
    assert family == {"count": 24, "min": 0, "min_step": 0, "max": 8, "max_step": 3, "members": 6}


def test_runs_side_by_side_show_the_range_of_a_family() -> None:
    found = shown(run("a"), run("b", scale=2.0, layers=5), human=True)
    family = found["comparison"][-1]
    assert (family["name"], family["members"]) == ("layers.{0..5}.norm", 6)
    assert (family["last"], family["low"], family["high"]) == ({}, {"A": 3, "B": 6}, {"A": 8, "B": 14})
    assert (family["min"], family["min_step"]) == ({"A": 0, "B": 0}, {"A": 0, "B": 0})
    assert (family["max"], family["max_step"]) == ({"A": 8, "B": 14}, {"A": 3, "B": 3})


def test_configs_and_summaries_fold_too_and_say_whether_all_are_the_same() -> None:
    config = {
        "block": {f"l{n}": {"drop": 0.1, "init": 0.1 * n, "act": "ab"[n % 2]} for n in range(5)},
        "lr": 1,
    }
    found = shown(run("a", config=config, summary={f"s{n}": n for n in range(7)}), human=True)
    assert found["config"]["A"] == {
        "block.l{0..4}.act": {"_type": "family", "members": 5, "min": None, "max": None},
        "block.l{0..4}.drop": {"_type": "family", "members": 5, "value": 0.1},
        "block.l{0..4}.init": {"_type": "family", "members": 5, "min": 0, "max": 0.4},
        "lr": 1,
    }
    assert found["summary"]["A"] == {"s{0..6}": {"_type": "family", "members": 7, "min": 0, "max": 6}}


def test_config_keys_that_differ_fold_apart_from_those_that_do_not() -> None:
    runs = [
        run(name, config={f"w{n}": n if n < 5 else value for n in range(10)}) for name, value in ("ab", "cd")
    ]
    found = shown(*runs, human=True)
    assert [entry["key"] for entry in found["config_diff"]] == ["w{5..9}"]
    assert found["config_diff"][0]["values"] == {"A": "b", "B": "d"}
    assert list(found["config"]["A"]) == ["w{0..4}", "w{5..9}"]


def test_the_rows_of_a_history_leave_families_out_and_say_so() -> None:
    found = shown(run("a"))
    assert found["history"]["A"]["columns"] == ["_step", "val/loss", "train/loss", "lr"]
    assert (
        "columns left out because their names differ only in numbers: layers.{0..5}.norm; "
        "--select REGEX or --unfold shows them"
    ) in found["notes"]
    opened = answer(subjects(run("a")), View(unfold=True))
    assert opened["history"]["A"]["columns"] == ["_step", "val/loss", "train/loss", *LAYERS, "lr"]
    picked = answer(subjects(run("a")), View(select="layers.{1..3}.norm"))
    assert picked["history"]["A"]["columns"] == ["_step", *LAYERS[1:4]]


def test_an_overview_and_groups_fold_and_sum_up() -> None:
    runs = subjects(run("a", config={"lr": 1}), run("b", config={"lr": 2}))
    totals = arrange(overview(runs), unfold=False)["metrics"][-1]
    assert (totals["name"], totals["members"], totals["runs"], totals["count"]) == (
        "layers.{0..5}.norm",
        6,
        2,
        48,
    )
    assert (totals["last_min"], totals["last_max"]) == (3, 8)
    compared = arrange(compare_runs(runs, Comparison(group_by=("config.lr",))), unfold=False)
    last = [entry for entry in compared["group_stats"] if "members" in entry]
    assert [(entry["group"], entry["n"], entry["min"], entry["max"]) for entry in last] == [
        ("G1", 6, 3, 8), ("G2", 6, 3, 8),
    ]  # fmt: skip


@given(
    st.permutations(["val/acc", "val/web/loss", "test/loss", "train/loss", "x", "_runtime", "_step", "lr"])
)
def test_what_matters_comes_first_in_any_order(names: list[str]) -> None:
    assert sorted(names, key=lambda name: rank_of(name, family=False)) == [
        "_step", "val/acc", "test/loss", "train/loss", "val/web/loss", "lr", "x", "_runtime",
    ]  # fmt: skip


@given(
    st.lists(st.sampled_from([*LAYERS, "a1", "a2", "b", *(f"c{n}/d{m}" for n in (1, 2) for m in range(4))]))
)
def test_a_folded_schema_stands_for_every_metric_once(names: list[str]) -> None:
    one = FakeRun([{"_step": 0, **dict.fromkeys(names, 1.0)}])
    folded = shown(one, schema=True)["schema"]["A"][1:]
    patterns = {family.pattern: family.members for family in find_families(names)}
    stands_for = [name for entry in folded for name in patterns.get(entry["name"], (entry["name"],))]
    assert sorted(stands_for) == sorted(set(names))
    assert sum(entry.get("members", 1) for entry in folded) == len(set(names))
