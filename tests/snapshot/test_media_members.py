"""The index of media and the tables of a bundle: derived, verified, copied, redacted, and damaged."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq
import pytest
from artifactkit import Version, artifacts_of
from bundlekit import bundle_run, make_bundle, members_of, unzipped

from pull_logs.snapshot import (
    BundleRun,
    export_runs,
    merge_bundles,
    open_bundle,
    subset_bundle,
    verify_bundle,
    write_bundle,
)
from pull_logs.snapshot.format import record_of, render_digest, render_manifest, sha256
from pull_logs.snapshot.format.manifest import Resources, parse_manifest
from pull_logs.snapshot.privacy import redact_bundle
from pull_logs.snapshot.privacy.file_scrubber import TextFile
from pull_logs.snapshot.read.logged import media_index
from pull_logs.snapshot.write import Spool

Row = dict[str, Any]
FOLDER = "runs/entity=acme/project=nano/run=3fk2a"
PRED = f"{FOLDER}/tables/pred/1.parquet"


def table_json(columns: list[Any], *rows: list[Any]) -> bytes:
    return json.dumps({"columns": columns, "data": rows}).encode()


FILES = {
    "media/table/pred.table.json": table_json(["id", "who"], [2**53 + 1, "a"], [1, "ada@kestrel-labs.net"]),
    "media/table/odd.table.json": b"[1]",
    "media/images/a.png": b"png",
    "output.log": b"done\n",
}
ROWS: list[Row] = [
    {"_step": 0, "loss": 1.0},
    {
        "_step": 1,
        "pred": {"_type": "table-file", "path": "media/table/pred.table.json", "ncols": 2, "nrows": 2},
        "odd": {"_type": "table-file", "path": "media/table/odd.table.json"},
        "pic": {
            "_type": "image-file",
            "path": "media/images/a.png",
            "caption": "of ada@kestrel-labs.net",
            "width": 6,
            "height": 4,
            "format": "png",
            "masks": {"m": {"_type": "mask", "path": "media/images/mask.png"}},
        },
    },
]
SUMMARY = {
    "pred": {"_type": "table-file", "path": "media/table/pred.table.json", "ncols": 2, "nrows": 2},
    "best": {"_type": "html-file", "path": "media/html/best.html"},
}


def a_run(
    files: Mapping[str, bytes] = FILES, rows: list[Row] = ROWS, path: str = "acme/nano/3fk2a"
) -> BundleRun:
    held = [TextFile(record_of(name, [data]), data) for name, data in files.items()]
    return dataclasses.replace(bundle_run(path, rows=rows, summary=SUMMARY), files=held)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "a.zip", [a_run(), bundle_run("acme/nano/b")])


def index_of(path: Path) -> list[Row]:
    rows: list[Row] = pq.read_table(io.BytesIO(members_of(path)["media.parquet"])).to_pylist()
    return rows


def tables_of(path: Path) -> dict[str, list[Row]]:
    return {
        name: pq.read_table(io.BytesIO(data)).to_pylist()
        for name, data in members_of(path).items()
        if "/tables/" in name
    }


def test_the_index_names_each_file_with_its_step_key_caption_and_hash(bundle: Path) -> None:
    found = index_of(bundle)
    assert [(row["step"], row["key"], row["kind"], row["bytes"], row["caption"]) for row in found] == [
        (1, "odd", "table-file", 3, None),
        (1, "pic", "image-file", 3, "of ada@kestrel-labs.net"),
        (1, "pic.masks.m", "mask", None, None),
        (1, "pred", "table-file", 90, None),
        (None, "best", "html-file", None, None),
    ]
    picture, table = found[1], found[3]
    assert (picture["width"], picture["height"], picture["format"]) == (6, 4, "png")
    assert picture["file"] == f"{FOLDER}/files/media%2Fimages%2Fa.png"
    assert f"sha256:{picture['sha256']}" == sha256(b"png")
    assert (table["table"], found[0]["table"]) == (PRED, None)
    assert {(row["entity"], row["project"], row["run_id"]) for row in found} == {("acme", "nano", "3fk2a")}
    assert tables_of(bundle) == {
        PRED: [{"id": 2**53 + 1, "who": "a"}, {"id": 1, "who": "ada@kestrel-labs.net"}]
    }
    assert verify_bundle(bundle).damages == ()
    assert list(members_of(bundle))[:4] == ["FORMAT", "runs.parquet", "metrics.parquet", "media.parquet"]


def test_media_are_found_by_key_and_read(bundle: Path) -> None:
    with open_bundle(bundle) as opened:
        run = opened["3fk2a"]
        (picture,) = run.media("pic")
        assert (picture.step, picture.path, picture.width, picture.read()) == (
            1,
            "media/images/a.png",
            6,
            b"png",
        )
        with picture.open() as file:
            assert file.read() == b"png"
        assert [item.key for item in run.media("pic.*")] == ["pic.masks.m"]
        assert run.table("pred")["id"].tolist() == [2**53 + 1, 1]
        assert list(opened["b"].media()) == []


def test_duckdb_joins_the_index_with_the_tables(bundle: Path, tmp_path: Path) -> None:
    import duckdb

    folder = unzipped(bundle, tmp_path / "sweep")
    assert verify_bundle(folder).damages == ()
    found = duckdb.sql(
        f"SELECT run, id, who FROM read_parquet('{folder}/runs/**/tables/pred/*.parquet',"
        " hive_partitioning = true) ORDER BY id"
    ).fetchall()
    assert found == [("3fk2a", 1, "ada@kestrel-labs.net"), ("3fk2a", 2**53 + 1, "a")]
    missing = duckdb.sql(
        f"SELECT key FROM '{folder}/media.parquet' WHERE file IS NULL ORDER BY key"
    ).fetchall()
    assert missing == [("best",), ("pic.masks.m",)]


@pytest.mark.parametrize("files", [{}, {"output.log": b"done\n"}])
def test_a_bundle_without_media_has_no_index(tmp_path: Path, files: dict[str, bytes]) -> None:
    path = make_bundle(tmp_path / "a.zip", [a_run(files), bundle_run("acme/nano/b")])
    assert not any("media" in name or "/tables/" in name for name in members_of(path))
    assert b"media" not in members_of(path)["datapackage.json"]
    assert verify_bundle(path).damages == ()


def test_every_way_to_make_a_bundle_derives_the_same(bundle: Path, tmp_path: Path) -> None:
    expected = bundle.read_bytes()
    with open_bundle(bundle) as opened:
        write_bundle(tmp_path / "copied.zip", opened.runs())
        with Spool.open(tmp_path / "spooled.zip", plan={}) as spool:
            for run in opened.runs():
                spool.adopt(run)
        with Spool.open(tmp_path / "spooled.zip", plan={}) as spool:
            spool.seal()
        subset_bundle([opened["3fk2a"]], tmp_path / "one.zip")
        subset_bundle([opened["b"]], tmp_path / "other.zip")
        subset_bundle([opened["3fk2a"]], tmp_path / "loss.zip", metrics="loss|pred")
    with open_bundle(tmp_path / "one.zip") as one, open_bundle(tmp_path / "other.zip") as other:
        merge_bundles([other, one], tmp_path / "merged.zip")
    for name in ("copied", "spooled", "merged"):
        assert (tmp_path / f"{name}.zip").read_bytes() == expected, name
    assert "media.parquet" not in members_of(tmp_path / "other.zip")
    assert [row["key"] for row in index_of(tmp_path / "loss.zip")] == ["pred", "best"]
    assert verify_bundle(tmp_path / "loss.zip").damages == ()


def test_a_redaction_removes_cells_and_captions_from_the_index_and_the_tables(
    bundle: Path, tmp_path: Path
) -> None:
    redact_bundle(bundle, tmp_path / "shared.zip")
    data = b"".join(members_of(tmp_path / "shared.zip").values())
    assert b"kestrel" in b"".join(members_of(bundle).values())
    assert b"kestrel" not in data
    (table,) = tables_of(tmp_path / "shared.zip").values()
    assert (table[0], table[1]["id"]) == ({"id": 2**53 + 1, "who": "a"}, 1)
    assert "kestrel" not in str([table, index_of(tmp_path / "shared.zip")])
    assert verify_bundle(tmp_path / "shared.zip").damages == ()


FULL = (
    b'{"_type":"table","columns":["id","pic"],"data":[[null,{"_type":"image-file","path":"media/x.png"}]],'
    b'"column_types":{"wb_type":"typedDict","params":{"type_map":{"id":{"wb_type":"number"}}}}}'
)


@pytest.mark.parametrize("owner", ["wandb-client-artifact://abc", "wandb-artifact://{hex}"])
def test_a_table_has_the_media_of_its_artifact_and_the_nan_of_its_file(tmp_path: Path, owner: str) -> None:
    import base64

    version = Version({"t.table.json": FULL, "media/x.png": b"x"}, name="run-3fk2a-t", client_ids=("abc",))
    address = owner.format(hex=base64.b64decode(version.facts["id"]).hex()) + "/t.table.json"
    value = {"_type": "table-file", "path": "media/table/t.table.json", "artifact_path": address}
    only = {"_type": "table-file", "artifact_path": address}
    files = {"media/table/t.table.json": b'{"columns":["id","pic"],"data":[[NaN,"Image"]]}'}
    run = a_run(files, [{"_step": 3, "t": value, "only": only}])
    path = make_bundle(tmp_path / "a.zip", [dataclasses.replace(run, artifacts=artifacts_of([version]))])
    by_key = {row["key"]: row for row in index_of(path)}
    assert f"sha256:{by_key['only']['sha256']}" == sha256(FULL)
    assert by_key["only"]["file"] == f"contents/{by_key['only']['sha256']}"
    found = tables_of(path)
    (cell,) = found[f"{FOLDER}/tables/t/3.parquet"]
    assert str(cell["id"]) == "nan"
    assert json.loads(cell["pic"]) == {"_type": "image-file", "path": "media/x.png"}
    assert found[f"{FOLDER}/tables/only/3.parquet"][0]["id"] is None
    with open_bundle(path) as opened:
        frame = opened["3fk2a"].table("t")
        assert str(frame["id"].tolist()) == "[nan]"
        assert frame["pic"][0]["path"] == "media/x.png"
        assert opened["3fk2a"].table("only")["id"].isna().tolist() == [True]
    assert verify_bundle(path).damages == ()


def test_a_table_that_is_too_long_stays_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media_index, "MAX_JSON", 10)
    path = make_bundle(tmp_path / "a.zip", [a_run()])
    assert tables_of(path) == {}
    assert {row["key"] for row in index_of(path) if row["file"]} == {"pred", "odd", "pic"}


def resealed(folder: Path) -> Path:
    """A folder whose manifest says what the files are."""
    sizes = [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]
    manifest = parse_manifest((folder / "datapackage.json").read_bytes(), path="a", members=[*sizes, PRED])
    resources = {}
    for name, one in manifest.resources.items():
        if name not in sizes:
            continue
        data = (folder / name).read_bytes()
        footer = 8 + int.from_bytes(data[-8:-4], "little")
        resources[name] = one._replace(
            bytes=len(data),
            hash=sha256(data),
            rows=pq.read_metadata(io.BytesIO(data)).num_rows,
            footer_bytes=footer,
            footer_hash=sha256(data[-footer:]),
        )
    rendered = render_manifest(dataclasses.replace(manifest, resources=Resources.of(resources.values())))
    (folder / "datapackage.json").write_bytes(rendered)
    (folder / "datapackage-digest.json").write_bytes(render_digest(rendered))
    return folder


def damages(folder: Path) -> list[tuple[str, str]]:
    return [
        (one.member, one.reason.partition("damaged: ")[2]) for one in verify_bundle(resealed(folder)).damages
    ]


def test_what_is_not_derived_from_the_rows_is_found(bundle: Path, tmp_path: Path) -> None:
    folder = unzipped(bundle, tmp_path / "sweep")
    assert damages(folder) == []
    other = members_of(make_bundle(tmp_path / "b.zip", [a_run({**FILES, "media/images/mask.png": b"m"})]))
    (folder / "media.parquet").write_bytes(other["media.parquet"])
    assert damages(folder) == [("media.parquet", "the index of media is not that of the rows")]
    (folder / "media.parquet").write_bytes(members_of(bundle)["media.parquet"])
    sink = io.BytesIO()
    pq.write_table(pq.read_table(io.BytesIO(members_of(bundle)[PRED])).slice(1), sink)
    (folder / PRED).write_bytes(sink.getvalue())
    assert damages(folder) == [(PRED, f"table {PRED!r} does not have the cells of its file")]
    (folder / PRED).unlink()
    assert damages(folder) == [(PRED, f"table {PRED!r}: a row points to it, and it is missing")]


def test_a_table_or_an_index_that_no_row_points_to_is_found(bundle: Path, tmp_path: Path) -> None:
    folder = unzipped(bundle, tmp_path / "sweep")
    data = (
        (folder / "datapackage.json")
        .read_bytes()
        .replace(b"/tables/pred/1.parquet", b"/tables/pred/2.parquet")
    )
    (folder / "datapackage.json").write_bytes(data)
    (folder / PRED).rename(folder / PRED.replace("1.parquet", "2.parquet"))
    moved = PRED.replace("1.parquet", "2.parquet")
    assert damages(folder) == [
        (PRED, f"table {PRED!r}: a row points to it, and it is missing"),
        (moved, f"table {moved!r}: no row points to it"),
    ]


@pytest.mark.parametrize("member", ["media.parquet", PRED])
def test_a_flipped_bit_is_found_and_located(bundle: Path, tmp_path: Path, member: str) -> None:
    folder = unzipped(bundle, tmp_path / "sweep")
    data = bytearray((folder / member).read_bytes())
    for offset in range(0, len(data), 7):
        data[offset] ^= 1
        (folder / member).write_bytes(bytes(data))
        assert {one.member for one in verify_bundle(folder).damages} == {member}
        data[offset] ^= 1


def test_a_table_of_a_run_that_is_not_there_is_refused(bundle: Path, tmp_path: Path) -> None:
    folder = unzipped(bundle, tmp_path / "sweep")
    stray = PRED.replace("run=3fk2a", "run=zzz")
    (folder / stray).parent.mkdir(parents=True)
    (folder / PRED).rename(folder / stray)
    data = (folder / "datapackage.json").read_bytes().replace(PRED.encode(), stray.encode())
    (folder / "datapackage.json").write_bytes(data)
    (folder / "datapackage-digest.json").write_bytes(render_digest(data))
    (damage,) = verify_bundle(folder).damages
    assert damage.reason.endswith("1 file without a run")


@pytest.mark.parametrize("to", ["parquet", "csv", "ndjson"])
def test_an_export_has_media_tables_and_artifacts(
    bundle: Path, tmp_path: Path, to: Literal["parquet", "csv", "ndjson"]
) -> None:
    version = Version({"media/x.png": b"x", "../evil": b"e"}, name="weights")
    run = dataclasses.replace(a_run(), artifacts=artifacts_of([version]))
    path = make_bundle(tmp_path / "b.zip", [run, bundle_run("acme/nano/b")])
    out = tmp_path / "out"
    for force in (False, True):
        with open_bundle(path) as opened:
            export_runs(list(opened.runs()), out, to=to, force=force)
    index = pq.read_table(out / "media.parquet").to_pylist()
    assert index == index_of(bundle)
    assert all((out / row["file"]).is_file() for row in index if row["file"] is not None)
    assert pq.read_table(out / PRED).to_pylist() == tables_of(bundle)[PRED]
    top = out / "artifacts/entity=acme/project=nano/artifact=weights/version=0"
    assert {file.name: file.read_bytes() for file in top.iterdir()} == {
        "media%2Fx.png": b"x",
        "..%2Fevil": b"e",
    }
    assert (out / FOLDER / "artifacts.ndjson").read_bytes() == b"".join(
        artifacts_of([version]).table.chunks()
    )
    with open_bundle(make_bundle(tmp_path / "c.zip", [bundle_run()])) as opened:
        export_runs(list(opened.runs()), out, to=to, force=True)
    assert {item.name for item in out.iterdir()} == {"runs", f"runs.{to}"}
