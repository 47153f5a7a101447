"""Texts that are compressed in a bundle: written once, read as they were, copied, damaged and forged."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import zstandard
from artifactkit import Version, artifacts_of
from bundlekit import Raw, bundle_run, forged_from, make_bundle, members_of, unzipped
from checkout import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from pull_logs.errors import BundleDamagedError, DamageError, UnsafeFileError
from pull_logs.snapshot import (
    BundleRun,
    export_runs,
    merge_bundles,
    open_bundle,
    subset_bundle,
    verify_bundle,
    write_bundle,
)
from pull_logs.snapshot.format import member_order, record_of, render_digest
from pull_logs.snapshot.privacy import audit_bundle, redact_bundle
from pull_logs.snapshot.privacy.file_scrubber import TextFile
from pull_logs.snapshot.write import CopiedRun, compression
from pull_logs.snapshot.write.compression import texts

FOLDER = "runs/entity=acme/project=nano/run=3fk2a"
LOG = b"".join(b"epoch %d: loss %.5f\n" % (number, 1 / (number + 2)) for number in range(300))
ROWS = json.dumps({"columns": ["a", "b"], "data": [[n, str(n)] for n in range(400)]}).encode()
CONTENTS: Mapping[str, bytes] = {
    "output.log": LOG,
    "media/table/t.table.json": ROWS,
    "weights.bin": bytes(range(256)) * 9,
    "short.txt": b"loss\n",
}
DATA = Version({"train.csv": LOG, "nested/w.bin": bytes(range(256)) * 9}, name="data")


def logged(
    contents: Mapping[str, bytes] = CONTENTS, path: str = "acme/nano/3fk2a", **parts: Any
) -> BundleRun:
    run = bundle_run(path)
    files = [TextFile(record_of(name, [data]), data) for name, data in contents.items()]
    return BundleRun(info=run.info, coverage=run.coverage, batches=run.batches, files=files, **parts)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "good.wandb.zip", [logged(artifacts=artifacts_of(logged=[DATA]))])


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same runs as a release before compression wrote them."""
    with monkeypatch.context() as patch:
        patch.setattr(texts, "compress_text", lambda *_: None)
        return make_bundle(tmp_path / "old.wandb.zip", [logged(artifacts=artifacts_of(logged=[DATA]))])


def contents_in(bundle: Path, run: str = "3fk2a") -> dict[str, bytes]:
    with open_bundle(bundle) as opened:
        return {name: file.read() for name, file in opened[run].files.items()}


def artifact_in(bundle: Path) -> dict[str, bytes]:
    with open_bundle(bundle) as opened:
        (artifact,) = opened["3fk2a"].logged_artifacts()
        return {path: entry.read() for path, entry in artifact.entries.items()}


def compressed_names(bundle: Path) -> set[str]:
    return {name for name in members_of(bundle) if name.endswith(".zst")}


# What a bundle has


def test_texts_are_compressed_and_read_as_they_were(good: Path) -> None:
    names = compressed_names(good)
    assert f"{FOLDER}/files/output.log.zst" in names
    assert f"{FOLDER}/files/media%2Ftable%2Ft.table.json.zst" in names
    assert f"{FOLDER}/files/weights.bin" in members_of(good)
    assert [name for name in names if name.startswith("contents/")] == [
        f"contents/{record_of('a', [LOG]).hash.removeprefix('sha256:')}.zst"
    ]
    assert contents_in(good) == dict(sorted(CONTENTS.items()))
    assert artifact_in(good) == DATA.files
    assert verify_bundle(good).damages == ()
    assert members_of(good)["FORMAT"].endswith(b'"version":2}\n')


def test_a_bundle_without_compressed_texts_keeps_version_1(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "b.zip", [logged({"a.bin": bytes(range(256)) * 9, "b.txt": b"short"})])
    members = members_of(bundle)
    assert members["FORMAT"].endswith(b'"version":1}\n')
    assert b'\n"formatVersion":1,\n' in members["datapackage.json"]
    assert b"textHash" not in members["datapackage.json"]


def test_identities_are_those_of_the_texts(good: Path, old: Path) -> None:
    assert members_of(old)["FORMAT"].endswith(b'"version":1}\n')
    with open_bundle(good) as new, open_bundle(old) as plain:
        assert new.content_id == plain.content_id
        assert new["3fk2a"].files_hash == plain["3fk2a"].files_hash
        for name, file in new["3fk2a"].files.items():
            assert file.record == plain["3fk2a"].files[name].record
    assert contents_in(old) == contents_in(good)
    assert artifact_in(old) == artifact_in(good)


