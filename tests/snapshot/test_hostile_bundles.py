"""Hostile bundles: each is refused with the reason, and nothing is written."""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from bundlekit import Raw, forge, forged_from, make_bundle, members_of, unzipped

from pull_logs.errors import BundleDamagedError, DamageError, FormatTooNewError, UnsafeFileError
from pull_logs.snapshot.format import manifest as manifest_module
from pull_logs.snapshot.format.manifest import render_digest
from pull_logs.snapshot.read.bundle import open_bundle
from pull_logs.snapshot.read.verify import verify_bundle

PLACE = "runs/entity=acme/project=nano/run=3fk2a"
HISTORY, SYSTEM = f"{PLACE}/history.parquet", f"{PLACE}/system.parquet"

Change = Callable[[dict[str, Raw]], None]


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "good.wandb.zip")


def everything_under(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*")}


def refusal(path: Path) -> DamageError:
    """Return the refusal of a bundle; `verify_bundle` reports the same, and neither leaves a file."""
    before = everything_under(path.parent)
    with pytest.raises(DamageError) as caught:
        open_bundle(path)
    if not isinstance(caught.value, FormatTooNewError):
        assert verify_bundle(path).damages
    assert everything_under(path.parent) == before
    return caught.value


def refusal_of(good: Path, change: Change) -> DamageError:
    return refusal(forged_from(good, good.parent / "bad.wandb.zip", change))


def unsafe(good: Path, reason: str) -> str:
    return f"{str(good.parent / 'bad.wandb.zip')!r} is not safe to use: {reason}"


def damaged(good: Path, reason: str) -> str:
    return f"{str(good.parent / 'bad.wandb.zip')!r} is damaged: {reason}"


def test_a_forged_bundle_that_changes_nothing_is_a_bundle(good: Path) -> None:
    path = forged_from(good, good.parent / "same.wandb.zip", lambda members: None)
    assert path.read_bytes() == good.read_bytes()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (b"../../home/evil", "climbs out of the bundle"),
        (b"runs/../../evil", "climbs out of the bundle"),
        (b"/etc/cron.d/evil", "is an absolute path"),
        (b"..\\..\\evil", "holds a backslash"),
        (b"C:/evil", "names a drive"),
        (b"FORMAT\x00.txt", "holds a NUL"),
        (b"runs/entity=e/project=p/run=r/", "is not the name of a file in a bundle"),
        (b"runs/entity=e/project=p/run=r/model.pt", "is not the name of a file in a bundle"),
        (b"runs/entity=e/project=p/run=/history.parquet", "is not the name of a file in a bundle"),
        (
            "runs/entity=\xe9/project=p/run=r/history.parquet".encode(),
            "is not the name of a file in a bundle",
        ),
        (b"", "is not the name of a file in a bundle"),
    ],
)
def test_a_name_that_could_lead_elsewhere_is_refused(good: Path, name: bytes, reason: str) -> None:
    def change(members: dict[str, Raw]) -> None:
        members["evil"] = Raw(name, b"x")

    error = refusal_of(good, change)
    assert isinstance(error, UnsafeFileError)
    shown = name.decode()
    assert error.message == unsafe(good, f"member {shown!r} {reason}")


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        (stat.S_IFLNK | 0o777, "is a symbolic link"),
        (stat.S_IFDIR | 0o755, "is not a regular file"),
        (stat.S_IFIFO | 0o644, "is not a regular file"),
        (stat.S_IFCHR | 0o644, "is not a regular file"),
    ],
)
def test_a_member_that_is_not_a_file_is_refused(good: Path, mode: int, reason: str) -> None:
    def change(members: dict[str, Raw]) -> None:
        members[HISTORY].mode = mode

    error = refusal_of(good, change)
    assert isinstance(error, UnsafeFileError)
    assert error.message == unsafe(good, f"member {HISTORY!r} {reason}")


@pytest.mark.parametrize("method", [8, 12, 14, 93, 99])
def test_a_compressed_member_is_refused(good: Path, method: int) -> None:
    def change(members: dict[str, Raw]) -> None:
        members[HISTORY].method = method

    reason = f"member {HISTORY!r} is compressed by the ZIP, which bundles never are"
    assert refusal_of(good, change).message == unsafe(good, reason)


def test_an_encrypted_member_is_refused(good: Path) -> None:
    def change(members: dict[str, Raw]) -> None:
        members["datapackage.json"].flags = 1

    assert refusal_of(good, change).message == unsafe(good, "member 'datapackage.json' is encrypted")


