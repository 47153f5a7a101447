"""Artifacts in a bundle: written once, read, checked, copied, merged, compared, redacted, and damaged."""

from __future__ import annotations

import dataclasses
import json
import re
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from artifactkit import Version, artifacts_of, entry_of, files, reference
from bundlekit import bundle_run, make_bundle, members_of, unzipped
from hypothesis import given, settings
from hypothesis import strategies as st
from rowkit import values

from pull_logs.errors import (
    BundleDamagedError,
    DataError,
    FileMissingError,
    MergeConflictError,
    PullLogsError,
    UnsafeFileError,
)
from pull_logs.snapshot import (
    BundleRun,
    diff_bundles,
    merge_bundles,
    open_bundle,
    subset_bundle,
    verify_bundle,
    write_bundle,
)
from pull_logs.snapshot.format import (
    ArtifactEntry,
    ArtifactRecord,
    GivenArtifacts,
    content_member,
    content_of,
    encode_entries,
    encode_records,
    parse_entries,
    parse_records,
)
from pull_logs.snapshot.privacy import audit_bundle, redact_bundle
from pull_logs.snapshot.write import CopiedRun, Spool

TABLE = "runs/entity=acme/project=nano/run=3fk2a/artifacts.ndjson"
SAME = b"the same bytes" * 100
REF = reference("big.bin", "s3://bucket/big.bin")
DATA = Version(
    {"train.csv": SAME, "nested/test.csv": b"a,b\n1,2\n"}, name="data", type="dataset", references=[REF]
)
WEIGHTS = Version(
    {"w.bin": SAME, "empty": b""}, aliases=("latest", "best"), metadata={"acc": 0.5, "none": None}
)


def with_artifacts(run: BundleRun, logged: list[Version], used: list[Version]) -> BundleRun:
    return dataclasses.replace(run, artifacts=artifacts_of(logged, used))


def a_bundle(
    path: Path, *, logged: list[Version] | None = None, used: list[Version] | None = None, **facts: Any
) -> Path:
    one = with_artifacts(
        bundle_run(**facts), [WEIGHTS] if logged is None else logged, [DATA] if used is None else used
    )
    return make_bundle(path, [one, with_artifacts(bundle_run("acme/nano/b"), [], [DATA, WEIGHTS])])


def test_a_bundle_has_the_artifacts_of_its_runs_and_each_content_once(tmp_path: Path) -> None:
    path = a_bundle(tmp_path / "a.zip")
    contents = [name for name in members_of(path) if name.startswith("contents/")]
    compressed = content_member(content_of(SAME).record.hash)
    assert f"{compressed}.zst" in contents
    assert [name.removesuffix(".zst") for name in contents] == sorted(
        content_member(one.record.hash)
        for one in {one.record.hash: one for one in (*DATA.contents, *WEIGHTS.contents)}.values()
    )
    assert len(contents) == 5  # two lists of entries, the same bytes once, a table, and nothing
    with open_bundle(path) as bundle:
        (weights,), (data,) = bundle["3fk2a"].logged_artifacts(), bundle["3fk2a"].used_artifacts()
        assert [one.path for one in bundle.artifacts()] == ["acme/nano/data:v0", "acme/nano/weights:v0"]
        assert (weights.type, weights.aliases, weights.metadata) == (
            "model",
            ("latest", "best"),
            {"acc": 0.5, "none": None},
        )
        assert {path: entry.read() for path, entry in weights.entries.items()} == WEIGHTS.files
        assert [data["big.bin"].ref, data["big.bin"].size] == ["s3://bucket/big.bin", 12]
        found = bundle.artifact("weights:best")
        assert (found.path, found.logged_by, found.used_by) == (
            "acme/nano/weights:v0",
            "acme/nano/3fk2a",
            ("acme/nano/b",),
        )
        assert bundle.artifact("acme/nano/data:v0").used_by == ("acme/nano/3fk2a", "acme/nano/b")
        assert repr(found) == "<Artifact 'acme/nano/weights:v0': model, 2 files>"
        assert repr(bundle["b"].artifacts) == "<RunArtifacts of 'acme/nano/b': 2 artifacts>"
    assert not verify_bundle(path).damages
    assert not verify_bundle(unzipped(path, tmp_path / "folder")).damages


