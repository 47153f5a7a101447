"""Signed links of the replay: exports and files of runs, and ranges of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from served_app import BASE, KEY, ask, client_of, open_world
from starlette.applications import Starlette

from pull_logs.replay.data.links import LinkSigner
from pull_logs.replay.http.app import build_app
from pull_logs.snapshot.read.bundle import Bundle

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bundle]:
    with open_world(tmp_path_factory.mktemp("app")) as bundle:
        yield bundle


@pytest.fixture
def app(bundle: Bundle) -> Starlette:
    return build_app([bundle], api_key=KEY)


class Clock:
    now = 1.8e9

    def __call__(self) -> float:
        return self.now


async def export_link(app: Starlette) -> str:
    query = (
        '{ project(name: "nano") { run(name: "plain01") { parquetHistory(liveKeys: []) { parquetUrls } } } }'
    )
    link: str = (await ask(app, query))["project"]["run"]["parquetHistory"]["parquetUrls"][0]
    return link


async def test_a_link_is_followed_with_or_without_a_key_until_it_expires(bundle: Bundle) -> None:
    clock = Clock()
    app = build_app([bundle], api_key=KEY, signer=LinkSigner(seconds=60, clock=clock))
    link = await export_link(app)
    async with client_of(app, auth=None) as nobody, client_of(app) as somebody:
        clock.now += 59
        plain, signed = await nobody.get(link), await somebody.get(link)
        assert plain.status_code == signed.status_code == 200
        assert plain.content == signed.content
        assert plain.content[:4] == plain.content[-4:] == b"PAR1"
        clock.now += 1
        late = await nobody.get(link)
    assert late.status_code == 403
    assert late.headers["content-type"] == "application/xml"
    assert "<Code>AccessDenied</Code><Message>Request has expired</Message>" in late.text


async def test_a_link_that_was_tampered_with_is_refused(app: Starlette) -> None:
    link = await export_link(app)
    path, _, query = link.partition("?")
    async with client_of(app) as client:
        for wrong in (
            path,
            link[:-1] + ("0" if link[-1] != "0" else "1"),
            link.replace("Expires=3600", "Expires=99999"),
            f"{path}x?{query}",
            link.replace("X-Amz-Date=2", "X-Amz-Date=1"),
        ):
            answer = await client.get(wrong)
            assert answer.status_code == 403
            assert "<Code>SignatureDoesNotMatch</Code>" in answer.text


async def test_the_path_of_a_link_stays_while_its_signature_changes(bundle: Bundle) -> None:
    clock = Clock()
    app = build_app([bundle], api_key=KEY, signer=LinkSigner(clock=clock))
    first = await export_link(app)
    clock.now += 1
    second = await export_link(app)
    assert first != second
    assert first.partition("?")[0] == second.partition("?")[0]


async def test_a_signed_path_of_nothing_is_a_404(bundle: Bundle) -> None:
    signer = LinkSigner()
    app = build_app([bundle], api_key=KEY, signer=signer)
    async with client_of(app) as client:
        for path in (
            "/storage/%%/a.parquet",
            "/storage/YQ/a.parquet",
            "/storage/YWNtZS9uYW5vL3BsYWluMDE/x.parquet",
        ):
            answer = await client.get(signer.link(BASE, path.replace("%%", "a-b")))
            assert (answer.status_code, "<Code>NoSuchKey</Code>" in answer.text) == (404, True)


async def test_ranges_of_an_export(app: Starlette) -> None:
    link = await export_link(app)
    async with client_of(app, auth=None) as client:
        whole = (await client.get(link)).content
        size = len(whole)
        for header, first, stop in (
            ("bytes=0-0", 0, 1),
            ("bytes=-8", size - 8, size),
            (f"bytes={size - 3}-", size - 3, size),
            (f"bytes=10-{size * 2}", 10, size),
            (f"bytes=-{size * 2}", 0, size),
        ):
            answer = await client.get(link, headers={"range": header})
            assert (answer.status_code, answer.content) == (206, whole[first:stop])
            assert answer.headers["content-range"] == f"bytes {first}-{stop - 1}/{size}"
        for header in ("bytes=5-4", "bytes=1-2,5-6", "lines=1-2", "bytes=-", "bytes=" + "9" * 30 + "-"):
            answer = await client.get(link, headers={"range": header})
            assert (answer.status_code, len(answer.content)) == (200, size)
        for header in (f"bytes={size}-", "bytes=-0"):
            answer = await client.get(link, headers={"range": header})
            assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{size}")
        head = await client.head(link)
        assert (head.status_code, head.headers["content-length"], head.content) == (200, str(size), b"")
    assert app.state.requests["(object)"] == 2
    assert app.state.requests["(object range)"] == 12


async def test_the_files_of_a_run(app: Starlette) -> None:
    query = """query RunFiles($name: String!, $names: [String] = [], $pattern: String) {
      project(name: "nano") {
      run(name: $name) { fileCount files(names: $names, first: 50, pattern: $pattern) {
        edges { cursor node { id name url(upload: false) directUrl sizeBytes mimetype updatedAt md5 } }
        pageInfo { endCursor hasNextPage } } } } }"""
    run = (await ask(app, query, name="plain01"))["project"]["run"]
    (edge,) = run["files"]["edges"]
    assert (run["fileCount"], edge["node"]["name"]) == (1, "wandb-metadata.json")
    async with client_of(app) as client:
        content = (await client.get(edge["node"]["url"])).content
    assert (len(content), json.loads(content)["host"]) == (edge["node"]["sizeBytes"], "node7")

    async def names(**variables: Any) -> list[str]:
        data = await ask(app, query, **{"name": "plain01", **variables})
        return [edge["node"]["name"] for edge in data["project"]["run"]["files"]["edges"]]

    assert (
        await names(names=["wandb-metadata.json"])
        == await names(pattern="wandb-%.json")
        == ["wandb-metadata.json"]
    )
    assert await names(pattern="%.txt") == await names(name="odd01") == []
    assert await names(names=["other", "wandb-metadata.json"]) == ["wandb-metadata.json"]
    assert await names(names=["wandb-metadata.json"], name="odd01") == []