def test_a_member_that_is_there_twice_is_refused(good: Path) -> None:
    def change(members: dict[str, Raw]) -> None:
        members["again"] = Raw(HISTORY.encode(), b"x")

    assert refusal_of(good, change).message == unsafe(good, f"member {HISTORY!r} is in it twice")


def test_members_that_differ_in_case_alone_are_refused(good: Path) -> None:
    other = HISTORY.replace("3fk2a", "3FK2A")

    def change(members: dict[str, Raw]) -> None:
        members["again"] = Raw(other.encode(), b"x")

    reason = f"member {other!r} and {HISTORY!r} differ only in case"
    assert refusal_of(good, change).message == unsafe(good, reason)


def test_members_that_overlap_are_refused(good: Path) -> None:
    def change(members: dict[str, Raw]) -> None:
        members[SYSTEM].offset = 0

    reason = f"member {SYSTEM!r} overlaps its neighbour"
    assert refusal_of(good, change).message == unsafe(good, reason)


def test_many_members_in_the_same_bytes_are_refused(tmp_path: Path) -> None:
    bomb = [Raw(f"runs/entity=e/project=p/run=r{n}/history.parquet".encode(), offset=0) for n in range(1000)]
    bomb[0].data = b"x" * 10_000
    for member in bomb[1:]:
        member.data, member.size = b"", 0
    assert refusal(forge(tmp_path / "bomb.zip", bomb)).message == (
        f"{str(tmp_path / 'bomb.zip')!r} is not safe to use: "
        "member 'runs/entity=e/project=p/run=r1/history.parquet' overlaps its neighbour"
    )


@pytest.mark.parametrize("size", [10**6, 2**32 - 2])
def test_a_wrong_size_is_refused(good: Path, size: int) -> None:
    def change(members: dict[str, Raw]) -> None:
        members[HISTORY].size = size

    stored = len(members_of(good)[HISTORY])
    reason = f"member {HISTORY!r} is stored in {stored} bytes but claims to hold {size}"
    assert refusal_of(good, change).message == unsafe(good, reason)


def test_a_member_that_claims_to_reach_beyond_the_file_is_refused(good: Path) -> None:
    path = good.parent / "bad.wandb.zip"
    data = bytearray(good.read_bytes())
    entry = data.rfind(b"datapackage-digest.json") - 46
    data[entry + 20 : entry + 28] = struct.pack("<2I", 10**8, 10**8)
    path.write_bytes(data)
    reason = "member 'datapackage-digest.json' overlaps its neighbour"
    assert refusal(path).message == unsafe(good, reason)


def test_a_local_header_that_says_otherwise_is_refused(good: Path) -> None:
    def change(members: dict[str, Raw]) -> None:
        members["runs.parquet"].local_name = b"runs/parquet"

    reason = "the header of 'runs.parquet' and the directory do not agree"
    assert refusal_of(good, change).message == damaged(good, reason)


def test_fields_that_a_bundle_never_has_are_refused(good: Path) -> None:
    def change(members: dict[str, Raw]) -> None:
        members[HISTORY].extra = struct.pack("<2H4s", 0x7075, 4, b"evil")

    reason = f"the directory entry of {HISTORY!r} is not as it was written"
    assert refusal_of(good, change).message == damaged(good, reason)


def test_a_comment_is_refused(good: Path) -> None:
    path = good.parent / "bad.wandb.zip"
    forge(path, [Raw(name.encode(), data) for name, data in members_of(good).items()], comment=b"hi")
    reason = "the file does not end as it was written: it is cut short, or bytes were added"
    assert refusal(path).message == damaged(good, reason)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ((0, 0, 9, 9, 2**31, 0, 0), "it claims 9 members and a directory of 2147483648 bytes"),
        ((0, 0, 9, 9, 100, 0, 0), "its end record does not fit the file"),
        ((0, 0, 1, 1, 0, 0, 0), "its end record does not fit the file"),
        ((1, 1, 0, 0, 0, 4, 0), "its end record is not as it was written"),
        ((0, 0, 65535, 65535, 0, 4, 0), "its end record does not fit the file"),
        ((0, 0, 5, 5, 0, 4, 0), "its directory is not as it was written"),
        ((0, 0, 0, 0, 0, 4, 0), "4 bytes before the directory belong to no member"),
    ],
)
def test_a_wrong_end_record_is_refused(good: Path, fields: tuple[int, ...], reason: str) -> None:
    path = good.parent / "bad.wandb.zip"
    path.write_bytes(b"PK\x03\x04" + struct.pack("<4s4H2IH", b"PK\x05\x06", *fields))
    message = refusal(path).message
    assert message in {unsafe(good, reason), damaged(good, reason)}


