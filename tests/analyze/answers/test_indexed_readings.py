"""Comparisons from the columns of an index are those that read it run by run."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from bundlekit import bundle_run, make_bundle
from checkout import RECORDED
from hypothesis import example, given
from hypothesis import strategies as st
from rowkit import calm_rows, canonical, nasty_rows

from pull_logs.analyze import CompareAnswer, Subject, View, answer
from pull_logs.analyze.answers import Comparison, compare_runs
from pull_logs.analyze.answers.indexed import MetricCells, RunValues
from pull_logs.analyze.questions import Position
from pull_logs.analyze.statistics import Criterion
from pull_logs.errors import ExpressionError, MetricNotFoundError, UnknownNameError
from pull_logs.snapshot.format import metrics_table
from pull_logs.snapshot.read.bundle import open_bundle
from pull_logs.snapshot.read.run import Run

histories = st.lists(nasty_rows | calm_rows, min_size=1, max_size=4)
numeric_rows = st.lists(
    st.dictionaries(
        st.sampled_from(["a", "s", "b"]),
        st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False),
    ),
    max_size=4,
).map(lambda rows: [{"_step": step, **row} for step, row in enumerate(rows)])


def outcome(runs: list[Run], options: Comparison) -> str:
    subjects = [Subject(run=run, label=f"{number}") for number, run in enumerate(runs)]
    try:
        found = compare_runs(subjects, options)
        if options.on_request:
            check_cells(found)
        return repr(found)
    except (MetricNotFoundError, ExpressionError, UnknownNameError) as error:
        return repr((error.message, error.hint))


def check_cells(found: CompareAnswer) -> None:
    """Check that values by run are the same as a column of cells."""
    labels = [run["label"] for run in found["runs"]]
    for entry in found["comparison"]:
        for values in (value for value in entry.values() if isinstance(value, RunValues)):
            cells = values.listed(labels)
            assert repr([*cells]) == repr([values.plain.get(label) for label in labels])
            assert repr([cells[index] for index in range(len(labels))]) == repr(cells[:])
            assert bool(values) is bool(values.plain)
            assert isinstance(cells, MetricCells)
            assert cells.texts == [cell for cell in cells if isinstance(cell, str)]


def ways(runs: list[Run], options: Comparison) -> list[str]:
    """The comparison from the columns of the index, from one run of it after the other, and without it."""
    found = [outcome(runs, options)]
    assert outcome(runs, replace(options, on_request=True)) == found[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "index_entry", lambda _: None)
        found.append(outcome(runs, options))
        patch.setattr(Run, "indexed_names", lambda _: None)
        patch.setattr(Run, "indexed_facts", lambda *_, **__: None)
        found.append(outcome(runs, options))
    return found


def write(path: Path, runs: list[list[dict[str, Any]]], group_rows: int) -> None:
    """Write a bundle whose index has row groups of this size."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics_table, "GROUP_ROWS", group_rows)
        make_bundle(
            path, [bundle_run(f"acme/nano/r{number}", canonical(rows)) for number, rows in enumerate(runs)]
        )


@given(histories, st.integers(1, 40), st.none() | st.sampled_from(["a", "s", "^_", "é|k"]), st.data())
@example(
    [[{"_step": 0, "a": 2**53 + 1}, {"_step": 1, "a": "b"}], [{"_step": 3, "a": float("nan")}]],
    40,
    None,
    None,
)
def test_the_comparison_is_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    runs: list[list[dict[str, Any]]],
    group_rows: int,
    select: str | None,
    data: st.DataObject | None,
) -> None:
    path = tmp_path_factory.mktemp("bundle") / "a.wandb.zip"
    write(path, runs, group_rows)
    with open_bundle(path) as bundle, open_bundle(RECORDED) as other:
        known = [*bundle.runs(), *islice(other.runs(), 2)]
        chosen = (
            known if data is None else data.draw(st.lists(st.sampled_from(known), min_size=1, max_size=6))
        )
        first, *others = ways(chosen, Comparison(select=select))
    assert others == [first, first]


