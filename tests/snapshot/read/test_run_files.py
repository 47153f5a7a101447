"""The files that a run logged: kept byte for byte in every operation, under names that are never paths."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from itertools import permutations
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from bundlekit import Raw, bundle_run, forged_from, make_bundle, members_of, unzipped
from checkout import RECORDED
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pull_logs.cli.main import main
from pull_logs.errors import (
    BundleDamagedError,
    DamageError,
    DataError,
    FileMissingError,
    MergeConflictError,
    UnsafeFileError,
)
from pull_logs.runs import Coverage, RunPath
from pull_logs.snapshot import (
    diff_bundles,
    export_runs,
    merge_bundles,
    open_bundle,
    subset_bundle,
    verify_bundle,
)
from pull_logs.snapshot.format.file_record import FileRecord, files_hash, record_of
from pull_logs.snapshot.format.manifest import render_digest
from pull_logs.snapshot.format.names import (
    file_members,
    file_name_of,
    folder_of_file,
    is_member_name,
    run_of_member,
)
from pull_logs.snapshot.privacy import file_scrubber as filetexts
from pull_logs.snapshot.privacy.audit import audit_bundle
from pull_logs.snapshot.privacy.file_scrubber import TextFile
from pull_logs.snapshot.privacy.redact import redact_bundle
from pull_logs.snapshot.write.run_sources import BundleRun, RunExtras
from pull_logs.snapshot.write.spool import Spool

FOLDER = "runs/entity=acme/project=nano/run=3fk2a"
Contents = Mapping[str, bytes]

CONTENTS: Contents = {
    "output.log": b"epoch 0\nepoch 1\n",
    "media/images/a b.png": b"\x89PNG\x00\xff" * 300,
    "empty.txt": b"",
    "..": b"up",
    "CON.txt": b"device",
    "history.parquet": b"PAR1 of a user's own",
}

ODD = st.sampled_from(
    [
        "..",
        ".",
        "a/../b",
        "/etc/passwd",
        "C:\\x",
        "nul",
        "Aux.log",
        "history.parquet",
        "A",
        "a",
        "x" * 400,
        "~",
        "a\x00b",
    ]
)
names = (st.text(min_size=1, max_size=20) | ODD).filter(lambda name: name.encode(errors="replace") != b"")


def files_of(contents: Contents, **mediatypes: str) -> list[TextFile]:
    return [
        TextFile(record_of(name, [data], mediatype=mediatypes.get(name.partition(".")[0])), data)
        for name, data in contents.items()
    ]


def with_files(contents: Contents = CONTENTS, path: str = "acme/nano/3fk2a", **facts: Any) -> BundleRun:
    run = bundle_run(path, **facts)
    return BundleRun(
        info=run.info,
        coverage=run.coverage,
        batches=run.batches,
        files=files_of(contents, output="text/plain"),
    )


def contents_in(bundle: Path, run: str = "3fk2a") -> dict[str, bytes]:
    with open_bundle(bundle) as opened:
        return {name: file.read() for name, file in opened[run].files.items()}


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "good.wandb.zip", [with_files(), bundle_run("acme/nano/b")])


# Names


@given(st.sets(names, min_size=1, max_size=8))
def test_every_name_has_its_own_member_on_any_file_system(found: set[str]) -> None:
    texts = {name.encode("utf-8", "replace").decode() for name in found}
    located = file_members(FOLDER, texts)
    assert located.keys() == texts
    folded = {position.lower() for position in located.values()}
    assert len(folded) == len(texts)
    for name, position in located.items():
        assert is_member_name(position)
        assert folder_of_file(position) == FOLDER
        assert run_of_member(position) == "acme/nano/3fk2a"
        assert file_name_of(position) in (name, None)
        assert PurePosixPath(position).parent == PurePosixPath(FOLDER, "files")
        segment = PurePosixPath(position).name
        assert len(segment) < 200
        assert segment not in (".", "..", "history.parquet", "system.parquet", "runs.parquet")
        assert not segment.endswith(".")
        assert not re.match(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)", segment)


@pytest.mark.parametrize(
    ("name", "segment"),
    [
        ("output.log", "output.log"),
        ("media/images/a b.png", "media%2Fimages%2Fa%20b.png"),
        ("..", ".%2E"),
        ("con.txt", "%63on.txt"),
        ("History.parquet", "%48istory.parquet"),
        ("~", "%7E"),
        ("x" * 161, "x" * 151 + "~" + hashlib.sha256(b"x" * 161).hexdigest()[:8]),
    ],
)
def test_the_member_of_a_name(name: str, segment: str) -> None:
    assert file_members(FOLDER, [name]) == {name: f"{FOLDER}/files/{segment}"}


@pytest.mark.parametrize("name", ["", "x" * 1025])
def test_a_name_that_cannot_be_kept(name: str) -> None:
    with pytest.raises(DataError, match=r"^a file's name has \d+ bytes, not 1 to 1024$"):
        record_of(name, [])


# Reading


def test_files_are_read_as_they_were_and_by_name(good: Path, tmp_path: Path) -> None:
    for path in (good, unzipped(good, tmp_path / "folder")):
        with open_bundle(path) as bundle:
            run = bundle["3fk2a"]
            assert {name: file.read() for name, file in run.files.items()} == CONTENTS
            assert list(run.files) == sorted(CONTENTS, key=str.encode)
            log = run.files["output.log"]
            reported = (log.name, log.size, log.mediatype)
            assert reported == ("output.log", 16, "text/plain")
            assert (log.sha256, log.md5) == tuple(
                hashlib.new(kind, CONTENTS["output.log"]).hexdigest() for kind in ("sha256", "md5")
            )
            with log.open() as file:
                file.seek(6)
                assert file.read(3) == b"0\ne"
            log.save(tmp_path / "saved.log")
            assert (tmp_path / "saved.log").read_bytes() == CONTENTS["output.log"]
            assert (len(bundle["b"].files), bundle["b"].files_hash) == (0, None)
            with pytest.raises(FileMissingError) as caught:
                run.files["output.lgo"]
            assert str(caught.value) == (
                "run 'acme/nano/3fk2a' has no file 'output.lgo'; the nearest is 'output.log'"
            )
        assert not verify_bundle(path).damages


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    st.dictionaries(
        names.map(lambda name: name.encode("utf-8", "replace").decode()), st.binary(max_size=99), max_size=6
    )
)
def test_whatever_files_there_are_the_bundle_holds_them(tmp_path: Path, contents: dict[str, bytes]) -> None:
    made = make_bundle(tmp_path / "b.wandb.zip", [with_files(contents)])
    assert contents_in(made) == contents
    assert not verify_bundle(made).damages
    again = make_bundle(tmp_path / "c.wandb.zip", [with_files(dict(reversed(contents.items())))])
    assert again.read_bytes() == made.read_bytes()


def test_files_are_no_part_of_the_content_and_have_a_hash_of_their_own(good: Path, tmp_path: Path) -> None:
    bare = make_bundle(tmp_path / "bare.wandb.zip", [bundle_run(), bundle_run("acme/nano/b")])
    with open_bundle(good) as full, open_bundle(bare) as empty:
        assert full.content_id == empty.content_id
        assert full.bundle_id != empty.bundle_id
        hasher = hashlib.sha256()
        for name in sorted(CONTENTS, key=str.encode):
            hasher.update(len(name.encode()).to_bytes(8, "little") + name.encode())
            hasher.update(hashlib.sha256(CONTENTS[name]).digest())
        assert full["3fk2a"].files_hash == f"sha256:{hasher.hexdigest()}"


def test_a_bundle_without_files_has_the_bytes_that_it_had(tmp_path: Path) -> None:
    with open_bundle(RECORDED) as bundle:
        subset_bundle(bundle.runs(), tmp_path / "again.wandb.zip")
    assert (tmp_path / "again.wandb.zip").read_bytes() == RECORDED.read_bytes()


def test_other_tools_find_the_histories_alone_and_the_files_by_their_names(
    good: Path, tmp_path: Path
) -> None:
    folder = unzipped(good, tmp_path / "folder")
    assert [path.parent.name for path in sorted(folder.rglob("history.parquet"))] == ["run=3fk2a", "run=b"]
    with zipfile.ZipFile(good) as plain:
        assert plain.read(f"{FOLDER}/files/output.log") == CONTENTS["output.log"]
        assert plain.testzip() is None


def test_a_list_of_files_is_checked_before_it_is_stored() -> None:
    record = record_of("a", [b"x"])
    with pytest.raises(DataError) as caught:
        files_hash([record, record])
    assert str(caught.value) == "a run has two files named 'a'"


# Damage and hostile bundles


def test_every_flipped_bit_of_a_file_is_found_and_named(good: Path, tmp_path: Path) -> None:
    chance, data = random.Random(4), good.read_bytes()
    member = f"{FOLDER}/files/media%2Fimages%2Fa%20b.png"
    start = data.index(CONTENTS["media/images/a b.png"])
    hurt = tmp_path / "hurt.wandb.zip"
    for _ in range(40):
        position = start + chance.randrange(1800)
        hurt.write_bytes(
            data[:position] + bytes([data[position] ^ 1 << chance.randrange(8)]) + data[position + 1 :]
        )
        for deep in (True, False):
            (damage,) = verify_bundle(hurt, deep=deep).damages
            assert (damage.member, damage.run) == (member, "acme/nano/3fk2a")
        with open_bundle(hurt) as bundle:
            assert bundle["3fk2a"].files["output.log"].read() == CONTENTS["output.log"]
            with pytest.raises(BundleDamagedError) as caught:
                bundle["3fk2a"].files["media/images/a b.png"].read()
            assert caught.value.member == member
            with pytest.raises(BundleDamagedError):
                bundle["3fk2a"].files["media/images/a b.png"].save(tmp_path / "saved.png")
        assert not list(tmp_path.glob("*.png")) + list(tmp_path.glob(".saving*"))


def edit_manifest(change: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Raw]], None]:
    """Change the manifest's entry of `output.log`, or `CON.txt`, and adapt the digest."""

    def forge(members: dict[str, Raw]) -> None:
        manifest = members["datapackage.json"]
        lines = []
        for line in manifest.data.split(b"\n"):
            if b"/files/output.log" in line:
                entry = json.loads(line.removesuffix(b","))
                change(entry)
                lines.append(json.dumps(entry).encode() + line[len(line.removesuffix(b",")) :])
            else:
                lines.append(line)
        manifest.data = b"\n".join(lines)
        members["datapackage-digest.json"].data = render_digest(manifest.data)

    return forge


