from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path

import pytest
from bundlekit import ROWS, bundle_run, forged_from, make_bundle, members_of, unzipped
from bundlekit import Raw as RawMember

from pull_logs.errors import FileMissingError, FormatTooNewError
from pull_logs.snapshot.format.container import ZipContainer
from pull_logs.snapshot.format.manifest import render_digest, render_format
from pull_logs.snapshot.format.parquet_read import read_footer
from pull_logs.snapshot.read.verify import CONTAINER, Damage, verify_bundle

RUN = "acme/nano/3fk2a"
HISTORY = "runs/entity=acme/project=nano/run=3fk2a/history.parquet"
SMALL = {"FORMAT", "datapackage.json", "datapackage-digest.json", CONTAINER}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "a.wandb.zip")


def flipped(data: bytes, offset: int, bits: int = 0x10) -> bytes:
    return data[:offset] + bytes([data[offset] ^ bits]) + data[offset + 1 :]


def offsets(path: Path) -> dict[int, str]:
    """Return the member of each byte of a bundle; bytes of ZIP headers belong to the container."""
    container = ZipContainer(path)
    owners = dict.fromkeys(range(container.length), CONTAINER)
    for name, entry in container.entries.items():
        owners |= dict.fromkeys(range(entry.start, entry.end), name)
    container.close()
    return owners


@pytest.mark.parametrize("deep", [True, False])
def test_a_bundle_as_it_was_written_has_no_damage(path: Path, tmp_path: Path, deep: bool) -> None:  # noqa: FBT001
    for offset in (path, unzipped(path, tmp_path / "a")):
        report = verify_bundle(offset, deep=deep)
        assert (report.path, report.members, report.damages) == (offset, 8, ())
        assert report.bytes == sum(map(len, members_of(path).values()))


def test_every_flipped_byte_is_found_and_its_file_named(path: Path, tmp_path: Path) -> None:
    intact, owners = path.read_bytes(), offsets(path)
    chance = random.Random(5)
    small = [offset for offset, owner in owners.items() if owner in SMALL]
    parquet = [offset for offset, owner in owners.items() if owner not in SMALL]
    broken = tmp_path / "broken.wandb.zip"
    for offset in [*small, *chance.sample(parquet, 250)]:
        broken.write_bytes(flipped(intact, offset, chance.randrange(1, 256)))
        damages = verify_bundle(broken, deep=False).damages
        assert damages, f"byte {offset} of {owners[offset]}"
        named = {damage.member for damage in damages}
        if owners[offset] == CONTAINER:
            assert (
                len(named) == 1
            )  # bytes of ZIP headers belong to the container, or to the member after them
        else:
            assert named == {owners[offset]}, f"byte {offset}"


def test_a_flipped_name_in_the_directory_accuses_no_run_that_is_not_there(path: Path) -> None:
    intact = path.read_bytes()
    offset = intact.rindex(b"run=3fk2a/system") + len("run=3fk")
    path.write_bytes(flipped(intact, offset, ord("2") ^ ord("6")))
    (damage,) = verify_bundle(path).damages
    name = "runs/entity=acme/project=nano/run=3fk6a/system.parquet"
    assert damage == Damage(
        member=CONTAINER,
        reason=f"{str(path)!r} is damaged: the header of {name!r} and the directory do not agree",
    )


def test_a_bundle_cut_anywhere_is_found(path: Path, tmp_path: Path) -> None:
    intact = path.read_bytes()
    broken = tmp_path / "broken.wandb.zip"
    for size in [0, 1, 3, 4, 21, 22, *random.Random(6).sample(range(len(intact)), 150), len(intact) - 1]:
        broken.write_bytes(intact[:size])
        (damage,) = verify_bundle(broken).damages
        assert damage.member == CONTAINER


def test_bytes_added_to_a_bundle_are_found(path: Path) -> None:
    intact = path.read_bytes()
    for more in (
        intact + b"\0",
        b"\0" + intact,
        b"PK" + intact,
        intact[:500] + b"\0" + intact[500:],
        intact * 2,
    ):
        path.write_bytes(more)
        assert verify_bundle(path).damages


def test_every_flipped_byte_of_a_folder_is_found_and_its_file_named(path: Path, tmp_path: Path) -> None:
    folder, chance = unzipped(path, tmp_path / "a"), random.Random(7)
    for name, data in members_of(path).items():
        for offset in chance.sample(range(len(data)), min(len(data), 60)):
            (folder / name).write_bytes(flipped(data, offset))
            named = {damage.member for damage in verify_bundle(folder, deep=False).damages}
            # Without the ZIP's checksums either the manifest or its digest may be damaged.
            assert name in named
            assert named <= (
                {name} if name not in SMALL else {name, "datapackage.json", "datapackage-digest.json"}
            )
        (folder / name).write_bytes(data)
    assert verify_bundle(folder).damages == ()


