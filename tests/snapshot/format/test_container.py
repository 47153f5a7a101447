from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import pytest
from bundlekit import make_bundle, members_of, unzipped
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.errors import BundleDamagedError, FileMissingError, UnsafeFileError, UsageError
from pull_logs.snapshot.format import zip_layout as ziplayout
from pull_logs.snapshot.format.container import FolderContainer, open_container
from pull_logs.snapshot.format.zip_directory import read_directory
from pull_logs.snapshot.format.zip_layout import ContainerWriter, Entry

FIRST, LAST = ["FORMAT", "runs.parquet"], ["datapackage.json", "datapackage-digest.json"]
RUN = "runs/entity=e/project=p/run=r/history.parquet"

contents = st.lists(st.binary(max_size=300), min_size=5, max_size=5)


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    with path.open("w+b") as file:
        writer = ContainerWriter(file)
        for name, data in members.items():
            writer.add(name, [data[:7], data[7:]], size=len(data))
        assert writer.finish() == file.seek(0, os.SEEK_END)
    return path


@given(contents)
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, data: list[bytes]) -> None:
    members = dict(zip([*FIRST, RUN, *LAST], data, strict=True))
    path = write_zip(tmp_path_factory.mktemp("zip") / "a.zip", members)
    assert members_of(path) == members


@given(contents)
def test_the_bytes_are_those_that_the_standard_library_writes(
    tmp_path_factory: pytest.TempPathFactory, data: list[bytes]
) -> None:
    members = dict(zip([*FIRST, RUN, *LAST], data, strict=True))
    path = write_zip(tmp_path_factory.mktemp("zip") / "a.zip", members)
    standard = io.BytesIO()
    with zipfile.ZipFile(standard, "w") as other:
        for name, content in members.items():
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.create_system, info.external_attr = 3, 0o100644 << 16
            other.writestr(info, content)
    assert path.read_bytes() == standard.getvalue()


def test_seventy_thousand_members_make_a_zip64_that_others_read(tmp_path: Path) -> None:
    runs = [f"runs/entity=e/project=p/run={number:05}/history.parquet" for number in range(70_000)]
    members = dict.fromkeys([*FIRST, *runs, *LAST], b"x")
    path = write_zip(tmp_path / "a.zip", members)
    container = open_container(path)
    assert list(container.sizes) == list(members)
    container.close()
    with zipfile.ZipFile(path) as other:
        assert other.namelist() == list(members)
        assert other.read(runs[-1]) == b"x"


def test_members_beyond_four_gigabytes_are_found_where_they_are(tmp_path: Path) -> None:
    sizes = {"FORMAT": 10, "runs.parquet": 3, RUN: 2**32 + 5, LAST[0]: 7, LAST[1]: 0}
    entries: list[Entry] = []
    path = tmp_path / "sparse.zip"
    with path.open("wb") as file:
        for name, size in sizes.items():
            entries.append(Entry(name, size, 0, entries[-1].end if entries else 0))
            file.seek(entries[-1].header)
            file.write(ziplayout.local_header(entries[-1]))
        start = entries[-1].end
        directory = b"".join(map(ziplayout.central_entry, entries))
        file.seek(start)
        file.write(directory + ziplayout.directory_end(count=5, size=len(directory), start=start))
    with path.open("rb") as source:

        def read_at(offset: int, size: int) -> bytes:
            source.seek(offset)
            return source.read(size)

        found = read_directory(read_at, length=path.stat().st_size, path="sparse.zip")
    assert found == {entry.name: entry for entry in entries}
    with zipfile.ZipFile(path) as other:
        assert [(info.filename, info.file_size, info.header_offset) for info in other.infolist()] == [
            (entry.name, entry.size, entry.header) for entry in entries
        ]
        with other.open(LAST[0]) as member:
            assert member.read(0) == b""


@given(
    st.binary(max_size=50),
    st.lists(st.tuples(st.sampled_from(["read", "set", "end", "step"]), st.integers(0, 60)), max_size=8),
)
def test_a_member_reads_and_seeks_as_a_file_of_its_own(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, moves: list[tuple[str, int]]
) -> None:
    members = dict.fromkeys([*FIRST, RUN, *LAST], b"other") | {RUN: data}
    container = open_container(write_zip(tmp_path_factory.mktemp("zip") / "a.zip", members))
    file, model = container.open(RUN), io.BytesIO(data)
    for move, number in moves:
        if move == "read":
            assert file.read(number) == model.read(number)
        elif move == "set":
            assert file.seek(number) == model.seek(number)
        elif move == "end":
            assert file.seek(number, os.SEEK_END) == model.seek(number, os.SEEK_END)
        else:
            assert file.seek(number, os.SEEK_CUR) == model.seek(number, os.SEEK_CUR)
        assert file.tell() == model.tell()
    buffer = bytearray(9)
    assert file.readinto(buffer) == len(model.read(9))
    assert file.size() == len(data)
    container.close()


def test_seeking_before_the_beginning_is_an_error(tmp_path: Path) -> None:
    container = open_container(make_bundle(tmp_path / "a.wandb.zip"))
    with (
        container.open("FORMAT") as file,
        pytest.raises(ValueError, match=r"^seek to -1, before the beginning$"),
    ):
        file.seek(-1)
    container.close()


def test_an_unzipped_folder_holds_what_the_zip_holds(tmp_path: Path) -> None:
    path = make_bundle(tmp_path / "a.wandb.zip")
    folder = unzipped(path, tmp_path / "a")
    assert members_of(folder) == members_of(path)
    assert isinstance(open_container(folder), FolderContainer)


def test_nothing_at_a_path_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "gone.wandb.zip"
    with pytest.raises(FileMissingError) as caught:
        open_container(path)
    assert str(caught.value) == f"no file or folder at {str(path)!r}"


def test_a_pipe_is_refused_without_waiting_for_its_writer(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(UnsafeFileError) as caught:
        open_container(path)
    assert str(caught.value) == f"{str(path)!r} is not a regular file"


def test_a_member_that_is_not_there_is_named(tmp_path: Path) -> None:
    container = open_container(make_bundle(tmp_path / "a.wandb.zip"))
    with pytest.raises(BundleDamagedError) as caught:
        container.open("runs/x")
    assert str(caught.value) == f"{str(container.path)!r} is damaged: 'runs/x' is missing"
    container.close()


def test_a_file_that_shrinks_while_it_is_open_is_said_to_be_damaged(tmp_path: Path) -> None:
    path = make_bundle(tmp_path / "a.wandb.zip")
    container = open_container(path)
    os.truncate(path, 200)
    with pytest.raises(BundleDamagedError) as caught:
        container.read("runs.parquet", limit=2**20)
    assert str(caught.value) == f"{str(path)!r} is damaged: it was cut short and no longer has byte 200"
    container.close()


def test_a_container_that_was_closed_says_so(tmp_path: Path) -> None:
    container = open_container(make_bundle(tmp_path / "a.wandb.zip"))
    container.close()
    container.close()
    with pytest.raises(UsageError) as caught:
        container.open("FORMAT")
    assert str(caught.value) == f"{str(container.path)!r} is closed"


def test_chunks_of_another_size_than_announced_are_refused(tmp_path: Path) -> None:
    with (tmp_path / "a.zip").open("w+b") as file, pytest.raises(BundleDamagedError) as caught:
        ContainerWriter(file).add("FORMAT", [b"abc"], size=4)
    assert str(caught.value) == "'FORMAT' has 3 bytes and should have 4"
