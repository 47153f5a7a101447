"""Findings are kept from one look to the next; a cache that cannot be used changes only the time."""

from __future__ import annotations

import hashlib
import importlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from checkout import RECORDED, ROOT
from hypothesis import given
from hypothesis import strategies as st

import pull_logs
from pull_logs.analyze.answers import Identity
from pull_logs.analyze.answers import overview as summarize
from pull_logs.analyze.health import DEFINITIONS, FLAGS, HealthFinding
from pull_logs.fetch import cache_size, default_folder
from pull_logs.interface.known_findings import FILE, known_findings
from pull_logs.snapshot.read.run import Run

findings = st.lists(
    st.builds(
        HealthFinding,
        flag=st.sampled_from(FLAGS),
        step=st.none() | st.integers(0, 2**62),
        metric=st.none() | st.text(max_size=5),
        message=st.text(max_size=5),
        metrics=st.integers(1, 9),
    ),
    max_size=3,
).map(tuple)
texts = st.lists(st.none() | st.text(max_size=3), max_size=3).map(tuple)
identities = st.builds(Identity, texts, st.lists(st.text(max_size=3), max_size=3).map(tuple))


@given(st.dictionaries(identities, findings, max_size=4), identities)
def test_findings_are_those_that_were_kept(
    tmp_path_factory: pytest.TempPathFactory, kept: dict[Any, Any], other: Identity
) -> None:
    folder = tmp_path_factory.mktemp("cache")
    with known_findings(folder) as known:
        for identity, found in kept.items():
            known.keep(identity, found)
    with known_findings(folder) as known:
        assert known.find_all([*kept]) == [*kept.values()]
        assert known.find_all([other]) == [kept.get(other)]


@pytest.mark.parametrize("count", [899, 900, 901, 2_000])
def test_the_findings_of_very_many_runs_are_found_with_a_few_queries(tmp_path: Path, count: int) -> None:
    runs = [Identity((str(number),), ("loss",)) for number in range(count)]
    with known_findings(tmp_path) as known:
        for run in runs[::2]:
            known.keep(run, ())
    with known_findings(tmp_path) as known:
        assert known.find_all(runs) == [() if number % 2 == 0 else None for number in range(count)]


@pytest.fixture
def histories_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    read: list[str] = []

    def count(method: str) -> None:
        original = getattr(Run, method)

        def counted(run: Run, *arguments: Any, **options: Any) -> Any:
            read.append(str(run.path))
            return original(run, *arguments, **options)

        monkeypatch.setattr(Run, method, counted)

    count("table")
    count("number_columns")
    return read


def test_the_second_overview_opens_no_history_and_says_the_same(histories_read: list[str]) -> None:
    first = pull_logs.overview(RECORDED)
    assert len(set(histories_read)) == 16
    histories_read.clear()
    assert pull_logs.overview(RECORDED) == first
    assert histories_read == []
    assert cache_size(default_folder()).files == 1


def test_other_definitions_are_not_answered_with_old_findings(
    histories_read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pull_logs.overview(RECORDED)
    histories_read.clear()
    monkeypatch.setattr(importlib.import_module("pull_logs.analyze.answers.overview"), "DEFINITIONS", "other")
    pull_logs.overview(RECORDED)
    assert len(set(histories_read)) == 16


def test_other_metrics_are_not_answered_with_the_findings_of_all(histories_read: list[str]) -> None:
    pull_logs.overview(RECORDED)
    histories_read.clear()
    selected = pull_logs.overview(RECORDED, select="^val/")
    assert len(set(histories_read)) == 16
    assert {found["metric"] for entry in selected["health"] for found in entry["found"]} <= {
        None, "val/acc", "val/loss", "val/per_digit", "val/worst_digit"
    }  # fmt: skip


def test_a_change_of_the_definitions_needs_a_new_version() -> None:
    """Old findings must not be shown under new definitions: raise `DEFINITIONS`, then put the hash here."""
    page = (ROOT / "docs" / "health.md").read_text().split("## ")[0]
    assert (DEFINITIONS, hashlib.sha256(page.encode()).hexdigest()[:16]) == ("3", "159633d31850e9c7")


@pytest.mark.parametrize("content", [b"not a database", b"SQLite format 3\0" + b"x" * 200])
def test_a_cache_that_is_not_a_database_is_left_alone(content: bytes) -> None:
    folder = default_folder()
    folder.mkdir(parents=True)
    (folder / FILE).write_bytes(content)
    assert pull_logs.overview(RECORDED)["totals"]["runs"] == 16
    assert (folder / FILE).read_bytes() == content


def test_a_finding_that_cannot_be_read_is_made_again() -> None:
    first = pull_logs.overview(RECORDED)
    with sqlite3.connect(default_folder() / FILE) as database:
        database.execute("UPDATE findings SET found = '[[1]]'")
    database.close()
    assert pull_logs.overview(RECORDED) == first


def test_a_cache_folder_that_cannot_be_made_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert pull_logs.overview(RECORDED)["totals"]["runs"] == 16


def test_only_the_newest_findings_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pull_logs.interface.known_findings.MOST_KEPT", 2)
    for name in "abc":
        with known_findings(tmp_path) as known:
            known.keep(Identity((name,), ()), ())
    with known_findings(tmp_path) as known:
        assert known.find_all([Identity((name,), ()) for name in "abc"]) == [None, (), ()]


def test_the_function_without_a_cache_reads_every_history(histories_read: list[str]) -> None:
    from pull_logs.interface import Sources, open_subjects

    with open_subjects(Sources(bundles=(RECORDED,)), report=pytest.fail) as subjects:
        first, reads = summarize(subjects), len(histories_read)
        assert summarize(subjects) == first
    assert len(histories_read) == 2 * reads > 0