def test_a_zip64_end_that_is_not_there_is_refused(good: Path) -> None:
    path = good.parent / "bad.wandb.zip"
    path.write_bytes(b"PK\x03\x04" * 40 + struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 65535, 65535, 0, 4, 0))
    assert refusal(path).message == damaged(good, "its ZIP64 end record is not where it belongs")


def test_a_member_that_the_manifest_does_not_name_is_refused(good: Path) -> None:
    extra = "runs/entity=a/project=b/run=c/history.parquet"
    container = {"FORMAT", "runs.parquet", "metrics.parquet"}

    def change(members: dict[str, Raw]) -> None:
        rest = {name: members.pop(name) for name in list(members) if name not in container}
        members[extra] = Raw(extra.encode(), b"x")
        members |= rest

    assert refusal_of(good, change).message == unsafe(good, f"its manifest does not name {extra!r}")


@pytest.mark.parametrize("name", [HISTORY, SYSTEM])
def test_a_missing_member_is_named(good: Path, name: str) -> None:
    def change(members: dict[str, Raw]) -> None:
        del members[name]

    error = refusal_of(good, change)
    assert error.message == damaged(good, f"{name!r} is missing")
    assert isinstance(error, BundleDamagedError)
    assert error.member == name


@pytest.mark.parametrize("name", ["FORMAT", "runs.parquet", "datapackage.json", "datapackage-digest.json"])
def test_a_bundle_without_one_of_its_fixed_members_is_refused(good: Path, name: str) -> None:
    def change(members: dict[str, Raw]) -> None:
        del members[name]

    assert refusal_of(good, change).message == damaged(good, "its members are incomplete or out of order")


def test_members_out_of_order_are_refused(good: Path) -> None:
    def change(members: dict[str, Raw]) -> None:
        members["FORMAT"] = members.pop("FORMAT")

    assert refusal_of(good, change).message == damaged(good, "its members are incomplete or out of order")


def with_manifest(good: Path, data: bytes) -> DamageError:
    """Return the refusal of a bundle with this manifest and its digest."""

    def change(members: dict[str, Raw]) -> None:
        members["datapackage.json"].data = data
        members["datapackage-digest.json"].data = render_digest(data)

    return refusal_of(good, change)


