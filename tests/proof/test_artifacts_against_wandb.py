"""A run is safe only if the bundle has each of its artifacts as W&B has it, with the bytes of its files."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from artifactkit import Version, artifacts_of, entry_of, reference
from hypothesis import given, settings
from hypothesis import strategies as st
from replay_support import bundle_run, plain_rows
from scripted_wandb import QUICK

from pull_logs.fetch import PullOptions, Selection, Settings, pull, run_async
from pull_logs.proof import AskOptions, BundleProof, PartProof, RunProof, prove_against_wandb
from pull_logs.replay import build_app
from pull_logs.snapshot import open_bundle, write_bundle
from pull_logs.snapshot.write import CopiedRun
from pull_logs.suggestions import counted

RUN = "acme/nano/3fk2a"
FILES: Mapping[str, bytes] = {"w.bin": bytes(range(256)), "nested/é.txt": b"text", "empty": b""}
STORED = reference("big", "s3://b/k")


def weights(files: Mapping[str, bytes] = FILES, **facts: Any) -> Version:
    return Version(files, **{"aliases": ("best",), "tags": ("t",), "metadata": {"acc": 0.5}, **facts})


def dataset(files: Mapping[str, bytes] | None = None, **facts: Any) -> Version:
    facts = {"name": "data", "project": "sets", "type": "dataset", "references": [STORED], **facts}
    return Version({"train.csv": b"1,2"} if files is None else files, **facts)


LOGGED, USED = [weights()], [dataset()]


class Network(httpx.AsyncBaseTransport):
    """A replay server, whose answers about artifacts can be refused or changed."""

    def __init__(self, app: Any, *, refused: Sequence[str], fewer: bool) -> None:
        self._inner = httpx.ASGITransport(app=app)
        self._refused, self._fewer = refused, fewer
        self.asked: Counter[str] = Counter()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method != "POST":
            return await self._inner.handle_async_request(request)
        operation = json.loads(request.content)["operationName"]
        self.asked[operation] += 1
        if operation in self._refused:
            return httpx.Response(400, json={"errors": [{"message": "Cannot query field"}]})
        response = await self._inner.handle_async_request(request)
        if operation != "RunOutputArtifacts" or not self._fewer:
            return response
        answer = json.loads(b"".join([chunk async for chunk in response.stream]))  # type: ignore[union-attr]
        answer["data"]["project"]["run"]["artifacts"]["edges"].pop()
        return httpx.Response(200, json=answer)


@contextmanager
def wandb_with(
    folder: Path,
    logged: Sequence[Version],
    used: Sequence[Version],
    *,
    refused: Sequence[str] = (),
    fewer: bool = False,
) -> Iterator[tuple[Settings, Network]]:
    """A W&B with one run, which logged and used artifacts."""
    path = folder / "served.zip"
    artifacts = artifacts_of(logged, used) if logged or used else None
    write_bundle(path, [replace(bundle_run(RUN, plain_rows(3)), artifacts=artifacts)], force=True)
    with open_bundle(path) as bundle:
        app = build_app([bundle])
        key = Settings(base_url="http://127.0.0.1:9", api_key=app.state.api_key)
        yield key, Network(app, refused=refused, fewer=fewer)


def fetched(
    folder: Path, logged: Sequence[Version], used: Sequence[Version], *, artifacts: str | None = "all"
) -> Path:
    out = folder / "b.wandb.zip"
    options = PullOptions(system=True, console=True, files=["*"], artifacts=artifacts, policy=QUICK)
    with wandb_with(folder, logged, used) as (key, network):
        run_async(
            partial(
                pull,
                Selection(projects=("acme/nano",)),
                out=out,
                settings=key,
                transport=network,
                options=options,
            )
        )
    return out


def asked(
    bundle: Path,
    logged: Sequence[Version],
    used: Sequence[Version],
    *,
    compare_rows: bool = True,
    **faults: Any,
) -> tuple[BundleProof, Counter[str]]:
    with (
        tempfile.TemporaryDirectory() as folder,
        wandb_with(Path(folder), logged, used, **faults) as (key, network),
    ):
        options = AskOptions(settings=key, policy=QUICK, transport=network)
        return prove_against_wandb(bundle, compare_rows=compare_rows, options=options), network.asked


def verdict(bundle: Path, logged: Sequence[Version], used: Sequence[Version], **faults: Any) -> RunProof:
    return asked(bundle, logged, used, **faults)[0].runs[0]


def part_of(proof: RunProof, name: str) -> PartProof:
    return next(part for part in proof.parts if part.part == name)


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fetched(tmp_path_factory.mktemp("held"), LOGGED, USED)


def test_a_run_whose_artifacts_are_all_held_is_safe_with_two_more_requests(held: Path) -> None:
    proof, operations = asked(held, LOGGED, USED)
    run = proof.runs[0]
    assert (run.verdict, run.reasons) == ("safe", ())
    counts = [
        (part_of(run, f"{how} artifacts").wandb, part_of(run, f"{how} artifacts").bundle)
        for how in ("logged", "used")
    ]
    assert counts == [(1, 1), (1, 1)]
    listed = {name: count for name, count in operations.items() if "putArtifacts" in name}
    assert listed == {"RunOutputArtifacts": 1, "RunInputArtifacts": 1}


FAULTS: Mapping[str, tuple[Sequence[Version], Sequence[Version], str]] = {
    "a version more": (
        [*LOGGED, weights(version=1)],
        USED,
        "artifacts that it logged: 'acme/nano/weights:v1' is not in the bundle",
    ),
    "another version": (
        [weights(version=1)],
        USED,
        "artifacts that it logged: 'acme/nano/weights:v1' is not in the bundle",
    ),
    "another name": (
        LOGGED,
        [dataset(name="other")],
        "artifacts that it used: 'acme/sets/other:v0' is not in the bundle",
    ),
    "a byte of a file": (
        [weights({**FILES, "w.bin": bytes(range(255)) + b"x"})],
        USED,
        "artifacts that it logged: 'acme/nano/weights:v0' has another digest on W&B",
    ),
    "a file more": (
        LOGGED,
        [dataset({"train.csv": b"1,2", "x": b""})],
        "artifacts that it used: 'acme/sets/data:v0' has another digest, file count on W&B",
    ),
    "a reference": (
        LOGGED,
        [dataset(references=[reference("big2", "s3://b/k")])],
        "artifacts that it used: 'acme/sets/data:v0' has another digest on W&B",
    ),
    "no digest": (
        [weights(digest=None)],
        USED,
        "artifacts that it logged: 'acme/nano/weights:v0' has no digest on W&B",
    ),
    "a version that is still written": (
        [weights(state="PENDING")],
        USED,
        "artifacts that it logged: 'acme/nano/weights:v0' is PENDING on W&B",
    ),
    "a deleted version of another digest": (
        [weights(state="DELETED", digest="0" * 32)],
        USED,
        "artifacts that it logged: 'acme/nano/weights:v0' is DELETED on W&B",
    ),
    "metadata": (
        [weights(metadata={"acc": 0.6})],
        USED,
        "artifacts that it logged: 'acme/nano/weights:v0' has another metadata on W&B",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_whatever_of_artifacts_the_bundle_lacks_makes_the_run_not_safe(held: Path, name: str) -> None:
    logged, used, reason = FAULTS[name]
    found = verdict(held, logged, used)
    assert (found.verdict, found.reasons) == ("not safe", (reason,))


@pytest.mark.parametrize(
    ("artifacts", "reason"),
    [
        (None, "1 artifact that it logged and 1 that it used are not in the bundle"),
        ("logged", "1 artifact that it used is not in the bundle"),
        ("used", "1 artifact that it logged is not in the bundle"),
    ],
)
def test_a_fetch_without_artifacts_is_not_safe(tmp_path: Path, artifacts: str | None, reason: str) -> None:
    bundle = fetched(tmp_path, LOGGED, USED, artifacts=artifacts)
    assert verdict(bundle, LOGGED, USED).reasons == (reason,)


def test_a_fetch_of_references_lacks_the_bytes_of_files(tmp_path: Path) -> None:
    bundle = fetched(tmp_path, LOGGED, USED, artifacts="references")
    assert verdict(bundle, LOGGED, USED).reasons == (
        "artifacts that it logged: 'acme/nano/weights:v0' lacks 3 of 3 files, 'empty' first",
        "artifacts that it used: 'acme/sets/data:v0' lacks 1 of 1 file, 'train.csv' first",
    )


def test_an_artifact_of_references_alone_is_held_when_they_are_recorded(tmp_path: Path) -> None:
    used = [dataset({})]
    assert verdict(fetched(tmp_path, [], used, artifacts="references"), [], used).verdict == "safe"


def test_other_aliases_and_tags_are_named_and_do_not_matter(held: Path) -> None:
    found = verdict(held, [weights(aliases=("best", "latest"))], [dataset(tags=("new",))])
    assert found.verdict == "safe"
    assert part_of(found, "logged artifacts").names == ("acme/nano/weights:v0",)
    assert part_of(found, "used artifacts").names == ("acme/sets/data:v0",)


def test_what_was_deleted_on_wandb_is_not_lost_with_the_run(held: Path) -> None:
    assert verdict(held, [weights(state="DELETED")], USED).verdict == "safe"
    assert verdict(held, [], USED).verdict == "safe"


def test_a_list_that_is_shorter_than_its_count_proves_nothing(held: Path) -> None:
    assert verdict(held, LOGGED, USED, fewer=True).reasons == ("artifacts that it logged: W&B lists 0 of 1",)


def test_a_refused_list_is_not_safe_and_said_once_for_both(held: Path) -> None:
    found = verdict(held, LOGGED, USED, refused=["RunOutputArtifacts", "RunInputArtifacts"])
    assert found.verdict == "not safe"
    why = "could not be requested: 127.0.0.1:9 answered 400: Cannot query field"
    assert found.reasons == (f"which artifacts it logged and used {why}",)
    found = verdict(held, LOGGED, USED, refused=["RunInputArtifacts"])
    assert found.reasons == (f"which artifacts it used {why}",)


def test_the_queries_of_the_sdk_compare_artifacts_too(held: Path) -> None:
    assert verdict(held, LOGGED, USED, refused=["RunInventories"]).verdict == "safe"
    logged, used, reason = FAULTS["a byte of a file"]
    assert verdict(held, logged, used, refused=["RunInventories"]).reasons == (reason,)


def test_quick_counts_artifacts_and_says_so_once(held: Path) -> None:
    proof, _ = asked(held, LOGGED, USED, compare_rows=False)
    assert proof.runs[0].reasons[-1] == "the artifacts that it logged and used were counted and not compared"


@settings(max_examples=6, deadline=None)
@given(data=st.data(), names=st.lists(st.sampled_from("abc"), min_size=1, unique=True))
def test_law_a_run_is_safe_only_while_every_file_of_its_artifacts_is_held(
    data: st.DataObject, names: list[str]
) -> None:
    """What lacks the bytes of any subset of files is not safe, and is safe if the subset is empty."""
    files = {name: name.encode() * 3 for name in names}
    missing = data.draw(st.sets(st.sampled_from(names)))
    relation = data.draw(st.sampled_from(["logged", "used"]))
    complete = Version(files)
    partly = Version(
        {name: content for name, content in files.items() if name not in missing},
        references=[entry_of(name, files[name], bytes_too=False) for name in sorted(missing)],
        size=sum(map(len, files.values())),
    )
    sides = [([version], []) if relation == "logged" else ([], [version]) for version in (complete, partly)]
    with tempfile.TemporaryDirectory() as folder:
        whole = fetched(Path(folder), *sides[0])
        path = Path(folder) / "partly.zip"
        with open_bundle(whole) as bundle:
            write_bundle(path, [CopiedRun(run=bundle[RUN], artifacts=artifacts_of(*sides[1]))])
        found = verdict(path, *sides[0])
    assert (found.verdict == "safe") == (not missing)
    lacking = f"lacks {len(missing)} of {counted(len(files), 'file')}, {min(missing, default='')!r} first"
    reason = f"artifacts that it {relation}: 'acme/nano/weights:v0' {lacking}"
    assert found.reasons == ((reason,) if missing else ())
