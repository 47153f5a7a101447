"""Bundles whose files are not where, what or as large as their manifest says."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bundlekit import Raw, bundle_run, forged_from, make_bundle, unzipped
from runfilekit import CONTENTS, FOLDER, with_files

from pull_logs.errors import (
    BundleDamagedError,
    DamageError,
    UnsafeFileError,
)
from pull_logs.snapshot import (
    open_bundle,
    verify_bundle,
)
from pull_logs.snapshot.format.manifest import render_digest


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "good.wandb.zip", [with_files(), bundle_run("acme/nano/b")])


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