def test_a_huge_manifest_is_refused_before_it_is_read(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pull_logs.snapshot.read.index.MAX_MANIFEST", 10_000)
    monkeypatch.setattr("pull_logs.snapshot.read.verify.MAX_MANIFEST", 10_000)
    reason = "datapackage.json claims 20000 bytes, and 10000 are the most"
    assert with_manifest(good, b"[" * 20_000).message == unsafe(good, reason)
    assert manifest_module.MAX_MANIFEST == 64 * 2**20


@pytest.mark.parametrize("data", [b"[" * 340, b'{"resources":' * 300, b'{"a":1' + b"0" * 10_000])
def test_deep_and_broken_json_is_refused(good: Path, data: bytes) -> None:
    error = with_manifest(good, data)
    assert error.message.startswith(damaged(good, "datapackage.json is not JSON: "))
    assert len(error.message) < 400


def test_a_manifest_that_names_another_file_is_refused(good: Path) -> None:
    data = members_of(good)["datapackage.json"].replace(HISTORY.encode(), b"../../../etc/passwd.parquet")
    reason = "the path '../../../etc/passwd.parquet' in its manifest climbs out of the bundle"
    assert with_manifest(good, data).message == unsafe(good, reason)


def test_another_hash_algorithm_is_refused_by_name(good: Path) -> None:
    data = members_of(good)["datapackage.json"].replace(b'"hash":"sha256:', b'"hash":"md5:')
    reason = "'runs.parquet' is hashed with 'md5', not sha256"
    assert with_manifest(good, data).message == unsafe(good, reason)


def test_a_manifest_whose_digest_is_by_another_algorithm_is_refused(good: Path) -> None:
    def change(members: dict[str, Raw]) -> None:
        members["datapackage-digest.json"].data = b'{"path":"datapackage.json","hash":"crc32:00"}'

    reason = "its manifest is hashed with 'crc32', not sha256"
    assert refusal_of(good, change).message == unsafe(good, reason)


def test_a_manifest_without_its_digest_is_refused(good: Path) -> None:
    def change(members: dict[str, Raw]) -> None:
        members["datapackage.json"].data += b" "

    reason = "datapackage.json does not have the hash in its digest"
    assert refusal_of(good, change).message == damaged(good, reason)


def test_a_newer_format_names_the_release_to_install_whatever_else_it_changed(good: Path) -> None:
    def change(members: dict[str, Raw]) -> None:
        mark = b'{"format":"wandb-pull-logs/snapshot","reader":"3.0","version":3}'
        members["FORMAT"].data = mark
        members["new"] = Raw(b"media/cat.png", b"x", method=93)

    error = refusal_of(good, change)
    assert isinstance(error, FormatTooNewError)
    path = str(good.parent / "bad.wandb.zip")
    assert error.message == f"{path!r} has format version 3, and this release reads versions up to 2"
    assert error.hint == "install wandb-pull-logs 3.0 or later"


def test_another_run_table_is_refused(good: Path) -> None:
    def change(members: dict[str, Raw]) -> None:
        data = members["runs.parquet"].data
        members["runs.parquet"].data = data[:50] + b"\xff" + data[51:]

    assert refusal_of(good, change).message == damaged(good, "runs.parquet does not have its hash")


def folder_refusal(good: Path, change: Callable[[Path], object]) -> str:
    folder = unzipped(good, good.parent / "bad.wandb.zip")
    change(folder)
    return refusal(folder).message


def test_a_folder_with_a_link_is_refused(good: Path) -> None:
    def link_file(folder: Path) -> None:
        (folder / "FORMAT").unlink()
        (folder / "FORMAT").symlink_to("/etc/passwd")

    reason = "member 'FORMAT' is a symbolic link"
    assert folder_refusal(good, link_file) == unsafe(good, reason)


def test_a_folder_with_a_link_to_a_folder_is_refused(good: Path) -> None:
    def link_folder(folder: Path) -> None:
        (folder / "runs" / "entity=evil").symlink_to("/")

    assert folder_refusal(good, link_folder) == unsafe(good, "member 'runs/entity=evil' is a symbolic link")


def test_a_folder_with_a_pipe_is_refused(good: Path) -> None:
    reason = "member 'pipe' is not a regular file"
    assert folder_refusal(good, lambda folder: os.mkfifo(folder / "pipe")) == unsafe(good, reason)


def test_a_folder_with_another_file_is_refused(good: Path) -> None:
    reason = "member 'notes.txt' is not the name of a file in a bundle"
    assert folder_refusal(good, lambda folder: (folder / "notes.txt").touch()) == unsafe(good, reason)


def test_a_folder_with_a_run_that_is_not_in_the_manifest_is_refused(good: Path) -> None:
    def add(folder: Path) -> None:
        (folder / PLACE / "history.parquet").rename(
            folder / "runs/entity=acme/project=nano/run=b/system.parquet"
        )

    assert folder_refusal(good, add) == damaged(good, f"{HISTORY!r} is missing")


def test_a_folder_too_deep_is_refused(good: Path) -> None:
    def add(folder: Path) -> None:
        (folder / PLACE / "a" / "b" / "c").mkdir(parents=True)

    reason = f"member '{PLACE}/a' is not a regular file"
    assert folder_refusal(good, add) == unsafe(good, reason)


def test_a_folder_whose_names_differ_in_case_alone_is_refused(good: Path) -> None:
    def add(folder: Path) -> None:
        other = folder / PLACE.replace("3fk2a", "3FK2A")
        other.mkdir()
        (other / "history.parquet").touch()

    assert folder_refusal(good, add) == unsafe(good, "two names differ only in case")


@pytest.mark.parametrize(
    "name", ["FORMAT", "runs.parquet", "datapackage.json", "datapackage-digest.json", HISTORY]
)
def test_a_folder_with_a_file_missing_names_it(good: Path, name: str) -> None:
    message = folder_refusal(good, lambda folder: (folder / name).unlink())
    assert message == damaged(good, f"{name!r} is missing")


def test_any_other_folder_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    path = str(tmp_path / "empty")
    (tmp_path / "empty" / "notes.txt").touch()
    assert str(refusal(tmp_path / "empty")) == (
        f"the folder {path!r} is not a bundle: it has no datapackage.json; name a bundle in it, or the folder"
        " that one was unzipped to"
    )
