"""Answers from an index of metrics are those from the histories, and no history is opened for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from bundlekit import bundle_run, make_bundle
from fakeruns import FakeRun, subjects, training
from hypothesis import given
from hypothesis import strategies as st
from rowkit import canonical, nasty_rows

from pull_logs.analyze import Subject, View, answer, overview
from pull_logs.analyze.answers import Comparison, compare_runs
from pull_logs.analyze.questions import Position
from pull_logs.analyze.statistics import Criterion
from pull_logs.errors import ExpressionError, UnknownNameError
from pull_logs.frames import Vector
from pull_logs.snapshot import Run, open_bundle

histories = st.lists(nasty_rows, min_size=1, max_size=3)


def both(runs: list[list[dict[str, Any]]]) -> tuple[list[Subject], list[Subject]]:
    """The runs with an index, and without one."""
    indexed, plain = (
        [FakeRun(rows, run_id=f"r{number}", indexed=indexed) for number, rows in enumerate(runs)]
        for indexed in (True, False)
    )
    return subjects(*indexed), subjects(*plain)


@given(histories)
def test_the_schema_is_the_same(runs: list[list[dict[str, Any]]]) -> None:
    indexed, plain = both(list(map(canonical, runs)))
    assert repr(answer(indexed, View(schema=True))) == repr(answer(plain, View(schema=True)))


@given(histories)
def test_how_metrics_ended_is_the_same(runs: list[list[dict[str, Any]]]) -> None:
    indexed, plain = both(list(map(canonical, runs)))
    assert repr(answer(indexed, View())) == repr(answer(plain, View()))


@given(histories)
def test_the_comparison_is_the_same(runs: list[list[dict[str, Any]]]) -> None:
    indexed, plain = both(list(map(canonical, runs)))
    assert repr(compare_runs(indexed, Comparison())) == repr(compare_runs(plain, Comparison()))


@given(histories, st.sampled_from(["min", "max"]), st.none() | st.integers(1, 2))
def test_the_comparison_at_the_best_step_is_the_same(
    runs: list[list[dict[str, Any]]], direction: str, top: int | None
) -> None:
    rows = [*map(canonical, runs)]
    rows.append([{"_step": step, "loss": abs(step - 2), "Loss": step} for step in range(4)])
    indexed, plain = both(rows)
    options = Comparison(best=Criterion.parse(f"loss:{direction}"), at=Position.parse("best"), top=top)
    assert repr(compare_runs(indexed, options)) == repr(compare_runs(plain, options))


def outcome(ask: Callable[[], object]) -> str:
    """The answer, or the error, as text."""
    try:
        return repr(ask())
    except (ExpressionError, UnknownNameError) as error:
        return repr((type(error), str(error)))


@given(histories, st.data())
def test_what_is_asserted_of_the_last_values_is_the_same(
    runs: list[list[dict[str, Any]]], data: st.DataObject
) -> None:
    indexed, plain = both(list(map(canonical, runs)))
    names = sorted({"_step"}.union(*(row for rows in runs for row in rows)))
    texts = [
        f"`{name.replace('`', '``')}` {sign}"
        for name, sign in data.draw(
            st.lists(
                st.tuples(
                    st.sampled_from(names),
                    st.sampled_from(["< 1", "== 9007199254740993", 'contains "a"', "is missing", "!= true"]),
                ),
                min_size=1,
                max_size=3,
            )
        )
    ]
    first = texts[0].rpartition("`")[0]
    asserts = tuple(texts + data.draw(st.sampled_from([[], [f"all: {texts[0]}"], [f"mean({first}`) < 1"]])))
    for ask in (
        lambda runs: compare_runs(runs, Comparison(asserts=asserts)),
        partial(overview, asserts=asserts),
    ):
        assert outcome(partial(ask, indexed)) == outcome(partial(ask, plain))


@given(histories)
def test_the_overview_is_the_same(runs: list[list[dict[str, Any]]]) -> None:
    indexed, plain = both(list(map(canonical, runs)))
    assert repr(overview(indexed)) == repr(overview(plain))


@pytest.mark.parametrize(
    "options",
    [
        Comparison(best=Criterion.parse("train/loss:min"), top=1),
        Comparison(select="loss"),
        Comparison(group_by=("config.lr",), best=Criterion.parse("val/acc:max")),
    ],
)
def test_a_comparison_at_the_last_step_opens_no_history(options: Comparison) -> None:
    runs = [training(run_id=name, config={"lr": 1}, indexed=True) for name in ("a", "b")]
    assert compare_runs(subjects(*runs), options)["comparison"]
    assert [run.reads for run in runs] == [[], []]


def test_a_comparison_at_the_best_step_opens_the_histories_that_are_shown() -> None:
    runs = [training(run_id=name, scale=scale, indexed=True) for name, scale in (("a", 2.0), ("b", 1.0))]
    best = Criterion.parse("train/loss:min")
    options = Comparison(best=best, at=Position.parse("best"), top=1, select=".")
    assert compare_runs(subjects(*runs), options)["ranking"][0]["run"] == "B"
    assert [len(run.reads) for run in runs] == [0, 1]


def test_assertions_on_last_values_open_no_history() -> None:
    runs = [training(run_id=name, config={"lr": 1}, indexed=True) for name in ("a", "b")]
    asserts = ("train/loss < 9", "config.lr == 1 and val/acc > 2")
    options = Comparison(best=Criterion.parse("train/loss:min"), top=1, asserts=asserts)
    held = [one["holds"] for one in compare_runs(subjects(*runs), options).get("assertions", ())]
    assert held == [True, False]
    assert [run.reads for run in runs] == [[], []]


def test_a_schema_opens_no_history() -> None:
    run = training(indexed=True)
    assert answer(subjects(run), View(schema=True))["schema"]
    assert run.reads == []


def test_an_overview_reads_the_metrics_that_may_have_a_flag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        {"_step": step, "_timestamp": step, "val/loss": 1.0, "epoch": step, "norm": float("nan")}
        for step in range(6)
    ]
    reads: list[Sequence[str]] = []
    read = Run.number_columns

    def recorded(run: Run, columns: Sequence[str]) -> Mapping[str, Vector]:
        reads.append(columns)
        return read(run, columns)

    monkeypatch.setattr(Run, "number_columns", recorded)
    with open_bundle(make_bundle(tmp_path / "a.wandb.zip", [bundle_run(rows=rows)])) as bundle:
        overview([Subject(label="a", run=run) for run in bundle.runs()])
    assert reads == [["norm", "val/loss", "_timestamp"]]
