"""A complete pull from a scripted W&B: what arrives, in how many requests, and what is reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import httpx
import pyarrow as pa
import pytest
from pulling import PROJECT, assert_rows, named, pull_from, reasons, rows_in
from scripted_wandb import (
    SETTINGS,
    FakeRun,
    Row,
    ScriptedWandb,
    asking,
    once,
    rows_of,
    shard_bytes,
    to_storage,
)

from pull_logs.errors import (
    IncompleteError,
    ServerError,
    SignInError,
    UsageError,
)
from pull_logs.fetch import PullProgress, pull_sync
from pull_logs.snapshot import open_bundle, verify_bundle

pytestmark = pytest.mark.anyio


async def test_a_project_comes_complete_in_few_requests(tmp_path: Path) -> None:
    truth = {f"r{number}": rows_of(range(number, number + 40)) for number in range(60)}
    server = ScriptedWandb(*(FakeRun.exported(run_id, rows) for run_id, rows in truth.items()))
    report = await pull_from(server, tmp_path / "b.zip")
    assert_rows(tmp_path / "b.zip", truth)
    assert (server.count("Runs"), len(server.requests), report.requests) == (2, 62, 62)
    assert (report.incomplete, report.retries, report.seal.runs) == ((), 0, 60)
    assert verify_bundle(tmp_path / "b.zip").damages == ()
    assert not (tmp_path / "b.zip.partial").exists()


async def test_the_facts_of_a_run_ride_along(tmp_path: Path) -> None:
    run = FakeRun.exported("r", rows_of(range(3)), config={"lr": 0.1}, summary={"loss": "NaN"}, sweep="s1")
    await pull_from(ScriptedWandb(run), tmp_path / "b.zip")
    with open_bundle(tmp_path / "b.zip") as bundle:
        info = bundle["acme/nano/r"].info
    assert (info.name, info.user, info.sweep, info.tags, info.config) == (
        "run r",
        "ada",
        "s1",
        ("a",),
        {"lr": 0.1},
    )
    assert (info.created_at, info.heartbeat_at, info.host) == (
        "2026-01-02T03:04:05Z",
        "2026-01-02T03:05:05Z",
        "api.test",
    )
    assert str(info.summary["loss"]) == "nan"


async def test_a_sparse_live_run_takes_a_handful_of_requests(tmp_path: Path) -> None:
    rows = rows_of(range(0, 5_000_000, 10_000))
    server = ScriptedWandb(FakeRun.logging("r", rows))
    report = await pull_from(server, tmp_path / "b.zip", named("r"))
    assert_rows(tmp_path / "b.zip", {"r": rows})
    assert (server.operations(), report.incomplete) == (["NamedRuns", "HistoryPage"], ())


@pytest.mark.parametrize("live_data", [None, []])
async def test_live_rows_that_are_not_listed_are_found(tmp_path: Path, live_data: object) -> None:
    rows = rows_of([*range(61010, 62500), *range(90_000, 900_000, 900)])
    server = ScriptedWandb(FakeRun.logging("r", rows, live_data=live_data))
    report = await pull_from(server, tmp_path / "b.zip", named("r"))
    assert_rows(tmp_path / "b.zip", {"r": rows})
    assert report.incomplete == ()
    assert len(server.requests) < 16


async def test_live_rows_without_any_promise_of_their_end_are_found(tmp_path: Path) -> None:
    rows = rows_of(range(3000))
    server = ScriptedWandb(FakeRun.logging("r", rows, live_data=None, last_step=None))
    report = await pull_from(server, tmp_path / "b.zip", named("r"))
    assert_rows(tmp_path / "b.zip", {"r": rows})
    assert report.incomplete == ()
    assert len(server.requests) < 30


async def test_an_active_run_whose_live_rows_are_not_reported_is_read_after_its_files(tmp_path: Path) -> None:
    rows = rows_of(range(300))
    run = FakeRun.exported("r", rows[:200])
    run.live, run.live_data, run.lines, run.last_step, run.state = rows[200:], None, 300, 299, "running"
    server = ScriptedWandb(run)
    report = await pull_from(server, tmp_path / "b.zip")
    assert_rows(tmp_path / "b.zip", {"r": rows})
    assert (report.incomplete, server.count("HistoryPage")) == ((), 1)


async def test_rows_missing_in_the_middle_of_the_files_are_found_among_the_live_ones(tmp_path: Path) -> None:
    rows = rows_of(range(300))
    run = FakeRun("r", {"x": shard_bytes(rows[:100]), "y": shard_bytes(rows[200:])}, lines=300, last_step=299)
    run.live, run.live_data = rows, []
    report = await pull_from(ScriptedWandb(run), tmp_path / "b.zip")
    assert_rows(tmp_path / "b.zip", {"r": rows})
    assert report.incomplete == ()


async def test_files_that_overlap_each_other_and_the_live_rows_give_each_row_once(tmp_path: Path) -> None:
    rows = rows_of(range(300))
    shards = {"x": shard_bytes(rows[:150]), "y": shard_bytes(rows[100:250])}
    server = ScriptedWandb(FakeRun("r", shards, live=rows[200:], lines=300, last_step=299))
    report = await pull_from(server, tmp_path / "b.zip")
    assert_rows(tmp_path / "b.zip", {"r": rows})
    assert (report.runs[0].rows, report.incomplete) == (300, ())


async def test_an_overlap_does_not_hide_that_rows_are_missing(tmp_path: Path) -> None:
    rows = rows_of(range(100))
    shards = {"x": shard_bytes(rows[:60]), "y": shard_bytes([*rows[10:60], *rows[90:]])}
    server = ScriptedWandb(FakeRun("r", shards, lines=100, last_step=99))
    report = await pull_from(server, tmp_path / "b.zip")
    assert reasons(report) == {"r": "W&B promised 100 rows and 70 arrived"}
    assert report.runs[0].sealed


async def test_files_of_every_kind_are_read(tmp_path: Path) -> None:
    double = pa.table({"loss": [0.5, 0.25], "_step": pa.array([-0.0, 1.0])})
    ints = pa.table({"_step": pa.array([2, None, 3], pa.int64()), "loss": pa.array([1, 2, 3], pa.int32())})
    shards = {
        "double": shard_bytes(double),
        "ints": shard_bytes(ints),
        "empty": shard_bytes(pa.table({})),
        "stepless": shard_bytes(pa.table({"loss": [1.0]})),
        "norows": shard_bytes(pa.table({"_step": pa.array([], pa.int64())})),
    }
    server = ScriptedWandb(FakeRun("r", shards, lines=4, last_step=3))
    report = await pull_from(server, tmp_path / "b.zip")
    rows: list[Row] = [
        {"_step": 0, "loss": 0.5},
        {"_step": 1, "loss": 0.25},
        {"_step": 2, "loss": 1},
        {"_step": 3, "loss": 3},
    ]
    assert_rows(tmp_path / "b.zip", {"r": rows})
    assert report.incomplete == ()


async def test_live_steps_that_are_floats_are_steps(tmp_path: Path) -> None:
    rows = [{"_step": float(step), "a": "NaN"} for step in range(5)]
    await pull_from(ScriptedWandb(FakeRun.logging("r", rows)), tmp_path / "b.zip")
    assert [row["_step"] for row in rows_in(tmp_path / "b.zip")["r"]] == [0, 1, 2, 3, 4]


async def test_a_run_without_rows_is_complete(tmp_path: Path) -> None:
    server = ScriptedWandb(FakeRun("r", lines=0), FakeRun("q", live_data=None, last_step=-1))
    report = await pull_from(server, tmp_path / "b.zip")
    assert_rows(tmp_path / "b.zip", {"r": [], "q": []})
    assert (report.incomplete, server.operations()) == ((), ["Runs"])


async def test_urls_that_expired_are_requested_again(tmp_path: Path) -> None:
    rows = rows_of(range(100))
    server = ScriptedWandb(FakeRun.exported("r", rows, shards=5))
    server.valid = {"2"}
    report = await pull_from(server, tmp_path / "b.zip")
    assert_rows(tmp_path / "b.zip", {"r": rows})
    assert (report.incomplete, server.count("RunParquetHistory")) == ((), 1)


@pytest.mark.parametrize(
    "bad",
    [
        httpx.Response(200, html="<html>Sign in</html>"),
        httpx.Response(200, content=shard_bytes(rows_of(range(50)))[:-100]),
        httpx.Response(200, content=b""),
        httpx.Response(200, content=b"PAR1" + b"x" * 99 + b"PAR1"),
        httpx.Response(200, content=b"PAR1", headers={"Content-Length": "5"}),
        httpx.Response(403, text="<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>"),
        httpx.Response(400, text="Only one auth mechanism allowed"),
        httpx.Response(503, headers={"Retry-After": "2"}),
        httpx.Response(429),
        httpx.ReadTimeout("slow"),
        httpx.ReadError("reset"),
    ],
    ids=lambda bad: str(getattr(bad, "status_code", type(bad).__name__)),
)
async def test_a_download_that_fails_twice_is_tried_again(tmp_path: Path, bad: Any) -> None:
    rows = rows_of(range(50))
    server = ScriptedWandb(FakeRun.exported("r", rows))
    server.faults = [once(bad, bad, when=to_storage)]
    report = await pull_from(server, tmp_path / "b.zip")
    assert_rows(tmp_path / "b.zip", {"r": rows})
    assert report.incomplete == ()


async def test_a_file_that_cannot_be_downloaded_is_named(tmp_path: Path) -> None:
    good, bad = rows_of(range(20)), rows_of(range(40))
    server = ScriptedWandb(FakeRun.exported("good", good), FakeRun.exported("bad", bad, shards=2))
    server.faults = [lambda request: httpx.Response(500) if request.url.path.endswith("bad-1") else None]
    report = await pull_from(server, tmp_path / "b.zip")
    assert_rows(tmp_path / "b.zip", {"good": good, "bad": bad[:20]})
    assert reasons(report) == {
        "bad": (
            "exported file 'bad-1' could not be downloaded:"
            " storage.test answered 500 (gave up after 6 attempts)"
        )
    }


async def test_a_file_that_cannot_be_downloaded_does_not_matter_where_its_rows_are_live(
    tmp_path: Path,
) -> None:
    rows = rows_of(range(40))
    run = FakeRun.exported("r", rows, shards=2)
    run.live, run.live_data = rows, None
    server = ScriptedWandb(run)
    server.faults = [lambda request: httpx.Response(404) if request.url.path.endswith("r-1") else None]
    report = await pull_from(server, tmp_path / "b.zip")
    assert_rows(tmp_path / "b.zip", {"r": rows})
    assert report.incomplete == ()


async def test_files_that_are_replaced_while_they_are_read_are_read_again(tmp_path: Path) -> None:
    rows = rows_of(range(60))
    run = FakeRun.exported("r", rows[:40], shards=2)

    def compact(request: httpx.Request) -> None:
        if to_storage(request):
            run.shards = {"all": shard_bytes(rows)}

    server = ScriptedWandb(run)
    server.faults = [compact]
    report = await pull_from(server, tmp_path / "b.zip")
    # Rows after the promised last step were logged after the plan was made.
    assert_rows(tmp_path / "b.zip", {"r": rows[:40]})
    assert report.incomplete == ()


async def test_a_redirected_download_is_followed_without_the_key(tmp_path: Path) -> None:
    rows = rows_of(range(5))
    server = ScriptedWandb(FakeRun.exported("r", rows))
    server.faults = [
        once(
            httpx.Response(302, headers={"Location": "https://storage.test/elsewhere/r-0?sig=1"}),
            when=to_storage,
        )
    ]
    await pull_from(server, tmp_path / "b.zip")
    assert_rows(tmp_path / "b.zip", {"r": rows})
    assert server.requests[-1].url.path == "/elsewhere/r-0"


async def test_signed_urls_are_used_as_they_are(tmp_path: Path) -> None:
    server = ScriptedWandb(FakeRun.exported("r", rows_of(range(5))))
    await pull_from(server, tmp_path / "b.zip")
    request = next(filter(to_storage, server.requests))
    assert request.url.raw_path == b"/bucket/r-0?sig=1&name=a%2Fb"
    assert {name: value for name, value in request.headers.items() if name != "user-agent"} == {
        "host": "storage.test",
        "accept-encoding": "identity",
    }


async def test_full_windows_are_split_until_nothing_is_sampled_away(tmp_path: Path) -> None:
    rows = rows_of([*range(0, 9000, 2), *range(10_000, 4_000_000, 40_000)])
    server = ScriptedWandb(FakeRun.logging("r", rows, live_data=None))
    report = await pull_from(server, tmp_path / "b.zip")
    assert_rows(tmp_path / "b.zip", {"r": rows})
    assert report.incomplete == ()
    assert server.count("HistoryPage") < 30


async def test_a_server_that_gives_fewer_rows_than_it_is_requested_is_noticed(tmp_path: Path) -> None:
    rows = rows_of(range(0, 40_000, 3))
    server = ScriptedWandb(FakeRun.logging("r", rows))
    server.most_samples = 1000
    report = await pull_from(server, tmp_path / "b.zip")
    assert_rows(tmp_path / "b.zip", {"r": rows})
    assert report.incomplete == ()


async def test_windows_that_are_too_heavy_are_made_smaller(tmp_path: Path) -> None:
    rows = rows_of(range(0, 3000, 2))

    def slow(request: httpx.Request) -> Exception | None:
        variables = json.loads(request.content or b"{}").get("variables", {})
        return (
            httpx.ReadTimeout("slow")
            if variables.get("maxStep", 0) - variables.get("minStep", 0) > 300
            else None
        )

    server = ScriptedWandb(FakeRun.logging("r", rows))
    server.faults = [slow]
    report = await pull_from(server, tmp_path / "b.zip")
    assert_rows(tmp_path / "b.zip", {"r": rows})
    assert report.incomplete == ()


async def test_rows_logged_after_the_plan_wait_for_a_refresh(tmp_path: Path) -> None:
    rows = rows_of(range(50))
    run = FakeRun.logging("r", rows)
    server = ScriptedWandb(run)

    def grow(request: httpx.Request) -> None:
        if asking("HistoryPage")(request):
            run.live += rows_of(range(len(run.live), len(run.live) + 7))

    server.faults = [grow]
    report = await pull_from(server, tmp_path / "b.zip")
    assert_rows(tmp_path / "b.zip", {"r": rows})
    assert report.incomplete == ()


async def test_a_run_deleted_while_it_is_read_does_not_touch_the_others(tmp_path: Path) -> None:
    rows = rows_of(range(10))
    server = ScriptedWandb(FakeRun.exported("good", rows), FakeRun.logging("gone", rows))

    def delete(request: httpx.Request) -> None:
        if asking("HistoryPage")(request):
            server.runs.pop("gone", None)

    server.faults = [delete]
    report = await pull_from(server, tmp_path / "b.zip")
    assert_rows(tmp_path / "b.zip", {"good": rows})
    assert reasons(report) == {"gone": "run 'acme/nano/gone' was deleted while it was read"}
    assert [outcome.sealed for outcome in report.runs] == [False, True][:: 1 if report.runs[0].reason else -1]


async def test_a_promise_that_is_not_kept_is_said_and_strict_makes_it_an_error(tmp_path: Path) -> None:
    rows = rows_of(range(10))
    server = ScriptedWandb(FakeRun("r", {"x": shard_bytes(rows)}, lines=12, last_step=11))
    report = await pull_from(server, tmp_path / "b.zip")
    reason = "W&B promised rows up to step 11 and they end at step 9"
    assert reasons(report) == {"r": reason}
    with open_bundle(tmp_path / "b.zip") as bundle:
        coverage = bundle["acme/nano/r"].coverage
    assert (coverage.promised_rows, coverage.received_rows, coverage.complete, coverage.reason) == (
        12,
        10,
        False,
        reason,
    )
    with pytest.raises(IncompleteError) as caught:
        await pull_from(server, tmp_path / "b.zip", strict=True)
    assert str(caught.value) == (
        f"1 of 1 run is incomplete; the first, acme/nano/r: {reason};"
        " the others are sealed; run the same command again"
    )


async def test_looking_again_without_success_stops_after_a_few_runs(tmp_path: Path) -> None:
    runs = [FakeRun.exported(f"r{number}", rows_of(range(10))) for number in range(20)]
    for run in runs:
        run.lines = 11
    server = ScriptedWandb(*runs)
    report = await pull_from(server, tmp_path / "b.zip", concurrency=1)
    assert len(report.incomplete) == 20
    assert server.count("HistoryPage") <= 5


@pytest.mark.parametrize(("names", "operation"), [("a", "HistoryPage"), ("ab", "HistoryPages")])
async def test_a_refused_key_ends_the_pull(tmp_path: Path, names: str, operation: str) -> None:
    server = ScriptedWandb(*(FakeRun.logging(name, rows_of(range(2))) for name in names))
    server.faults = [
        lambda request: httpx.Response(401) if asking(operation)(request) else None,
    ]
    with pytest.raises(SignInError, match=r"^W&B at api.test refused the key"):
        await pull_from(server, tmp_path / "b.zip")
    assert not (tmp_path / "b.zip").exists()


async def test_only_the_metrics_that_match_are_kept_and_counted_all_the_same(tmp_path: Path) -> None:
    rows = rows_of(range(5))
    server = ScriptedWandb(FakeRun.exported("a", rows))
    report = await pull_from(server, tmp_path / "b.zip", metrics="^m1$")
    wanted = [{key: row[key] for key in ("_step", "_timestamp", "m1")} for row in rows]
    assert_rows(tmp_path / "b.zip", {"a": wanted})
    assert report.incomplete == ()
    with pytest.raises(UsageError, match=r"^metrics '\(' is not a valid regular expression: "):
        await pull_from(server, tmp_path / "b.zip", metrics="(")


async def test_progress_is_reported(tmp_path: Path) -> None:
    states: list[PullProgress] = []
    server = ScriptedWandb(*(FakeRun.exported(f"r{number}", rows_of(range(7))) for number in range(3)))
    await pull_from(server, tmp_path / "b.zip", progress=states.append)
    last = states[-1]
    assert (last.runs_done, last.runs_total, last.runs_failed, last.rows, last.requests) == (3, 3, 0, 21, 4)
    assert [state.requests for state in states] == sorted(state.requests for state in states)
    assert last.limit > 0


@pytest.mark.parametrize("concurrency", [0, 257])
async def test_concurrency_is_bounded(tmp_path: Path, concurrency: int) -> None:
    with pytest.raises(UsageError) as caught:
        await pull_from(ScriptedWandb(), tmp_path / "b.zip", concurrency=concurrency)
    assert str(caught.value) == f"concurrency is {concurrency}, not between 1 and 256"


async def test_no_more_requests_are_in_flight_than_allowed(tmp_path: Path) -> None:
    server = ScriptedWandb(
        *(FakeRun.exported(f"r{number}", rows_of(range(3)), shards=3) for number in range(20))
    )
    flying, most = 0, 0

    async def handle(request: httpx.Request) -> httpx.Response:
        nonlocal flying, most
        flying += 1
        most = max(most, flying)
        await anyio.lowlevel.checkpoint()
        flying -= 1
        return server.handle(request)

    class Slow(ScriptedWandb):
        @property
        def transport(self) -> httpx.AsyncBaseTransport:
            return httpx.MockTransport(handle)

    await pull_from(Slow(), tmp_path / "b.zip", concurrency=3)
    assert 1 < most <= 6


async def test_the_sync_entry_works_inside_a_running_loop(tmp_path: Path) -> None:
    rows = rows_of(range(5))
    server = ScriptedWandb(FakeRun.exported("a", rows))
    pull_sync(PROJECT, out=tmp_path / "b.zip", settings=SETTINGS, transport=server.transport)
    assert_rows(tmp_path / "b.zip", {"a": rows})


def test_the_sync_entry_works_without_a_loop_and_lets_plain_errors_out(tmp_path: Path) -> None:
    server = ScriptedWandb(FakeRun.exported("a", rows_of(range(5))))
    server.faults = [lambda _: httpx.Response(501)]
    with pytest.raises(ServerError, match=r"^api.test answered 501$"):
        pull_sync(PROJECT, out=tmp_path / "b.zip", settings=SETTINGS, transport=server.transport)