def test_a_bundle_without_artifacts_keeps_its_bytes(tmp_path: Path) -> None:
    plain = make_bundle(tmp_path / "plain.zip", [bundle_run(), bundle_run("acme/nano/b")])
    left = members_of(a_bundle(tmp_path / "a.zip"))
    kept = {
        name: data
        for name, data in left.items()
        if "artifacts" not in name and not name.startswith("contents/")
    }
    before = members_of(plain)
    assert before["FORMAT"].endswith(b'"version":1}\n')
    for name in ("FORMAT", "datapackage.json", "datapackage-digest.json"):
        del kept[name], before[name]
    assert kept == before


def test_duckdb_reads_the_records_of_an_unzipped_bundle(tmp_path: Path) -> None:
    import duckdb

    folder = unzipped(a_bundle(tmp_path / "a.zip"), tmp_path / "sweep")
    found = duckdb.sql(
        "SELECT run, relation, collection, version, size FROM"
        f" read_ndjson('{folder}/runs/**/artifacts.ndjson', hive_partitioning = true) ORDER BY ALL"
    ).fetchall()
    assert found == [
        ("3fk2a", "logged", "weights", 0, 1400),
        ("3fk2a", "used", "data", 0, 1408),
        ("b", "used", "data", 0, 1408),
        ("b", "used", "weights", 0, 1400),
    ]


@given(files)
def test_records_and_entries_are_read_as_they_were_written(held: dict[str, bytes]) -> None:
    entries = sorted((entry_of(path, data) for path, data in held.items()), key=lambda one: one.path.encode())
    assert parse_entries(encode_entries(entries)) == entries
    version = Version(held, description="NaN", metadata={"a": float("inf"), "b": [None, {}]}, tags=("x",))
    records = [version.record("logged"), version.record("used")]
    assert parse_records(encode_records(records)) == records


@given(files)
def test_no_path_of_an_entry_leads_out_of_the_folder(
    tmp_path_factory: pytest.TempPathFactory, held: dict[str, bytes]
) -> None:
    folder = tmp_path_factory.mktemp("download")
    path = make_bundle(folder / "a.zip", [with_artifacts(bundle_run(), [Version(held)], [])])
    root = folder / "around" / "root"
    root.parent.mkdir()
    with open_bundle(path) as bundle:
        artifact = bundle.artifact("weights:v0")
        with suppress(PullLogsError):  # refused, or a file where another path has a folder
            artifact.download(root)
            found = {str(file.relative_to(root)): file for file in root.rglob("*") if file.is_file()}
            assert {name: file.read_bytes() for name, file in found.items()} == held
    assert [file for file in root.parent.rglob("*") if file.is_file() and root not in file.parents] == []
    assert sorted(file.name for file in folder.iterdir()) == ["a.zip", "around"]


@pytest.mark.parametrize(
    "name", ["../x", "/x", "a/../../x", "C:x", "a\\b", "a//b", "./a", "nul", "a/con.txt", "a\x00", "x.", ""]
)
def test_hostile_paths_are_refused_before_a_file_is_written(tmp_path: Path, name: str) -> None:
    if not name:
        with pytest.raises(DataError, match="has no path"):
            parse_entries(encode_entries([entry_of(name, b"x")]))
        return
    path = make_bundle(
        tmp_path / "a.zip", [with_artifacts(bundle_run(), [Version({"a": b"1", name: b"2"})], [])]
    )
    with open_bundle(path) as bundle, pytest.raises(UnsafeFileError) as caught:
        bundle.artifact("weights:v0").download(tmp_path / "root")
    assert caught.value.message == (
        f"artifact 'acme/nano/weights:v0' is not safe to download: {name!r} is not the path of a file inside"
        " a folder"
    )
    assert not (tmp_path / "root").exists()


