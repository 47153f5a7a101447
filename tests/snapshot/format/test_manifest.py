from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from bundlekit import make_bundle, members_of
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.errors import BundleDamagedError, FormatTooNewError, UnsafeFileError
from pull_logs.runs import RunPath
from pull_logs.snapshot.format.manifest import (
    Manifest,
    Resource,
    Resources,
    check_digest,
    check_format,
    parse,
    parse_manifest,
    render_digest,
    render_format,
    render_manifest,
)
from pull_logs.snapshot.format.names import RUNS, member_folders

HASH = "sha256:" + "0f" * 32
counts = st.integers(0, 2**48)
hashes = st.binary(min_size=32, max_size=32).map(lambda raw: "sha256:" + raw.hex())


def resource(path: str = RUNS, **fields: Any) -> Resource:
    facts: dict[str, Any] = {
        "path": path,
        "bytes": 9000,
        "hash": HASH,
        "rows": 2,
        "rows_hash": None if path == RUNS else HASH,
        "footer_bytes": 800,
        "footer_hash": HASH,
        "writer": "pyarrow 26.0.1",
    }
    return Resource(**facts | fields)


def manifest(*resources: Resource) -> Manifest:
    listed = {item.path: item for item in (resource(), *resources)}
    return Manifest(content_id=HASH, resources=Resources.of(listed.values()))


def history_name(path: str) -> str:
    run = RunPath(*path.split("/"))
    return f"{member_folders([run])[run]}/history.parquet"


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    names = draw(st.lists(st.from_regex("[a-z0-9]{1,6}", fullmatch=True), max_size=4, unique=True))
    writers = st.sampled_from(["pyarrow 26.0.1", "pyarrow 27.0.0"])
    items = []
    for name in [RUNS, *(history_name(f"e/p/{name}") for name in names)]:
        size = draw(counts)
        items.append(
            resource(
                name,
                bytes=size,
                hash=draw(hashes),
                rows=draw(counts),
                rows_hash=None if name == RUNS else draw(hashes),
                footer_bytes=draw(st.integers(0, size)),
                footer_hash=draw(hashes),
                writer=draw(writers),
            )
        )
    return Manifest(
        content_id=draw(hashes),
        resources=Resources.of(items),
        metrics=draw(st.none() | st.text(st.characters(codec="utf-8"), min_size=1)),
    )


@given(manifests())
def test_a_manifest_is_read_back_as_it_was(original: Manifest) -> None:
    data = render_manifest(original)
    assert parse_manifest(data, path="b") == original
    assert render_manifest(parse_manifest(data, path="b")) == data


def outcome(data: bytes) -> Manifest | str:
    try:
        return parse_manifest(data, path="b")
    except (BundleDamagedError, UnsafeFileError) as exc:
        return str(exc)


@given(manifests(), st.data())
def test_a_manifest_parsed_in_parts_is_the_same_as_parsed_at_once(
    original: Manifest, data: st.DataObject
) -> None:
    written = bytearray(render_manifest(original))
    if data.draw(st.booleans()):
        written[data.draw(st.integers(0, len(written) - 1))] = data.draw(st.sampled_from(b'\n ,"[]{}x\\'))
    with patch.object(parse, "_in_parts", return_value=None):
        at_once = outcome(bytes(written))
    assert outcome(bytes(written)) == at_once


def test_entries_that_take_several_lines_are_read() -> None:
    original = manifest(resource(history_name("e/p/r")))
    written = render_manifest(original).replace(b',"hash"', b',\n"hash"')
    assert b'"resources":[\n{' in written
    assert parse_manifest(written, path="b") == original


@given(manifests())
def test_a_manifest_is_sorted_json_with_a_resource_on_a_line(original: Manifest) -> None:
    text = render_manifest(original).decode()
    assert text.endswith("}\n")
    assert "\r" not in text
    parsed = json.loads(text, object_pairs_hook=_sorted_object)
    assert len(parsed["resources"]) == sum(line.startswith('{"') for line in text.split("\n"))