def moved(old: str, new: str) -> Callable[[dict[str, Raw]], None]:
    """Rename a member in the ZIP and in the manifest."""

    def forge(members: dict[str, Raw]) -> None:
        members[old].name = new.encode()
        manifest = members["datapackage.json"]
        manifest.data = manifest.data.replace(f'"{old}"'.encode(), f'"{new}"'.encode())
        members["datapackage-digest.json"].data = render_digest(manifest.data)
        tail = [members.pop(name) for name in ("datapackage.json", "datapackage-digest.json")]
        head = [members.pop(name) for name in ("FORMAT", "runs.parquet")]
        rest = sorted(members.values(), key=lambda raw: raw.name)
        members.clear()
        members |= {raw.name.decode("latin-1"): raw for raw in (*head, *rest, *tail)}

    return forge


LOG = f"{FOLDER}/files/output.log"


@pytest.mark.parametrize(
    ("change", "kind", "reason"),
    [
        (moved(LOG, f"{FOLDER}/files/../../../../../evil"), UnsafeFileError, "climbs out of the bundle"),
        (moved(LOG, f"{FOLDER}/files/.."), UnsafeFileError, "climbs out of the bundle"),
        (moved(LOG, f"{FOLDER}/files/a/b"), UnsafeFileError, "is not the name of a file in a bundle"),
        (moved(LOG, f"{FOLDER}/files/dot."), UnsafeFileError, "is not the name of a file in a bundle"),
        (moved(LOG, f"{FOLDER}/files/a\\b"), UnsafeFileError, "holds a backslash"),
        (moved(LOG, f"{FOLDER}/files/NUL"), UnsafeFileError, "is not where the file 'NUL' belongs"),
        (
            moved(LOG, f"{FOLDER}/files/history.parquet"),
            UnsafeFileError,
            "is not where the file 'history.parquet'",
        ),
        (
            moved(LOG, f"{FOLDER}/files/%6Futput.log"),
            UnsafeFileError,
            "is not where the file 'output.log' belongs",
        ),
        (moved(LOG, f"{FOLDER}/files/%FF"), UnsafeFileError, "is not where the file '\ufffd' belongs"),
        (moved(LOG, f"{FOLDER}/files/EMPTY.txt"), UnsafeFileError, "differ only in case"),
        (moved(LOG, LOG.replace("run=3fk2a", "run=none")), BundleDamagedError, "1 file without a run"),
        (moved(LOG, f"{LOG}~00000000"), BundleDamagedError, "has no valid file name for"),
        (edit_manifest(lambda entry: entry.update(md5="x")), BundleDamagedError, "has 'x' for a hash of"),
        (edit_manifest(lambda entry: entry.pop("md5")), BundleDamagedError, "has None for a hash of"),
        (
            edit_manifest(lambda entry: entry.update(hash="md5:1")),
            UnsafeFileError,
            "is hashed with 'md5', not sha256",
        ),
        (edit_manifest(lambda entry: entry.update(bytes=-1)), BundleDamagedError, "has -1 for a count of"),
        (
            edit_manifest(lambda entry: entry.update(bytes=17)),
            BundleDamagedError,
            "has 16 bytes and should have 17",
        ),
        (
            edit_manifest(lambda entry: entry.update(mediatype="text/html\r\nX-Evil: 1")),
            BundleDamagedError,
            "for the media type of",
        ),
    ],
)
def test_a_hostile_bundle_with_files_is_refused(
    good: Path, change: Callable[[dict[str, Raw]], None], kind: type[DamageError], reason: str
) -> None:
    bad = forged_from(good, good.parent / "bad.wandb.zip", change)
    with pytest.raises(kind) as caught:
        open_bundle(bad)
    assert reason in caught.value.message
    assert verify_bundle(bad).damages


