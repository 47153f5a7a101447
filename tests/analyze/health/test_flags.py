"""Each flag of docs/health.md, planted in series: it is found, at its step, and no other is."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
from fakeruns import FakeRun
from hypothesis import given, settings
from hypothesis import strategies as st

from pull_logs.analyze.health import FLAGS, HealthFinding, can_have_flags, find_flags
from pull_logs.frames import column_facts
from pull_logs.frames.frame import Frame
from pull_logs.runs import RunInfo, RunPath


def flags_of(
    rows: list[dict[str, Any]], *, state: str = "finished", heartbeat: str | None = None
) -> list[HealthFinding]:
    frame = Frame(FakeRun(rows))
    info = RunInfo(path=RunPath("a", "b", "c"), name="n", state=state, heartbeat_at=heartbeat)
    metrics = {name: frame.column(name) for name in frame.names if name not in ("_step", "_timestamp")}
    stamps = frame.column("_timestamp") if "_timestamp" in frame else None
    return list(find_flags(info, metrics, frame.steps, stamps))


def series(name: str, values: Any, *, every: int = 1) -> list[dict[str, Any]]:
    return [{"_step": place * every, name: float(value)} for place, value in enumerate(values)]


def together(*several: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows: dict[int, dict[str, Any]] = {}
    for one in several:
        for row in one:
            rows.setdefault(row["_step"], {}).update(row)
    return [rows[step] for step in sorted(rows)]


def falling(count: int, *, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """A loss that falls all the time, evenly."""
    return np.linspace(2.5, 0.2, count) + noise * np.random.default_rng(seed).standard_normal(count)


def names(found: list[HealthFinding]) -> list[str]:
    return [finding.flag for finding in found]


@pytest.mark.parametrize("count", [10, 40, 300, 5000])
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_a_healthy_run_has_no_flag(count: int, noise: float) -> None:
    rows = together(
        series("train/loss", falling(count, noise=noise)),
        series("val/loss", falling(count, noise=noise, seed=1) + 0.1),
        series("val/acc", 1 - falling(count, noise=noise, seed=2) / 3),
    )
    assert flags_of(rows) == []


@pytest.mark.parametrize(
    ("value", "word"), [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity")]
)
@pytest.mark.parametrize("place", [0, 7, 99_999])
def test_a_single_value_that_is_not_finite_is_found(value: float, word: str, place: int) -> None:
    values = falling(100_000)
    values[place] = value
    (finding,) = flags_of(series("train/loss", values, every=3))
    assert finding == HealthFinding(flag="nan", step=place * 3, metric="train/loss", message=word)


def test_not_a_number_is_told_of_the_first_metric_that_has_it_and_counted() -> None:
    rows = [{"_step": step, "b": 1.0, "a": math.nan if step > 4 else 1.0} for step in range(9)]
    rows[3]["b"] = math.inf
    (finding,) = flags_of(rows)
    assert (finding.step, finding.metric, finding.metrics, finding.message) == (3, "b", 2, "Infinity")


@pytest.mark.parametrize("count", [40, 600, 20_000])
def test_a_loss_that_blows_up_and_stays_up_diverges_where_it_left(count: int) -> None:
    values = falling(count, noise=0.02)
    turn = count * 3 // 5
    values[turn:] = 5.0
    (finding,) = [one for one in flags_of(series("train/loss", values)) if one.flag == "divergence"]
    assert finding.metric == "train/loss"
    assert abs((finding.step or 0) - turn) <= max(5, count // 100 + 1)


def test_a_loss_that_jumps_and_recovers_spikes_and_does_not_diverge() -> None:
    values = falling(500)
    values[300:302] = 1e6
    assert flags_of(series("train/loss", values, every=10)) == [
        HealthFinding(flag="spike", step=3000, metric="train/loss", message="1.131 before, 1e+06 at its peak")
    ]


def test_several_spikes_are_counted_and_reported_at_the_first() -> None:
    values = falling(500, noise=0.02)
    for place in (200, 330, 331, 450):
        values[place] += 3
    (finding,) = flags_of(series("loss", values))
    assert (finding.flag, finding.step) == ("spike", 200)
    assert finding.message.endswith("at its peak; 3 spikes")


def test_a_loss_that_has_fallen_by_decades_and_still_falls_is_on_no_plateau() -> None:
    values = 10_000.0 * np.exp(-np.linspace(0, np.log(10_000 / 12), 200))
    assert flags_of(series("train/loss", values)) == []
    stopped = np.concatenate([values, np.full(200, 12.0)])
    (finding,) = flags_of(series("train/loss", stopped))
    assert (finding.flag, finding.message) == ("plateau", "13.51, and 12 at its best since")


@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1.0, 1e9])
def test_the_flags_do_not_depend_on_the_unit(scale: float) -> None:
    values = falling(400, noise=0.02)
    values[200:203] += 4
    values[300:] = values[300]
    plain, scaled = flags_of(series("loss", values)), flags_of(series("loss", values * scale))
    assert [(one.flag, one.step) for one in scaled] == [(one.flag, one.step) for one in plain]
    assert names(plain) == ["spike"]


@pytest.mark.parametrize(("name", "top"), [("train/acc", 1.0), ("val/accuracy", 100.0)])
def test_a_score_at_its_bound_is_on_no_plateau(name: str, top: float) -> None:
    rising = np.minimum(np.linspace(0, 3, 100), 1.0) * top
    assert flags_of(series(name, rising)) == []
    assert names(flags_of(series(name, rising * 0.9))) == ["plateau"]


def test_a_loss_of_zero_is_on_no_plateau() -> None:
    assert flags_of(series("loss", np.maximum(np.linspace(2, -4, 100), 0.0))) == []


@pytest.mark.parametrize("name", ["grad_norm", "train/grad_norm", "gnorm", "gradients/global_norm"])
def test_gradients_that_jump_by_decades_explode_there(name: str) -> None:
    values = 1 + 0.1 * np.random.default_rng(0).standard_normal(200)
    assert flags_of(series(name, values)) == []
    values[120] = 4096.0
    (finding,) = flags_of(series(name, values, every=5))
    assert (finding.flag, finding.step, finding.metric) == ("gradient_explosion", 600, name)
    assert finding.message.endswith(" before, 4096 at its peak")


def test_gradients_that_grow_to_the_end_explode() -> None:
    values = np.concatenate([np.full(100, 2.0), 2.0 * np.exp(np.linspace(0, 8, 50))])
    (finding,) = flags_of(series("train/grad_norm", values))
    assert finding.flag == "gradient_explosion"
    assert 100 <= (finding.step or 0) <= 130


RATES = [
    (np.linspace(1e-3, -1e-3, 41), 21, "-5e-05 is negative"),
    (np.maximum(np.linspace(1e-3, -1e-3, 40), 0.0), 20, "0 for the last 50% of its values"),
    (np.zeros(40), 0, "0 at every step"),
    (np.tile(np.linspace(1.0, 0.1, 20), 2), 20, "0.1 after a decay, then 1"),
]


@pytest.mark.parametrize(("values", "step", "message"), RATES)
@pytest.mark.parametrize("name", ["lr", "train/learning_rate", "optim/lr_0", "lr-AdamW", "lr/pg0"])
def test_a_learning_rate_that_cannot_be_meant_is_found(
    name: str, values: np.ndarray, step: int, message: str
) -> None:
    assert flags_of(series(name, values)) == [
        HealthFinding(flag="learning_rate", step=step, metric=name, message=message)
    ]


@pytest.mark.parametrize(
    "values",
    [
        np.full(40, 1e-3),
        np.linspace(1e-3, 0, 40),
        np.concatenate([np.linspace(0, 1e-3, 10), np.linspace(1e-3, 0, 30)]),
        np.tile(np.linspace(1.0, 0.1, 20), 3),
        np.concatenate([np.zeros(20), np.full(20, 1e-3)]),
    ],
    ids=["constant", "linear", "warm up", "restarts", "frozen at first"],
)
def test_usual_schedules_have_no_flag(values: np.ndarray) -> None:
    assert flags_of(series("train/lr", values)) == []


def test_a_group_of_parameters_that_alone_does_not_decay_is_found_and_a_frozen_one_is_not() -> None:
    falling_rate = np.linspace(1e-3, 1e-5, 40)
    groups = [series("lr/pg0", falling_rate), series("lr/pg2", falling_rate / 3)]
    assert flags_of(together(*groups, series("lr/pg1", np.full(40, 1e-3)))) == [
        HealthFinding(
            flag="learning_rate",
            step=0,
            metric="lr/pg1",
            message="0.001 at every step, while the 2 others decay",
        )
    ]
    assert flags_of(together(*groups, series("lr/pg1", np.zeros(40)))) == []
    assert flags_of(together(groups[0], series("lr/pg1", np.full(40, 1e-3)))) == []


SPEEDS = ["tokens_per_sec", "it/s", "samples_per_second", "throughput/device", "charts/SPS", "train/tok/s"]


@pytest.mark.parametrize("name", SPEEDS)
def test_a_throughput_that_is_lost_is_found_at_its_step(name: str) -> None:
    values = 100 + np.random.default_rng(1).standard_normal(200)
    assert flags_of(series(name, values)) == []
    values[120:] /= 2
    (finding,) = flags_of(series(name, values, every=2))
    assert (finding.flag, finding.metric) == ("slowdown", name)
    assert abs((finding.step or 0) - 240) <= 10
    assert re.fullmatch(r"(99|100)\S* before, (49|50)\S* to the end", finding.message)


def test_a_throughput_that_comes_back_was_lost_until_then() -> None:
    values = np.full(200, 100.0)
    values[80:140] = 40
    (finding,) = flags_of(series("it/s", values))
    assert (finding.flag, finding.step, finding.message) == (
        "slowdown", 80, "100 before, 40 until step 140",
    )  # fmt: skip


def test_steps_that_take_longer_are_a_slowdown_too() -> None:
    (finding,) = flags_of(series("train/step_time", np.where(np.arange(200) < 100, 0.5, 1.5)))
    assert (finding.flag, finding.step, finding.message) == ("slowdown", 100, "0.5 before, 1.5 to the end")


def test_slow_first_rows_and_single_slow_rows_are_no_slowdown() -> None:
    values = np.full(200, 100.0)
    values[:15], values[::20] = 10, 30
    assert flags_of(series("tokens_per_sec", values)) == []


def test_a_metric_of_which_more_is_better_never_diverges() -> None:
    assert "divergence" not in names(flags_of(series("reward", np.linspace(0, 100, 200))))


@pytest.mark.parametrize(
    "names_of", [("train/loss", "val/loss"), ("loss", "val_loss"), ("train.loss", "eval.loss")]
)
@pytest.mark.parametrize("count", [10, 200])
def test_a_validation_loss_that_rises_while_training_goes_on_overfits_from_its_best(
    names_of: tuple[str, str], count: int
) -> None:
    turn = count // 2
    validation = np.concatenate([np.linspace(2.5, 1.0, turn), np.linspace(1.0, 1.8, count - turn + 1)[1:]])
    rows = together(series(names_of[0], falling(count), every=10), series(names_of[1], validation, every=10))
    (finding,) = flags_of(rows)
    assert (finding.flag, finding.metric) == ("overfitting", names_of[1])
    assert abs((finding.step or 0) - 10 * (turn - 1)) <= 10 * max(1, count // 20)


def test_an_accuracy_that_falls_while_training_goes_on_overfits_too() -> None:
    validation = np.concatenate([np.linspace(0.1, 0.9, 30), np.linspace(0.9, 0.6, 30)])
    rows = together(series("train/acc", np.linspace(0.1, 0.99, 60)), series("val/acc", validation))
    assert names(flags_of(rows)) == ["overfitting"]


def test_without_a_training_metric_that_gets_better_nothing_overfits() -> None:
    validation = np.concatenate([np.linspace(2.5, 1.0, 30), np.linspace(1.0, 1.8, 30)])
    assert "overfitting" not in names(flags_of(series("val/loss", validation)))
    both = together(series("train/loss", validation - 0.1), series("val/loss", validation))
    assert "overfitting" not in names(flags_of(both))


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_a_metric_that_stops_getting_better_is_on_a_plateau_from_there(noise: float) -> None:
    values = np.concatenate([np.linspace(2.5, 0.5, 100), np.full(200, 0.5)])
    values = values + noise * np.random.default_rng(3).standard_normal(300)
    (finding,) = flags_of(series("val/loss", values, every=5))
    assert (finding.flag, finding.metric) == ("plateau", "val/loss")
    assert abs((finding.step or 0) - 500) <= 60


def test_a_metric_that_never_got_better_is_on_a_plateau_from_the_start() -> None:
    values = 2.3 + 0.01 * np.random.default_rng(0).standard_normal(100)
    (finding,) = flags_of(series("train/loss", values))
    assert (finding.flag, finding.step) == ("plateau", 0)


def test_a_gap_between_rows_stalls_at_the_row_before_it() -> None:
    rows = [{"_step": step, "_timestamp": 1000.0 + step + (3600 if step > 40 else 0)} for step in range(100)]
    assert flags_of(rows) == [
        HealthFinding(flag="stalled", step=40, metric=None, message="3601 s until the next row")
    ]


def test_rows_that_are_slow_all_the_time_are_no_stall() -> None:
    assert flags_of([{"_step": step, "_timestamp": 900.0 * step} for step in range(50)]) == []


def test_a_running_run_whose_heart_beats_on_without_rows_stalls_at_its_last_row() -> None:
    rows = [{"_step": step, "_timestamp": float(step)} for step in range(10)]
    (finding,) = flags_of(rows, state="running", heartbeat="1970-01-01T01:00:09Z")
    assert (finding.flag, finding.step, finding.message) == ("stalled", 9, "no row for 3600 s since")
    assert flags_of(rows, state="finished", heartbeat="1970-01-01T01:00:09Z") == []
    assert flags_of(rows, state="running", heartbeat="no time") == []


@pytest.mark.parametrize("state", ["crashed", "failed", "killed", "preempted"])
def test_a_run_that_ended_badly_crashed_at_its_last_row(state: str) -> None:
    (finding,) = flags_of([{"_step": 17, "x": 1}], state=state)
    assert finding == HealthFinding(flag="crashed", step=17, metric=None, message=f"it ended as {state}")
    assert flags_of([], state=state)[0].step is None


METRICS = st.sampled_from(["train/loss", "val/acc", "grad_norm", "lr", "it/s", "step_time", "epoch"])
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([1.0, 1.0, 0.9, 2.0, 0.0])


@given(METRICS, st.lists(NUMBERS, min_size=1, max_size=60))
@settings(max_examples=100)
def test_a_metric_that_the_index_rules_out_has_no_flag(name: str, values: list[float]) -> None:
    found = flags_of(series(name, values))
    column = Frame(FakeRun(series(name, values))).column(name)
    facts = column_facts(name, column, np.arange(len(values), dtype=np.int64))
    assert can_have_flags(facts) or not found


@given(st.sampled_from([0.5, 2.0, 1024.0]), METRICS, st.integers(0, 10_000))
@settings(max_examples=60)
def test_a_power_of_two_as_unit_changes_no_flag(unit: float, name: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    values = np.cumsum(random.standard_normal(80)) * random.choice([0.01, 1.0]) + random.choice([0.0, 20.0])
    plain, scaled = flags_of(series(name, np.abs(values))), flags_of(series(name, np.abs(values) * unit))
    if name != "val/acc":  # a score has a bound
        assert [(one.flag, one.step) for one in plain] == [(one.flag, one.step) for one in scaled]


CELLS = st.none() | st.floats() | st.sampled_from([1e308, -1e308, 0.0, True, "x"])


@given(st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=25))
@settings(max_examples=60)
def test_any_series_gets_each_flag_once_in_order_with_a_step_that_it_has(rows: list[tuple[Any, ...]]) -> None:
    history = [
        {"_step": step, "train/loss": a, "val/loss": b, "_timestamp": c}
        for step, (a, b, c) in enumerate(rows)
    ]
    found = flags_of(history, state="running", heartbeat="2026-01-01T00:00:00Z")
    order = [FLAGS.index(finding.flag) for finding in found]
    assert order == sorted(set(order))
    assert all(finding.step is not None and 0 <= finding.step < len(rows) for finding in found)
