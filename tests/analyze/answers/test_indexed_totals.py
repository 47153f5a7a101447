"""Totals that are added up from the columns of an index are those that are added up run by run."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundlekit import bundle_run, make_bundle
from checkout import RECORDED
from fakeruns import in_brief
from hypothesis import given, settings
from hypothesis import strategies as st
from rowkit import calm_rows, canonical, nasty_rows

from pull_logs.analyze import Subject, overview
from pull_logs.analyze.answers.indexed import judged_metrics
from pull_logs.analyze.health import can_have_flags
from pull_logs.analyze.statistics import MetricTotalsBuilder
from pull_logs.errors import MetricNotFoundError
from pull_logs.frames import MetricColumns, MetricFacts
from pull_logs.runs import Coverage
from pull_logs.snapshot.format import metrics_table
from pull_logs.snapshot.read.bundle import open_bundle
from pull_logs.snapshot.read.run import Run

histories = st.lists(st.tuples(nasty_rows | calm_rows, st.booleans()), min_size=1, max_size=5)


def outcome(runs: list[Run], select: str | None) -> str:
    subjects = [Subject(run=run, label=f"{number}") for number, run in enumerate(runs)]
    try:
        return repr(overview(subjects, select=select))
    except MetricNotFoundError as error:
        return repr(error)


def both(runs: list[Run], select: str | None = None) -> tuple[str, str]:
    """The overview from the columns of the index, and from one run of it after the other."""
    found = outcome(runs, select)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "index_entry", lambda _: None)
        return found, outcome(runs, select)


def history(number: int, rows: list[dict[str, Any]], *, complete: bool) -> Any:
    rows = canonical(rows)
    last = rows[-1]["_step"] if rows else None
    promised = Coverage(
        promised_rows=len(rows) + 3,
        received_rows=len(rows),
        received_last_step=last,
        complete=False,
        reason="3 rows did not arrive",
    )
    return bundle_run(f"acme/nano/r{number}", rows, coverage=None if complete else promised)


def write(path: Path, runs: list[tuple[list[dict[str, Any]], bool]], group_rows: int) -> None:
    """Write a bundle whose index has row groups of this size."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics_table, "GROUP_ROWS", group_rows)
        make_bundle(
            path, [history(number, rows, complete=whole) for number, (rows, whole) in enumerate(runs)]
        )


@given(histories, st.integers(1, 40), st.none() | st.sampled_from(["a", "s", "^_", "é|k"]), st.data())
def test_the_overview_is_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    runs: list[tuple[list[dict[str, Any]], bool]],
    group_rows: int,
    select: str | None,
    data: st.DataObject,
) -> None:
    path = tmp_path_factory.mktemp("bundle") / "a.wandb.zip"
    write(path, runs, group_rows)
    with open_bundle(path) as bundle, open_bundle(RECORDED) as other:
        known = [*bundle.runs(), *islice(other.runs(), 2)]
        chosen = data.draw(st.lists(st.sampled_from(known), min_size=1, max_size=8))
        found, expected = both(chosen, select)
    assert found == expected


@given(histories, st.integers(1, 40))
def test_facts_in_brief_are_those_in_full(
    tmp_path_factory: pytest.TempPathFactory,
    runs: list[tuple[list[dict[str, Any]], bool]],
    group_rows: int,
) -> None:
    path = tmp_path_factory.mktemp("bundle") / "a.wandb.zip"
    write(path, runs, group_rows)
    with open_bundle(path) as bundle:
        for run in bundle.runs():
            full = run.indexed_facts()
            assert full
            assert repr(run.indexed_facts(brief=True)) == repr(list(map(in_brief, full)))


JUDGED = st.sampled_from(
    ["train/loss", "val/acc", "grad_norm", "lr", "it/s", "step_time", "epoch", "Infinity"]
)
CELLS = (
    st.floats() | st.sampled_from([1.0, 20.0, 0, -3, 2**53 + 1, -(2**70), "NaN", "x", None, True]) | st.none()
)
columns = st.dictionaries(JUDGED, st.lists(CELLS, min_size=7, max_size=7) | st.just([1.0] * 7), max_size=5)


@given(st.lists(columns, min_size=1, max_size=4), st.integers(1, 12))
@settings(max_examples=60)
def test_the_metrics_that_are_judged_are_those_that_can_have_flags(
    tmp_path_factory: pytest.TempPathFactory, runs: list[dict[str, list[Any]]], group_rows: int
) -> None:
    path = tmp_path_factory.mktemp("bundle") / "a.wandb.zip"
    tables = [
        [{"_step": n} | {key: cells[n] for key, cells in run.items()} for n in range(7)] for run in runs
    ]
    write(path, [(rows, True) for rows in tables], group_rows)
    with open_bundle(path) as bundle:
        known = list(bundle.runs())
        facts = [{one.name: one for one in run.indexed_facts() or ()} for run in known]
        found = judged_metrics(known, range(len(known)), frozenset(name for one in facts for name in one))
        expected = [{name for name, one in run.items() if can_have_flags(one)} for run in facts]
    assert [found[position] for position in range(len(known))] == expected


@pytest.mark.parametrize("select", [None, "loss", "^_"])
def test_the_overview_of_recorded_runs_is_the_same(select: str | None) -> None:
    with open_bundle(RECORDED) as bundle:
        found, expected = both(list(bundle.runs()), select)
    assert found == expected


def test_no_facts_of_one_run_are_decoded_where_findings_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    class Healthy:
        def find_all(self, identities: Iterable[object]) -> list[tuple[()]]:
            asked = list(identities)
            assert len(asked) == len(set(asked))
            return [()] * len(asked)

        def keep(self, identity: object, found: object) -> None:
            pytest.fail(f"{found} of {identity} is known")

    monkeypatch.setattr(Run, "indexed_facts", lambda *_: pytest.fail("the facts of one run were read"))
    with open_bundle(RECORDED) as bundle:
        runs = [Subject(run=run, label=run.path.run_id) for run in bundle.runs()]
        assert overview(runs, known=Healthy())["totals"]["healthy"] == len(runs)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 2**63 - 1), st.integers(0, 2**62))))
def test_counts_of_any_size_are_added_exactly(rows: list[tuple[str, int, int]]) -> None:
    each, together = MetricTotalsBuilder("ab"), MetricTotalsBuilder("ab")
    for name, cells, nonfinite in rows:
        each.add(
            name, MetricFacts(type="int", cells=cells, nonfinite=nonfinite, first_step=cells, last_step=cells)
        )
    counts, others = (np.array([row[of] for row in rows], np.int64) for of in (1, 2))
    names = np.array(["ab".index(row[0]) for row in rows], np.int64)
    zeros = np.zeros(len(rows))
    together.add_columns(
        MetricColumns(
            names="ab",
            name=names,
            types=["int"],
            type=zeros.astype(np.int64),
            cells=counts,
            nonfinite=others,
            first_step=counts,
            last_step=counts,
            last_finite=zeros,
            has_finite=zeros.astype(np.bool_),
        )
    )
    assert repr(together.totals()) == repr(each.totals())
