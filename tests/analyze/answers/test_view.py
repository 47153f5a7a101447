from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.stats
from answertext import view_text
from fakeruns import FakeRun, subjects, training
from hypothesis import given, settings
from hypothesis import strategies as st
from rowkit import canonical, nasty_rows

from pull_logs.analyze import Subject, View, answer
from pull_logs.errors import MetricNotFoundError, UnknownNameError, UsageError
from pull_logs.rows.batches import batch_from_arrow
from pull_logs.runs import Coverage

COMPARISONS = ["comparison", "config_diff", "config_same", "summary_comparison"]


def sections(view: View, *runs: FakeRun) -> list[str]:
    found = list(answer(subjects(*runs), view))
    assert (found[:2], found[-1]) == (["format", "command"], "notes")
    return found[2:-1]


def history(view: View, *runs: FakeRun, run: str = "A") -> dict[str, Any]:
    return dict(answer(subjects(*runs), view)["history"][run])


@pytest.mark.parametrize(
    ("view", "asked"),
    [
        (View(), ["runs", "config", "summary", "history"]),
        (View(human=True), ["runs", "config", "summary"]),
        (View(schema=True), ["runs", "schema"]),
        (View(stats=True), ["runs", "stats"]),
        (View(schema=True, stats=True, select="loss"), ["runs", "schema", "stats"]),
        (View(select="loss"), ["runs", "history"]),
        (View(where="_step > 1"), ["runs", "history"]),
        (View(evals=(("x", "_step"),)), ["runs", "history"]),
        (View(show_all=True), ["runs", "history"]),
        (View(human=True, select="loss"), ["runs", "config", "summary"]),
    ],
)
def test_an_answer_has_the_sections_asked_for_and_several_runs_add_comparisons(
    view: View, asked: list[str]
) -> None:
    assert sections(view, training()) == asked
    more = [] if view.schema or view.stats else COMPARISONS
    assert sections(view, training(), training(run_id="r2")) == asked + more


def test_the_object_of_a_plain_view() -> None:
    run = FakeRun(
        [
            {"_step": 0, "_runtime": 0.5, "loss": 1.5},
            {"_step": 1, "loss": math.nan},
            {"_step": 2, "acc": 1.0},
        ],
        config={"opt": {"lr": 0.1}, "a.b": 1},
        summary={"loss": math.inf},
        host="api.wandb.ai",
    )
    subject = Subject(label="A", run=run, checkpoint="best.pt", checkpoint_step=1, source="b.wandb.zip")
    assert answer([subject], View()) == {
        "format": "pull-logs/2",
        "command": "show",
        "runs": [
            {
                "label": "A",
                "path": "acme/nano/r1",
                "name": "run",
                "state": "finished",
                "url": "https://wandb.ai/acme/nano/runs/r1",
                "checkpoint": "best.pt",
                "checkpoint_step": 1,
                "rows_total": 3,
                "rows_shown": 3,
                "last_step": 2,
                "complete": True,
                "reason": None,
                "last_seen": None,
                "source": "b.wandb.zip",
            }
        ],
        "config": {"A": {"opt.lr": 0.1, "a\\.b": 1}},
        "summary": {"A": {"loss": "Infinity"}},
        "history": {
            "A": {
                "columns": ["_step", "acc", "loss"],
                "rows": [[0, None, 1.5], [1, None, "NaN"], [2, 1, None]],
                "rows_total": 3,
                "rows_matched": 3,
                "rows_picked": 3,
                "rows_shown": 3,
                "hidden": 0,
                "sampling": "none",
            }
        },
        "notes": [],
    }


@given(
    nasty_rows,
    st.sampled_from([View(), View(schema=True), View(stats=True), View(show_all=True), View(max_rows=3)]),
)
@settings(max_examples=60)
def test_any_history_makes_strict_json(rows: list[dict[str, Any]], view: View) -> None:
    run = FakeRun(canonical(rows))
    found = answer(subjects(run, run), view)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_host_of_ones_own_is_in_the_url_and_a_local_run_has_none() -> None:
    runs = answer(subjects(training(host="wandb.acme.org"), training()), View())["runs"]
    assert [run["url"] for run in runs] == ["https://wandb.acme.org/acme/nano/runs/r1", None]


