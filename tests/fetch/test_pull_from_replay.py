"""A pull from the replay server gives the content that it serves, from another origin."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import httpx
import pytest
from blockbuster import blockbuster_ctx

from pull_logs.fetch import PullReport, Selection, Settings, pull, pull_sync
from pull_logs.replay import build_app, serve_bundle
from pull_logs.rows.batches import batch_from_rows
from pull_logs.runs import Coverage, RunInfo, RunPath
from pull_logs.snapshot import Bundle, BundleRun, open_bundle, write_bundle

pytestmark = pytest.mark.anyio

PROJECT = Selection(projects=("acme/nano",))

ROWS: dict[str, list[dict[str, Any]]] = {
    "plain": [{"_step": step, "_timestamp": 1e9 + step, "loss": 1 / (step + 1)} for step in range(1500)],
    "odd": [
        {"_step": 5, "a.b": 1, "a": {"b": [1, None, "x"]}, "big": 2**63 - 1, "nan": math.nan},
        {"_step": 7, "a": "text", "ok": True, "huge": 2**70, "inf": -math.inf, "unicode": "é\u2028 😀"},
        {"_step": 61_010, "a": 0.1, "ok": 1},
    ],
    "running": [{"_step": step * 9_000, "loss": step} for step in range(300)],
    "empty": [],
}


@pytest.fixture
def served(tmp_path: Path) -> Bundle:
    """A bundle of runs with ordinary and with odd rows."""
    runs = []
    for number, (run_id, rows) in enumerate(ROWS.items()):
        batch = batch_from_rows(rows)
        last = rows[-1]["_step"] if rows else None
        info = RunInfo(
            path=RunPath("acme", "nano", run_id),
            name=f"run {run_id}",
            state="running" if run_id == "running" else "finished",
            tags=("b", "a"),
            created_at=f"2026-01-02T03:04:0{number}Z",
            config={"lr": 0.1, "nested": {"deep": [1, 2]}, "nothing": None},
            summary={"loss": math.nan, "best": {"acc": 1}},
        )
        coverage = Coverage(
            promised_rows=len(rows), promised_last_step=last, received_rows=len(rows), received_last_step=last
        )
        runs.append(BundleRun(info=info, coverage=coverage, batches=lambda batch=batch: [batch]))  # type: ignore[misc]
    write_bundle(tmp_path / "served.zip", runs, force=True)
    return open_bundle(tmp_path / "served.zip")


async def pull_through(bundle: Bundle, out: Path) -> PullReport:
    app = build_app([bundle])
    settings = Settings(base_url="http://127.0.0.1:9", api_key=app.state.api_key)
    return await pull(PROJECT, out=out, settings=settings, transport=httpx.ASGITransport(app=app))


async def test_a_bundle_that_is_served_and_pulled_has_the_same_content(
    served: Bundle, tmp_path: Path
) -> None:
    with served:
        report = await pull_through(served, tmp_path / "pulled.zip")
        assert (report.incomplete, report.seal.content_id) == ((), served.content_id)
        with open_bundle(tmp_path / "pulled.zip") as pulled:
            assert {run.path: run.rows_hash for run in pulled.runs()} == {
                run.path: run.rows_hash for run in served.runs()
            }


async def test_pulled_twice_it_is_the_same_to_the_byte(served: Bundle, tmp_path: Path) -> None:
    with served:
        await pull_through(served, tmp_path / "a.zip")
        await pull_through(served, tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_over_a_real_connection_as_well(served: Bundle, tmp_path: Path) -> None:
    with served, serve_bundle(tmp_path / "served.zip") as server:
        settings = Settings(base_url=server.url, api_key=server.api_key)
        report = pull_sync(PROJECT, out=tmp_path / "pulled.zip", settings=settings)
        assert (report.incomplete, report.seal.content_id) == ((), served.content_id)


@pytest.mark.parametrize(
    ("promised", "last", "reason"),
    [
        (9, 2, "W&B promised 9 rows and 3 arrived"),
        (3, 7, "W&B promised rows up to step 7 and they end at step 2"),
    ],
)
async def test_a_run_that_did_not_arrive_complete_is_incomplete_when_it_is_pulled_again(
    tmp_path: Path, promised: int, last: int, reason: str
) -> None:
    batch = batch_from_rows([{"_step": step, "loss": step / 7} for step in range(3)])
    short = BundleRun(
        info=RunInfo(path=RunPath("acme", "nano", "short"), name="short", state="finished"),
        coverage=Coverage(
            promised_rows=promised,
            promised_last_step=last,
            received_rows=3,
            received_last_step=2,
            complete=False,
            reason=reason,
        ),
        batches=lambda: [batch],
    )
    write_bundle(tmp_path / "short.zip", [short], force=True)
    with open_bundle(tmp_path / "short.zip") as bundle:
        report = await pull_through(bundle, tmp_path / "pulled.zip")
    assert [outcome.reason for outcome in report.incomplete] == [reason]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_nothing_blocks_the_event_loop(served: Bundle, tmp_path: Path) -> None:
    with served:
        app = build_app([served])
        settings = Settings(base_url="http://127.0.0.1:9", api_key=app.state.api_key)
        transport = httpx.ASGITransport(app=app)
        with blockbuster_ctx("pull_logs.fetch"):
            await pull(PROJECT, out=tmp_path / "pulled.zip", settings=settings, transport=transport)
