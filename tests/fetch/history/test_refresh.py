"""A refresh asks only for what is new, and its bundle is the one that a pull without it makes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pulling import assert_rows, pull_from, reasons
from scripted_wandb import FakeRun, Row, ScriptedWandb, asking, rows_of, shard_bytes, to_storage

from pull_logs.errors import IncompleteError, NetworkError
from pull_logs.fetch import PullReport, RunOutcome
from pull_logs.fetch.history import pieces
from pull_logs.fetch.history import refresh as refreshing
from pull_logs.fetch.history.changes import first_difference
from pull_logs.fetch.history.refresh import OVERLAP

pytestmark = pytest.mark.anyio


class Paging(ScriptedWandb):
    """A W&B whose history pages have the rows that are exported too."""

    def __init__(self, *runs: FakeRun, rows: dict[str, Sequence[Row]]) -> None:
        super().__init__(*runs)
        self.rows = rows

    def page(self, run: FakeRun, variables: Any) -> list[str]:
        return super().page(replace(run, live=list(self.rows[run.run_id])), variables)


def at(moment: int) -> dict[str, Any]:
    return {"heartbeatAt": f"2026-01-02T03:{moment:02}:00Z"}


async def refresh(server: ScriptedWandb, folder: Path, **options: Any) -> PullReport:
    """Refresh `folder/old.zip`, and compare the result with a pull without the earlier bundle."""
    server.requests.clear()
    report = await pull_from(server, folder / "new.zip", previous=folder / "old.zip", **options)
    asked, faults = list(server.requests), server.faults
    server.faults = []
    await pull_from(server, folder / "complete.zip", **options)
    server.requests, server.faults = asked, faults
    assert (folder / "new.zip").read_bytes() == (folder / "complete.zip").read_bytes()
    return report


def how(outcome: RunOutcome) -> tuple[str, int, str]:
    return outcome.how, outcome.new_rows, outcome.note


def spans(server: ScriptedWandb) -> list[tuple[int, int]]:
    """The steps that were asked for."""
    bodies = [json.loads(request.content) for request in server.requests if request.content]
    return [
        (body["variables"]["minStep"], body["variables"]["maxStep"])
        for body in bodies
        if body["operationName"] == "HistoryPage"
    ]


async def test_of_a_run_that_grew_the_new_rows_are_asked_for(tmp_path: Path) -> None:
    rows = rows_of(range(0, 30_000, 3))
    server = ScriptedWandb(FakeRun.logging("a", rows[:9000]), FakeRun.exported("b", rows[:50]))
    await pull_from(server, tmp_path / "old.zip")
    server.runs["a"] = FakeRun.logging("a", rows[:9120], extra=at(9))
    report = await refresh(server, tmp_path)
    assert [how(outcome) for outcome in report.runs] == [("appended", 120, ""), ("copied", 0, "")]
    assert (server.operations(), spans(server)) == (
        ["Runs", "HistoryPage"],
        [(3 * (9000 - OVERLAP), 3 * 9119 + 1)],
    )
    assert (report.rows_received, report.incomplete) == (120 + OVERLAP, ())


async def test_a_finished_run_whose_facts_changed_is_copied_under_the_new_ones(tmp_path: Path) -> None:
    rows = rows_of(range(40))
    events = [{"_timestamp": 1.0, "system.cpu": 2.0}]
    server = ScriptedWandb(FakeRun.exported("a", rows, events=events))
    await pull_from(server, tmp_path / "old.zip", system=True)
    server.runs["a"] = FakeRun.exported("a", rows, events=events, summary={"best": 1}, config={"lr": 2})
    report = await refresh(server, tmp_path, system=True)
    assert how(report.runs[0]) == ("copied", 0, "only its facts changed")
    assert server.operations() == ["Runs"]


async def test_where_a_run_lived_on_without_rows_its_end_is_looked_at(tmp_path: Path) -> None:
    rows = rows_of(range(40))
    server = ScriptedWandb(FakeRun.logging("a", rows))
    await pull_from(server, tmp_path / "old.zip")
    server.runs["a"] = FakeRun.logging("a", rows, extra=at(9), state="finished")
    report = await refresh(server, tmp_path)
    assert how(report.runs[0]) == ("copied", 0, "only its facts changed")
    assert (spans(server), report.rows_received) == ([(32, 40)], OVERLAP)


async def test_system_metrics_are_requested_again_where_a_run_lived_on(tmp_path: Path) -> None:
    rows, events = (
        rows_of(range(40)),
        [{"_timestamp": float(second), "system.cpu": 2.0} for second in range(9)],
    )
    server = ScriptedWandb(FakeRun.logging("a", rows, events=events[:4]))
    await pull_from(server, tmp_path / "old.zip", system=True)
    server.runs["a"] = FakeRun.logging("a", rows, events=events, extra=at(9))
    report = await refresh(server, tmp_path, system=True)
    assert how(report.runs[0]) == ("copied", 0, "")
    assert server.operations() == ["Runs", "HistoryPage", "RunFullHistory"]


async def test_what_was_merged_into_the_last_step_since_is_there(tmp_path: Path) -> None:
    rows = rows_of(range(40))
    server = ScriptedWandb(FakeRun.logging("a", rows))
    await pull_from(server, tmp_path / "old.zip")
    more: Row = {"_step": 39, "_timestamp": 1.8e9, "late": 5}
    server.runs["a"] = FakeRun.logging("a", [*rows, more], extra=at(9))
    report = await refresh(server, tmp_path)
    assert how(report.runs[0]) == ("appended", 1, "")
    assert_rows(tmp_path / "new.zip", {"a": [*rows[:-1], rows[-1] | more]})


REWRITTEN: dict[str, tuple[Callable[[list[Row]], list[Row]], str]] = {
    "rewound and went on": (
        lambda rows: [*rows[:20], *({**row, "m0": -1} for row in rows[20:])],
        "history was rewritten: step 24 differs",
    ),
    "rewound": (
        lambda rows: rows[:20],
        "history was rewritten: W&B has 20 rows up to step 19, and had 32 up to step 31",
    ),
    "a step before the old end is new": (
        lambda rows: [*rows[:7], {"_step": 7, "late": 1}, *rows[7:]],
        "history was rewritten: W&B promised 41 rows, and there are 24 before step 24 and 16 from it on",
    ),
    "a step before the old end is gone": (
        lambda rows: [*rows[:7], *rows[8:]],
        "history was rewritten: its steps before 24 differ",
    ),
    "the last row lost a key": (
        lambda rows: [*rows[:31], {"_step": 31, "_timestamp": 1.7e9 + 31, "m0": 15.5}, *rows[32:]],
        "history was rewritten: step 31 differs",
    ),
}


@pytest.mark.parametrize("case", REWRITTEN)
async def test_a_history_that_was_rewritten_is_requested_complete_and_reported(
    tmp_path: Path, case: str
) -> None:
    change, note = REWRITTEN[case]
    rows = rows_of(range(40))
    server = ScriptedWandb(FakeRun.logging("a", rows[:32]))
    await pull_from(server, tmp_path / "old.zip")
    server.runs["a"] = FakeRun.logging("a", change(rows), extra=at(9))
    report = await refresh(server, tmp_path)
    assert how(report.runs[0]) == ("complete", len(change(rows)), note)


async def test_the_end_of_a_long_exported_run_is_requested_where_pages_have_it(tmp_path: Path) -> None:
    rows = rows_of(range(9000))
    server = Paging(FakeRun.logging("a", rows[:8000]), rows={"a": rows})
    await pull_from(server, tmp_path / "old.zip")
    server.runs["a"] = FakeRun.exported("a", rows, shards=3, extra=at(9))
    report = await refresh(server, tmp_path)
    assert how(report.runs[0]) == ("appended", 1000, "")
    assert not any(map(to_storage, server.requests))
    assert report.rows_received == 1000 + OVERLAP


async def test_where_pages_have_no_exported_rows_files_are_downloaded_and_pages_not_tried_again(
    tmp_path: Path,
) -> None:
    rows = rows_of(range(9000))
    server = ScriptedWandb(*(FakeRun.logging(name, rows[:8000]) for name in "abc"))
    await pull_from(server, tmp_path / "old.zip")
    for name in "abc":
        server.runs[name] = FakeRun.exported(name, rows, extra=at(9))
    report = await refresh(server, tmp_path, concurrency=1)
    note = "its earlier rows are in exported files, which can only be downloaded completely"
    assert [how(outcome) for outcome in report.runs] == [("complete", 9000, note)] * 3
    assert sorted(server.operations()) == sorted(
        ["Runs", "HistoryPage", "HistoryPage", "GET a-0", "GET b-0", "GET c-0"]
    )


WHY_WHOLE: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "incomplete": ({"lines": 50}, {"lines": 40}, "it was incomplete"),
    "another run": (
        {},
        {"extra": {"createdAt": "2026-02-02T00:00:00"}},
        "another run has its name now",
    ),
    "no promise": ({}, {"lines": None}, "W&B does not report how many rows it has, or its last step"),
}


@pytest.mark.parametrize("case", WHY_WHOLE)
async def test_what_is_no_beginning_is_requested_complete(tmp_path: Path, case: str) -> None:
    before, after, note = WHY_WHOLE[case]
    rows = rows_of(range(40))
    server = ScriptedWandb(FakeRun.logging("a", rows, **before))
    await pull_from(server, tmp_path / "old.zip")
    server.runs["a"] = FakeRun.logging("a", rows, **after)
    report = await refresh(server, tmp_path)
    assert how(report.runs[0]) == ("complete", 40, note)


async def test_merged_lines_cannot_be_counted_again(tmp_path: Path) -> None:
    rows: list[Row] = [{"_step": step // 2, f"m{step % 2}": step} for step in range(40)]
    server = ScriptedWandb(FakeRun.logging("a", rows[:30]))
    await pull_from(server, tmp_path / "old.zip")
    server.runs["a"] = FakeRun.logging("a", rows, extra=at(9))
    report = await refresh(server, tmp_path)
    note = "it had several lines of one step, which were merged and cannot be counted again"
    assert how(report.runs[0]) == ("complete", 40, note)


async def test_a_run_that_cannot_be_requested_is_kept_as_it_was(tmp_path: Path) -> None:
    rows = rows_of(range(40))
    server = ScriptedWandb(FakeRun.logging("a", rows[:20]), FakeRun.exported("b", rows))
    await pull_from(server, tmp_path / "b.zip")
    server.runs["a"] = FakeRun.logging("a", rows, extra=at(9))
    server.faults = [lambda request: httpx.Response(500) if asking("HistoryPage")(request) else None]
    report = await pull_from(server, tmp_path / "b.zip", previous=tmp_path / "b.zip")
    assert reasons(report) == {"a": "kept as it was: api.test answered 500 (gave up after 6 attempts)"}
    assert [(outcome.how, outcome.sealed) for outcome in report.runs] == [("kept", True), ("copied", True)]
    assert_rows(tmp_path / "b.zip", {"a": rows[:20], "b": rows})
    assert not (tmp_path / "b.zip.partial").exists()
    with pytest.raises(IncompleteError):
        await pull_from(server, tmp_path / "b.zip", previous=tmp_path / "b.zip", strict=True)
    server.faults = []
    await pull_from(server, tmp_path / "b.zip", previous=tmp_path / "b.zip")
    assert_rows(tmp_path / "b.zip", {"a": rows, "b": rows})


@pytest.mark.parametrize("requests", range(1, 8))
async def test_interrupted_and_begun_again_a_refresh_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, requests: int
) -> None:
    monkeypatch.setattr(pieces, "_IN_MEMORY", 1)
    rows, other = rows_of(range(9000)), [{**row, "m0": 7} for row in rows_of(range(4000))]
    server = ScriptedWandb(*(FakeRun.logging(name, rows[:3000]) for name in "ab"))
    await pull_from(server, tmp_path / "old.zip")
    server.runs["a"] = FakeRun.logging("a", rows, extra=at(9))
    server.runs["b"] = FakeRun.logging("b", other, extra=at(9))
    server.faults = [unplugged_after(requests)]
    with suppress(NetworkError):
        await pull_from(server, tmp_path / "new.zip", previous=tmp_path / "old.zip", concurrency=1)
    server.faults = []
    report = await refresh(server, tmp_path, concurrency=1)
    assert_rows(tmp_path / "new.zip", {"a": rows, "b": other})
    assert report.incomplete == ()


def unplugged_after(requests: int) -> Callable[[httpx.Request], Exception | None]:
    left = iter(range(requests))
    return lambda _: None if next(left, None) is not None else httpx.ConnectError("unplugged")


# Whatever happens to a history


@dataclass(frozen=True)
class Life:
    """A run's history then and now, and where its rows are."""

    then: list[Row]
    now: list[Row]
    exported: int
    listed: bool
    pages_have_all: bool
    lived_on: bool

    def server(self, rows: list[Row], *, moment: int) -> ScriptedWandb:
        cut = self.exported * len(rows) // 4
        while 0 < cut < len(rows) and rows[cut]["_step"] == rows[cut - 1]["_step"]:
            cut += 1
        run = FakeRun.logging("a", rows[cut:], extra=at(moment), lines=len(rows))
        run.last_step = rows[-1]["_step"] if rows else None
        run.live_data = "listed" if self.listed else None
        run.state = "running" if rows[cut:] else "finished"
        if rows[:cut]:
            run.shards = {f"x{moment}": shard_bytes(rows[:cut])}
        return Paging(run, rows={"a": rows}) if self.pages_have_all else ScriptedWandb(run)