def _sorted_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert [key for key, _ in pairs] == sorted(key for key, _ in pairs)
    return dict(pairs)


@pytest.mark.parametrize(
    "path",
    [
        "acme/nano/3fk2a9xz",
        "my-research-lab-2026/llm-pretraining-ablations/3fk2a9xz",
        "e/" + "p" * 50 + "/3fk2a9xz",
    ],
)
def test_an_entry_takes_450_bytes_at_most_for_ids_as_long_as_people_have_them(path: str) -> None:
    item = resource(history_name(path), bytes=99_999_999, rows=9_999_999, footer_bytes=99_999)
    lines = render_manifest(manifest(item)).split(b"\n")
    longest = max(lines, key=len)
    assert item.path.encode() in longest
    assert len(longest) + 1 <= 450


def test_the_writer_is_stored_once_when_it_is_the_same_for_all() -> None:
    text = render_manifest(manifest(resource(history_name("e/p/r"))))
    assert text.count(b"pyarrow 26.0.1") == 1
    mixed = render_manifest(manifest(resource(history_name("e/p/r"), writer="pyarrow 27.0.0")))
    assert mixed.count(b'"writer":"pyarrow 27.0.0"') == mixed.count(b'"writer":"pyarrow 26.0.1"') == 1


def test_a_bundle_s_manifest_is_a_frictionless_data_package(tmp_path: Path) -> None:
    members = members_of(make_bundle(tmp_path / "a.wandb.zip"))
    package = json.loads(members["datapackage.json"])
    assert (package["profile"], package["name"]) == ("data-package", "wandb-runs")
    assert {item["path"] for item in package["resources"]} == {name for name in members if ".parquet" in name}
    assert len({item["name"] for item in package["resources"]}) == len(package["resources"])
    for item in package["resources"]:
        data = members[item["path"]]
        assert item["bytes"] == len(data)
        assert item["hash"] == "sha256:" + hashlib.sha256(data).hexdigest()
        footer = data[-item["footer"]["bytes"] :]
        assert item["footer"]["hash"] == "sha256:" + hashlib.sha256(footer).hexdigest()
    digest = json.loads(members["datapackage-digest.json"])
    original = "sha256:" + hashlib.sha256(members["datapackage.json"]).hexdigest()
    assert digest == {"path": "datapackage.json", "hash": original}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": "other"}, "is not of wandb-pull-logs/snapshot"),
        ({"formatVersion": 0}, "is of version 0, and its members are those of version 1"),
        ({"formatVersion": 2}, "is of version 2, and its members are those of version 1"),
        ({"contentId": 5}, "has 5 for a hash of 'contentId'"),
        ({"resources": {}}, "lists no resources"),
        ({"resources": [1]}, "has a resource that is not an object"),
        ({"resources": []}, "does not name runs.parquet"),
    ],
)
def test_a_manifest_without_what_it_needs_is_refused(change: dict[str, Any], reason: str) -> None:
    data = json.dumps(json.loads(render_manifest(manifest())) | change).encode()
    with pytest.raises(BundleDamagedError) as caught:
        parse_manifest(data, path="b.zip")
    assert str(caught.value) == f"'b.zip' is damaged: datapackage.json {reason}"
    assert caught.value.member == "datapackage.json"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"bytes": -1}, "has -1 for a count of 'runs.parquet'"),
        ({"bytes": True}, "has True for a count of 'runs.parquet'"),
        ({"rows": 2**60}, "has 1152921504606846976 for a count of 'runs.parquet'"),
        ({"rows": 1.0}, "has 1.0 for a count of 'runs.parquet'"),
        ({"hash": "0f"}, "has '0f' for a hash of 'runs.parquet'"),
        ({"hash": None}, "has None for a hash of 'runs.parquet'"),
        ({"footer": None}, "has no footer for 'runs.parquet'"),
        (
            {"footer": {"bytes": 9001, "hash": HASH}},
            "has a footer of 9001 bytes for 'runs.parquet', which has 9000",
        ),
        ({"rowsHash": HASH}, "has the wrong hashes for 'runs.parquet'"),
    ],
)
def test_a_resource_with_a_wrong_field_is_refused(change: dict[str, Any], reason: str) -> None:
    raw = json.loads(render_manifest(manifest()))
    raw["resources"][0] |= change
    with pytest.raises(BundleDamagedError) as caught:
        parse_manifest(json.dumps(raw).encode(), path="b.zip")
    assert str(caught.value) == f"'b.zip' is damaged: datapackage.json {reason}"


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "SHA256", "crc32"])
def test_another_hash_algorithm_is_refused_by_name(algorithm: str) -> None:
    raw = json.loads(render_manifest(manifest()))
    raw["resources"][0]["hash"] = f"{algorithm}:00"
    with pytest.raises(UnsafeFileError) as caught:
        parse_manifest(json.dumps(raw).encode(), path="b.zip")
    expected = f"'b.zip' is not safe to use: 'runs.parquet' is hashed with {algorithm!r}, not sha256"
    assert str(caught.value) == expected


