"""System metrics joined by time: equal to a search through all samples for each row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pytest
from fakeruns import FakeRun, subjects
from hypothesis import given, settings
from hypothesis import strategies as st

from pull_logs.analyze import View, answer
from pull_logs.analyze.answers.comparison import Comparison, compare_runs
from pull_logs.analyze.questions.run_columns import RunColumn
from pull_logs.analyze.statistics.ranking import Criterion
from pull_logs.errors import MetricNotFoundError, UnknownNameError
from pull_logs.frames import Frame, JoinedFrame

Rows = Sequence[Mapping[str, Any]]
CPU = "system.cpu"

TIMES = st.integers(0, 12).map(float) | st.just(math.nan)


@st.composite
def both(draw: st.DrawFn) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows whose times may go back, as after a resume, and samples, either without a time here and there."""
    rows = [
        {"_step": step, "loss": step * 0.5, **({"_timestamp": time} if time is not None else {})}
        for step, time in enumerate(draw(st.lists(st.none() | TIMES, max_size=7)))
    ]
    cells = st.fixed_dictionaries(
        {}, optional={"_timestamp": TIMES, CPU: st.floats(0, 100), "system.gpu": st.sampled_from(["x", 1])}
    )
    samples = [row for row in draw(st.lists(cells, max_size=7)) if row]
    return rows, samples


def time_of(row: Mapping[str, Any]) -> float:
    return float(row.get("_timestamp", math.nan))


def step_of(sample: Mapping[str, Any], rows: Rows) -> int | None:
    return max((row["_step"] for row in rows if time_of(row) <= time_of(sample)), default=None)


@given(both())
def test_a_row_has_the_last_value_at_or_before_it(drawn: tuple[Rows, Rows]) -> None:
    rows, samples = drawn
    run = FakeRun(rows, system=samples)
    frame = JoinedFrame(run, Frame(run))
    if CPU not in frame:
        assert not any(CPU in row for row in samples)
        return
    column = frame.column(CPU)
    for row, value in zip(rows, column.vector.to_list(), strict=True):
        there = [other for other in samples if CPU in other and time_of(other) <= time_of(row)]
        latest = max(map(time_of, there), default=math.nan)
        assert value in {other[CPU] for other in there if time_of(other) == latest} or (
            value is None and not there
        )
    assert frame.names[-1].startswith("system.")


@given(both())
def test_a_sample_has_the_greatest_step_at_or_before_it(drawn: tuple[Rows, Rows]) -> None:
    rows, samples = drawn
    run = FakeRun(rows, system=samples)
    frame = JoinedFrame(run, Frame(run)).system
    steps = frame.steps.tolist()
    assert len(steps) == len(samples)
    assert steps == sorted(steps)
    times = frame.column("_timestamp").numbers()[0].tolist() if "_timestamp" in frame else []
    usable = [row for row in rows if not math.isnan(time_of(row))]
    for step, time in zip(steps, times, strict=False):
        expected = step_of({"_timestamp": time}, usable)
        if expected is not None and not math.isnan(time):
            assert step == expected


@given(both())
@settings(max_examples=40)
def test_statistics_and_reductions_are_over_all_samples(drawn: tuple[Rows, Rows]) -> None:
    rows, samples = drawn
    run = FakeRun([*rows, {"_step": 99, "loss": 1.0}], system=[*samples, {"_timestamp": 13.0, CPU: 7.5}])
    values = pd.Series([row[CPU] for row in samples if CPU in row] + [7.5])
    found = answer(subjects(run), View(stats=True, select=f"^{CPU}$"))["stats"]["A"][CPU]
    assert (found["count"], found["last"]) == (len(values), 7.5)
    assert found["mean"] == pytest.approx(values.mean())
    columns = (RunColumn("mean", f"mean({CPU})"), RunColumn("both", f"mean({CPU}) + last(loss)"))
    compared = compare_runs(subjects(run), Comparison(columns=columns))["columns"]
    assert compared[0]["values"]["A"] == pytest.approx(values.mean())
    assert compared[1]["values"]["A"] == pytest.approx(values.mean() + 1)
    shown = answer(subjects(run), View(select="^loss$", evals=(("m", f"mean({CPU})"),)))
    assert shown["history"]["A"]["rows"][-1][2] == pytest.approx(values.mean())


RUN = FakeRun(
    [{"_step": step, "_timestamp": 100.0 + step, "loss": 4.0 - step} for step in range(4)],
    system=[{"_timestamp": 99.0 + 0.5 * place, CPU: 10.0 * place} for place in range(8)],
)


def test_system_metrics_alone_are_shown_sample_by_sample() -> None:
    found = answer(subjects(RUN), View(select=f"^{CPU}$"))
    assert found["history"]["A"]["rows"] == [
        [0, 0], [0, 10], [0, 20], [0, 30], [1, 40], [1, 50], [2, 60], [2, 70],
    ]  # fmt: skip
    assert found["notes"] == [
        "rows are samples of the machine; _step is that of the last row of the history before each"
    ]


