"""Statistics are kept from one look to the next; a cache that cannot be used changes only the time."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from typing import Any

import numpy as np
import pytest
from checkout import RECORDED

from pull_logs.analyze import View, answer
from pull_logs.analyze.answers import Identity
from pull_logs.analyze.statistics import STATISTICS, STATISTICS_DEFINITIONS, describe_all
from pull_logs.fetch import cache_size, default_folder
from pull_logs.frames import Column
from pull_logs.interface import Sources, keeping_statistics, open_subjects
from pull_logs.interface.known_statistics import FILE
from pull_logs.snapshot.read.run import Run

READER = "pull_logs.analyze.answers.readings.statistics_reader"


@pytest.fixture(autouse=True)
def keeps_statistics_of_few_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{READER}._FEWEST_ROWS", 0)


@pytest.fixture
def histories_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    read: list[str] = []
    for method in ("arrow_table", "number_columns"):
        original = getattr(Run, method)

        def counted(run: Run, *arguments: Any, original: Any = original, **options: Any) -> Any:
            read.append(str(run.path))
            return original(run, *arguments, **options)

        monkeypatch.setattr(Run, method, counted)
    return read


def statistics(*, cached: bool = True, **options: Any) -> dict[str, Any]:
    with open_subjects(Sources(bundles=(RECORDED,)), report=pytest.fail) as subjects:
        view = View(stats=True, **options)
        if not cached:
            return dict(answer(subjects, view)["stats"])
        with keeping_statistics() as known:
            found = answer(subjects, view, known=known)["stats"]
            return {run: {name: dict(one) for name, one in entries.items()} for run, entries in found.items()}


@pytest.mark.parametrize("quantiles", [(), (50.0, 99.0)])
def test_the_second_look_opens_no_history_and_says_the_same(
    histories_read: list[str], quantiles: tuple[float, ...]
) -> None:
    plain = statistics(cached=False, quantiles=quantiles)
    assert statistics(quantiles=quantiles) == plain
    histories_read.clear()
    again = statistics(quantiles=quantiles), statistics(quantiles=quantiles, on_request=True, unfold=True)
    assert again == (plain, plain)
    assert json.dumps(again[0]) == json.dumps(plain)
    assert histories_read == []
    assert cache_size(default_folder()).files == 1


def test_other_metrics_percentiles_and_definitions_are_computed(
    histories_read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    statistics()
    for options in ({"select": "^val/"}, {"quantiles": (50.0,)}):
        histories_read.clear()
        assert statistics(**options) == statistics(cached=False, **options)
        assert len(set(histories_read)) == 16
    monkeypatch.setattr(f"{READER}.STATISTICS_DEFINITIONS", "other")
    histories_read.clear()
    statistics()
    assert len(set(histories_read)) == 16


@pytest.mark.parametrize("damage", ["found || ' '", "'{}'", "'00000000 {}'", "replace(found, '0', '1')"])
def test_statistics_that_cannot_be_read_are_computed_again(damage: str) -> None:
    first = statistics()
    with sqlite3.connect(default_folder() / FILE) as database:
        database.execute(f"UPDATE statistics SET found = {damage}")
    database.close()
    assert statistics() == first


def test_a_cache_that_is_not_a_database_is_left_alone() -> None:
    default_folder().mkdir(parents=True)
    (default_folder() / FILE).write_bytes(b"not a database")
    assert statistics() == statistics(cached=False)
    assert (default_folder() / FILE).read_bytes() == b"not a database"


def test_two_looks_at_once_keep_what_both_found() -> None:
    ones, others = Identity(("a",), ()), Identity(("b",), ())
    with keeping_statistics() as here, keeping_statistics() as there:
        assert here.find(ones, STATISTICS) is there.find(others, STATISTICS) is None
        here.keep(ones, {})
        there.keep(others, {})
    with keeping_statistics() as known:
        assert [known.find(one, STATISTICS) for one in (ones, others)] == [{}, {}]


def test_only_the_newest_and_short_statistics_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pull_logs.interface.known_statistics.MOST_KEPT", 2)
    monkeypatch.setattr("pull_logs.interface.known_statistics._WRITTEN_AT_ONCE", 1)
    (found,) = describe({"loss": np.arange(3.0)})
    with keeping_statistics() as known:
        for name in "abc":
            known.keep(Identity((name,), ()), {"loss": found})
    monkeypatch.setattr("pull_logs.interface.known_statistics.MOST_CHARACTERS", 50)
    with keeping_statistics() as known:
        known.keep(Identity(("long",), ()), {"loss": found})
    with keeping_statistics() as known:
        kept = [known.find(Identity((name,), ()), STATISTICS) for name in ("a", "b", "c", "long")]
    assert kept == [None, {"loss": found}, {"loss": found}, None]


def test_a_view_of_few_rows_does_not_open_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{READER}._FEWEST_ROWS", 1 << 17)
    statistics()
    assert not default_folder().exists()


def describe(metrics: dict[str, Any]) -> list[Any]:
    columns = {name: Column.from_cells(cells.tolist()) for name, cells in metrics.items()}
    return list(describe_all(columns, np.arange(len(next(iter(metrics.values()))))).values())


def test_a_change_of_the_definitions_needs_a_new_version() -> None:
    """Old statistics must not be shown under new definitions: raise the version, then put the hash here."""
    values = np.arange(120).reshape(3, 40) * 37 % 41 / 4
    values[1, 5], values[2, ::2] = np.nan, 7
    found = json.dumps(describe({str(row): cells for row, cells in enumerate(values)}))
    assert (STATISTICS_DEFINITIONS, hashlib.sha256(found.encode()).hexdigest()[:16]) == (
        "1",
        "d977fa5e36d52f05",
    )