def test_a_path_out_of_the_bundle_is_refused() -> None:
    raw = json.loads(render_manifest(manifest()))
    raw["resources"][0]["path"] = "../../home/x.parquet"
    with pytest.raises(UnsafeFileError) as caught:
        parse_manifest(json.dumps(raw).encode(), path="b.zip")
    assert str(caught.value) == (
        "'b.zip' is not safe to use: the path '../../home/x.parquet' in its manifest climbs out of the bundle"
    )


def test_a_resource_named_twice_is_refused() -> None:
    raw = json.loads(render_manifest(manifest()))
    raw["resources"] *= 2
    with pytest.raises(BundleDamagedError) as caught:
        parse_manifest(json.dumps(raw).encode(), path="b.zip")
    assert str(caught.value) == "'b.zip' is damaged: datapackage.json names 'runs.parquet' twice"


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000, b'{"a":' * 100_000])
def test_a_manifest_that_is_no_json_is_refused(data: bytes) -> None:
    with pytest.raises(BundleDamagedError, match=r"^'b.zip' is damaged: datapackage.json is not JSON: "):
        parse_manifest(data, path="b.zip")


def test_a_digest_of_another_manifest_is_refused() -> None:
    with pytest.raises(BundleDamagedError) as caught:
        check_digest(render_digest(b"a"), b"b", path="b.zip")
    assert str(caught.value) == "'b.zip' is damaged: datapackage.json does not have the hash in its digest"


def test_a_digest_by_another_algorithm_is_refused_by_name() -> None:
    with pytest.raises(UnsafeFileError) as caught:
        check_digest(b'{"path":"datapackage.json","hash":"md5:00"}', b"b", path="b.zip")
    assert str(caught.value) == "'b.zip' is not safe to use: its manifest is hashed with 'md5', not sha256"


@pytest.mark.parametrize(
    ("reader", "hint"),
    [
        ('"0.9.1"', "install wandb-pull-logs 0.9.1 or later"),
        ('"1; rm -rf /"', "install a newer wandb-pull-logs"),
        ("7", "install a newer wandb-pull-logs"),
    ],
)
def test_a_newer_format_names_the_release_to_install(reader: str, hint: str) -> None:
    data = f'{{"format":"wandb-pull-logs/snapshot","reader":{reader},"version":3}}'.encode()
    with pytest.raises(FormatTooNewError) as caught:
        check_format(data, path="b.zip")
    assert caught.value.message == "'b.zip' has format version 3, and this release reads versions up to 2"
    assert caught.value.hint == hint


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[1]", render_format(1)[:-1], render_format(1).replace(b"1}", b"0}")]
)
def test_a_format_mark_that_is_not_ours_is_refused(data: bytes) -> None:
    with pytest.raises(BundleDamagedError) as caught:
        check_format(data, path="b.zip")
    assert (
        str(caught.value)
        == "'b.zip' is damaged: FORMAT is not that of wandb-pull-logs/snapshot version 1 or 2"
    )
    assert [check_format(render_format(version), path="b.zip") for version in (1, 2)] == [1, 2]
