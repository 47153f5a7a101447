from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from fakeruns import label
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.analyze.answers.side_by_side import (
    Ending,
    compare_configs,
    compare_metrics,
    compare_summaries,
    ending,
)
from pull_logs.frames.column import Column
from pull_logs.frames.vector import from_cells
from pull_logs.rows.canonical import same

VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, False, 0, 1, 1.5, "1", "true", [1], [True], {}, math.nan]
)
CONFIGS = st.lists(st.dictionaries(st.sampled_from("abcd"), VALUES), min_size=1, max_size=4)


def column(*cells: Any) -> Column:
    return Column.of(from_cells(cells))


@given(CONFIGS)
def test_a_key_is_in_the_diff_if_two_runs_disagree_on_it(configs: list[dict[str, Any]]) -> None:
    labelled = {label(place): config for place, config in enumerate(configs)}
    differing = {entry["key"] for entry in compare_configs(labelled)}
    for key in {key for config in configs for key in config}:
        everywhere = all(key in config for config in configs)
        agree = everywhere and all(same(config[key], configs[0][key]) for config in configs)
        assert (key in differing) is not agree


def test_values_of_different_kinds_differ_and_an_absent_key_is_not_null() -> None:
    found = compare_configs(
        {"A": {"x": 1, "y": None, "z": math.nan}, "B": {"x": "1", "z": math.nan}, "C": {"x": True}}
    )
    assert found == [
        {"key": "x", "values": {"A": 1, "B": "1", "C": True}},
        {"key": "y", "values": {"A": None}},
        {"key": "z", "values": {"A": "NaN", "B": "NaN"}},
    ]


def test_summaries_are_compared_by_their_numbers_with_the_first_run() -> None:
    found = compare_summaries(
        {
            "A": {"loss": 1.5, "note": "a", "flag": True, "only a": 1, "_timestamp": 1},
            "B": {"loss": 1, "note": "b", "flag": False, "odd": 3},
            "C": {"loss": "bad", "odd": math.inf},
        }
    )
    assert found == [
        {"key": "loss", "values": {"A": 1.5, "B": 1, "C": "bad"}, "delta": {"B": -0.5}},
        {"key": "odd", "values": {"B": 3, "C": "Infinity"}, "delta": {}},
        {"key": "only a", "values": {"A": 1}, "delta": {}},
    ]


@pytest.mark.parametrize(
    ("value", "first", "delta"),
    [
        (math.inf, math.inf, "NaN"),
        (2, 0.5, 1.5),
        (10**400, 0.5, 10**400),
        (0.5, 10**400, -(10**400)),
        (math.inf, 10**400, "Infinity"),
        (10**400, math.inf, "-Infinity"),
    ],
)
def test_differences_are_exact_or_say_that_there_is_none(value: Any, first: Any, delta: Any) -> None:
    (entry,) = compare_summaries({"A": {"x": first}, "B": {"x": value}})
    assert entry["delta"] == {"B": delta}


def test_an_ending_tells_the_last_the_best_the_worst_and_the_checkpoint() -> None:
    steps = np.array([0, 10, 20, 30, 40])
    found = ending(column(3.0, 1.0, None, math.nan, None), steps, checkpoint_step=25)
    assert found == Ending(
        last="NaN", min=1, min_step=10, max=3, max_step=0, at_checkpoint=1, at_checkpoint_step=10
    )


@pytest.mark.parametrize(
    ("step", "value", "at"), [(None, None, None), (5, None, None), (10, 1, 10), (99, 2, 30)]
)
def test_a_checkpoint_sees_what_was_logged_until_its_step(
    step: int | None, value: Any, at: int | None
) -> None:
    found = ending(column(1.0, 2.0), np.array([10, 30]), checkpoint_step=step)
    assert (found.at_checkpoint, found.at_checkpoint_step) == (value, at)


def test_a_metric_without_numbers_has_a_last_value_and_no_range() -> None:
    assert ending(column("a", True, None), np.arange(3), checkpoint_step=None) == Ending(last=True)
    assert ending(column(None), np.arange(1), checkpoint_step=3) == Ending()


def test_a_comparison_has_an_entry_a_metric_and_only_the_runs_that_have_it() -> None:
    found = compare_metrics(
        {"A": {"loss": Ending(last=1, min=1, min_step=3, max=2, max_step=0)}, "B": {"acc": Ending(last="x")}},
        checkpoints=False,
    )
    assert found == [
        {
            "name": "loss",
            "last": {"A": 1},
            "min": {"A": 1},
            "min_step": {"A": 3},
            "max": {"A": 2},
            "max_step": {"A": 0},
        },
        {"name": "acc", "last": {"B": "x"}, "min": {}, "min_step": {}, "max": {}, "max_step": {}},
    ]