def test_the_same_texts_have_the_same_bytes(good: Path, tmp_path: Path) -> None:
    again = make_bundle(tmp_path / "again.zip", [logged(artifacts=artifacts_of(logged=[DATA]))])
    assert again.read_bytes() == good.read_bytes()


def test_a_bundle_of_an_earlier_release_is_compressed_when_it_is_copied(
    good: Path, old: Path, tmp_path: Path
) -> None:
    with open_bundle(old) as opened:
        write_bundle(tmp_path / "copy.zip", [CopiedRun(run=run) for run in opened.runs()])
    assert (tmp_path / "copy.zip").read_bytes() == good.read_bytes()


def test_a_copy_has_the_stored_bytes_whichever_zstd_made_them(good: Path, tmp_path: Path) -> None:
    def recompress(members: dict[str, Raw]) -> None:
        change_text(members, f"{FOLDER}/files/output.log.zst", zstd(LOG, level=19), writer="zstd 9.9.9")

    other = forged_from(good, tmp_path / "other.zip", recompress)
    assert verify_bundle(other).damages == ()
    with open_bundle(other) as opened:
        write_bundle(tmp_path / "copy.zip", [CopiedRun(run=run) for run in opened.runs()])
    assert members_of(tmp_path / "copy.zip") == members_of(other)


def test_every_operation_keeps_the_texts(good: Path, tmp_path: Path) -> None:
    second = make_bundle(tmp_path / "b.zip", [logged({"output.log": LOG}, "acme/nano/b")])
    with open_bundle(good) as one, open_bundle(second) as other:
        merge_bundles([one, other], tmp_path / "merged.zip")
    assert contents_in(tmp_path / "merged.zip") == contents_in(good)
    assert contents_in(tmp_path / "merged.zip", "b") == {"output.log": LOG}
    with open_bundle(tmp_path / "merged.zip") as merged:
        subset_bundle([merged["3fk2a"]], tmp_path / "subset.zip")
    assert members_of(tmp_path / "subset.zip") == members_of(good)
    for path in (tmp_path / "merged.zip", tmp_path / "subset.zip"):
        assert verify_bundle(path).damages == ()
    with open_bundle(good) as opened:
        export_runs(opened.runs(), tmp_path / "exported", to="ndjson")
    assert (tmp_path / "exported" / FOLDER / "files/output.log").read_bytes() == LOG
    (exported,) = (tmp_path / "exported").rglob("train.csv")
    assert exported.read_bytes() == LOG


def test_a_name_that_is_taken_leaves_the_text_as_it_is(tmp_path: Path) -> None:
    contents = {"a.log": LOG, "A.log.ZST": b"own", "b.log": LOG, "b.log.zst": LOG, "b.log.zst.zst": b"own"}
    bundle = make_bundle(tmp_path / "b.zip", [logged(contents)])
    names = {name.rpartition("/")[2] for name in members_of(bundle) if "/files/" in name}
    assert names == {"a.log", "A.log.ZST", "b.log", "b.log.zst", "b.log.zst.zst"}
    assert contents_in(bundle) == dict(sorted(contents.items()))
    assert verify_bundle(bundle).damages == ()


odd_names = st.sampled_from(
    ["a", "a.zst", "A.ZST", "a.zst.zst", "x" * 300, "x" * 300 + ".zst", "nul", "~", ".."]
)
some_bytes = st.sampled_from([LOG, ROWS, b"", b"short", bytes(range(256)) * 9])


@settings(max_examples=12)
@given(st.dictionaries(odd_names, some_bytes, min_size=1, max_size=6))
def test_any_files_under_any_names_are_read_back(
    tmp_path_factory: pytest.TempPathFactory, contents: dict[str, bytes]
) -> None:
    bundle = make_bundle(tmp_path_factory.mktemp("b") / "b.zip", [logged(contents)])
    assert contents_in(bundle) == {name: contents[name] for name in sorted(contents, key=str.encode)}
    assert verify_bundle(bundle).damages == ()


def test_many_texts_are_compressed_in_threads_and_have_their_order(tmp_path: Path) -> None:
    contents = {f"log{number:03}.txt": LOG + b"%d" % number for number in range(120)}
    first = make_bundle(tmp_path / "a.zip", [logged(contents)])
    second = make_bundle(tmp_path / "b.zip", [logged(dict(reversed(contents.items())))])
    assert first.read_bytes() == second.read_bytes()
    assert contents_in(first) == contents
    assert compression.compressed_members({}, folder=tmp_path) is not None


# Reading in parts, from a folder, privacy


