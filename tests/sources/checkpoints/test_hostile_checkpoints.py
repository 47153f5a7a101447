"""Checkpoints that are cut short, changed, or made to run or unpack something."""

from __future__ import annotations

import os
import struct
import time
import zipfile
from pathlib import Path

import pytest
from checkpointkit import FULL, MODEL, Shell, save

from pull_logs.errors import DamageError, UnsafeFileError
from pull_logs.sources import CheckpointRun, read_checkpoint


@pytest.fixture(params=["zip", "legacy"])
def layout(request: pytest.FixtureRequest) -> str:
    """The two formats that `torch.save` has had."""
    return str(request.param)


def test_every_cut_of_a_checkpoint_is_refused_with_our_errors(tmp_path: Path, layout: str) -> None:
    file = save(tmp_path / "m.pt", {"wandb_run_path": "team/proj/id1", "x": {"y": [1, 2]}}, layout=layout)
    whole = file.read_bytes()
    for cut in range(0, len(whole), max(len(whole) // 60, 1)):
        file.write_bytes(whole[:cut])
        try:
            found = read_checkpoint(file)
        except DamageError:
            continue
        # The tensors of the old format are stored after the part that is read.
        assert layout == "legacy"
        assert found.reference == FULL


def test_a_flipped_byte_in_the_archive_is_noticed(tmp_path: Path) -> None:
    file = save(tmp_path / "m.pt", {"wandb_run_path": "team/proj/id1"})
    data = file.read_bytes()
    file.write_bytes(data.replace(b"team/proj/id1", b"team/proj/id2"))
    with pytest.raises(DamageError) as caught:
        read_checkpoint(file)
    assert caught.value.message.startswith(f"checkpoint {str(file)!r} is a damaged archive: Bad CRC-32")


def test_an_archive_whose_directory_leads_before_its_start_is_damaged(tmp_path: Path) -> None:
    file = tmp_path / "m.pt"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("m/data.pkl", b"N.")
    data = bytearray(file.read_bytes())
    offset = data.rindex(b"PK\x05\x06") + 16
    # What the directory's offset is too large by is taken for bytes that are missing at the start.
    struct.pack_into("<I", data, offset, struct.unpack_from("<I", data, offset)[0] + 1_000)
    file.write_bytes(data)
    with pytest.raises(DamageError) as caught:
        read_checkpoint(file)
    assert str(caught.value) == f"checkpoint {str(file)!r} is a damaged archive: a member begins before it"


def test_an_archive_with_a_name_that_is_not_what_it_is_marked_as_is_damaged(tmp_path: Path) -> None:
    file = tmp_path / "m.pt"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("m/data.pkl", b"N.")
        archive.writestr("m/\N{LATIN SMALL LETTER E WITH ACUTE}", b"")
    file.write_bytes(file.read_bytes().replace("\N{LATIN SMALL LETTER E WITH ACUTE}".encode(), b"\xff\xfe"))
    with pytest.raises(DamageError) as caught:
        read_checkpoint(file)
    assert str(caught.value) == (
        f"checkpoint {str(file)!r} is a damaged archive: "
        "'utf-8' codec can't decode byte 0xff in position 2: invalid start byte"
    )


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_archive_of_another_compression_is_refused(tmp_path: Path, compression: int) -> None:
    file = tmp_path / "m.pt"
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("m/data.pkl", b"N." + bytes(64))
    with pytest.raises(DamageError) as caught:
        read_checkpoint(file)
    assert str(caught.value) == (
        f"checkpoint {str(file)!r} is an archive whose data.pkl has an unknown compression"
    )


def test_a_checkpoint_that_would_run_something_is_refused_and_hides_no_sidecar(
    tmp_path: Path,
    layout: str,
) -> None:
    file = save(tmp_path / "m.pt", {"wandb_run_path": "team/proj/bad", "x": Shell()}, layout=layout)
    what = f"checkpoint {str(file)!r} would run posix.system when loaded; nothing was run"
    with pytest.raises(UnsafeFileError) as caught:
        read_checkpoint(file)
    assert str(caught.value) == f"{what}; do not load it with torch.load; name the run with -r"
    (tmp_path / "wandb_run_path").write_text("team/proj/id1")
    assert read_checkpoint(file) == CheckpointRun(
        file=file, reference=FULL, key="wandb_run_path:", warnings=(what,)
    )


def test_an_archive_that_unpacks_without_end_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pull_logs.sources.checkpoints.contents.MAX_INFLATED", 1000)
    file = tmp_path / "m.pt"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/data.pkl", b"\x80\x02" + bytes(100_000))
    with pytest.raises(UnsafeFileError) as caught:
        read_checkpoint(file)
    assert caught.value.message == f"checkpoint {str(file)!r} holds a data.pkl that unpacks to 100002 bytes"


def test_tensors_are_never_read(tmp_path: Path, layout: str) -> None:
    file = save(tmp_path / "m.pt", {"wandb_run_path": "team/proj/id1", **MODEL}, layout=layout)
    huge = 10 * 2**30
    if layout == "legacy":
        os.truncate(file, huge)
    else:
        _sparse_archive(file, huge)
    assert file.stat().st_size >= huge
    started = time.process_time()
    assert read_checkpoint(file).reference == FULL
    assert time.process_time() - started < 1


def _sparse_archive(file: Path, size: int) -> None:
    """Move the end of an archive, its directory, after a hole, which is never read."""
    data = bytearray(file.read_bytes())
    end = data.rindex(b"PK\x05\x06")
    directory, length = (
        struct.unpack_from("<I", data, end + 16)[0],
        struct.unpack_from("<I", data, end + 12)[0],
    )
    count = struct.unpack_from("<H", data, end + 10)[0]
    with file.open("r+b") as sink:
        sink.truncate(directory)
        sink.seek(size)
        sink.write(data[directory : directory + length])
        sink.write(struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, count, count, length, size))
        sink.write(struct.pack("<IIQI", 0x07064B50, 0, size + length, 1))
        sink.write(struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0))
