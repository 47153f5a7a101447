"""Artifacts arrive with bytes of their digests, once for all runs, or their runs are incomplete."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from artifactkit import Version, artifacts_of, entry_of, reference
from blockbuster import blockbuster_ctx
from replay_support import bundle_run, plain_rows
from scripted_wandb import QUICK

from pull_logs.errors import UsageError
from pull_logs.fetch import PullReport, Selection, Settings, pull
from pull_logs.fetch.options import PullOptions
from pull_logs.replay import build_app
from pull_logs.snapshot import Bundle, BundleRun, open_bundle, verify_bundle, write_bundle
from pull_logs.snapshot.format import content_of, encode_entries

pytestmark = pytest.mark.anyio

PROJECT = Selection(projects=("acme/nano",))
SAME = bytes(range(256)) * 4000
WEIGHTS = Version(
    {"w.bin": SAME, "nested/é.txt": b"text", "empty": b""},
    aliases=("best", "latest"),
    tags=("t",),
    description="the weights",
    metadata={"acc": 0.5, "inf": float("inf"), "none": None},
    history_step=3,
    commit_hash="abc",
)
DATA = Version(
    {"train.csv": SAME, "x.bin": b"xx"},
    name="data",
    project="sets",
    type="dataset",
    references=[reference("big", "s3://b/k")],
    logged_by="acme/sets/maker",
)
FAST = Version({"f.bin": b"hashed fast"}, name="fast", algorithm="XXH128")


def a_run(path: str, logged: list[Version], used: list[Version]) -> BundleRun:
    artifacts = artifacts_of(logged, used) if logged or used else None
    return dataclasses.replace(bundle_run(path, plain_rows(3)), artifacts=artifacts)


def the_runs() -> list[BundleRun]:
    return [
        a_run("acme/nano/3fk2a", [WEIGHTS, FAST], [DATA]),
        a_run("acme/nano/b", [], [DATA, WEIGHTS]),
        a_run("acme/nano/none", [], []),
    ]


def served_bundle(folder: Path, runs: list[BundleRun] | None = None) -> Path:
    path = folder / "served.zip"
    write_bundle(path, the_runs() if runs is None else runs, force=True)
    return path


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Bundle]:
    with open_bundle(served_bundle(tmp_path)) as bundle:
        yield bundle


Fault = Callable[[int, httpx.Response], httpx.Response]


class Network(httpx.AsyncBaseTransport):
    """The replay server of a bundle behind a network with faults."""

    def __init__(
        self, bundle: Bundle, fault: Callable[[int, httpx.Response], httpx.Response] | None = None
    ) -> None:
        self.app = build_app([bundle])
        self._inner = httpx.ASGITransport(app=self.app)
        self._fault = fault
        self.objects: Counter[str] = Counter()
        self.queries: Counter[str] = Counter()
        self.refused = ""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            operation = json.loads(request.content)["operationName"]
            self.queries[operation] += 1
            if operation == self.refused:
                return httpx.Response(400, json={"errors": [{"message": "no such query"}]})
            return await self._inner.handle_async_request(request)
        assert "authorization" not in request.headers
        name = request.url.path.rpartition("/")[2]
        response = await self._inner.handle_async_request(request)
        if not name.startswith(("content-", "manifest-")):
            return response
        self.objects[name] += 1
        if self._fault is None:
            return response
        body = b"".join([chunk async for chunk in response.stream])  # type: ignore[union-attr]
        whole = httpx.Response(response.status_code, headers=response.headers, content=body)
        return self._fault(self.objects[name], whole)

    @property
    def contents(self) -> Counter[str]:
        return Counter({name: count for name, count in self.objects.items() if name.startswith("content-")})


async def pull_all(network: Network, out: Path, artifacts: str | None = "all", **options: Any) -> PullReport:
    settings = Settings(base_url="http://127.0.0.1:9", api_key=network.app.state.api_key)
    chosen = PullOptions(artifacts=artifacts, policy=QUICK, **options)
    return await pull(PROJECT, out=out, settings=settings, transport=network, options=chosen)


def artifacts_in(path: Path) -> dict[str, str | None]:
    with open_bundle(path) as bundle:
        return {run.path.run_id: run.artifacts_hash for run in bundle.runs()}


async def test_a_bundle_that_is_served_and_fetched_has_the_same_artifacts(
    served: Bundle, tmp_path: Path
) -> None:
    network, out = Network(served), tmp_path / "out.zip"
    report = await pull_all(network, out)
    assert report.incomplete == ()
    assert artifacts_in(out) == {run.path.run_id: run.artifacts_hash for run in served.runs()}
    with open_bundle(out) as bundle:
        assert bundle.manifest.contents == served.manifest.contents
        assert (report.seal.contents, report.seal.content_bytes) == (8, report.seal.content_bytes)
    assert not verify_bundle(out).damages
    assert set(network.contents.values()) == {1}
    assert network.queries["FetchArtifactManifest"] == 3


async def test_bytes_that_many_paths_and_artifacts_have_are_downloaded_once(tmp_path: Path) -> None:
    def version(number: int, algorithm: str) -> Version:
        files = {"a": SAME, "b": SAME, "c/d": SAME, "own": bytes([number])}
        return Version(files, name=f"n{number}", algorithm=algorithm, logged_by=f"acme/nano/run{number}")

    runs = [a_run(f"acme/nano/run{number}", [version(number, "MD5")], []) for number in range(6)]
    runs.append(a_run("acme/nano/run6", [version(6, "XXH128")], []))
    with open_bundle(served_bundle(tmp_path, runs)) as bundle:
        network = Network(bundle)
        report = await pull_all(network, tmp_path / "out.zip")
        assert report.incomplete == ()
        assert artifacts_in(tmp_path / "out.zip") == {
            run.path.run_id: run.artifacts_hash for run in bundle.runs()
        }
    # Bytes that one manifest has by MD5 and the other by XXH128 are known to be the same when they arrived.
    counts = sorted(network.contents.values())
    assert counts[:-1] == [1] * 7
    assert counts[-1] in (1, 2)


async def test_fetching_does_not_block_the_event_loop(served: Bundle, tmp_path: Path) -> None:
    with blockbuster_ctx("pull_logs.fetch"):
        report = await pull_all(Network(served), tmp_path / "out.zip")
    assert report.incomplete == ()


@pytest.mark.parametrize(
    ("selection", "names", "contents"),
    [
        ("logged", {"3fk2a": ["weights", "fast"]}, 6),
        ("used", {"3fk2a": ["data"], "b": ["data", "weights"]}, 6),
        ("references", {"3fk2a": ["weights", "fast", "data"], "b": ["data", "weights"]}, 3),
    ],
)
async def test_a_selection_gives_what_it_says(
    served: Bundle, tmp_path: Path, selection: str, names: dict[str, list[str]], contents: int
) -> None:
    out = tmp_path / "out.zip"
    report = await pull_all(Network(served), out, selection)
    assert (report.incomplete, report.seal.contents) == ((), contents)
    with open_bundle(out) as bundle:
        for run in bundle.runs():
            found = [one.record.collection for one in (*run.logged_artifacts(), *run.used_artifacts())]
            assert sorted(found) == sorted(names.get(run.path.run_id, []))
        entries = bundle.artifact("weights:v0").entries
        assert sorted(entries) == sorted(WEIGHTS.files)
        assert all((entry.content is None) == (selection == "references") for entry in entries.values())


async def test_references_are_recorded_and_not_followed(served: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "out.zip"
    await pull_all(Network(served), out)
    with open_bundle(out) as bundle:
        entry = bundle.artifact("data:v0")["big"]
        assert (entry.ref, entry.entry.extra, entry.content) == ("s3://b/k", {"etag": "etag-1"}, None)
        assert bundle.artifact("data:v0").logged_by == "acme/sets/maker"


async def test_without_a_selection_nothing_is_asked(served: Bundle, tmp_path: Path) -> None:
    network = Network(served)
    report = await pull_all(network, tmp_path / "out.zip", None)
    assert (report.incomplete, report.seal.contents, network.objects) == ((), 0, Counter())
    assert not {name for name in network.queries if "Artifact" in name}


def dropped(count: int, response: httpx.Response) -> httpx.Response:
    if count == 1:
        raise httpx.ReadError("dropped")
    return response


def cut(count: int, response: httpx.Response) -> httpx.Response:
    if count > 1 or len(response.content) < 2:
        return response
    length = str(len(response.content))

    class Short(httpx.AsyncByteStream):
        async def __aiter__(self) -> Any:
            yield response.content[: len(response.content) // 2]
            raise httpx.RemoteProtocolError("the connection was closed")

    return httpx.Response(response.status_code, headers={"content-length": length}, stream=Short())


def throttled(count: int, response: httpx.Response) -> httpx.Response:
    return httpx.Response(429, headers={"retry-after": "0"}) if count < 3 else response


def expired(count: int, response: httpx.Response) -> httpx.Response:
    return httpx.Response(403, text="<Error><Code>AccessDenied</Code></Error>") if count == 1 else response


def corrupted(count: int, response: httpx.Response) -> httpx.Response:
    if count > 1 or b"storagePolicy" in response.content:
        return response
    return httpx.Response(200, content=bytes(byte ^ 1 for byte in response.content))


@pytest.mark.parametrize("fault", [dropped, cut, throttled, expired, corrupted])
async def test_each_fault_is_survived(served: Bundle, tmp_path: Path, fault: Any) -> None:
    out, plain = tmp_path / "out.zip", tmp_path / "plain.zip"
    report = await pull_all(Network(served, fault), out)
    await pull_all(Network(served), plain)
    assert report.incomplete == ()
    assert out.read_bytes() == plain.read_bytes()


async def test_bytes_that_stay_wrong_are_reported_with_both_digests(
    tmp_path: Path,
) -> None:
    right, wrong = entry_of("w.bin", b"right"), entry_of("w.bin", b"wrong")
    fast = entry_of("f.bin", b"right", algorithm="XXH128")
    lying = [
        dataclasses.replace(wrong, hash=right.hash),
        dataclasses.replace(entry_of("f.bin", b"wrong", algorithm="XXH128"), hash=right.hash),
    ]
    for entry, reason in [
        (
            lying[0],
            "its MD5 is 7c4f29407893c334a6cb7a87bf045c0d and W&B reports 2bda2998d9b0ee197da142a0447f6725",
        ),
        (lying[1], f"its XXH128 is {fast.digest} and the manifest has {lying[1].digest}"),
    ]:
        version = Version({})
        listing = content_of(encode_entries([entry]))
        version.facts["entries"] = listing.record.hash
        version.contents = [listing, content_of(b"right")]
        with open_bundle(served_bundle(tmp_path, [a_run("acme/nano/3fk2a", [version], [])])) as bundle:
            report = await pull_all(Network(bundle), tmp_path / "out.zip", force=True)
        (outcome,) = report.incomplete
        assert outcome.reason == (
            f"artifact 'acme/nano/weights:v0': entry {entry.path!r} could not be downloaded: {reason}"
        )
        with open_bundle(tmp_path / "out.zip") as bundle:
            assert bundle.artifact("weights:v0")[entry.path].content is None
        assert not verify_bundle(tmp_path / "out.zip").damages


async def test_an_interrupted_fetch_continues_with_what_arrived(served: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "out.zip"

    class KilledError(BaseException):
        pass

    def kill(_count: int, response: httpx.Response) -> httpx.Response:
        if len(response.content) == len(SAME):
            return response
        if b"storagePolicy" in response.content:
            return response
        if response.content == b"xx":
            raise KilledError
        return response

    with pytest.raises(BaseException) as caught:  # noqa: PT011 - a group of whatever was cancelled
        await pull_all(Network(served, kill), out)
    assert caught.group_contains(KilledError) if isinstance(caught.value, BaseExceptionGroup) else True
    assert not out.exists()
    held = {path.name for path in (tmp_path / "out.zip.partial" / "contents").iterdir()}
    again = Network(served)
    report = await pull_all(again, out)
    assert report.incomplete == ()
    asked = {name.removeprefix("content-") for name in again.contents}
    assert asked.isdisjoint(held)
    assert artifacts_in(out) == {run.path.run_id: run.artifacts_hash for run in served.runs()}
    assert not verify_bundle(out).damages
    assert not (tmp_path / "out.zip.partial").exists()


async def test_the_artifacts_of_an_unchanged_run_are_only_listed(served: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "out.zip"
    await pull_all(Network(served), out)
    before = artifacts_in(out)
    again = Network(served)
    report = await pull_all(again, out, None)
    assert (report.incomplete, again.objects) == ((), Counter())
    listed = {name: count for name, count in again.queries.items() if "Artifact" in name}
    assert listed == {"RunOutputArtifacts": 1, "RunInputArtifacts": 2}
    assert artifacts_in(out) == before


async def test_an_alias_that_moved_is_noticed_although_its_run_did_not_change(tmp_path: Path) -> None:
    def runs(*, best: int) -> list[BundleRun]:
        versions = [
            Version({f"{at}.bin": bytes([at]) * 99}, version=at, aliases=("best",) if at == best else ())
            for at in range(2)
        ]
        return [a_run("acme/nano/a", versions, []), a_run("acme/nano/b", [FAST], [])]

    out = tmp_path / "out.zip"
    with open_bundle(served_bundle(tmp_path, runs(best=0))) as earlier:
        await pull_all(Network(earlier), out)
    with open_bundle(served_bundle(tmp_path, runs(best=1))) as now:
        network = Network(now)
        report = await pull_all(network, out, None)
        await pull_all(Network(now), tmp_path / "fresh.zip")
    assert artifacts_in(out) == artifacts_in(tmp_path / "fresh.zip")
    assert {run.path.run_id: (run.how, run.note) for run in report.runs} == {
        "a": ("copied", "only its artifacts changed"),
        "b": ("copied", ""),
    }
    assert network.contents == Counter()  # the bytes are those of the earlier bundle
    with open_bundle(out) as bundle:
        assert bundle.artifact("weights:best").record.version == 1


async def test_if_the_artifacts_of_an_unchanged_run_cannot_be_listed_it_keeps_them(
    served: Bundle, tmp_path: Path
) -> None:
    out = tmp_path / "out.zip"
    await pull_all(Network(served), out)
    before = artifacts_in(out)
    network = Network(served)
    network.refused = "RunOutputArtifacts"
    report = await pull_all(network, out, None)
    assert artifacts_in(out) == before
    assert {run.path.run_id: run.reason for run in report.incomplete} == {
        "3fk2a": "the artifacts could not be listed: 127.0.0.1:9 answered 400: no such query"
    }


async def test_more_artifacts_are_added_with_the_bytes_that_the_bundle_has(tmp_path: Path) -> None:
    out = tmp_path / "out.zip"
    with open_bundle(served_bundle(tmp_path, the_runs()[:1])) as served:
        await add_more(served, out)


async def add_more(served: Bundle, out: Path) -> None:
    await pull_all(Network(served), out, "logged")
    more = Network(served)
    report = await pull_all(more, out, "all")
    assert report.incomplete == ()
    assert artifacts_in(out) == {run.path.run_id: run.artifacts_hash for run in served.runs()}
    same = content_of(SAME).record.hash.removeprefix("sha256:")
    assert f"content-{same}" not in more.objects


def test_an_unknown_selection_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        PullOptions(artifacts="everything")
    assert caught.value.message == (
        "artifacts is 'everything', not one of 'logged', 'used', 'all', 'references'"
    )
