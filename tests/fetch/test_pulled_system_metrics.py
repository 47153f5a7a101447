"""System metrics in a pull: requested, requested again where they may be a sample, and reported."""

from __future__ import annotations

from pathlib import Path

import pytest
from pulling import pull_from, reasons
from scripted_wandb import (
    FakeRun,
    ScriptedWandb,
    rows_of,
)

from pull_logs.fetch.history import system_rows
from pull_logs.snapshot import open_bundle

pytestmark = pytest.mark.anyio


async def test_system_metrics_come_along_when_asked_for(tmp_path: Path) -> None:
    events = [{"_timestamp": 2.0, "system.cpu": 5}, {"_timestamp": 1.0, "system.cpu": 4.5}]
    server = ScriptedWandb(FakeRun.exported("a", rows_of(range(2)), events=events))
    await pull_from(server, tmp_path / "b.zip", system=True)
    with open_bundle(tmp_path / "b.zip") as bundle:
        assert list(bundle["acme/nano/a"].system_rows()) == events[::-1]


async def test_system_metrics_that_may_have_been_sampled_are_requested_again(tmp_path: Path) -> None:
    events = [{"_timestamp": float(second), "system.cpu": second} for second in range(10_001)]
    server = ScriptedWandb(FakeRun.exported("a", rows_of(range(2)), events=events))
    await pull_from(server, tmp_path / "b.zip", system=True)
    with open_bundle(tmp_path / "b.zip") as bundle:
        assert list(bundle["acme/nano/a"].system_rows()) == events
    assert server.count("RunFullHistory") == 2


async def test_system_metrics_beyond_the_most_that_are_requested_are_reported_as_a_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system_rows, "SYSTEM_SAMPLES", 10)
    monkeypatch.setattr(system_rows, "MOST_SYSTEM_SAMPLES", 1_000)
    rows = rows_of(range(2))
    events = [{"_timestamp": float(second), "system.cpu": second} for second in range(1_001)]
    server = ScriptedWandb(
        FakeRun.exported("over", rows, events=events),
        FakeRun.exported("all", rows, events=events[:999]),
        FakeRun.exported("none", rows),
    )
    report = await pull_from(server, tmp_path / "b.zip", system=True)
    reason = "the system metrics may be a sample: 1,000 rows arrived, the most that are requested"
    assert reasons(report) == {"over": reason}
    assert server.count("RunFullHistory") == 3 + 3 + 1
    with open_bundle(tmp_path / "b.zip") as bundle:
        assert list(bundle["acme/nano/over"].system_rows()) == events[:1_000]
        assert list(bundle["acme/nano/all"].system_rows()) == events[:999]
        assert (bundle["over"].coverage.complete, bundle["over"].coverage.reason) == (False, reason)
    # A run that was not complete is read completely again, and what is missing is reported again.
    server.runs["over"] = FakeRun.exported("over", rows, events=events[:900])
    again = await pull_from(server, tmp_path / "c.zip", previous=tmp_path / "b.zip", system=True)
    assert reasons(again) == {}


async def test_a_refresh_reports_system_metrics_that_became_a_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system_rows, "SYSTEM_SAMPLES", 10)
    monkeypatch.setattr(system_rows, "MOST_SYSTEM_SAMPLES", 100)
    rows = rows_of(range(40))
    events = [{"_timestamp": float(second), "system.cpu": second} for second in range(101)]
    server = ScriptedWandb(FakeRun.logging("a", rows[:30], events=events[:99]))
    report = await pull_from(server, tmp_path / "a.zip", system=True)
    assert reasons(report) == {}
    later = {"heartbeatAt": "2026-01-02T03:09:00Z"}
    server.runs["a"] = FakeRun.logging("a", rows, events=events, extra=later)
    report = await pull_from(server, tmp_path / "b.zip", previous=tmp_path / "a.zip", system=True)
    assert report.runs[0].how == "appended"
    assert reasons(report) == {
        "a": "the system metrics may be a sample: 100 rows arrived, the most that are requested"
    }
