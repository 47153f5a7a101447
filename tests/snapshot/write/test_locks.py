"""A folder has one holder at a time, with the locks of its file system or without them."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from pull_logs.errors import UsageError
from pull_logs.snapshot.write import FolderLock, Spool

pytestmark = pytest.mark.open_files

REFUSALS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)


@pytest.fixture(params=REFUSALS, ids=errno.errorcode.get)
def without_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose file systems have no locks."""

    def refuse(_: object, operation: int) -> None:
        if operation & fcntl.LOCK_EX:
            raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.mark.usefixtures("without_locks")
def test_without_locks_a_folder_has_one_holder(tmp_path: Path) -> None:
    first = FolderLock(tmp_path)
    with pytest.raises(UsageError) as caught:
        FolderLock(tmp_path)
    marker = str(tmp_path / "lock.owner")
    assert str(caught.value) == (
        f"{str(tmp_path)!r} is in use by process {os.getpid()}, and its file system has no locks;"
        f" wait for it to end; if it has ended, on any machine, delete {marker!r}"
    )
    first.release()
    FolderLock(tmp_path).release()
    assert not Path(marker).exists()


@pytest.mark.usefixtures("without_locks")
def test_without_locks_a_download_is_stored_and_continued(tmp_path: Path) -> None:
    for _ in range(2):
        with Spool.open(tmp_path / "out.zip", plan={}):
            assert (tmp_path / "out.zip.partial" / "lock.owner").exists()


def in_a_child(work: Callable[[], object], *, end: int) -> int:
    """Do something in a forked process, which then dies of a signal; returns its process id."""
    context = multiprocessing.get_context("fork")
    done = context.Event()

    def run() -> None:
        kept = work()
        done.set()
        signal.pause()
        del kept

    child = context.Process(target=run)
    child.start()
    assert child.pid is not None
    assert done.wait(30)
    os.kill(child.pid, end)
    child.join()
    return child.pid


@pytest.mark.usefixtures("without_locks")
def test_without_locks_the_lock_of_a_dead_process_of_this_host_is_taken_over(tmp_path: Path) -> None:
    in_a_child(lambda: FolderLock(tmp_path), end=signal.SIGKILL)
    assert (tmp_path / "lock.owner").exists()
    FolderLock(tmp_path).release()


@pytest.mark.usefixtures("without_locks")
def test_without_locks_the_lock_of_another_host_is_respected(tmp_path: Path) -> None:
    pid = in_a_child(lambda: FolderLock(tmp_path), end=signal.SIGKILL)
    marker = tmp_path / "lock.owner"
    text = marker.read_text()
    assert socket.gethostname() in text
    marker.write_text(text.replace(socket.gethostname(), "node17"))
    with pytest.raises(UsageError, match=f"is in use by process {pid}, and its file system has no locks"):
        FolderLock(tmp_path)


def test_an_error_that_is_not_about_locks_is_not_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object, operation: int) -> None:
        if operation & fcntl.LOCK_EX:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(OSError, match="Input/output error"):
        FolderLock(tmp_path)