def test_a_damaged_column_is_reported_with_its_run_and_bytes(tmp_path: Path) -> None:
    rows = [{"_step": step, "train/loss": step / 7, "acc": step / 3} for step in range(3000)]
    path = make_bundle(tmp_path / "a.wandb.zip", [bundle_run(rows=rows), bundle_run("acme/nano/b")])
    data = members_of(path)[HISTORY]
    chunk = next(chunk for chunk in read_footer(data).chunks if chunk.column == "train/loss")
    container = ZipContainer(path)
    start = container.entries[HISTORY].start
    container.close()
    path.write_bytes(flipped(path.read_bytes(), start + (chunk.start + chunk.end) // 2))
    assert verify_bundle(path).damages == (
        Damage(
            member=HISTORY,
            reason=f"column 'train/loss' in history.parquet of run {RUN!r} is damaged"
            f" between bytes {chunk.start} and {chunk.end}",
            run=RUN,
            column="train/loss",
            byte_range=(chunk.start, chunk.end),
        ),
    )


def test_a_damaged_footer_is_reported_with_its_bytes(path: Path, tmp_path: Path) -> None:
    folder = unzipped(path, tmp_path / "a")
    data = members_of(path)[HISTORY]
    size = 8 + int.from_bytes(data[-8:-4], "little")
    (folder / HISTORY).write_bytes(flipped(data, len(data) - 20))
    assert verify_bundle(folder).damages == (
        Damage(
            member=HISTORY,
            reason=f"the footer of history.parquet of run {RUN!r} is damaged",
            run=RUN,
            byte_range=(len(data) - size, len(data)),
        ),
    )


def test_several_damages_are_all_reported(path: Path, tmp_path: Path) -> None:
    folder = unzipped(path, tmp_path / "a")
    for name, data in members_of(path).items():
        if name.endswith(".parquet"):
            (folder / name).write_bytes(flipped(data, len(data) // 2))
    named = {damage.member for damage in verify_bundle(folder).damages}
    assert named == {name for name in members_of(path) if name.endswith(".parquet")}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "{path!r} is damaged: the file is empty"),
        (b"hello, world" * 9, "{path!r} is not a bundle: it does not begin as a ZIP file does"),
        (b"P", "{path!r} is not a bundle: it does not begin as a ZIP file does"),
        (
            b"PK\x03\x04",
            (
                "{path!r} is damaged: the file does not end as it was written: "
                "it is cut short, or bytes were added"
            ),
        ),
    ],
)
def test_a_file_that_is_not_a_bundle_is_reported(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "a.wandb.zip"
    path.write_bytes(data)
    report = verify_bundle(path)
    assert report.damages == (Damage(member=CONTAINER, reason=reason.format(path=str(path))),)
    assert (report.members, report.bytes) == (0, 0)


def test_nothing_at_a_path_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileMissingError):
        verify_bundle(tmp_path / "gone")


def test_a_newer_format_is_an_error_and_no_damage(path: Path, tmp_path: Path) -> None:
    newer = render_format(1).replace(b'"version":1', b'"version":9').replace(b"0.1.0", b"4.2.0")

    def change(members: dict[str, RawMember]) -> None:
        members["FORMAT"].data = newer

    forged = forged_from(path, tmp_path / "new.wandb.zip", change)
    folder = unzipped(path, tmp_path / "a")
    (folder / "FORMAT").write_bytes(newer)
    for offset in (forged, folder):
        with pytest.raises(FormatTooNewError) as caught:
            verify_bundle(offset)
        assert caught.value.hint == "install wandb-pull-logs 4.2.0 or later"


def lie(path: Path, out: Path, before: bytes, after: bytes) -> Path:
    """Write a bundle whose manifest and digest were both changed."""

    def change(members: dict[str, RawMember]) -> None:
        manifest = members["datapackage.json"]
        assert before in manifest.data
        manifest.data = manifest.data.replace(before, after)
        members["datapackage-digest.json"].data = render_digest(manifest.data)

    return forged_from(path, out, change)


def test_a_manifest_with_a_wrong_rows_hash_is_found_by_the_deep_check(path: Path, tmp_path: Path) -> None:
    package = json.loads(members_of(path)["datapackage.json"])
    entry = next(item for item in package["resources"] if item["path"] == HISTORY)
    other = "sha256:" + hashlib.sha256(b"other").hexdigest()
    forged = lie(path, tmp_path / "b.zip", entry["rowsHash"].encode(), other.encode())
    assert verify_bundle(forged, deep=False).damages == ()
    assert verify_bundle(forged).damages == (
        Damage(member=HISTORY, reason=f"the rows of {HISTORY!r} are not those of its rows hash", run=RUN),
    )
    forged = lie(path, tmp_path / "c.zip", package["contentId"].encode(), other.encode())
    assert verify_bundle(forged, deep=False).damages == ()
    assert verify_bundle(forged).damages == (
        Damage(member="runs.parquet", reason="the content is not that of the content id"),
    )


def test_a_manifest_with_a_wrong_count_is_found(path: Path, tmp_path: Path) -> None:
    count = f'"rows":{len(ROWS)},"rowsHash"'.encode()
    forged = lie(path, tmp_path / "b.zip", count, b'"rows":9,"rowsHash"')
    reason = f"{str(forged)!r} is damaged: runs.parquet and the manifest disagree about run {RUN!r}"
    assert [damage.reason for damage in verify_bundle(forged, deep=False).damages] == [reason]


def test_a_manifest_beside_another_s_digest_accuses_both(path: Path, tmp_path: Path) -> None:
    folder = unzipped(path, tmp_path / "a")
    (folder / "datapackage-digest.json").write_bytes(render_digest(b"other"))
    assert verify_bundle(folder).damages == tuple(
        Damage(member=name, reason="datapackage.json and datapackage-digest.json do not belong together")
        for name in ("datapackage.json", "datapackage-digest.json")
    )
