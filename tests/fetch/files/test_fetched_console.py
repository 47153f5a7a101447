"""Console logs arrive completely or their runs are incomplete, and unchanged ones are not requested."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from blockbuster import blockbuster_ctx
from consolekit import console_of, printed
from pulling import PROJECT, pull_from, reasons
from scripted_wandb import FakeRun, Fault, ScriptedWandb, asking, once, rows_of

from pull_logs.errors import SignInError
from pull_logs.fetch import Settings, pull
from pull_logs.fetch.files import console as fetched_console
from pull_logs.fetch.options import PullOptions
from pull_logs.replay import build_app
from pull_logs.snapshot import open_bundle, verify_bundle
from pull_logs.snapshot.format import ConsoleLine

pytestmark = pytest.mark.anyio

ROWS = rows_of(range(3))
LINES = [
    *printed(2500),
    ConsoleLine(
        number=2500, text="NaN \u2028 \x1b[31mred\x00\r", timestamp=None, level="warn", label="rank-1"
    ),
    ConsoleLine(number=2503, text="", timestamp="soon"),
]


def a_run(lines: list[ConsoleLine] = LINES, run_id: str = "r", **more: Any) -> FakeRun:
    return FakeRun.exported(run_id, ROWS, console=lines, **more)


def lines_in(out: Path, run: str = "r") -> list[ConsoleLine]:
    with open_bundle(out) as bundle:
        return list(bundle[run].console_logs())


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def asked(server: ScriptedWandb) -> list[dict[str, Any]]:
    """The variables of the queries for console lines, without those that name the run."""
    found = [json.loads(request.content) for request in server.requests if b"logLines" in request.content]
    return [
        {
            name: value
            for name, value in one["variables"].items()
            if name not in ("entity", "project", "runName")
        }
        for one in found
    ]


async def test_every_line_arrives_as_it_was_listed(tmp_path: Path) -> None:
    server = ScriptedWandb(a_run(), a_run([], "silent"))
    report = await pull_from(server, tmp_path / "b.zip", console=True)
    assert (report.incomplete, report.seal.console_lines) == ((), len(LINES))
    assert report.to_json()["console_lines"] == len(LINES)
    assert lines_in(tmp_path / "b.zip") == LINES
    with open_bundle(tmp_path / "b.zip") as bundle:
        assert bundle["silent"].console is None
    assert not verify_bundle(tmp_path / "b.zip").damages
    assert names_in(tmp_path) == ["b.zip"]
    assert asked(server)[0] == {"first": 1000, "after": None}
    assert sum(one["after"] is not None for one in asked(server)) == 2


async def test_nothing_is_asked_about_console_logs_that_nobody_wants(tmp_path: Path) -> None:
    server = ScriptedWandb(a_run())
    await pull_from(server, tmp_path / "b.zip")
    assert asked(server) == []
    with open_bundle(tmp_path / "b.zip") as bundle:
        assert (bundle["r"].console, bundle["r"].bundle_has_console) == (None, False)


@pytest.mark.parametrize("limit", [1, 7, 2502])
async def test_a_server_may_give_fewer_lines_than_asked_for(tmp_path: Path, limit: int) -> None:
    lines = printed(40)
    server = ScriptedWandb(a_run(lines))
    server.console_limit = limit
    assert not (await pull_from(server, tmp_path / "b.zip", console=True)).incomplete
    assert lines_in(tmp_path / "b.zip") == lines


async def test_lines_that_are_missing_make_the_run_incomplete_and_the_rest_is_kept(tmp_path: Path) -> None:
    server = ScriptedWandb(a_run(printed(10), console_count=12))
    report = await pull_from(server, tmp_path / "b.zip", console=True)
    assert reasons(report) == {"r": "W&B promised 12 console lines and 10 arrived"}
    assert lines_in(tmp_path / "b.zip") == printed(10)


async def test_lines_that_are_printed_meanwhile_may_arrive_too(tmp_path: Path) -> None:
    server = ScriptedWandb(a_run(printed(10), console_count=8))
    assert not (await pull_from(server, tmp_path / "b.zip", console=True)).incomplete
    assert lines_in(tmp_path / "b.zip") == printed(10)


def rewriting(server: ScriptedWandb, answer: dict[str, Any]) -> Fault:
    """The second page has these lines."""
    pages = 0

    def fault(request: httpx.Request) -> httpx.Response | None:
        nonlocal pages
        pages += asking("RunConsoleLogPage")(request)
        if not asking("RunConsoleLogPage")(request) or pages != 2:
            return None
        return httpx.Response(200, json={"data": {"project": {"run": answer}}})

    return fault


async def test_a_line_that_comes_twice_is_stored_once(tmp_path: Path) -> None:
    server = ScriptedWandb(a_run(printed(6)))
    server.console_limit = 3
    nodes = [
        {"node": {"number": at, "timestamp": None, "level": "", "label": "", "line": f"again {at}"}}
        for at in range(1, 6)
    ]
    last = {"logLineCount": 6, "logLines": {"edges": nodes, "pageInfo": {"hasNextPage": False}}}
    server.faults.append(rewriting(server, last))
    assert not (await pull_from(server, tmp_path / "b.zip", console=True)).incomplete
    texts = [line.text for line in lines_in(tmp_path / "b.zip")]
    assert texts == ["epoch 0 done", "epoch 1 done", "epoch 2 done", "again 3", "again 4", "again 5"]


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        (
            {"edges": [], "pageInfo": {"hasNextPage": True, "endCursor": "line-3"}},
            "W&B promised 6 console lines and 3 arrived",
        ),
        (
            {"edges": [], "pageInfo": {"hasNextPage": True, "endCursor": ""}},
            "W&B promised 6 console lines and 3 arrived",
        ),
        (
            {"edges": [{"node": {"number": "4", "line": "x"}}], "pageInfo": {"hasNextPage": False}},
            "the console log could not be downloaded: W&B lists a console line with the number '4'",
        ),
        (
            {"edges": [{"node": {"number": 2**60, "line": "x"}}], "pageInfo": {"hasNextPage": False}},
            "the console log could not be downloaded: a console line has the number 1152921504606846976",
        ),
        (None, "W&B promised 6 console lines and 3 arrived"),
    ],
)
async def test_pages_that_make_no_sense_are_reported_and_end(
    tmp_path: Path, page: dict[str, Any] | None, reason: str
) -> None:
    server = ScriptedWandb(a_run(printed(6)))
    server.console_limit = 3
    server.faults.append(rewriting(server, {"logLineCount": 6, "logLines": page}))
    report = await pull_from(server, tmp_path / "b.zip", console=True)
    assert reasons(report) == {"r": reason}
    with open_bundle(tmp_path / "b.zip") as bundle:
        assert len(list(bundle["r"].scan_history())) == 3


async def test_faults_of_the_network_are_retried(tmp_path: Path) -> None:
    server = ScriptedWandb(a_run())
    faults = (httpx.Response(503), httpx.ConnectError("down"), httpx.Response(429))
    server.faults.append(once(*faults, when=asking("RunConsoleLogPage")))
    assert not (await pull_from(server, tmp_path / "b.zip", console=True)).incomplete
    assert lines_in(tmp_path / "b.zip") == LINES


async def test_a_refused_key_ends_the_pull(tmp_path: Path) -> None:
    server = ScriptedWandb(a_run())
    server.faults.append(once(*[httpx.Response(401)] * 9, when=asking("RunConsoleLogPage")))
    with pytest.raises(SignInError):
        await pull_from(server, tmp_path / "b.zip", console=True)


async def test_an_old_server_is_asked_for_the_last_lines(tmp_path: Path) -> None:
    server = ScriptedWandb(a_run(printed(40)))
    server.refused_fields = ("useImprovedPagination",)
    assert not (await pull_from(server, tmp_path / "b.zip", console=True)).incomplete
    assert lines_in(tmp_path / "b.zip") == printed(40)
    server.console_limit = 30
    report = await pull_from(server, tmp_path / "c.zip", console=True)
    assert reasons(report) == {"r": "W&B promised 40 console lines and 30 arrived"}
    assert lines_in(tmp_path / "c.zip") == printed(30, start=10)


async def test_a_server_without_console_logs_makes_the_runs_incomplete(tmp_path: Path) -> None:
    server = ScriptedWandb(a_run())
    server.refused_fields = ("logLines",)
    (reason,) = reasons(await pull_from(server, tmp_path / "b.zip", console=True)).values()
    assert reason.startswith("the console log could not be downloaded: ")


async def test_an_unchanged_run_is_copied_with_its_log(tmp_path: Path) -> None:
    server = ScriptedWandb(a_run())
    await pull_from(server, tmp_path / "b.zip", console=True)
    data = (tmp_path / "b.zip").read_bytes()
    server.requests.clear()
    await pull_from(server, tmp_path / "b.zip")
    assert asked(server) == []
    assert (tmp_path / "b.zip").read_bytes() == data


async def test_a_log_is_added_to_runs_that_have_none(tmp_path: Path) -> None:
    server = ScriptedWandb(a_run())
    await pull_from(server, tmp_path / "b.zip")
    report = await pull_from(server, tmp_path / "b.zip", console=True)
    assert [outcome.how for outcome in report.runs] == ["copied"]
    assert lines_in(tmp_path / "b.zip") == LINES


@pytest.mark.parametrize("rewritten", [False, True])
async def test_a_run_that_continued_has_its_log_updated(tmp_path: Path, *, rewritten: bool) -> None:
    rows = rows_of(range(40))
    await pull_from(
        ScriptedWandb(FakeRun.logging("r", rows, console=printed(5))), tmp_path / "b.zip", console=True
    )
    longer = [{**row, "m0": -1.0} for row in rows] if rewritten else rows
    more = FakeRun.logging("r", [*longer, *rows_of(range(40, 60))], console=printed(9))
    report = await pull_from(ScriptedWandb(more), tmp_path / "b.zip")
    assert [outcome.how for outcome in report.runs] == ["complete" if rewritten else "appended"]
    assert lines_in(tmp_path / "b.zip") == printed(9)


async def test_the_earlier_log_is_kept_if_the_new_one_cannot_be_downloaded(tmp_path: Path) -> None:
    rows = rows_of(range(40))
    await pull_from(
        ScriptedWandb(FakeRun.logging("r", rows, console=printed(5))), tmp_path / "b.zip", console=True
    )
    server = ScriptedWandb(FakeRun.logging("r", rows_of(range(60)), console=printed(9)))
    server.refused_fields = ("logLines",)
    report = await pull_from(server, tmp_path / "b.zip")
    assert reasons(report)["r"].startswith("the console log could not be downloaded: ")
    assert lines_in(tmp_path / "b.zip") == printed(5)
    healed = ScriptedWandb(FakeRun.logging("r", rows_of(range(60)), console=printed(9)))
    assert not (await pull_from(healed, tmp_path / "b.zip")).incomplete
    assert lines_in(tmp_path / "b.zip") == printed(9)


async def test_a_pull_with_and_one_without_console_logs_do_not_share_a_spool(tmp_path: Path) -> None:
    server = ScriptedWandb(a_run())
    server.faults.append(once(*[httpx.Response(401)] * 9, when=asking("RunConsoleLogPage")))
    with pytest.raises(SignInError):
        await pull_from(server, tmp_path / "b.zip", console=True)
    server.faults.clear()
    await pull_from(server, tmp_path / "b.zip", console=True, fresh=True)
    assert lines_in(tmp_path / "b.zip") == LINES


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_what_is_served_and_pulled_is_the_same_and_nothing_blocks(tmp_path: Path) -> None:
    await pull_from(ScriptedWandb(a_run(), a_run([], "silent")), tmp_path / "a.zip", console=True)
    with open_bundle(tmp_path / "a.zip") as bundle:
        app = build_app([bundle])
        settings = Settings(base_url="http://127.0.0.1:9", api_key=app.state.api_key)
        transport = httpx.ASGITransport(app=app)
        options = PullOptions(console=True)
        with blockbuster_ctx("pull_logs.fetch"):
            await pull(
                PROJECT, out=tmp_path / "b.zip", options=options, settings=settings, transport=transport
            )
        again = bundle["r"].console_hash
    assert lines_in(tmp_path / "b.zip") == LINES
    with open_bundle(tmp_path / "b.zip") as pulled:
        assert pulled["r"].console_hash == again == console_of(LINES).record.text_hash


def test_the_page_is_that_of_the_sdk() -> None:
    import inspect

    from wandb.apis.public import Run

    assert inspect.signature(Run.console_logs).parameters["per_page"].default == fetched_console.PAGE
