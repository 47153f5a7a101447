"""Which runs a pull finds: of projects, sweeps, filters, by name, and where a listing is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from pulling import assert_rows, named, pull_from, reasons
from scripted_wandb import (
    SETTINGS,
    FakeRun,
    ScriptedWandb,
    asking,
    rows_of,
)

from pull_logs.errors import (
    IncompleteError,
    ProjectNotFoundError,
    RunNotFoundError,
    UsageError,
)
from pull_logs.fetch import RunFilter, Selection
from pull_logs.fetch.api.settings import Settings
from pull_logs.runs import RunReference

pytestmark = pytest.mark.anyio


async def test_a_project_that_is_not_there_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(ProjectNotFoundError) as caught:
        await pull_from(ScriptedWandb(), tmp_path / "b.zip", Selection(projects=("acme/nanoo",)))
    assert str(caught.value) == (
        "project 'acme/nanoo' does not exist, or this key has no access to it;"
        " check the spelling, and which account the key belongs to"
    )
    assert not any((tmp_path / name).exists() for name in ("b.zip", "b.zip.partial"))


async def test_a_run_that_is_not_there_reports_how_to_list_them(tmp_path: Path) -> None:
    with pytest.raises(RunNotFoundError) as caught:
        await pull_from(ScriptedWandb(), tmp_path / "b.zip", named("nope"))
    assert str(caught.value) == (
        "run 'acme/nano/nope' does not exist; `pull-logs overview -p acme/nano` lists the project's runs"
    )


async def test_named_runs_are_requested_together_and_missing_ones_are_reported(tmp_path: Path) -> None:
    truth = {f"r{number}": rows_of(range(3)) for number in range(45)}
    server = ScriptedWandb(*(FakeRun.exported(run_id, rows) for run_id, rows in truth.items()))
    report = await pull_from(server, tmp_path / "b.zip", named(*truth, "nope", "r1"))
    assert_rows(tmp_path / "b.zip", truth)
    assert (server.count("NamedRuns"), reasons(report)) == (
        3,
        {"nope": "run 'acme/nano/nope' does not exist"},
    )


async def test_an_empty_project_is_said_to_be_one(tmp_path: Path) -> None:
    with pytest.raises(RunNotFoundError) as caught:
        await pull_from(ScriptedWandb(), tmp_path / "b.zip")
    assert str(caught.value) == "there is no run to pull; check the project, the sweep and the filter"


async def test_where_nothing_can_be_pulled_the_first_reason_is_reported(tmp_path: Path) -> None:
    server = ScriptedWandb()
    with pytest.raises(IncompleteError) as caught:
        await pull_from(server, tmp_path / "b.zip", named("a", "b"))
    assert str(caught.value) == (
        "none of 2 runs could be pulled; the first, acme/nano/a: run 'acme/nano/a' does not exist;"
        " `pull-logs overview -p acme/nano` lists the project's runs"
    )


async def test_a_server_that_refuses_batches_is_asked_as_the_sdk_asks(tmp_path: Path) -> None:
    truth = {f"r{number}": rows_of(range(3)) for number in range(25)}
    server = ScriptedWandb(*(FakeRun.exported(run_id, rows) for run_id, rows in truth.items()))
    server.refused_fields = ("r1:",)
    await pull_from(server, tmp_path / "b.zip", named(*truth))
    assert_rows(tmp_path / "b.zip", truth)
    assert server.count("NamedRuns") <= 2
    assert (server.count("Run"), server.count("RunParquetHistory")) == (25, 25)


async def test_a_server_that_refuses_exports_in_a_listing_is_requested_them_run_by_run(
    tmp_path: Path,
) -> None:
    truth = {f"r{number}": rows_of(range(3)) for number in range(4)}
    server = ScriptedWandb(*(FakeRun.exported(run_id, rows) for run_id, rows in truth.items()))
    server.refused_fields = ('parquetHistory(liveKeys: ["_step"])',)
    await pull_from(server, tmp_path / "b.zip")
    assert_rows(tmp_path / "b.zip", truth)
    assert (server.count("Runs"), server.count("RunParquetHistory")) == (2, 4)


async def test_a_page_that_is_too_heavy_is_made_smaller(tmp_path: Path) -> None:
    truth = {f"r{number}": rows_of(range(2)) for number in range(30)}
    server = ScriptedWandb(*(FakeRun.exported(run_id, rows) for run_id, rows in truth.items()))

    def slow(request: httpx.Request) -> Exception | None:
        heavy = asking("Runs")(request) and json.loads(request.content)["variables"]["perPage"] > 10
        return httpx.ReadTimeout("slow") if heavy else None

    server.faults = [slow]
    report = await pull_from(server, tmp_path / "b.zip")
    assert_rows(tmp_path / "b.zip", truth)
    assert report.incomplete == ()


async def test_a_listing_that_repeats_runs_gives_each_once(tmp_path: Path) -> None:
    rows = rows_of(range(2))
    server = ScriptedWandb(*(FakeRun.exported(f"r{number}", rows) for number in range(6)))
    server.page_limit = 2
    plain = server.listing

    def repeating(query: str, variables: Any) -> dict[str, Any]:
        page = plain(query, variables)
        page["runs"]["edges"].insert(0, {"node": server.node("r0", query), "cursor": "0"})
        return page

    server.listing = repeating  # type: ignore[method-assign]
    report = await pull_from(server, tmp_path / "b.zip")
    assert_rows(tmp_path / "b.zip", {f"r{number}": rows for number in range(6)})
    assert len(report.runs) == 6


async def test_a_run_whose_part_of_a_page_failed_is_requested_alone(tmp_path: Path) -> None:
    rows = rows_of(range(2))
    server = ScriptedWandb(FakeRun.exported("a", rows), FakeRun.exported("b", rows))
    plain = server.handle

    def handle(request: httpx.Request) -> httpx.Response:
        answer = plain(request)
        if asking("Runs")(request):
            body = json.loads(answer.content)
            body["data"]["project"]["runs"]["edges"][1]["node"]["parquetHistory"] = None
            body["errors"] = [
                {"message": "boom", "path": ["project", "runs", "edges", 1, "node", "parquetHistory"]}
            ]
            return httpx.Response(200, json=body)
        return answer

    server.handle = handle  # type: ignore[method-assign]
    report = await pull_from(server, tmp_path / "b.zip")
    assert_rows(tmp_path / "b.zip", {"a": rows, "b": rows})
    assert (report.incomplete, server.count("Run")) == ((), 1)


async def test_a_sweep_is_its_runs(tmp_path: Path) -> None:
    rows = rows_of(range(2))
    server = ScriptedWandb(FakeRun.exported("a", rows, sweep="s1"), FakeRun.exported("b", rows, sweep="s2"))
    await pull_from(server, tmp_path / "b.zip", Selection(sweeps=("acme/nano/s1",)))
    assert_rows(tmp_path / "b.zip", {"a": rows})
    with pytest.raises(RunNotFoundError) as caught:
        await pull_from(server, tmp_path / "c.zip", Selection(sweeps=("acme/nano/s9",)))
    assert str(caught.value) == "sweep acme/nano/s9 has no runs, or does not exist; check the sweep's id"


async def test_a_filter_is_given_to_the_server_and_applied_again(tmp_path: Path) -> None:
    rows = rows_of(range(2))
    server = ScriptedWandb(
        FakeRun.exported("a", rows, config={"lr": 1}), FakeRun.exported("b", rows, config={"lr": 2})
    )
    kept = RunFilter(
        text="config.lr == 2",
        holds=lambda info: info.config["lr"] == 2,
        prefilter={"config.lr.value": {"$lte": 2}},
    )
    await pull_from(server, tmp_path / "b.zip", Selection(projects=("acme/nano",), filter=kept))
    assert_rows(tmp_path / "b.zip", {"b": rows})
    assert json.loads(json.loads(server.requests[0].content)["variables"]["filters"]) == kept.prefilter


async def test_the_default_entity_is_requested_only_where_it_is_needed(tmp_path: Path) -> None:
    server = ScriptedWandb(FakeRun.exported("a", rows_of(range(2))))
    settings = Settings(base_url=SETTINGS.base_url, api_key=SETTINGS.api_key, project="nano")
    selection = Selection(runs=(RunReference("a"),), projects=("nano",))
    report = await pull_from(server, tmp_path / "b.zip", selection, settings=settings)
    assert [str(outcome.path) for outcome in report.runs] == ["acme/nano/a"]
    assert server.count("GetDefaultEntity") == 1


async def test_a_run_on_another_host_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    server = ScriptedWandb()
    selection = Selection(runs=(RunReference.parse("https://evil.test/acme/nano/runs/r"),))
    with pytest.raises(UsageError, match=r"^run 'acme/nano/r' is on 'evil\.test'"):
        await pull_from(server, tmp_path / "b.zip", selection)
    assert server.requests == []
