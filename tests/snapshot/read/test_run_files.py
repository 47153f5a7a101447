"""The files that a run logged: kept byte for byte in every operation, under names that are never paths."""

from __future__ import annotations

import base64
import hashlib
import re
import zipfile
from pathlib import Path, PurePosixPath

import pytest
from bundlekit import bundle_run, make_bundle, unzipped
from checkout import RECORDED
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from runfilekit import CONTENTS, FOLDER, contents_in, with_files

from pull_logs.errors import (
    DataError,
    FileMissingError,
)
from pull_logs.snapshot import (
    open_bundle,
    subset_bundle,
    verify_bundle,
)
from pull_logs.snapshot.format.file_record import files_hash, record_of
from pull_logs.snapshot.format.names import (
    file_members,
    file_name_of,
    folder_of_file,
    is_member_name,
    run_of_member,
)

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
