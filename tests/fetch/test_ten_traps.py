"""The ten things that break a naive client, one test for each. See docs/protocol.md, "Ten traps"."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest
from pulling import assert_rows, named, pull_from, reasons, rows_in
from scripted_wandb import API, FakeRun, Row, ScriptedWandb, asking, once, rows_of, shard_bytes, to_storage

from pull_logs.errors import IncompleteError, ProjectNotFoundError
from pull_logs.fetch import Selection
from pull_logs.fetch.history import pieces as pieces_module

pytestmark = pytest.mark.anyio

XML = "<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>"


class OneOrigin(ScriptedWandb):
    """A W&B whose exported files are at the API's own address."""

    def sign(self, run: FakeRun) -> list[str]:
        return [url.replace("https://storage.test", API) for url in super().sign(run)]

    def handle(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            self.requests.append(request)
            if "authorization" in request.headers:
                return httpx.Response(400, text="Only one auth mechanism allowed")
            return self.storage(request)
        return super().handle(request)


@pytest.mark.parametrize("kind", [ScriptedWandb, OneOrigin])
async def test_1_signed_urls_are_fetched_without_the_key(tmp_path: Path, kind: type[ScriptedWandb]) -> None:
    rows = rows_of(range(30))
    server = kind(FakeRun.exported("r", rows, shards=2))
    await pull_from(server, tmp_path / "b.zip")
    assert_rows(tmp_path / "b.zip", {"r": rows})
    sent = {"authorization" in request.headers for request in server.requests if request.method == "GET"}
    assert sent == {False}


@pytest.mark.parametrize(
    "body", [XML.encode(), shard_bytes(rows_of(range(30)))[:-9], b""], ids=["403 page", "truncated", "empty"]
)
async def test_2_what_is_no_file_is_never_kept_for_one(tmp_path: Path, body: bytes) -> None:
    rows = rows_of(range(30))
    server = ScriptedWandb(FakeRun.exported("r", rows), FakeRun.exported("other", rows))
    status = 403 if body == XML.encode() else 200
    server.faults = [
        lambda request: httpx.Response(status, content=body) if request.url.path.endswith("/r-0") else None
    ]
    report = await pull_from(server, tmp_path / "b.zip")
    assert reasons(report)["r"].startswith("exported file 'r-0' could not be downloaded: ")
    server.faults = []
    report = await pull_from(server, tmp_path / "b.zip")
    assert report.incomplete == ()
    assert_rows(tmp_path / "b.zip", {"r": rows, "other": rows})


async def test_3_files_are_known_by_their_path_and_not_by_their_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces_module, "_IN_MEMORY", 1)
    rows = rows_of(range(80))
    server = ScriptedWandb(FakeRun.exported("r", rows, shards=8))
    server.faults = [
        lambda request: (
            httpx.ConnectError("unplugged")
            if to_storage(request) and sum(map(to_storage, server.requests)) > 3
            else None
        )
    ]
    await pull_from(server, tmp_path / "b.zip", concurrency=1)
    server.requests.clear()
    server.faults = []
    # The next listing has the URLs in the other order, with other signatures.
    report = await pull_from(server, tmp_path / "b.zip", concurrency=1)
    assert_rows(tmp_path / "b.zip", {"r": rows})
    assert (report.incomplete, report.runs[0].rows) == ((), 80)


async def test_4_rows_that_are_exported_and_live_come_once(tmp_path: Path) -> None:
    rows = rows_of(range(2500))
    shards = {"x": shard_bytes(rows[:1500]), "y": shard_bytes(rows[1200:2300])}
    server = ScriptedWandb(FakeRun("r", shards, live=rows[2066:], lines=2500, last_step=2499))
    report = await pull_from(server, tmp_path / "b.zip")
    assert_rows(tmp_path / "b.zip", {"r": rows})
    assert (report.runs[0].rows, report.incomplete) == (2500, ())


class Inclusive(ScriptedWandb):
    """A W&B that takes the end of a window as in it."""

    def page(self, run: FakeRun, variables: Any) -> list[str]:
        return super().page(run, {**variables, "maxStep": variables["maxStep"] + 1})


@pytest.mark.parametrize("kind", [ScriptedWandb, Inclusive])
async def test_5_windows_neither_lose_nor_repeat_the_row_at_their_end(
    tmp_path: Path, kind: type[ScriptedWandb]
) -> None:
    rows = rows_of(range(5, 7200))
    server = kind(FakeRun.logging("r", rows))
    report = await pull_from(server, tmp_path / "b.zip")
    assert_rows(tmp_path / "b.zip", {"r": rows})
    assert (report.runs[0].rows, report.incomplete) == (7195, ())
    asked = [
        json.loads(request.content)["variables"]
        for request in server.requests
        if asking("HistoryPage")(request)
    ]
    edges = sorted((page["minStep"], page["maxStep"]) for page in asked)
    assert (edges[0][0], edges[-1][1]) == (5, 7200)
    assert all(before[1] == after[0] for before, after in pairwise(edges))


