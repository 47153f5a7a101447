"""A long run is exported in several files with the option for it, as W&B exports it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from replay_support import bundle_run, odd_rows, plain_rows, write_runs

from pull_logs.errors import UsageError
from pull_logs.fetch import Selection, Settings, pull_sync
from pull_logs.replay.http.app import build_app
from pull_logs.replay.server import ReplayServer, serve_bundle
from pull_logs.rows.batches import batch_from_arrow, batch_rows
from pull_logs.rows.canonical import canon_row, same
from pull_logs.snapshot.read.bundle import open_bundle

LONG = plain_rows(250)
QUERY = """
query Exports($run: String!) {
  project(name: "nano") { run(name: $run) { parquetHistory(liveKeys: ["_step"]) { parquetUrls liveData } } }
}
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ReplayServer]:
    runs = [
        bundle_run("acme/nano/long01", LONG),
        bundle_run("acme/nano/fits01", plain_rows(100)),
        bundle_run("acme/nano/odd01", odd_rows(120)),
    ]
    with serve_bundle(write_runs(tmp_path, runs), shard_rows=100) as server:
        yield server


def exports(server: ReplayServer, run: str) -> tuple[list[str], list[Any]]:
    body = {"query": QUERY, "variables": {"run": run}}
    answer = httpx.post(f"{server.url}/graphql", json=body, auth=("api", server.api_key))
    history = answer.json()["data"]["project"]["run"]["parquetHistory"]
    return history["parquetUrls"], history["liveData"]


def test_the_files_of_a_run_hold_its_rows_in_order(server: ReplayServer) -> None:
    links, live = exports(server, "long01")
    shards = [pq.read_table(io.BytesIO(httpx.get(link).content)) for link in links]
    assert [shard.num_rows for shard in shards] == [100, 100, 50]
    assert live == []
    back = batch_from_arrow(pa.concat_tables(shards))
    assert same(list(batch_rows(back)), list(map(canon_row, LONG)))


def test_a_run_that_fits_has_one_file_and_one_that_parquet_cannot_carry_has_none(
    server: ReplayServer,
) -> None:
    assert len(exports(server, "fits01")[0]) == 1
    assert exports(server, "odd01")[0] == []


def test_each_file_has_a_path_of_its_own_and_no_other_is_there(server: ReplayServer) -> None:
    links, _ = exports(server, "long01")
    assert len({link.partition("?")[0] for link in links}) == 3
    assert exports(server, "fits01")[0][0].rpartition("/")[2] not in " ".join(links)
    assert httpx.get(links[0].replace("-0-of-3", "-3-of-3")).status_code == 403


def test_a_pull_of_several_files_gives_the_runs_that_were_served(
    server: ReplayServer, tmp_path: Path
) -> None:
    settings = Settings(base_url=server.url, api_key=server.api_key)
    report = pull_sync(Selection(projects=("acme/nano",)), out=tmp_path / "back.wandb.zip", settings=settings)
    assert report.incomplete == ()
    with open_bundle(tmp_path / "runs.wandb.zip") as served, open_bundle(report.out) as back:
        assert [(run.path, run.rows_hash) for run in back.runs()] == [
            (run.path, run.rows_hash) for run in served.runs()
        ]


def test_a_file_without_rows_cannot_be_asked_for() -> None:
    with pytest.raises(UsageError, match=r"^shard_rows is 0, less than 1$"):
        build_app([], shard_rows=0)