def test_a_link_in_the_folder_is_not_followed(tmp_path: Path) -> None:
    path = make_bundle(tmp_path / "a.zip", [with_artifacts(bundle_run(), [DATA], [])])
    (tmp_path / "outside").mkdir()
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "nested").symlink_to(tmp_path / "outside")
    with open_bundle(path) as bundle, pytest.raises(UnsafeFileError, match="nested' is a link"):
        bundle.artifact("data:v0").download(tmp_path / "root")
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_download_has_the_files_and_names_the_references(tmp_path: Path) -> None:
    with open_bundle(a_bundle(tmp_path / "a.zip")) as bundle:
        assert bundle.artifact("nano/data:v0").download(tmp_path / "root") == ("big.bin",)
        with pytest.raises(FileMissingError) as caught:
            bundle.artifact("data:v0")["big.bin"].read()
        assert (
            caught.value.message
            == "entry 'big.bin' of artifact 'acme/nano/data:v0' is a reference to 's3://bucket/big.bin'"
        )
    found = {
        str(file.relative_to(tmp_path / "root")): file.read_bytes()
        for file in (tmp_path / "root").rglob("*.csv")
    }
    assert found == DATA.files


def test_an_unknown_artifact_or_entry_is_answered_with_what_there_is(tmp_path: Path) -> None:
    with open_bundle(a_bundle(tmp_path / "a.zip")) as bundle:
        with pytest.raises(FileMissingError) as caught:
            bundle.artifact("weight:v0")
        assert "no artifact 'weight:v0' in" in caught.value.message
        with pytest.raises(FileMissingError) as caught:
            bundle.artifact("weights:best")["w.bni"]
        assert (caught.value.message, caught.value.hint) == (
            "artifact 'acme/nano/weights:v0' has no entry 'w.bni'",
            "the nearest is 'w.bin'",
        )
    other = Version({}, name="weights", project="other", aliases=("latest",))
    path = make_bundle(tmp_path / "b.zip", [with_artifacts(bundle_run(), [WEIGHTS, other], [])])
    with open_bundle(path) as bundle, pytest.raises(FileMissingError) as caught:
        bundle.artifact("weights")
    assert caught.value.hint == "write entity/project/name:alias"


def test_records_without_bytes_say_how_to_get_them(tmp_path: Path) -> None:
    path = make_bundle(
        tmp_path / "a.zip", [with_artifacts(bundle_run(), [Version({"a": b"1"}, bytes_too=False)], [])]
    )
    with open_bundle(path) as bundle, pytest.raises(FileMissingError) as caught:
        bundle.artifact("weights:v0").download(tmp_path / "root")
    assert caught.value.hint == "`pull-logs fetch --artifacts all` downloads them"
    assert not verify_bundle(path).damages


def test_copies_of_a_run_have_its_artifacts(tmp_path: Path) -> None:
    path = a_bundle(tmp_path / "a.zip")
    with open_bundle(path) as bundle:
        subset_bundle([bundle["3fk2a"]], tmp_path / "subset.zip")
        subset_bundle(list(bundle.runs()), tmp_path / "metrics.zip", metrics="loss")
        with Spool.open(tmp_path / "spooled.zip", plan={"a": 1}) as spool:
            for run in bundle.runs():
                spool.adopt(run)
    with Spool.open(tmp_path / "spooled.zip", plan={"a": 1}) as spool:
        assert len(spool.stored) == 2
        spool.seal()
    assert (tmp_path / "spooled.zip").read_bytes() == path.read_bytes()
    for copy in ("subset.zip", "metrics.zip"):
        with open_bundle(tmp_path / copy) as bundle:
            assert bundle["3fk2a"].logged_artifacts()[0]["w.bin"].read() == SAME
        assert not verify_bundle(tmp_path / copy).damages


def test_a_spool_without_a_content_stores_the_run_again(tmp_path: Path) -> None:
    with open_bundle(a_bundle(tmp_path / "a.zip")) as bundle:
        with Spool.open(tmp_path / "s.zip", plan={"a": 1}) as spool:
            spool.adopt(bundle["3fk2a"])
            (tmp_path / "s.zip.partial" / content_member(content_of(SAME).record.hash)).unlink()
        with Spool.open(tmp_path / "s.zip", plan={"a": 1}) as spool:
            assert not spool.stored