def test_a_file_that_the_manifest_does_not_name_is_refused(good: Path, tmp_path: Path) -> None:
    folder = unzipped(good, tmp_path / "folder")
    (folder / FOLDER / "files" / "more.txt").write_text("x")
    with pytest.raises(UnsafeFileError, match=r"its manifest does not name '.*/files/more\.txt'"):
        open_bundle(folder)
    (folder / FOLDER / "files" / "more.txt").unlink()
    (folder / FOLDER / "files" / "sub").mkdir()
    (folder / FOLDER / "files" / "sub" / "x").write_text("x")
    with pytest.raises(UnsafeFileError, match="is not a regular file"):
        open_bundle(folder)


def test_a_wrong_md5_is_found_by_verify(good: Path) -> None:
    bad = forged_from(
        good, good.parent / "bad.wandb.zip", edit_manifest(lambda entry: entry.update(md5="0" * 32))
    )
    (damage,) = verify_bundle(bad, deep=False).damages
    assert damage.member == LOG


# The spool


def test_a_finished_run_keeps_its_files_over_a_crash(tmp_path: Path) -> None:
    out, run = tmp_path / "b.wandb.zip", with_files()
    with Spool.open(out, plan={}) as spool:
        position = spool.files_folder(run.info.path)
        (position / "half").write_bytes(b"x")
        spool.store_merged(run.info, run.coverage, run.batches, RunExtras(files=run.files))
        assert not position.exists()
    with Spool.open(out, plan={}) as spool:
        (stored,) = spool.stored.values()
        assert [record.name for record in stored.files] == sorted(CONTENTS, key=str.encode)
        half = spool.files_folder(RunPath("acme", "nano", "other"))
        report = spool.seal()
    assert (report.runs, half.exists(), contents_in(out)) == (1, False, dict(CONTENTS))
    with open_bundle(out) as sealed, Spool.open(tmp_path / "c.wandb.zip", plan={}) as spool:
        spool.adopt(sealed["3fk2a"])
        assert spool.seal().bundle_id == sealed.bundle_id


