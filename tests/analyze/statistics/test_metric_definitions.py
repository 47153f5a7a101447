"""What runs defined about their metrics, read from the config that the SDK stores."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.analyze.statistics.metric_definitions import MetricDefinition, RunDefinitions

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 4) | st.sampled_from(["a", "a/*", "*", "_x", ""]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["1", "2", "4", "5", "8", "m"]), inner)
    ),
    max_leaves=12,
)


def read(*records: Any) -> RunDefinitions:
    return RunDefinitions.read({"_wandb": {"m": list(records)}})


def test_the_step_metrics_are_read_by_name_and_by_index() -> None:
    found = read(
        {"1": "epoch", "6": [3]},
        {"1": "val/loss", "5": 1, "6": [1], "8": 1},
        {"1": "train/loss", "4": "examples"},
        {"1": "bad", "5": 99},
        {"1": "none"},
        {"1": "own", "4": "own"},
        "odd",
    )
    assert found.step_metrics(()) == {"val/loss": "epoch", "train/loss": "examples"}
    assert found.of("val/loss") == MetricDefinition(step_metric="epoch", goal="min")


def test_globs_give_their_step_metric_to_what_they_match_and_no_more() -> None:
    found = read(
        {"2": "train/*", "5": 3, "6": [1], "7": []},
        {"2": "train/slow/*", "4": "hour"},
        {"1": "step", "6": [], "7": []},
        {"1": "train/own", "4": "epoch"},
        {"1": "train/none", "6": [3]},
        {"2": "*", "5": 3},
    )
    names = ("train/loss", "train/slow/loss", "train/own", "train/none", "trained", "step", "_runtime")
    assert found.step_metrics(names) == {
        "train/own": "epoch",
        "train/loss": "step",
        "train/slow/loss": "hour",
        "trained": "step",
    }


def test_goals_are_those_of_the_metric_or_of_its_longest_glob() -> None:
    found = read(
        {"1": "a", "8": 1}, {"1": "b", "8": 2}, {"1": "c"}, {"1": "d", "8": [1]}, {"2": "val/*", "8": 2},
        {"2": "val/l*", "8": 1}, {"1": "val/own"},
    )  # fmt: skip
    names = ("a", "b", "c", "d", "e", "val/x", "val/loss", "val/own", "_a")
    goals = ["min", "max", None, None, None, "max", "min", None, None]
    assert [found.goal_of(name) for name in names] == goals


@pytest.mark.parametrize(
    "internal", [{}, {"_wandb": {}}, {"_wandb": {"m": "x"}}, {"_wandb": 3}, {"_wandb": {"m": [None]}}]
)
def test_a_run_without_definitions_defines_nothing(internal: dict[str, Any]) -> None:
    assert RunDefinitions.read(internal) == RunDefinitions()
    assert RunDefinitions.read(internal).step_metrics(("loss",)) == {}
    assert RunDefinitions.read(internal).goal_of("loss") is None


@given(st.dictionaries(st.sampled_from(["_wandb", "x"]), JSON), st.sampled_from(["a", "a/b", "_x"]))
def test_any_config_is_read_and_no_metric_is_its_own_step_metric(internal: dict[str, Any], name: str) -> None:
    found = RunDefinitions.read(internal)
    assert found.goal_of(name) in {None, "min", "max"}
    assert all(step != metric for metric, step in found.step_metrics((name,)).items())