def test_merging_takes_the_version_with_all_artifacts(tmp_path: Path) -> None:
    less = a_bundle(tmp_path / "less.zip", used=[])
    more = a_bundle(tmp_path / "more.zip")
    with open_bundle(less) as first, open_bundle(more) as second:
        merge_bundles([first, second], tmp_path / "merged.zip")
        difference = diff_bundles(first, second)
    assert (tmp_path / "merged.zip").read_bytes() == more.read_bytes()
    (changed,) = difference.changed
    assert [(edit.path, edit.change) for edit in changed.artifacts] == [
        (("used", "acme/nano/data:v0"), "added")
    ]
    other = a_bundle(tmp_path / "other.zip", logged=[])
    with (
        open_bundle(less) as first,
        open_bundle(other) as second,
        pytest.raises(MergeConflictError) as caught,
    ):
        merge_bundles([first, second], tmp_path / "merged.zip")
    assert "has artifact 'acme/nano/weights:v0' (logged) and" in caught.value.message


def test_redaction_replaces_findings_and_leaves_out_files_that_have_some(tmp_path: Path) -> None:
    key = "wandb_v1_" + "a1B2c3D4" * 10
    secret = Version(
        {"a.txt": f"key {key}".encode(), "b.txt": b"fine"}, metadata={"api_key": key}, description="none"
    )
    path = a_bundle(tmp_path / "a.zip", logged=[secret])
    locations = {finding.location for finding in audit_bundle(path).findings}
    assert {"artifact weights:v0 metadata.api_key", "artifact weights:v0/a.txt"} <= {
        location.replace("files/", "") for location in locations
    }
    redaction = redact_bundle(path, tmp_path / "b.zip")
    assert redaction.left_out == (("acme/nano/3fk2a", "acme/nano/weights:v0/a.txt"),)
    assert key.encode() not in (tmp_path / "b.zip").read_bytes()
    assert not verify_bundle(tmp_path / "b.zip").damages
    assert not audit_bundle(tmp_path / "b.zip").findings
    with open_bundle(tmp_path / "b.zip") as bundle:
        artifact = bundle["3fk2a"].logged_artifacts()[0]
        assert (artifact["a.txt"].content, artifact["b.txt"].read()) == (None, b"fine")


def test_verify_finds_entries_that_do_not_fit_their_bytes(tmp_path: Path) -> None:
    wrong = dataclasses.replace(entry_of("a", b"12"), digest=entry_of("a", b"21").digest)
    short = dataclasses.replace(entry_of("b", b"12"), size=3)
    for entry, reason in [
        (wrong, f"entry 'a' of an artifact has digest {entry_of('a', b'12').digest}, not {wrong.digest}"),
        (short, "entry 'b' of an artifact has 2 bytes, not 3"),
    ]:
        version = Version({})
        listing = content_of(encode_entries([entry]))
        version.facts["entries"] = listing.record.hash
        version.contents = [listing, content_of(b"12")]
        path = make_bundle(tmp_path / "a.zip", [with_artifacts(bundle_run(), [version], [])])
        (damage,) = verify_bundle(path).damages
        assert damage.reason == f"{str(path)!r} is damaged: {reason}"
        with open_bundle(path) as bundle:
            if entry is wrong:
                with pytest.raises(BundleDamagedError, match="has digest"):
                    bundle.artifact("weights:v0")["a"].read()


def test_verify_finds_a_missing_content_and_one_of_no_artifact(tmp_path: Path) -> None:
    version = Version({"a": b"1"})
    version.contents.pop()
    path = make_bundle(tmp_path / "a.zip", [with_artifacts(bundle_run(), [version], [])])
    (damage,) = verify_bundle(path).damages
    assert damage.reason.endswith("is missing")
    version = Version({"a": b"1"})
    version.contents.append(content_of(b"more"))
    path = make_bundle(tmp_path / "a.zip", [with_artifacts(bundle_run(), [version], [])])
    (damage,) = verify_bundle(path).damages
    assert damage.reason.endswith("is in no artifact")


