"""An unmodified `wandb.Api()` reads the artifacts of a bundle through the replay server."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from artifactkit import Version, artifacts_of
from environments import python_with_sdk, sdk_releases
from replay_support import bundle_run, plain_rows, write_runs

from pull_logs.replay.server import serve_bundle

SAME = bytes(range(256)) * 40
OLD = Version({"w.bin": b"old"}, version=0)
WEIGHTS = Version(
    {"w.bin": SAME, "nested/é.txt": b"text", "empty": b""},
    version=1,
    aliases=("best", "latest"),
    tags=("t1",),
    description="the weights",
    metadata={"acc": 0.5, "deep": {"none": None, "list": [1, "x"]}},
    history_step=3,
)
DATA = Version(
    {"train.csv": SAME, "test.csv": b"a,b\n"},
    name="data",
    project="sets",
    type="dataset",
    aliases=("latest",),
)
SINGLE = Version({"only.txt": b"one file"}, name="single", type="result", algorithm="XXH128", logged_by=None)


OLDER = ("0.30.0", "0.29.0", "0.28.2", "0.28.0")
"""Releases that the project supports, down to the oldest."""


@pytest.fixture(scope="module", params=sdk_releases(*OLDER))
def seen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """What the SDK saw, in a process of its own."""
    python = python_with_sdk(request.config, request.param)
    folder = tmp_path_factory.mktemp("artifacts")
    rows = plain_rows(3)
    runs = [
        dataclasses.replace(
            bundle_run("acme/nano/3fk2a", rows), artifacts=artifacts_of([OLD, WEIGHTS, SINGLE], [DATA])
        ),
        dataclasses.replace(bundle_run("acme/nano/b", rows), artifacts=artifacts_of([], [WEIGHTS])),
        bundle_run("acme/nano/none", rows),
    ]
    plan = {
        "folder": str(folder),
        "run": "acme/nano/3fk2a",
        "project": "acme/nano",
        "weights": "acme/nano/weights:best",
        "data": "acme/sets/data:latest",
        "single": "acme/nano/single:v0",
        "collection": "acme/nano/weights",
    }
    outside = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    with serve_bundle(write_runs(folder, runs)) as server:
        done = subprocess.run(
            [python, str(Path(__file__).with_name("artifact_driver.py"))],
            env={**outside, **server.environment()},
            cwd=folder,
            input=json.dumps(plan),
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def as_the_sdk_shows(version: Version) -> dict[str, Any]:
    facts = version.facts
    name = f"{facts['collection']}:v{facts['version']}"
    return {
        "name": f"{facts['entity']}/{facts['project']}/{name}",
        "type": facts["type"],
        "version": f"v{facts['version']}",
        "aliases": sorted(facts.get("aliases", ())),
        "tags": list(facts.get("tags", ())),
        "description": facts.get("description"),
        "metadata": facts.get("metadata") or {},
        "digest": facts["digest"],
        "size": facts["size"],
        "files": facts["file_count"],
        "state": "COMMITTED",
        "id": facts["id"],
    }


def test_a_run_has_the_artifacts_that_it_logged_and_used(seen: Mapping[str, Any]) -> None:
    assert seen["logged"] == [as_the_sdk_shows(one) for one in (SINGLE, OLD, WEIGHTS)]
    assert seen["used"] == [as_the_sdk_shows(DATA)]


def test_an_artifact_is_found_by_its_name_and_alias(seen: Mapping[str, Any]) -> None:
    weights = as_the_sdk_shows(WEIGHTS) | {"name": "acme/nano/weights:best"}
    assert {**seen["weights"], "name": weights["name"]} == weights
    assert seen["data"]["id"] == DATA.facts["id"]
    assert seen["exists"] == [True, False]
    what = "artifact" if seen["version"] == "0.28.0" else "artifact membership"
    assert seen["missing"] == {"error": f"CommError: {what} 'weight:v0' not found in 'acme/nano'"}


def test_a_download_has_the_bytes_of_the_bundle(seen: Mapping[str, Any]) -> None:
    assert seen["downloaded"] == {path: data.hex() for path, data in sorted(WEIGHTS.files.items())}
    assert seen["verified"] is None
    assert seen["recomputed"] == WEIGHTS.facts["digest"]
    assert seen["one"] == SAME.hex()
    assert seen["file"] == b"one file".hex()
    assert seen["names"] == sorted(WEIGHTS.files)
    assert seen["lengths"] == [0, len(WEIGHTS.files)]


def test_the_manifest_has_the_entries(seen: Mapping[str, Any]) -> None:
    assert {path: entry[0] for path, entry in seen["entries"].items()} == {
        "train.csv": len(SAME),
        "test.csv": 4,
    }


def test_lineage_names_the_runs(seen: Mapping[str, Any]) -> None:
    assert seen["logged_by"] == ["acme", "nano", "3fk2a"]
    assert seen["used_by"] == ["acme/nano/b"]


def test_a_run_of_a_project_that_the_bundle_has_no_run_of_is_named_as_missing(
    seen: Mapping[str, Any],
) -> None:
    error = seen["logged_elsewhere"]["error"]
    kind, _, message = error.partition(": ")
    assert kind in ("WandbApiFailedError", "CommError", "ValueError")
    assert (
        "the bundle 'runs.wandb.zip' has no run 'acme/sets/3fk2a', and no other run of that project;"
        " `pull-logs fetch -r acme/sets/3fk2a -o more.wandb.zip` downloads it"
    ) in message
    assert seen["logged_by_nobody"] is None


def test_types_collections_and_versions_are_listed(seen: Mapping[str, Any]) -> None:
    assert seen["types"] == ["model", "result"]
    assert seen["collections"] == ["weights"]
    assert seen["versions"] == ["v1", "v0"]