def test_beside_metrics_they_are_joined_to_the_rows() -> None:
    found = answer(subjects(RUN), View(select=f"^({CPU}|loss)$", where=f"{CPU} > 20"))
    assert found["history"]["A"]["rows"] == [[1, 3, 40], [2, 2, 60], [3, 1, 70]]
    (note,) = found["notes"]
    assert note == (
        "system metrics are their last sample at or before each row of the history; "
        "selected alone, all samples are shown"
    )


def test_a_view_that_looks_for_none_does_not_read_them() -> None:
    class Unreadable(FakeRun):
        def system_schema(self) -> Any:
            raise AssertionError("read without being asked for")

        system_table = system_schema

    run = Unreadable([{"_step": 0, "loss": 1.0}])
    assert "stats" in answer(subjects(run), View(stats=True, select="loss"))
    assert compare_runs(subjects(run, run), Comparison(best=Criterion("loss", "min")))["ranking"]


def test_they_are_hidden_where_they_are_only_used() -> None:
    found = answer(subjects(RUN), View(where=f"{CPU} >= 60"))
    assert found["history"]["A"]["columns"] == ["_step", "loss"]
    assert [row[0] for row in found["history"]["A"]["rows"]] == [2, 3]


def test_an_assertion_about_all_rows_is_over_all_samples() -> None:
    found = answer(subjects(RUN), View(asserts=(f"all: {CPU} < 55", f"mean({CPU}) == 35")))
    assert [item["holds"] for item in found["assertions"]] == [False, True]
    assert found["assertions"][0]["broken"][0]["message"] == (
        "system.cpu = 60 at step 2, and 1 more of 8 rows"
    )


def test_a_comparison_of_system_metrics_alone_reads_their_samples() -> None:
    found = compare_runs(subjects(RUN), Comparison(select=f"^{CPU}$"))
    (entry,) = found["comparison"]
    assert (entry["value"], entry["min"], entry["max"]) == ({"A": 70}, {"A": 0}, {"A": 70})
    mixed = compare_runs(subjects(RUN), Comparison(select=f"^({CPU}|loss)$"))
    assert {entry["name"]: entry["min"] for entry in mixed["comparison"]} == {
        CPU: {"A": 20}, "loss": {"A": 1},
    }  # fmt: skip


def test_without_times_samples_have_step_0_and_rows_no_system_metrics() -> None:
    run = FakeRun([{"_step": 5, "loss": 1.0}], system=[{CPU: 3.0}])
    frame = JoinedFrame(run, Frame(run))
    assert frame.system.steps.tolist() == [0]
    assert frame.column(CPU).vector.to_list() == [None]


def test_runtime_joins_where_a_history_has_no_timestamp() -> None:
    run = FakeRun([{"_step": 5, "_runtime": 2.0}], system=[{"_timestamp": 1e9, "_runtime": 1.0, CPU: 3.0}])
    frame = JoinedFrame(run, Frame(run))
    assert frame.column(CPU).vector.to_list() == [3.0]
    assert frame.system.steps.tolist() == [5]


def test_a_column_of_the_history_hides_a_system_metric_of_its_name() -> None:
    run = FakeRun([{"_step": 0, "_timestamp": 1.0, CPU: 1.0}], system=[{"_timestamp": 1.0, CPU: 9.0}])
    found = answer(subjects(run), View(select=CPU))
    assert found["history"]["A"]["rows"] == [[0, 1]]


def test_runs_without_system_metrics_are_told_from_a_wrong_name() -> None:
    run = FakeRun([{"_step": 0, "loss": 1.0}])
    hint = "no system metrics were downloaded; `pull-logs fetch --system` downloads them"
    with pytest.raises(MetricNotFoundError) as selected:
        answer(subjects(run), View(select="^system.gpu"))
    assert selected.value.hint == hint
    with pytest.raises(UnknownNameError) as named:
        compare_runs(subjects(run), Comparison(columns=(RunColumn("g", "mean(system.gpu.0.gpu)"),)))
    assert named.value.hint == hint
    with pytest.raises(UnknownNameError, match=r"the nearest are system\.cpu"):
        answer(subjects(RUN), View(where="system.cpus > 3"))


def test_metadata_is_shown_by_the_names_that_a_filter_takes() -> None:
    run = FakeRun(
        [{"_step": 0}], summary={"_runtime": 12.5}, metadata={"gpu": "A100", "git": {"commit": "abc"}}
    )
    assert answer(subjects(run), View(meta=True))["meta"] == {
        "A": {"duration": 12.5, "metadata.gpu": "A100", "metadata.git.commit": "abc"}
    }