@given(histories, st.integers(1, 40), st.data())
def test_what_is_asserted_is_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    runs: list[list[dict[str, Any]]],
    group_rows: int,
    data: st.DataObject,
) -> None:
    path = tmp_path_factory.mktemp("bundle") / "a.wandb.zip"
    write(path, runs, group_rows)
    names = sorted({"_step"}.union(*(row for rows in runs for row in rows)))
    quoted = st.sampled_from([f"`{name.replace('`', '``')}`" for name in names])
    texts = st.builds(
        "{} {}".format,
        quoted,
        st.sampled_from(["< 1", "== 9007199254740993", "> -1e9", "is missing", "!= true"]),
    )
    pairs = st.builds("{} + {} >= 0".format, quoted, quoted)
    asserts = tuple(data.draw(st.lists(texts | pairs, min_size=1, max_size=3)))
    with open_bundle(path) as bundle:
        first, *others = ways(list(bundle.runs()), Comparison(asserts=asserts))
    assert others == [first, first]


@pytest.mark.parametrize(
    "options",
    [
        Comparison(),
        Comparison(best=Criterion.parse("val/loss:min"), top=3),
        Comparison(best=Criterion.parse("val/loss:min"), at=Position.parse("best"), select="."),
        Comparison(group_by=("config.lr",), best=Criterion.parse("val/loss:min")),
        Comparison(select="acc", asserts=("val/loss < 1", "config.lr > 0")),
    ],
)
def test_the_comparison_of_recorded_runs_is_the_same(options: Comparison) -> None:
    with open_bundle(RECORDED) as bundle:
        first, *others = ways(list(bundle.runs()), options)
    assert others == [first, first]


def test_no_facts_of_one_run_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Run, "indexed_facts", lambda *_, **__: pytest.fail("the facts of one run were read"))
    with open_bundle(RECORDED) as bundle:
        runs = [Subject(run=run, label=run.path.run_id) for run in bundle.runs()]
        assert compare_runs(runs, Comparison())["comparison"]


def test_an_answer_is_strict_json_unless_its_values_are_made_on_request() -> None:
    with open_bundle(RECORDED) as bundle:
        runs = [Subject(run=run, label=run.path.run_id) for run in bundle.runs()]
        plain, lazy = (compare_runs(runs, Comparison(on_request=lazy)) for lazy in (False, True))
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain == lazy
    assert isinstance(lazy["comparison"][0]["value"], RunValues)


@given(st.lists(calm_rows | numeric_rows, min_size=1, max_size=4), st.integers(1, 40), st.booleans())
@example([[{"_step": 0, "a": 2**53 + 1}, {"_step": 1, "a": 1.0}], [{"_step": 3}]], 40, False)
def test_how_metrics_ended_is_the_same_whether_it_is_made_when_it_is_used(
    tmp_path_factory: pytest.TempPathFactory,
    runs: list[list[dict[str, Any]]],
    group_rows: int,
    twice: bool,  # noqa: FBT001 - an argument of a law
) -> None:
    path = tmp_path_factory.mktemp("bundle") / "a.wandb.zip"
    write(path, runs, group_rows)
    with open_bundle(path) as bundle:
        opened = [*bundle.runs(), *(bundle.runs() if twice else ())]
        subjects = [Subject(run=run, label=f"{number}") for number, run in enumerate(opened)]
        lazy, plain = (answer(subjects, View(human=True, on_request=lazy)) for lazy in (True, False))
        assert repr(lazy) == repr(plain)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Run, "index_entry", lambda _: None)
            patch.setattr(Run, "indexed_names", lambda _: None)
            patch.setattr(Run, "indexed_facts", lambda *_, **__: None)
            assert repr(answer(subjects, View(human=True))) == repr(plain)