def test_verify_finds_every_changed_byte_of_artifacts(tmp_path: Path) -> None:
    path = make_bundle(
        tmp_path / "a.zip", [with_artifacts(bundle_run(), [Version({"a": b"these bytes alone"})], [])]
    )
    data = path.read_bytes()
    for name, content in members_of(path).items():
        if "artifacts" not in name and not name.startswith("contents/"):
            continue
        start = data.index(content)
        for at in range(start, start + len(content)):
            path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            assert {damage.member for damage in verify_bundle(path, deep=False).damages} == {name}


def test_xxhash_digests_are_checked(tmp_path: Path) -> None:
    path = make_bundle(
        tmp_path / "a.zip", [with_artifacts(bundle_run(), [Version({"a": b"12"}, algorithm="XXH128")], [])]
    )
    assert not verify_bundle(path).damages
    with open_bundle(path) as bundle:
        entry = bundle.artifact("weights:v0")["a"]
        assert (entry.read(), entry.entry.extra) == (b"12", {"alg": "XXH128"})


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"[]\n", "is not an object with known members"),
        (b'{"path":"a"}\n', "lacks a member"),
        (b'{"digest":"x","path":"a","size":-1}\n', "'size' of an artifact is '-1'"),
        (b'{"digest":"x","hash":"md5:1","path":"a"}\n', "'hash' of an artifact is 'md5:1'"),
        (b'{"path":"a","digest":"x"}\n', "not in canonical form"),
        (b'{"digest":"\\ud800","path":"a"}\n', "'digest' of an artifact is '\ufffd'"),
        (b'{"digest":"x","extra":{"a":"\\ud800"},"path":"a"}\n', "not in canonical form"),
        (b'{"digest":"x","extra":' + b'{"a":' * 9_999 + b"1" + b"}" * 10_000 + b"\n", "not JSON"),
        (b'{"digest":"x","path":"a"}', "the last line is incomplete"),
        (b"{\n", "not JSON"),
        (b'{"digest":"x","path":"a"}\n{"digest":"x","path":"a"}\n', "two entries 'a'"),
    ],
)
def test_entries_that_no_writer_makes_are_refused(line: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=re.escape(reason)):
        parse_entries(line)


hostile_values = st.one_of(
    values,
    st.sampled_from([-1, 2**63, "sha256:" + "0" * 64, "../x", "\ud800", ["\ud800"], "logged", "used"]),
    st.text(st.characters(exclude_categories=()), max_size=5),
)
hostile_objects = st.dictionaries(
    st.sampled_from(
        [field.name for kind in (ArtifactEntry, ArtifactRecord) for field in dataclasses.fields(kind)]
    ),
    hostile_values,
)


@settings(max_examples=60)
@given(st.lists(hostile_objects | values, max_size=3), st.sampled_from(["table", "entries"]))
def test_whatever_an_artifact_says_is_read_or_refused_as_damage(items: list[Any], where: str) -> None:
    lines = "".join(json.dumps(item, sort_keys=True, separators=(",", ":")) + "\n" for item in items)
    forged = content_of(lines.encode())
    if where == "table":
        given_artifacts = GivenArtifacts(table=forged, contents=[])
    else:
        record = dataclasses.replace(WEIGHTS.record("logged"), entries=forged.record.hash)
        given_artifacts = GivenArtifacts(table=content_of(encode_records([record])), contents=[forged])
    with tempfile.TemporaryDirectory() as folder, suppress(PullLogsError):
        path = Path(folder) / "a.zip"
        temporary = make_bundle(Path(folder) / "b.zip", [bundle_run()])
        with open_bundle(temporary) as bundle, suppress(PullLogsError):
            write_bundle(path, [CopiedRun(run=bundle["3fk2a"], artifacts=given_artifacts)])
        if not path.exists():
            return
        sound = not verify_bundle(path).damages
        with open_bundle(path) as bundle:
            found = [*bundle["3fk2a"].logged_artifacts(), *bundle["3fk2a"].used_artifacts()]
            for artifact in found:
                if artifact.record.entries is not None:
                    assert all(entry.path for entry in artifact.entries.values())
            assert sound or items