def test_a_part_of_a_text_is_read_without_the_rest(good: Path) -> None:
    with open_bundle(good) as opened, opened["3fk2a"].files["output.log"].open() as file:
        file.seek(1000)
        assert file.read(100) == LOG[1000:1100]
        file.seek(-20, 2)
        assert file.read() == LOG[-20:]
        assert file.size() == len(LOG)


def test_an_unzipped_bundle_is_read_and_its_texts_saved(good: Path, tmp_path: Path) -> None:
    folder = unzipped(good, tmp_path / "folder")
    assert contents_in(folder) == contents_in(good)
    assert verify_bundle(folder).damages == ()
    with open_bundle(folder) as opened:
        opened["3fk2a"].files["output.log"].save(tmp_path / "out.log")
    assert (tmp_path / "out.log").read_bytes() == LOG


def test_secrets_in_compressed_texts_are_found_and_removed(tmp_path: Path) -> None:
    secret = b"export WANDB_API_KEY=" + b"0123456789abcdef" * 2 + b"01234567\n"
    bundle = make_bundle(tmp_path / "b.zip", [logged({"output.log": LOG + secret})])
    assert compressed_names(bundle)
    with open_bundle(bundle) as opened:
        found = audit_bundle(opened)
    assert [finding for finding in found.findings if "output.log" in finding.location]
    redact_bundle(bundle, tmp_path / "clean.zip")
    data = contents_in(tmp_path / "clean.zip")["output.log"]
    assert data.startswith(LOG)
    assert b"0123456789abcdef0123" not in data
    assert compressed_names(tmp_path / "clean.zip") == compressed_names(bundle)


# Ordinary tools


PAGE = (ROOT / "docs/bundle-format.md").read_text().split("### Compressed texts")[1].split("\n### ")[0]


def test_the_commands_of_the_page_read_the_texts(good: Path, tmp_path: Path) -> None:
    (commands,) = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    shown = "runs/entity=acme/project=digits/run=cnn1e1s0"
    assert commands.count(shown) == 1
    (tmp_path / "sweep.wandb.zip").write_bytes(good.read_bytes())
    words = ["sh", "-ec", commands.replace(shown, FOLDER)]
    result = subprocess.run(words, check=True, cwd=tmp_path, capture_output=True)
    assert result.stdout == LOG
    folder = tmp_path / "sweep"
    assert (folder / FOLDER / "files/output.log").read_bytes() == LOG
    assert (folder / f"contents/{record_of('a', [LOG]).hash.removeprefix('sha256:')}").read_bytes() == LOG


def test_the_line_of_the_page_reads_a_text_without_zstd(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "output.log.zst").write_bytes(members_of(good)[f"{FOLDER}/files/output.log.zst"])
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"zstandard": zstandard, "Path": Path}
    exec(code, names)
    assert names["text"] == LOG


# Damage


def zstd(data: bytes, *, level: int = 3, **options: Any) -> bytes:
    given = {"write_checksum": True, "write_content_size": True} | options
    return zstandard.ZstdCompressor(level=level, **given).compress(data)


def change_text(members: dict[str, Raw], name: str, data: bytes, **fields: Any) -> None:
    """Replace a compressed member, and make the manifest and its digest agree with its bytes."""
    record = record_of("a", [data])
    members[name].data = data
    manifest = members["datapackage.json"].data
    lines = manifest.split(b"\n")
    for at, line in enumerate(lines):
        if f'"path":"{name}"'.encode() in line:
            entry = json.loads(line.rstrip(b","))
            entry |= {"bytes": record.bytes, "hash": record.hash} | fields
            text = json.dumps(dict(sorted(entry.items())), separators=(",", ":"))
            lines[at] = text.encode() + (b"," if line.endswith(b",") else b"")
    members["datapackage.json"].data = b"\n".join(lines)
    members["datapackage-digest.json"].data = render_digest(members["datapackage.json"].data)