METRICS = {
    # Of one kind each, as in exported files.
    "a": st.sampled_from([0.0, 0.5, math.nan]),
    "b": st.sampled_from(["x", "y"]),
    "c": st.sampled_from([{"d": 1}, {"d": 2}]),
}


@st.composite
def lives(draw: st.DrawFn) -> Life:
    def more(start: int, count: int, generation: int) -> list[Row]:
        rows: list[Row] = []
        for number in range(count):
            step = start + draw(st.integers(1, 3)) if not rows or draw(st.integers(0, 7)) else start
            start = step
            row: Row = {"_step": step, "_timestamp": 100.0 * generation + number}
            row |= draw(st.fixed_dictionaries({}, optional=METRICS))
            rows.append(row)
        return rows

    then = more(draw(st.sampled_from([-1, 99])), draw(st.integers(0, 30)), 1)
    kept = draw(st.sampled_from([len(then), len(then), len(then), *range(len(then))]))
    head = then[:kept]
    start = head[-1]["_step"] if head else -1
    now = [*head, *more(start - draw(st.sampled_from([0, 0, 1])) * (kept > 0), draw(st.integers(0, 20)), 2)]
    now.sort(key=lambda row: row["_step"])
    return Life(
        then,
        now,
        exported=draw(st.integers(0, 4)),
        listed=draw(st.booleans()),
        pages_have_all=draw(st.booleans()),
        lived_on=kept < len(then) or draw(st.booleans()) or len(now) != len(then),
    )


