"""Temporary folders: nobody removes that of a living process, and everybody that of a dead one."""

from __future__ import annotations

import errno
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pull_logs.errors import FileMissingError, MachineLimitError
from pull_logs.snapshot.write import FolderLock, temporary_folder


@pytest.mark.open_files
def test_folders_that_threads_make_at_once_keep_their_files_until_they_end(tmp_path: Path) -> None:
    def make_folders(_: int) -> int:
        kept = 0
        for number in range(25):
            with temporary_folder(tmp_path) as folder:
                (folder / "rows").write_text(str(number), encoding="ascii")
                kept += (folder / "rows").read_text(encoding="ascii") == str(number)
        return kept

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(16) as pool:
            assert list(pool.map(make_folders, range(16))) == [25] * 16
    finally:
        sys.setswitchinterval(before)
    assert list(tmp_path.iterdir()) == []


def left_behind(parent: Path, name: str, *, age: float, locked: bool) -> Path:
    folder = parent / f".pull-logs-{name}.tmp"
    folder.mkdir(mode=0o700)
    (folder / "rows").write_text("rows", encoding="ascii")
    if locked:
        (folder / "lock").touch()
    then = time.time() - age
    os.utime(folder, (then, then))
    return folder


@pytest.mark.parametrize(
    ("age", "locked", "stays"),
    [(0.0, True, False), (-60.0, False, True), (3600.0, False, False), (3600.0, True, False)],
    ids=["killed just now", "about to be locked", "killed before it was locked", "killed long ago"],
)
def test_what_has_no_owner_is_removed_by_the_next_one(
    tmp_path: Path, *, age: float, locked: bool, stays: bool
) -> None:
    left = left_behind(tmp_path, "0123456789abcdef", age=age, locked=locked)
    with temporary_folder(tmp_path):
        assert left.exists() is stays


@pytest.mark.open_files
def test_a_lock_that_another_takes_while_a_folder_is_removed_is_not_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = left_behind(tmp_path, "0123456789abcdef", age=0.0, locked=True)
    taken: list[FolderLock] = []
    remove = os.rmdir

    def take_it_first(path: str, **options: int) -> None:
        if not taken and "pull-logs" in str(path):
            taken.append(FolderLock(left))
        remove(path, **options)

    monkeypatch.setattr(os, "rmdir", take_it_first)
    with temporary_folder(tmp_path):
        assert (left / "lock").exists()
    taken[0].release()


def test_a_folder_that_cannot_be_created_is_reported_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FileMissingError) as missing, temporary_folder(tmp_path / "none"):
        pass
    shown = str(tmp_path / "none" / ".pull-logs-*.tmp")
    assert str(missing.value) == f"{shown!r} cannot be written: its folder does not exist"

    def full(self: Path, *_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(MachineLimitError) as caught, temporary_folder(tmp_path):
        pass
    shown = str(tmp_path / ".pull-logs-*.tmp")
    assert str(caught.value) == (
        f"the disk is full, {shown!r} is not finished; free some space for temporary files"
    )