def test_every_changed_byte_of_a_compressed_text_is_found_where_it_is(good: Path, tmp_path: Path) -> None:
    name = f"{FOLDER}/files/output.log.zst"
    data = good.read_bytes()
    start = data.rindex(members_of(good)[name])  # an artifact has the same text
    size = len(members_of(good)[name])
    for at in [*range(24), *range(24, size, size // 12), size - 1]:
        changed = bytearray(data)
        changed[start + at] ^= 0x10
        (tmp_path / "changed.zip").write_bytes(changed)
        (damage,) = verify_bundle(tmp_path / "changed.zip").damages
        assert (damage.member, damage.run) == (name, "acme/nano/3fk2a")
        with open_bundle(tmp_path / "changed.zip") as opened, suppress(BundleDamagedError):
            assert opened["3fk2a"].files["output.log"].read() == LOG  # in another form


@pytest.mark.parametrize(
    ("data", "fields", "reason"),
    [
        pytest.param(zstd(LOG) + zstd(LOG), {}, "there are bytes after its frame", id="two frames"),
        pytest.param(zstd(LOG)[:-5], {}, "its frame is cut short", id="cut"),
        pytest.param(LOG, {}, "it is not a zstandard frame", id="not compressed"),
        pytest.param(
            zstd(LOG), {"textBytes": len(LOG) - 1}, f"it claims {len(LOG)} bytes of text, not", id="size"
        ),
        pytest.param(zstd(LOG), {"textBytes": 2**40}, "bytes of it may not have 1099511627776", id="a bomb"),
        pytest.param(zstd(LOG, write_checksum=False), {}, "it has no checksum", id="no checksum"),
        pytest.param(zstd(LOG[:-1] + b"!"), {}, "", id="another text"),
    ],
)
def test_a_forged_text_is_found_by_verify_and_refused_when_read(
    good: Path, tmp_path: Path, data: bytes, fields: dict[str, Any], reason: str
) -> None:
    name = f"{FOLDER}/files/output.log.zst"
    forged = forged_from(
        good, tmp_path / "forged.zip", lambda members: change_text(members, name, data, **fields)
    )
    (damage,) = verify_bundle(forged).damages
    assert (damage.member, damage.run) == (name, "acme/nano/3fk2a")
    assert reason in damage.reason
    with open_bundle(forged) as opened:
        file = opened["3fk2a"].files["output.log"]
        for read in (file.read, file.check, lambda: file.save(tmp_path / "out")):
            with pytest.raises(BundleDamagedError) as caught:
                read()
            assert reason in caught.value.message
        assert not (tmp_path / "out").exists()
        with pytest.raises(DamageError):
            export_runs(opened.runs(), tmp_path / "exported", to="ndjson")


def test_an_md5_of_another_text_is_found(good: Path, tmp_path: Path) -> None:
    name = f"{FOLDER}/files/output.log.zst"
    data = members_of(good)[name]
    forged = forged_from(
        good, tmp_path / "forged.zip", lambda members: change_text(members, name, data, md5="0" * 32)
    )
    (damage,) = verify_bundle(forged).damages
    assert damage.reason == f"{name!r} has a text without its MD5"


Change = Callable[[dict[str, Raw]], None]


def say_version(version: int, *, manifest: bool) -> Change:
    def change(members: dict[str, Raw]) -> None:
        members["FORMAT"].data = re.sub(rb'"version":\d', b'"version":%d' % version, members["FORMAT"].data)
        if manifest:
            data = members["datapackage.json"].data
            members["datapackage.json"].data = re.sub(rb'Version":\d', b'Version":%d' % version, data)
            members["datapackage-digest.json"].data = render_digest(members["datapackage.json"].data)

    return change


@pytest.mark.parametrize("manifest", [False, True])
def test_a_version_that_is_not_that_of_the_members_is_refused(
    good: Path, tmp_path: Path, *, manifest: bool
) -> None:
    plain = make_bundle(tmp_path / "plain.zip", [logged({"a.txt": b"short"})])
    for bundle, version in ((good, 1), (plain, 2)):
        forged = forged_from(bundle, tmp_path / "forged.zip", say_version(version, manifest=manifest))
        with pytest.raises(BundleDamagedError, match="version"):
            open_bundle(forged)
        assert verify_bundle(forged).damages


def test_a_text_that_is_there_twice_is_refused(good: Path, tmp_path: Path) -> None:
    name = f"{FOLDER}/files/output.log"

    def twice(members: dict[str, Raw]) -> None:
        record = record_of("output.log", [LOG])
        entry = {"bytes": record.bytes, "hash": record.hash, "md5": record.md5, "name": "r9", "path": name}
        line = json.dumps(entry, separators=(",", ":")).encode()
        manifest = members["datapackage.json"].data.replace(
            b'"resources":[\n', b'"resources":[\n' + line + b",\n"
        )
        members["datapackage.json"].data = manifest
        members["datapackage-digest.json"].data = render_digest(manifest)
        found = {**members, name: Raw(name.encode(), LOG)}
        members.clear()
        members.update({one: found[one] for one in member_order(found)})

    forged = forged_from(good, tmp_path / "forged.zip", twice)
    with pytest.raises((BundleDamagedError, UnsafeFileError), match="twice"):
        open_bundle(forged)
