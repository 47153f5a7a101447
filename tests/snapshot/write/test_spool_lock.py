"""Who holds a spool: two at once, killed and forked processes, and folders that are removed meanwhile."""

import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock, Timeout
from spoolkit import opened

from pull_logs.errors import UsageError
from pull_logs.snapshot.write.folder_lock import FolderLock


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "sweep.wandb.zip"


def test_two_at_once_are_kept_apart(out: Path) -> None:
    with opened(out):
        with pytest.raises(UsageError) as caught:
            opened(out)
        assert caught.value.message == f"{str(out) + '.partial'!r} is in use by process {os.getpid()}"
        assert caught.value.hint == "wait for it to end, or choose another name"
    opened(out).close()


HOLDER = """
import sys, time
from pathlib import Path
from pull_logs.snapshot import Spool
spool = Spool.open(Path(sys.argv[1]), plan={"runs": ["acme/nano/3fk2a"], "system": False})
print("held", flush=True)
sys.stdin.read()
"""


FORK = """
import os
if os.fork() == 0:
    print("forked", flush=True)
sys.stdin.read()
"""


def test_the_lock_of_a_killed_process_is_taken_over(out: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UsageError) as caught:
            opened(out)
        assert caught.value.message == f"{str(out) + '.partial'!r} is in use by process {holder.pid}"
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    opened(out).close()


@pytest.mark.open_files
def test_a_lock_whose_folder_was_removed_does_not_count(out: Path) -> None:
    begun = opened(out)
    shutil.rmtree(begun.folder)
    with opened(out) as again:
        assert (again.folder / "lock").exists()
    begun.close()


@pytest.mark.open_files
def test_a_lock_is_taken_when_its_last_holder_removes_the_folder_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "spool"
    folder.mkdir()
    last = FolderLock(folder)
    acquire = FileLock.acquire

    def acquire_while_it_is_removed(self: FileLock, *args: Any, **options: Any) -> object:
        try:
            return acquire(self, *args, **options)
        except Timeout:
            if folder.exists():
                shutil.rmtree(folder)
                last.release()
            raise

    monkeypatch.setattr(FileLock, "acquire", acquire_while_it_is_removed)
    lock = FolderLock(folder)
    assert (folder / "lock.pid").read_text() == str(os.getpid())
    lock.release()


def test_a_lock_is_released_in_any_thread_and_only_once(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lock.release).result()
    other = FolderLock(tmp_path)
    lock.release()
    with pytest.raises(UsageError):
        FolderLock(tmp_path)
    other.release()


@pytest.mark.parametrize("text", [None, "", "a process\n", "\u00e9"])
def test_a_holder_that_left_no_process_id_is_another_process(tmp_path: Path, text: str | None) -> None:
    lock = FolderLock(tmp_path)
    file = tmp_path / "lock.pid"
    file.unlink()
    if text is not None:
        file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        FolderLock(tmp_path)
    assert caught.value.message == f"{str(tmp_path)!r} is in use by another process"
    lock.release()


def test_a_process_that_was_forked_does_not_keep_the_lock(out: Path) -> None:
    """A worker that outlives the process that downloads must not keep others out."""
    code = HOLDER.replace("sys.stdin.read()", FORK)
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code, str(out)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert holder.stdout.readline() == "forked\n"
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        opened(out).close()
