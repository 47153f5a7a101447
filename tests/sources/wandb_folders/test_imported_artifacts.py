"""Artifacts of local run folders: their records, and staged files whose digest the log has."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from logwriting import record, row, write_log

from pull_logs.cli.main import main
from pull_logs.fetch import PullOptions, Selection, Settings, pull_sync
from pull_logs.replay import serve_bundle
from pull_logs.snapshot import ArtifactSelection, open_bundle, verify_bundle
from pull_logs.sources import ImportReport, import_runs

BYTES = b"weights of the model"
POLICY = {"storage_policy": "wandb-storage-policy-v1"}
RECORDING = """
import sys, wandb
run = wandb.init(project="demo", id="arts", mode="offline", dir=sys.argv[1],
                 settings=wandb.Settings(silent=True, console="off"))
artifact = wandb.Artifact("weights", type="model", metadata={"acc": 0.5}, description="d")
artifact.add_reference("https://example.com/x", name="x", checksum=False)
for name in ("w.bin", "nested/b.txt"):
    with artifact.new_file(name) as file:
        file.write("bytes of " + name)
run.log_artifact(artifact, aliases=["best"])
run.finish()
"""

READING = """
import json, sys, wandb
found = []
for artifact in wandb.Api().run("local/demo/arts").logged_artifacts():
    entries = artifact.manifest.entries
    files = {name: entry.digest for name, entry in entries.items()}
    references = {name: entry.ref for name, entry in entries.items() if entry.ref}
    logged = [name for name in entries if name not in references]
    read = {name: open(artifact.get_entry(name).download(sys.argv[1])).read() for name in logged}
    facts = [artifact.name, artifact.type, artifact.description, artifact.metadata, sorted(artifact.aliases)]
    found.append([*facts, artifact.digest, artifact.logged_by().id, files, references, read])