def test_select_keeps_what_matches_anywhere_in_a_name_and_the_step() -> None:
    assert history(View(select="ACC|_run"), training())["columns"] == ["_step", "_runtime"]
    assert history(View(select="/"), training())["columns"] == ["_step", "val/acc", "train/loss"]
    assert history(View(select="_step"), training())["columns"] == ["_step"]


def test_select_need_match_in_one_run_only() -> None:
    runs = training(), FakeRun([{"_step": 0, "other": 1}])
    found = history(View(select="loss"), *runs, run="B")
    assert (found["columns"], found["rows"], found["hidden"]) == (["_step"], [], 1)


def test_select_without_a_match_names_the_nearest_metrics() -> None:
    with pytest.raises(MetricNotFoundError) as caught:
        answer(subjects(training()), View(select="train/lss"))
    assert caught.value.message == "no metric matches --select 'train/lss'"
    assert caught.value.hint.startswith("the nearest are 'train/loss', ")
    assert sorted(caught.value.hint.removeprefix("the nearest are ").split(", ")) == [
        "'_runtime'",
        "'_timestamp'",
        "'train/loss'",
        "'val/acc'",
    ]


def test_select_of_runs_without_metrics_says_so() -> None:
    with pytest.raises(MetricNotFoundError) as caught:
        answer(subjects(FakeRun()), View(select="loss"))
    assert str(caught.value) == "no metric matches --select 'loss'; the runs have no metrics"


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (
            "train/(",
            "--select 'train/(' is not a valid regular expression: missing ), unterminated subpattern at position 6",  # noqa: E501
        ),
        ("*", "--select '*' is not a valid regular expression: nothing to repeat at position 0"),
    ],
)
def test_a_bad_pattern_is_told_with_its_place(pattern: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        answer(subjects(training()), View(select=pattern))
    assert str(caught.value) == f"{message}; escape special characters with a backslash"


def test_a_pattern_that_python_may_read_differently_one_day_warns_nobody() -> None:
    assert history(View(select="[[]|loss"), training())["columns"] == ["_step", "train/loss"]


def test_where_keeps_rows_and_a_missing_value_is_false() -> None:
    found = history(View(where="val/acc > 0"), training())
    assert [row[0] for row in found["rows"]] == [2, 5, 8, 11]
    assert (found["rows_total"], found["rows_matched"], found["rows_shown"]) == (12, 4, 4)


def test_row_order_functions_see_the_whole_history_before_where_filters_it() -> None:
    view = View(evals=(("before", "lag(train/loss)"),), where="_step == 5", select="loss")
    (row,) = history(view, training())["rows"]
    assert row == [5, pytest.approx(2.5 / 6), pytest.approx(2.5 / 5)]


def test_a_later_eval_may_use_an_earlier_one_and_all_are_shown_whatever_select_says() -> None:
    view = View(
        select="acc", evals=(("half", "train/loss / 2"), ("quarter", "half / 2")), where="quarter > 0.6"
    )
    found = history(view, training())
    assert found["columns"] == ["_step", "val/acc", "half", "quarter"]
    assert found["rows"] == [[0, None, 1.25, 0.625]]


@pytest.mark.parametrize(
    ("evals", "message"),
    [
        (
            (("train/loss", "1"),),
            "--eval 'train/loss' is the name of a column already; choose a name that no metric has",
        ),
        (
            (("x", "1"), ("x", "2")),
            "--eval 'x' is the name of a column already; choose a name that no metric has",
        ),
        (
            (("_step", "1"),),
            "--eval '_step' is the name of a column already; choose a name that no metric has",
        ),
        (
            (("a b", "1"),),
            "--eval cannot name a column 'a b'; a name is a letter or _, then letters, digits and _ . : /",
        ),
    ],
)
def test_a_computed_column_has_a_name_of_its_own(evals: tuple[tuple[str, str], ...], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        answer(subjects(training()), View(evals=evals))
    assert str(caught.value) == message


def test_a_name_of_another_run_is_missing_in_every_row() -> None:
    runs = FakeRun([{"_step": 0, "a": 1}]), FakeRun([{"_step": 0, "b": 2}])
    view = View(where="a > 0 or b > 0", evals=(("c", "a + 1"),))
    assert history(view, *runs)["rows"] == [[0, 1, 2]]
    assert history(view, *runs, run="B")["rows"] == [[0, 2, None]]


def test_an_unknown_name_is_an_error_in_the_expression() -> None:
    with pytest.raises(UnknownNameError, match="no metric is named 'losss'; the nearest are train/loss"):
        answer(subjects(training()), View(where="losss > 1"))


def test_two_readings_of_a_name_are_noted() -> None:
    run = FakeRun([{"_step": 0, "a": 6.0, "b": 3.0, "a/b": 1.0}])
    notes = answer(subjects(run), View(where="a/b > 0"))["notes"]
    assert len(notes) == 1
    assert "a/b" in notes[0]


def test_rows_without_any_shown_metric_are_hidden_and_counted_unless_all_are_asked_for() -> None:
    found = answer(subjects(training()), View(select="acc"))
    assert found["history"]["A"]["hidden"] == 8
    assert found["history"]["A"]["rows_shown"] == 4
    assert found["notes"] == [
        "rows hidden because every shown metric is missing in them: A 8; --show-all shows them"
    ]
    shown = answer(subjects(training()), View(select="acc", show_all=True))
    assert (shown["history"]["A"]["hidden"], shown["history"]["A"]["rows_shown"]) == (0, 12)


def test_the_columns_that_are_in_every_row_do_not_keep_a_row_from_being_hidden() -> None:
    assert history(View(select="acc|_runtime"), training())["rows_shown"] == 4
    assert history(View(select="_runtime"), training())["rows_shown"] == 12


def test_objects_and_lists_are_left_out_and_told_unless_selected() -> None:
    run = FakeRun(
        [{"_step": 0, "loss": 1, "grads": {"_type": "histogram", "bins": [1]}, "items": [math.nan]}]
    )
    found = answer(subjects(run), View())
    assert found["history"]["A"]["columns"] == ["_step", "loss"]
    assert found["notes"] == [
        "columns left out because they hold objects or lists: grads, items; --select shows them"
    ]
    rows = history(View(select="grads|items"), run)["rows"]
    assert rows == [[0, {"_type": "histogram", "bins": [1]}, ["NaN"]]]


def test_a_sample_is_declared_and_keeps_a_spike_and_the_checkpoints_row() -> None:
    rows = [{"_step": step, "loss": 1 / (step + 1)} for step in range(1000)]
    rows[567]["loss"], rows[700]["loss"] = 50, math.nan
    subject = Subject(label="A", run=FakeRun(rows), checkpoint="x.pt", checkpoint_step=333)
    found = answer([subject], View(max_rows=20))
    steps = [row[0] for row in found["history"]["A"]["rows"]]
    assert {0, 333, 567, 700, 999} <= set(steps)
    assert (len(steps), found["history"]["A"]["sampling"]) == (20, "extremes 20/1000")
    assert found["runs"][0]["rows_shown"] == 20
    kept = "first, last, minimum, maximum and non-finite rows of every shown metric are kept"
    assert found["notes"] == [f"sampled ({kept}): A 20/1000; --max-rows N takes more"]


def test_spikes_are_kept_as_far_as_there_is_room_and_the_others_are_counted() -> None:
    rows = [{"_step": step, "loss": 1 / (step + 1) + (step % 2) / 1000} for step in range(1000)]
    spikes = range(95, 1000, 100)
    for number, step in enumerate(spikes):
        rows[step]["loss"] = 20 + number
    few, many = (answer(subjects(FakeRun(rows)), View(max_rows=most)) for most in (5, 20))
    shown = [{row[0] for row in found["history"]["A"]["rows"]} for found in (few, many)]
    assert (len(shown[0]), len(shown[0] & set(spikes))) == (5, 2)
    assert few["notes"][0].endswith(": A 5/1000 without 8 spikes; --max-rows N takes more")
    assert set(spikes) <= shown[1]
    assert many["notes"][0].endswith(": A 20/1000; --max-rows N takes more")


def test_no_limit_takes_every_row_and_a_token_budget_takes_no_more_than_could_ever_fit() -> None:
    run = training(3000)
    assert history(View(max_rows=0), run)["rows_shown"] == 3000
    found = history(View(max_rows=0, max_tokens=300), run)
    assert found["rows_shown"] == 300 // 4
    assert [found["rows"][0][0], found["rows"][-1][0]] == [0, 2999]
    many = history(View(max_tokens=300), *[run] * 20)
    assert many["rows_shown"] == 24


def test_negative_limits_are_refused() -> None:
    with pytest.raises(UsageError) as caught:
        answer(subjects(training()), View(max_rows=-1))
    assert str(caught.value) == "--max-rows -1 --max-tokens 0: neither can be negative; 0 means no limit"


def test_schema_and_stats_are_of_the_rows_and_columns_that_are_kept_and_of_computed_ones() -> None:
    view = View(schema=True, stats=True, select="loss", where="_step >= 10", evals=(("double", "_step * 2"),))
    found = answer(subjects(training()), view)
    assert [entry["name"] for entry in found["schema"]["A"]] == ["_step", "train/loss", "double"]
    assert [entry["count"] for entry in found["schema"]["A"]] == [2, 2, 2]
    assert found["stats"]["A"]["double"] == {
        "count": 2,
        "min": 20,
        "p10": 20.2,
        "p25": 20.5,
        "p50": 21,
        "p75": 21.5,
        "p90": 21.8,
        "max": 22,
        "mean": 21,
        "std": pytest.approx(math.sqrt(2)),
        "first": 20,
        "last": 22,
        "min_step": 10,
        "max_step": 11,
    }


def test_a_schema_has_every_column_and_stats_the_metrics_that_are_numbers_or_bools() -> None:
    run = FakeRun([{"_step": 0, "_runtime": 1.0, "loss": 1.0, "tag": "x", "flag": True}])
    found = answer(subjects(run), View(schema=True, stats=True))
    assert [entry["name"] for entry in found["schema"]["A"]] == ["_step", "_runtime", "flag", "loss", "tag"]
    assert list(found["stats"]["A"]) == ["flag", "loss"]
    assert list(answer(subjects(run), View(stats=True, select="_run"))["stats"]["A"]) == ["_runtime"]


def test_a_comparison_is_of_the_selected_metrics_and_the_kept_rows() -> None:
    runs = training(), training(scale=2, run_id="r2")
    found = answer(subjects(*runs), View(select="loss", where="_step < 5"))
    (entry,) = found["comparison"]
    assert entry["last"] == {"A": 0.5, "B": 1}
    assert entry["min_step"] == {"A": 4, "B": 4}
    assert "at_checkpoint" not in entry


def test_two_checkpoints_of_one_run_are_compared_at_their_steps() -> None:
    run = training()
    both = [
        Subject(label=name, run=run, checkpoint=name, checkpoint_step=step)
        for name, step in (("A", 2), ("B", 9))
    ]
    entry = answer(both, View(select="acc"))["comparison"][0]
    assert entry["at_checkpoint_step"] == {"A": 2, "B": 8}
    assert entry["last"]["A"] == entry["last"]["B"]


def test_configs_and_summaries_are_compared_and_equal_keys_counted() -> None:
    runs = (
        training(config={"lr": 1, "same": [1]}, summary={"loss": 1.0, "x": 1}),
        training(config={"lr": "1", "same": [1]}, summary={"loss": 0.5, "x": 1}),
    )
    found = answer(subjects(*runs), View(human=True))
    assert found["config_diff"] == [{"key": "lr", "values": {"A": 1, "B": "1"}}]
    assert found["config_same"] == 1
    assert [entry["key"] for entry in found["summary_comparison"]] == ["loss", "x"]
    selected = answer(subjects(*runs), View(select="loss"))
    assert [entry["key"] for entry in selected["summary_comparison"]] == ["loss"]


def test_an_incomplete_run_is_told_with_the_reason() -> None:
    coverage = Coverage(
        promised_rows=20, received_rows=12, complete=False, reason="8 of 20 rows did not arrive"
    )
    found = answer(subjects(training(coverage=coverage)), View())
    assert (found["runs"][0]["complete"], found["runs"][0]["reason"]) == (
        False,
        "8 of 20 rows did not arrive",
    )
    assert found["notes"] == ["A is incomplete: 8 of 20 rows did not arrive"]


def test_only_selected_columns_are_read() -> None:
    run = training()
    answer(subjects(run), View(select="loss", where="val/acc is missing"))
    read = {name for columns in run.reads for name in columns or ["all"]}
    assert read == {"_step", "train/loss", "val/acc"}


def test_no_runs_make_an_answer_too() -> None:
    assert dict(answer([], View())) == {
        "format": "pull-logs/2",
        "command": "show",
        "runs": [],
        "config": {},
        "summary": {},
        "history": {},
        "notes": [],
    }


@pytest.mark.parametrize("seed", range(3))
def test_planted_spikes_and_nans_of_a_hundred_thousand_rows_are_always_in_the_sample(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = {
        name: np.linspace(2, 1, 100_000) + rng.standard_normal(100_000) / 50 for name in ("a", "b", "c")
    }
    planted: set[int] = {0, 99_999}
    for column in values.values():
        places = rng.choice(100_000, 5, replace=False)
        column[places] = [1e3, -1e3, math.nan, math.inf, -math.inf]
        planted |= set(places.tolist())
    steps = np.arange(100_000)
    run = FakeRun()
    run.batch = batch_from_arrow(pa.table({"_step": steps, **values}))
    for max_tokens in (0, 16_000):
        found = history(View(max_rows=60, max_tokens=max_tokens), run)
        assert planted <= {row[0] for row in found["rows"]}
        assert found["rows_shown"] == 60
    text = view_text(answer(subjects(run), View(max_tokens=1200)), max_tokens=1200)
    assert planted <= {int(line.split(",")[0]) for line in text.splitlines() if line[:1].isdigit()}


def test_statistics_of_a_million_rows_are_those_of_pandas_and_scipy_to_a_billionth() -> None:
    values = np.random.default_rng(1).lognormal(3, 2, 1_000_000)
    values[::7] = math.nan
    run = FakeRun()
    run.batch = batch_from_arrow(pa.table({"_step": np.arange(1_000_000), "x": values}))
    found: dict[str, Any] = dict(answer(subjects(run), View(stats=True))["stats"]["A"]["x"])
    finite = values[np.isfinite(values)]
    told = pd.Series(finite).describe(percentiles=[0.1, 0.25, 0.5, 0.75, 0.9])
    names = {f"p{n}": f"{n}%" for n in (10, 25, 50, 75, 90)} | {
        "mean": "mean",
        "std": "std",
        "min": "min",
        "max": "max",
    }
    for ours, theirs in names.items():
        assert found[ours] == pytest.approx(told[theirs], rel=1e-9)
    summary = scipy.stats.describe(finite)
    assert (found["mean"], found["std"] ** 2) == pytest.approx((summary.mean, summary.variance), rel=1e-9)