def test_a_file_of_another_size_than_it_says_is_not_stored(tmp_path: Path) -> None:
    record = FileRecord(name="a", bytes=3, hash="sha256:" + "0" * 64, md5="0" * 32)
    run = bundle_run()
    lying = BundleRun(
        info=run.info, coverage=Coverage(), batches=run.batches, files=[TextFile(record, b"four")]
    )
    with pytest.raises(DataError) as caught:
        make_bundle(tmp_path / "b.wandb.zip", [lying])
    assert str(caught.value) == "file 'a' has 4 bytes, not 3"
    assert not list(tmp_path.iterdir())


# Complete bundles


def test_a_difference_names_the_files(good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = {**CONTENTS, "output.log": b"epoch 0\n", "new\n.txt": b"12"}
    del new[".."]
    other = make_bundle(tmp_path / "new.wandb.zip", [with_files(new), bundle_run("acme/nano/b")])
    with open_bundle(good) as before, open_bundle(other) as after:
        difference = diff_bundles(before, after)
        (run,) = difference.changed
        assert [(edit.path, edit.change) for edit in run.files] == [
            (("..",), "removed"),
            (("new\n.txt",), "added"),
            (("output.log",), "changed"),
        ]
        assert not diff_bundles(after, after)
    assert main(["diff", str(good), str(other)]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "[CHANGES] added=0 gone=0 changed=1 unchanged=1",
        "changed path=acme/nano/3fk2a files=3",
        "[FILE_CHANGES] changes=3",
        "run,file,change,old_bytes,new_bytes",
        "acme/nano/3fk2a,..,removed,2,",
        'acme/nano/3fk2a,"new\\n.txt",added,,2',
        "acme/nano/3fk2a,output.log,changed,16,8",
    ]
    assert main(["diff", str(good), str(other), "--json"]) == 0
    reported = json.loads(capsys.readouterr().out)
    assert reported["same_content"] is True
    assert reported["changed"][0]["files"][1] == {
        "name": "new\n.txt",
        "change": "added",
        "old": None,
        "new": {"bytes": 2, "sha256": hashlib.sha256(b"12").hexdigest()},
    }


EARLY, LATE = "2026-11-23T10:00:00Z", "2026-11-23T11:00:00Z"


def merged(paths: Sequence[Path], out: Path) -> Path:
    opened = [open_bundle(path) for path in paths]
    try:
        merge_bundles(opened, out)
    finally:
        for bundle in opened:
            bundle.close()
    return out


def test_a_merge_takes_the_version_that_has_all_files_and_of_grown_logs_the_later(tmp_path: Path) -> None:
    parts = [
        make_bundle(tmp_path / "none.wandb.zip", [bundle_run(heartbeat_at=EARLY)]),
        make_bundle(tmp_path / "early.wandb.zip", [with_files({"output.log": b"1"}, heartbeat_at=EARLY)]),
        make_bundle(
            tmp_path / "late.wandb.zip", [with_files({"output.log": b"12", "a.png": b"x"}, heartbeat_at=LATE)]
        ),
    ]
    out = tmp_path / "out.wandb.zip"
    for order in permutations(parts):
        assert merged(order, out).read_bytes() == parts[2].read_bytes()
    assert merged([parts[1], parts[1]], out).read_bytes() == parts[1].read_bytes()
    assert merged([merged(parts[:2], out), parts[2]], out).read_bytes() == parts[2].read_bytes()


@pytest.mark.parametrize(
    ("left", "right", "reason"),
    [
        (
            with_files({"a": b"1"}, heartbeat_at=LATE),
            with_files({"b": b"1"}, heartbeat_at=EARLY),
            "has file 'a' and",
        ),
        (
            with_files({"a": b"1"}, heartbeat_at=EARLY),
            with_files({"a": b"2"}, heartbeat_at=EARLY),
            "file 'a' differs",
        ),
    ],
)
def test_files_that_no_version_has_all_of_are_a_conflict(
    tmp_path: Path, left: BundleRun, right: BundleRun, reason: str
) -> None:
    paths = [
        make_bundle(tmp_path / f"{name}.wandb.zip", [run])
        for name, run in zip("lr", (left, right), strict=True)
    ]
    sentences = set()
    for order in (paths, paths[::-1]):
        with pytest.raises(MergeConflictError) as caught:
            merged(order, tmp_path / "out.wandb.zip")
        sentences.add(caught.value.message)
    assert len(sentences) == 1
    assert "the bundles disagree about run 'acme/nano/3fk2a'" in min(sentences)
    assert reason in min(sentences) or "has file 'b' and" in min(sentences)


def test_a_subset_keeps_the_files(good: Path, tmp_path: Path) -> None:
    with open_bundle(good) as bundle:
        for metrics in (None, "loss"):
            subset_bundle([bundle["3fk2a"]], tmp_path / "part.wandb.zip", metrics=metrics, force=True)
            assert contents_in(tmp_path / "part.wandb.zip") == CONTENTS


def test_an_export_has_them_where_the_bundle_has_them(good: Path, tmp_path: Path) -> None:
    for force in (False, True):
        with open_bundle(good) as bundle:
            report = export_runs(bundle.runs(), tmp_path / "plain", to="csv", force=force)
        assert report.files == 3 + len(CONTENTS)
        found = {
            path.relative_to(tmp_path / "plain").as_posix(): path.read_bytes()
            for path in (tmp_path / "plain").rglob("*/files/*")
        }
        assert found == {name: data for name, data in members_of(good).items() if "/files/" in name}
    (tmp_path / "plain" / FOLDER / "files" / "deep").mkdir()
    (tmp_path / "plain" / FOLDER / "files" / "deep" / "thesis.txt").write_text("mine")
    with open_bundle(good) as bundle, pytest.raises(Exception, match="exists and is not an export"):
        export_runs(bundle.runs(), tmp_path / "plain", to="csv", force=True)


def test_info_lists_them(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(good)]) == 0
    *_, heading, first, second = capsys.readouterr().out.splitlines()
    size = sum(map(len, CONTENTS.values()))
    assert heading.startswith("[RUNS] runs=2 ")
    assert "last_step=4 complete=yes" in heading
    assert first.endswith(f" files={len(CONTENTS)} file_bytes={size}")
    assert "files=" not in second
    assert main(["info", str(good), "--json"]) == 0
    runs = json.loads(capsys.readouterr().out)["runs"]
    assert [file["name"] for file in runs[0]["files"]] == sorted(CONTENTS, key=str.encode)
    assert runs[1]["files"] == []