print(json.dumps(found))
"""
"""Reads the artifacts of the run with the real SDK."""


def md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def entry(path: str, local: Path | str, data: bytes = BYTES) -> dict[str, Any]:
    return {"path": path, "digest": md5(data), "size": len(data), "local_path": str(local)}


def artifact(name: str, *entries: dict[str, Any], **facts: Any) -> Any:
    digest = hashlib.md5(repr(entries).encode(), usedforsecurity=False).hexdigest()
    manifest = {"version": 1, "contents": list(entries), **POLICY}
    return record(artifact={"name": name, "type": "model", "digest": digest, "manifest": manifest, **facts})


def run_folder(top: Path, *records: Any, run_id: str = "r", number: int = 0) -> None:
    folder = top / "wandb" / f"offline-run-20261123_10000{number}-{run_id}"
    folder.mkdir(parents=True)
    start = record(run={"run_id": run_id, "project": "p", "start_time": {"seconds": 1_000_000 + number}})
    log = write_log([start, row(0, x=1), *records, record(exit={"exit_code": 0})])[0]
    (folder / f"run-{run_id}.wandb").write_bytes(log)


def imported(top: Path, artifacts: str | None = "logged") -> ImportReport:
    selection = None if artifacts is None else ArtifactSelection(artifacts)
    return import_runs([top / "wandb"], out=top / "b.zip", artifacts=selection, force=True)


def staged(top: Path, data: bytes = BYTES, name: str = "staged") -> Path:
    (top / name).write_bytes(data)
    return top / name


def test_a_logged_artifact_is_imported_with_its_staged_files(tmp_path: Path) -> None:
    reference = {"path": "x", "digest": "etag", "ref": "s3://b/x"}
    run_folder(
        tmp_path,
        artifact(
            "weights",
            entry("w.bin", staged(tmp_path)),
            reference,
            aliases=["best", "latest"],
            metadata='{"a":1}',
        ),
    )
    assert imported(tmp_path).notes == ()
    with open_bundle(tmp_path / "b.zip") as bundle:
        found = bundle.artifact("weights:best")
        assert (found.path, found.logged_by, found.metadata) == ("local/p/weights:v0", "local/p/r", {"a": 1})
        assert found["w.bin"].read() == BYTES
        assert found["x"].ref == "s3://b/x"
    assert not verify_bundle(tmp_path / "b.zip").damages


def test_without_the_option_no_artifact_is_imported(tmp_path: Path) -> None:
    run_folder(tmp_path, artifact("weights", entry("w.bin", staged(tmp_path))))
    imported(tmp_path, None)
    with open_bundle(tmp_path / "b.zip") as bundle:
        assert list(bundle.artifacts()) == []


def test_references_are_records_without_bytes(tmp_path: Path) -> None:
    run_folder(tmp_path, artifact("weights", entry("w.bin", staged(tmp_path))))
    assert imported(tmp_path, "references").notes == ()
    with open_bundle(tmp_path / "b.zip") as bundle:
        assert bundle.artifact("weights:v0")["w.bin"].content is None


def test_a_log_gets_no_file_that_it_does_not_know(tmp_path: Path) -> None:
    secret = staged(tmp_path, b"-----BEGIN a secret", "id_rsa")
    run_folder(
        tmp_path,
        artifact(
            "weights",
            entry("a", secret, b"x" * 19),
            entry("b", tmp_path / "gone"),
            entry("c", tmp_path),
            entry("d", ""),
            entry("e", "\x00"),
        ),
    )
    (note,) = imported(tmp_path).notes
    assert note == (
        "local/p/r: left out 5 files of artifact weights:v0 (not staged on this machine any more, or"
        " changed): 'a', 'b', 'c' and 2 more"
    )
    with open_bundle(tmp_path / "b.zip") as bundle:
        assert all(one.content is None for one in bundle.artifact("weights:v0").entries.values())
    assert b"BEGIN a secret" not in (tmp_path / "b.zip").read_bytes()
    assert not verify_bundle(tmp_path / "b.zip").damages


def test_versions_are_numbered_in_the_order_in_which_they_were_logged(tmp_path: Path) -> None:
    file = staged(tmp_path)
    first = artifact("weights", entry("w.bin", file), aliases=["latest", "best"])
    second = artifact("weights", entry("other.bin", file), aliases=["latest"])
    run_folder(tmp_path, second, run_id="b", number=5)
    run_folder(tmp_path, first, first, run_id="z", number=1)
    run_folder(tmp_path, first, run_id="y", number=2)
    assert imported(tmp_path).notes == ()
    with open_bundle(tmp_path / "b.zip") as bundle:
        assert [(one.name, one.aliases, one.logged_by) for one in bundle.artifacts()] == [
            ("weights:v0", ("best",), "local/p/z"),
            ("weights:v1", ("latest",), "local/p/b"),
        ]
        assert [one.name for one in bundle["y"].logged_artifacts()] == ["weights:v0"]


def test_what_the_log_does_not_have_is_reported(tmp_path: Path) -> None:
    large = record(
        artifact={
            "name": "large",
            "type": "model",
            "digest": "d",
            "manifest": {"version": 1, "manifest_file_path": "/tmp/manifest", **POLICY},
        }
    )
    used = record(use_artifact={"id": "a", "type": "dataset", "name": "data:v0"})
    run_folder(
        tmp_path,
        large,
        record(artifact={"name": "", "type": "model"}),
        used,
        artifact("own", use_after_commit=True),
    )
    assert imported(tmp_path).notes == (
        "local/p/r: the entries of artifact large:v0 are in a file that is not read",
        "local/p/r: left out 1 artifact (not readable)",
        "local/p/r: left out 1 artifact that it used: only W&B has them",
    )
    with open_bundle(tmp_path / "b.zip") as bundle:
        run = bundle["r"]
        assert [one.name for one in run.logged_artifacts()] == ["large:v0", "own:v0"]
        assert [one.name for one in run.used_artifacts()] == ["own:v0"]
    assert not verify_bundle(tmp_path / "b.zip").damages


def test_an_artifact_of_the_sdk_is_imported_served_and_fetched(tmp_path: Path) -> None:
    outside = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    folders = {"WANDB_DATA_DIR": str(tmp_path / "data"), "WANDB_CACHE_DIR": str(tmp_path / "cache")}
    subprocess.run(
        [sys.executable, "-c", RECORDING, str(tmp_path)], env=outside | folders, check=True, timeout=100
    )
    out, again = tmp_path / "b.zip", tmp_path / "again.zip"
    assert main(["import", str(tmp_path / "wandb"), "--artifacts", "logged", "-o", str(out)]) == 0
    with open_bundle(out) as bundle:
        weights = bundle.artifact("weights:best")
        assert weights.download(tmp_path / "root") == ("x",)
        assert (weights.metadata, weights.record.description) == ({"acc": 0.5}, "d")
        entries = bundle["arts"].artifacts
        assert entries is not None
        before = [dict(json.loads(line)) for line in entries.table.read().splitlines()]
    assert (tmp_path / "root" / "nested" / "b.txt").read_text() == "bytes of nested/b.txt"
    with serve_bundle(out) as server:
        read = subprocess.run(
            [sys.executable, "-c", READING, str(tmp_path / "downloaded")],
            env=outside | folders | server.environment(),
            check=True,
            timeout=100,
            capture_output=True,
        )
        (seen,) = json.loads(read.stdout)
        report = pull_sync(
            Selection(projects=("local/demo",)),
            out=again,
            settings=Settings(base_url=server.url, api_key=server.api_key),
            options=PullOptions(artifacts="all"),
        )
    assert report.incomplete == ()
    with open_bundle(out) as bundle:
        weights = bundle.artifact("weights:best")
        assert seen == [
            "weights:v0",
            "model",
            "d",
            {"acc": 0.5},
            ["best", "latest"],
            weights.record.digest,
            "arts",
            {name: entry.digest for name, entry in weights.entries.items()},
            {"x": "https://example.com/x"},
            {name: f"bytes of {name}" for name in ("nested/b.txt", "w.bin")},
        ]
    with open_bundle(again) as bundle:
        entries = bundle["arts"].artifacts
        assert entries is not None
        after = [dict(json.loads(line)) for line in entries.table.read().splitlines()]
        assert bundle.artifact("weights:best")["w.bin"].read() == b"bytes of w.bin"
    # The server has to name a time, and the log of an offline run has none.
    assert [line | {"created_at": "1970-01-01T00:00:00Z"} for line in before] == after