async def test_6_metrics_that_are_never_logged_together_all_come(tmp_path: Path) -> None:
    rows: list[Row] = [{"_step": step, ("train/loss", "val/loss")[step % 2]: step} for step in range(40)]
    server = ScriptedWandb(FakeRun.logging("r", rows))
    await pull_from(server, tmp_path / "b.zip")
    assert_rows(tmp_path / "b.zip", {"r": rows})
    assert not any(b"sampledHistory" in request.content for request in server.requests)


async def test_7_non_finite_numbers_are_the_same_whichever_way_they_come(tmp_path: Path) -> None:
    values = [math.nan, math.inf, -math.inf]
    exported = [{"_step": step, "a": value} for step, value in enumerate(values)]
    strings: list[Row] = [
        {"_step": 3 + step, "a": value} for step, value in enumerate(("NaN", "Infinity", "-Infinity"))
    ]
    bare = [{"_step": 6 + step, "a": value} for step, value in enumerate(values)]
    run = FakeRun("r", {"x": shard_bytes(exported)}, live=[*strings, *bare], lines=9, last_step=8)
    await pull_from(ScriptedWandb(run), tmp_path / "b.zip")
    assert [repr(row["a"]) for row in rows_in(tmp_path / "b.zip")["r"]] == ["nan", "inf", "-inf"] * 3


async def test_8_a_step_may_be_a_float_and_what_is_absent_may_be_null(tmp_path: Path) -> None:
    exported = pa.table({"a": [0.5, None], "_step": [0.0, 1.0], "b": pa.array([None, 1])})
    live: list[Row] = [{"_step": 1.0, "b": 1}, {"_step": 2.0, "a": 3}]
    run = FakeRun("r", {"x": shard_bytes(exported)}, live=live, lines=3, last_step=2)
    report = await pull_from(ScriptedWandb(run), tmp_path / "b.zip")
    rows = rows_in(tmp_path / "b.zip")["r"]
    assert rows == [{"_step": 0, "a": 0.5}, {"_step": 1, "b": 1}, {"_step": 2, "a": 3}]
    assert [type(row["_step"]) for row in rows] == [int] * 3
    assert report.incomplete == ()


def failing(data: object) -> httpx.Response:
    return httpx.Response(200, json={"errors": [{"message": "internal"}], "data": data})


@pytest.mark.parametrize("data", [None, {"project": None}], ids=["no data", "partial data"])
async def test_9_an_error_with_status_200_is_an_error_and_asked_again(tmp_path: Path, data: object) -> None:
    rows = rows_of(range(30))
    server = ScriptedWandb(FakeRun.logging("r", rows))
    answers: Sequence[httpx.Response] = [failing(data) for _ in range(2)]
    server.faults = [
        once(failing(data), when=asking("Runs")),
        once(*answers, when=asking("HistoryPage")),
    ]
    report = await pull_from(server, tmp_path / "b.zip")
    assert_rows(tmp_path / "b.zip", {"r": rows})
    assert report.incomplete == ()


async def test_9_what_is_missing_is_null_with_status_200(tmp_path: Path) -> None:
    server = ScriptedWandb(FakeRun.logging("r", rows_of(range(3))))
    with pytest.raises(ProjectNotFoundError):
        await pull_from(server, tmp_path / "b.zip", Selection(projects=("acme/other",)))
    report = await pull_from(server, tmp_path / "b.zip", named("r", "s"))
    assert reasons(report) == {"s": "run 'acme/nano/s' does not exist"}
    with pytest.raises(IncompleteError):
        await pull_from(server, tmp_path / "b.zip", named("r", "s"), strict=True)


async def test_10_few_rows_over_many_steps_take_few_requests(tmp_path: Path) -> None:
    rows = rows_of([*range(0, 4_999_999, 10_020), 4_999_999])
    for live_data, most in (("listed", 2), (None, 8)):
        server = ScriptedWandb(FakeRun.logging("r", rows, live_data=live_data))
        out = tmp_path / f"{most}.zip"
        report = await pull_from(server, out)
        assert_rows(out, {"r": rows})
        assert (report.incomplete, len(server.requests) <= most) == ((), True)