GROWN = Life(rows_of(range(20)), rows_of(range(30)), 0, listed=True, pages_have_all=True, lived_on=True)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(life=GROWN)
@given(life=lives())
def test_whatever_happened_a_refresh_makes_the_bundle_that_a_pull_makes(
    backend: str, monkeypatch: pytest.MonkeyPatch, life: Life
) -> None:
    monkeypatch.setattr(refreshing, "LONG_HISTORY", 1)
    monkeypatch.setattr(refreshing, "OVERLAP", 3)

    async def story() -> None:
        with TemporaryDirectory() as name:
            folder = Path(name)
            await pull_from(life.server(life.then, moment=1), folder / "old.zip")
            moment = 9 if life.lived_on else 1
            await refresh(life.server(life.now, moment=moment), folder)

    anyio.run(story, backend=backend)


def test_only_the_last_row_may_have_got_more() -> None:
    old: list[Row] = [{"_step": 1, "a": 1}, {"_step": 2, "_timestamp": 5, "a": float("nan")}]
    assert first_difference(old, [old[0], {**old[1], "_timestamp": 6, "b": 2}]) is None
    assert first_difference(old, [{**old[0], "b": 1}, old[1]]) == 1
    assert first_difference(old, [old[0], {**old[1], "_timestamp": 4}]) == 2
    assert first_difference(old, [old[0]]) == 2
    assert first_difference(old, [*old, {"_step": 3}]) == 3