# What should not be shared

KEY = "sk-ant-0123456789abcdefghijABCD"
LEAKY: Contents = {
    "output.log": f"start\nusing key {KEY}\nsaved to /home/ada/run1\n".encode(),
    "wandb-metadata.json": json.dumps({"host": "box-17.corp", "gpu": 1, "email": "ada@corp.io"}).encode(),
    "config.yaml": (
        b"lr:\n  value: 0.1\n_wandb:\n  value:\n    host: box-17.corp\n"
        b"secret_token:\n  value: aB3dE5gH7jK9mN1pQ3rS5t\n"
    ),
    "broken.json": b'{"email": "ada@corp.io"',
    "pem.txt": b"-----BEGIN PRIVATE KEY-----\nabc\ndef\n-----END PRIVATE KEY-----\nrest\n",
    "clean.json": b'{ "b": 1,  "a": 2 }',
    "weights.bin": b"\x00\x01" + KEY.encode(),
}


def test_text_files_are_looked_through_and_cleaned(tmp_path: Path) -> None:
    leaky = make_bundle(tmp_path / "leaky.wandb.zip", [with_files(LEAKY)])
    found = {(finding.location, finding.kind) for finding in audit_bundle(leaky).findings}
    assert found == {
        ("files/output.log", "api-key"),
        ("files/output.log", "home-path"),
        ("files/wandb-metadata.json.host", "host-name"),
        ("files/wandb-metadata.json.email", "email"),
        ("files/config.yaml._wandb.value.host", "host-name"),
        ("files/config.yaml.secret_token.value", "secret"),
        ("files/broken.json", "email"),
        ("files/pem.txt", "private-key"),
    }
    clean, again = tmp_path / "clean.wandb.zip", tmp_path / "again.wandb.zip"
    redaction = redact_bundle(leaky, clean)
    assert (sum(redaction.redacted.values()), redaction.left_out) == (8, ())
    reported = contents_in(clean)
    assert reported["output.log"] == (
        b"start\nusing key [redacted: api-key]\nsaved to /home/[redacted: home-path]/run1\n"
    )
    assert json.loads(reported["wandb-metadata.json"])["gpu"] == 1
    assert reported["pem.txt"] == b"[redacted: private-key]\nrest\n"
    for name in ("clean.json", "weights.bin"):
        assert reported[name] == LEAKY[name]
    audit = audit_bundle(clean)
    assert (audit.findings, audit.redacted) == ((), redaction.redacted)
    redact_bundle(clean, again)
    assert again.read_bytes() == clean.read_bytes()
    redact_bundle(leaky, again)
    assert again.read_bytes() == clean.read_bytes()
    assert merged([clean, clean], again).read_bytes() == clean.read_bytes()
    assert not verify_bundle(clean).damages


