"""The rows of small live runs come in few queries, or in one query each where the server refuses that."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
from scripted_wandb import SETTINGS, FakeRun, Fault, Instant, Row, ScriptedWandb, rows_of

from pull_logs.fetch import PullReport, Selection, pull
from pull_logs.snapshot import open_bundle

pytestmark = pytest.mark.anyio

LIVE = {f"live{number:02d}": rows_of(range(number, number + 30)) for number in range(25)}


def scripted(*more: FakeRun) -> ScriptedWandb:
    return ScriptedWandb(*(FakeRun.logging(run_id, rows) for run_id, rows in LIVE.items()), *more)


async def pulled(fake: ScriptedWandb, out: Path) -> PullReport:
    return await pull(
        Selection(projects=("acme/nano",)),
        out=out,
        settings=SETTINGS,
        transport=fake.transport,
        clock=Instant().clock,
    )


def rows_in(out: Path) -> dict[str, list[Row]]:
    with open_bundle(out) as bundle:
        return {run.path.run_id: list(run.scan_history()) for run in bundle.runs()}


def histories(request: httpx.Request) -> int:
    """The number of histories that a request asks for."""
    if request.url.path != "/graphql":
        return 0
    query: str = json.loads(request.content)["query"]
    return query.count("history(minStep")


def too_complex(most: int) -> Fault:
    """A server that refuses more histories than that in a query."""

    def fault(request: httpx.Request) -> httpx.Response | None:
        if histories(request) <= most:
            return None
        return httpx.Response(400, json={"errors": [{"message": "query is too complex"}]})

    return fault


async def test_small_live_runs_come_ten_in_a_query(tmp_path: Path) -> None:
    exported, large = rows_of(range(40)), rows_of(range(300))
    fake = scripted(FakeRun.exported("exported", exported), FakeRun.logging("large", large))
    report = await pulled(fake, tmp_path / "out.zip")
    assert not report.incomplete
    assert sorted(filter(None, map(histories, fake.requests))) == [1, 5, 10, 10]
    assert rows_in(tmp_path / "out.zip") == {**LIVE, "exported": exported, "large": large}


async def test_a_server_that_refuses_many_runs_is_asked_for_fewer(tmp_path: Path) -> None:
    runs = {f"live{number:03d}": rows_of(range(5)) for number in range(120)}
    fake = ScriptedWandb(*(FakeRun.logging(run_id, rows) for run_id, rows in runs.items()))
    fake.page_limit = 10
    fake.faults.append(too_complex(5))
    report = await pulled(fake, tmp_path / "out.zip")
    assert not report.incomplete
    assert rows_in(tmp_path / "out.zip") == runs
    assert sorted(filter(None, map(histories, fake.requests))) == [5] * 24 + [10]


async def test_a_server_that_refuses_any_two_runs_is_asked_for_one_at_a_time(tmp_path: Path) -> None:
    fake = scripted()
    fake.faults.append(too_complex(1))
    report = await pulled(fake, tmp_path / "out.zip")
    assert not report.incomplete
    assert sorted(filter(None, map(histories, fake.requests))) == [1] * 25 + [2, 5, 10]
    assert rows_in(tmp_path / "out.zip") == LIVE


async def test_a_run_that_fails_in_a_group_is_requested_alone(tmp_path: Path) -> None:
    fake = scripted()

    def fault(request: httpx.Request) -> httpx.Response | None:
        if histories(request) < 2:
            return None
        body = json.loads(request.content)
        answer = fake.answer("HistoryPages", body["query"], body["variables"])
        answer["project"]["r3"] = None
        error = {"message": "internal error", "path": ["project", "r3", "history"]}
        return httpx.Response(200, json={"data": answer, "errors": [error]})

    fake.faults.append(fault)
    report = await pulled(fake, tmp_path / "out.zip")
    assert not report.incomplete
    assert sorted(filter(None, map(histories, fake.requests))) == [1, 1, 1, 5, 10, 10]
    assert rows_in(tmp_path / "out.zip") == LIVE


async def test_the_bytes_are_those_of_a_pull_without_groups(tmp_path: Path) -> None:
    together, alone = scripted(), scripted()
    alone.faults.append(too_complex(1))
    await pulled(together, tmp_path / "together.zip")
    await pulled(alone, tmp_path / "alone.zip")
    assert (tmp_path / "together.zip").read_bytes() == (tmp_path / "alone.zip").read_bytes()
