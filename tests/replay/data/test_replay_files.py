"""The files of runs over HTTP: listed without being read, sent in parts, and never once they are damaged."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from replay_support import FILES, bundle_run, plain_rows, write_runs
from starlette.applications import Starlette

from pull_logs.fetch import PullOptions, Selection, Settings, pull
from pull_logs.replay.http.app import build_app
from pull_logs.snapshot import Bundle, open_bundle, verify_bundle
from pull_logs.snapshot.format.container import CHUNK
from pull_logs.snapshot.read import run_files as runfiles

pytestmark = pytest.mark.anyio

KEY = "k" * 40
QUERY = """query RunFiles(
  $name: String!, $names: [String] = [], $pattern: String, $first: Int, $after: String
) {
  project(name: "nano", entityName: "acme") { run(name: $name) { fileCount
    files(names: $names, first: $first, after: $after, pattern: $pattern) {
      edges { cursor node { id name url(upload: false) directUrl sizeBytes mimetype updatedAt md5 } }
      pageInfo { endCursor hasNextPage } } } } }"""
LARGE = random.Random(3).randbytes(3 * CHUNK + 17)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = [
        bundle_run("acme/nano/r", plain_rows(3), files=FILES, heartbeat_at="2026-11-23T12:00:00Z"),
        bundle_run("acme/nano/large", plain_rows(3), files={"w.bin": (None, LARGE)}),
        bundle_run("acme/nano/none", plain_rows(3)),
    ]
    return write_runs(tmp_path_factory.mktemp("files"), runs)


@pytest.fixture
def hurt(path: Path, tmp_path: Path) -> Iterator[Bundle]:
    """A bundle in which one byte of the large file is another."""
    data = path.read_bytes()
    place = data.index(LARGE[:64]) + CHUNK
    copy = tmp_path / "hurt.wandb.zip"
    copy.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    with open_bundle(copy) as bundle:
        yield bundle


@pytest.fixture
def bundle(path: Path) -> Iterator[Bundle]:
    with open_bundle(path) as bundle:
        yield bundle


@pytest.fixture
def app(bundle: Bundle) -> Starlette:
    return build_app([bundle], api_key=KEY)


@asynccontextmanager
async def client_of(app: Starlette) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
        yield client


async def ask(app: Starlette, **variables: Any) -> Any:
    async with client_of(app) as client:
        answer = await client.post(
            "/graphql", json={"query": QUERY, "variables": {"name": "r", **variables}}, auth=("api", KEY)
        )
    return answer.json()["data"]["project"]["run"]


async def link_of(app: Starlette, run: str, name: str) -> str:
    (edge,) = (await ask(app, name=run, names=[name]))["files"]["edges"]
    link: str = edge["node"]["directUrl"]
    return link


async def test_a_listing_reads_no_file(app: Starlette, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runfiles.RunFile, "chunks", lambda _: pytest.fail("a file was read"))
    run = await ask(app)
    assert run["fileCount"] == 4
    told = {edge["node"]["name"]: edge["node"] for edge in run["files"]["edges"]}
    assert {name: (node["mimetype"], node["sizeBytes"]) for name, node in told.items()} == {
        name: (mediatype, len(data)) for name, (mediatype, data) in FILES.items()
    }
    assert told["output.log"]["updatedAt"] == "2026-11-23T12:00:00Z"
    assert told["output.log"]["url"].partition("?")[0] == told["output.log"]["directUrl"].partition("?")[0]


async def test_pages_of_files(app: Starlette) -> None:
    names: list[str] = []
    page: dict[str, Any] = {"endCursor": None, "hasNextPage": True}
    while page["hasNextPage"]:
        files = (await ask(app, first=1, after=page["endCursor"]))["files"]
        names += [edge["node"]["name"] for edge in files["edges"]]
        page = files["pageInfo"]
    assert names == sorted(FILES)


@pytest.mark.parametrize(
    ("asked", "first", "stop"),
    [
        (None, 0, len(LARGE)),
        ("bytes=0-0", 0, 1),
        ("bytes=5-", 5, len(LARGE)),
        (f"bytes={CHUNK - 3}-{2 * CHUNK + 3}", CHUNK - 3, 2 * CHUNK + 4),
        ("bytes=-9", len(LARGE) - 9, len(LARGE)),
        (f"bytes=7-{10 * CHUNK}", 7, len(LARGE)),
    ],
)
async def test_a_file_is_sent_whole_or_in_a_range_and_needs_no_key(
    app: Starlette, asked: str | None, first: int, stop: int
) -> None:
    link = await link_of(app, "large", "w.bin")
    async with client_of(app) as client:
        answer = await client.get(link, headers={} if asked is None else {"range": asked})
    assert answer.content == LARGE[first:stop]
    assert answer.status_code == (200 if asked is None else 206)
    assert answer.headers["content-length"] == str(stop - first)
    assert answer.headers["content-type"] == "application/octet-stream"
    if asked is not None:
        assert answer.headers["content-range"] == f"bytes {first}-{stop - 1}/{len(LARGE)}"


async def test_a_range_outside_is_refused_and_a_link_is_for_one_file(app: Starlette) -> None:
    link = await link_of(app, "large", "w.bin")
    async with client_of(app) as client:
        assert (await client.get(link, headers={"range": f"bytes={len(LARGE)}-"})).status_code == 416
        head = await client.head(link)
        assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(LARGE)), b"")
        other = link.replace("/file-", "/file-x")
        assert (await client.get(other)).status_code == 403


async def test_the_media_type_is_that_of_the_file(app: Starlette) -> None:
    link = await link_of(app, "r", "output.log")
    async with client_of(app) as client:
        answer = await client.get(link)
    assert (answer.headers["content-type"], answer.content) == FILES["output.log"]


async def test_a_file_that_is_damaged_is_not_sent(hurt: Bundle) -> None:
    app = build_app([hurt], api_key=KEY)
    link = await link_of(app, "large", "w.bin")
    async with client_of(app) as client:
        answer = await client.get(link)
    assert answer.status_code == 410
    assert "<Code>ObjectDamaged</Code>" in answer.text
    link = await link_of(app, "r", "output.log")
    async with client_of(app) as client:
        assert (await client.get(link)).content == FILES["output.log"][1]


async def test_a_pull_of_a_pull_is_the_same_bundle(bundle: Bundle, tmp_path: Path) -> None:
    first, second = tmp_path / "first.zip", tmp_path / "second.zip"
    served = bundle
    for out in (first, second):
        app = build_app([served], api_key=KEY)
        settings = Settings(base_url="http://127.0.0.1:9", api_key=KEY)
        report = await pull(
            Selection(projects=("acme/nano",)),
            out=out,
            settings=settings,
            options=PullOptions(files=("*",)),
            transport=httpx.ASGITransport(app=app),
        )
        assert (report.incomplete, report.seal.content_id) == ((), bundle.content_id)
        with open_bundle(out) as pulled:
            for run in pulled.runs():
                assert run.files_hash == bundle[run.path].files_hash
                assert [file.record for file in run.files.values()] == [
                    file.record for file in bundle[run.path].files.values()
                ]
        served = open_bundle(out)
    served.close()
    assert first.read_bytes() == second.read_bytes()
    assert not verify_bundle(first).damages