def test_text_that_is_too_long_is_reported_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(filetexts, "MAX_SCANNED", 100)
    long = make_bundle(
        tmp_path / "long.wandb.zip",
        [with_files({"long.log": b"x" * 101, "a.bin": b"\xff" * 200, "a.log": b"x"})],
    )
    assert main(["audit", str(long)]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "(none)",
        "[UNREAD] files=1",
        "run,file",
        "acme/nano/3fk2a,long.log",
    ]
    out = tmp_path / "out.wandb.zip"
    assert main(["audit", str(long), "--redact", "-o", str(out)]) == 0
    assert (
        "left out 'long.log' of acme/nano/3fk2a: the text is too long to be searched"
        in capsys.readouterr().err
    )
    assert list(contents_in(out)) == ["a.bin", "a.log"]


def test_a_long_log_is_looked_through_in_blocks(tmp_path: Path) -> None:
    line = b"epoch 12 loss=0.25 lr=1e-4\n"
    log = line * 9000 + f"{KEY}\n".encode() + line * 9000
    leaky = make_bundle(tmp_path / "leaky.wandb.zip", [with_files({"output.log": log})])
    redact_bundle(leaky, leaky)
    assert contents_in(leaky) == {"output.log": log.replace(KEY.encode(), b"[redacted: api-key]")}


def test_md5_is_that_of_wandb() -> None:
    record = record_of("a", [b"ab", b"c"])
    assert base64.b64encode(bytes.fromhex(record.md5)) == b"kAFQmDzST7DWlj99KOF/cg=="
    assert (record.bytes, record.hash) == (3, f"sha256:{hashlib.sha256(b'abc').hexdigest()}")


@pytest.mark.parametrize(
    ("reported", "kept"),
    [
        ("text/plain; charset=utf-8", "text/plain; charset=utf-8"),
        ("image/png", "image/png"),
        ("", None),
        ("html", None),
        ("text/html\r\nX: 1", None),
        ("a/" + "b" * 200, None),
    ],
)
def test_a_media_type_is_kept_where_it_is_plainly_one(reported: str, kept: str | None) -> None:
    assert record_of("a", [], mediatype=reported).mediatype == kept
