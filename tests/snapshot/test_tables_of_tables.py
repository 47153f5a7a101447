"""Joined and partitioned tables, which W&B has in artifacts alone: kept as they are, or reported."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from artifactkit import Version, artifacts_of
from bundlekit import bundle_run, make_bundle, members_of

from pull_logs.errors import FileMissingError, MetricNotFoundError
from pull_logs.snapshot import BundleRun, FileSelection, open_bundle, verify_bundle
from pull_logs.snapshot.read import missing_media
from pull_logs.sources.wandb_folders.import_runs import pointer_notes

PART = b'{"_type":"table","columns":["id"],"data":[[%d]]}'
FILES: dict[str, bytes] = {
    "join.joined-table.json": b'{"_type":"joined-table","table1":"parts/1.table.json",'
    b'"table2":"parts/2.table.json","join_key":"id"}',
    "all.partitioned-table.json": b'{"_type":"partitioned-table","parts_path":"parts"}',
    "parts/1.table.json": PART % 1,
    "parts/2.table.json": PART % 2,
}
ALL = FileSelection((), media=("*",))
KINDS = {"joined-table": "join.joined-table.json", "partitioned-table": "all.partitioned-table.json"}


def a_run(kind: str, *, artifacts: bool) -> BundleRun:
    """A run that logged a table of tables, as the SDK writes it: without a file of the run."""
    value: dict[str, Any] = {"_type": kind, "artifact_path": f"wandb-client-artifact://abc/{KINDS[kind]}"}
    version = Version(FILES, name="tables", client_ids=("abc",))
    run = bundle_run("acme/nano/3fk2a", [{"_step": 0, "loss": 1.0}, {"_step": 1, "both": value}])
    return dataclasses.replace(run, artifacts=artifacts_of([version]) if artifacts else None)


@pytest.mark.parametrize("kind", KINDS)
def test_with_artifacts_its_file_and_its_parts_are_in_the_bundle(tmp_path: Path, kind: str) -> None:
    path = make_bundle(tmp_path / "a.zip", [a_run(kind, artifacts=True)])
    assert verify_bundle(path).damages == ()
    members = members_of(path)
    (row,) = pq.read_table(io.BytesIO(members["media.parquet"])).to_pylist()
    assert (row["step"], row["key"], row["kind"], row["table"]) == (1, "both", kind, None)
    assert members[row["file"]] == FILES[KINDS[kind]]
    assert [name for name in members if "/tables/" in name] == []
    with open_bundle(path) as bundle:
        run = bundle["3fk2a"]
        (item,) = run.media()
        assert (item.step, item.key, item.kind, item.read()) == (1, "both", kind, FILES[KINDS[kind]])
        described = json.loads(item.read())
        (artifact,) = run.logged_artifacts()
        parts = [path for path in artifact.entries if path.startswith("parts/")]
        assert {described.get("table1", parts[0]), described.get("table2", parts[1])} == set(parts)
        cells = []
        for part in parts:
            content = artifact.entries[part].content
            assert content is not None
            cells.append(json.loads(content.read())["data"])
        assert cells == [[[1]], [[2]]]
        assert missing_media([run.media()], ALL) == []


@pytest.mark.parametrize("kind", KINDS)
def test_without_artifacts_it_is_reported_as_missing(tmp_path: Path, kind: str) -> None:
    path = make_bundle(tmp_path / "a.zip", [a_run(kind, artifacts=False)])
    with open_bundle(path) as bundle:
        run = bundle["3fk2a"]
        (item,) = run.media()
        assert (item.kind, item.file) == (kind, None)
        with pytest.raises(FileMissingError) as caught:
            item.read()
        assert str(caught.value) == (
            f"the bundle does not have file 'wandb-client-artifact://abc/{KINDS[kind]}' of 'both';"
            " it is a file of an artifact: `--artifacts logged` of `fetch` and `import` adds those"
        )
        missing = missing_media([run.media()], ALL)
    (note,) = missing
    assert note == (
        f"the bundle lacks the files of 1 value of 1 key: both (1 {kind}), in 1 run:"
        " they are files of artifacts that the bundle lacks, see `--artifacts`"
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("artifacts", [True, False])
def test_an_import_reports_it_only_where_it_is_missing(tmp_path: Path, kind: str, *, artifacts: bool) -> None:
    path = make_bundle(tmp_path / "a.zip", [a_run(kind, artifacts=artifacts)])
    note = (
        f"acme/nano/3fk2a: the bundle lacks the files of 1 value of 1 key: both (1 {kind});"
        " they are files of artifacts that the bundle lacks, see `--artifacts`"
    )
    with open_bundle(path) as bundle:
        assert list(pointer_notes(bundle)) == ([] if artifacts else [note])


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_not_a_table_of_cells(tmp_path: Path, kind: str) -> None:
    path = make_bundle(tmp_path / "a.zip", [a_run(kind, artifacts=True)])
    with open_bundle(path) as bundle, pytest.raises(MetricNotFoundError) as caught:
        bundle["3fk2a"].table("both")
    assert str(caught.value) == (
        f"run 'acme/nano/3fk2a' logged 'both' as a {kind}, which has no cells of its own;"
        " its file says which tables it is made of: `run.media('both')`"
    )
