"""Exported files that other processes encode: the bundle is the same to the byte, even if they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import numpy as np
import pytest
from anyio.abc import TaskGroup
from hypothesis import HealthCheck, given, settings
from pulling import pull_from
from scripted_wandb import FakeRun, Row, ScriptedWandb, rows_of, shard_bytes
from test_ways_in import exports

from pull_logs.fetch.decoding import encoded_file, encoders, metric_filter
from pull_logs.fetch.decoding.encoded_file import encode_file, from_bytes, to_bytes
from pull_logs.fetch.decoding.encoder_process import EncoderProcess
from pull_logs.fetch.discovery import EarlyFiles, FoundRun
from pull_logs.fetch.history.pieces import Pieces

PLAIN = shard_bytes(rows_of(range(40)))
REPEATED = [*rows_of(range(5)), *rows_of(range(3, 9), metrics=2)]


class AtOnce:
    """A thread that does its work when it is started."""

    def __init__(self, *, target: Callable[[], object], **_: Any) -> None:
        self.start = target


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Other processes are ready before the first file arrives; returns the files that they encoded."""
    kept: list[str] = []
    add = Pieces.add_encoded

    def noted(self: Pieces, file: Any, data: bytes, *, shard: str) -> None:
        kept.append(shard)
        add(self, file, data, shard=shard)

    monkeypatch.setattr(encoders, "MANY_FILES", 1)
    monkeypatch.setattr(encoders, "Thread", AtOnce)
    monkeypatch.setattr(Pieces, "add_encoded", noted)
    return kept


@pytest.fixture
def process() -> Iterator[EncoderProcess]:
    started = EncoderProcess(None)
    started.wait_until_ready()
    assert started.usable
    yield started
    started.close()


def server() -> ScriptedWandb:
    """Runs of one exported file each, runs of several, live ones, and one with rows that the file lacks."""
    behind = FakeRun.exported("behind", rows_of(range(30)))
    behind.live, behind.live_data, behind.lines, behind.last_step = rows_of(range(25, 40)), None, 40, 39
    return ScriptedWandb(
        *(FakeRun.exported(f"one-{number}", rows_of(range(number + 20))) for number in range(6)),
        FakeRun.exported("repeated", REPEATED),
        FakeRun.exported("nan", [{"_step": 0, "loss": float("nan")}, {"_step": 1, "loss": float("inf")}]),
        FakeRun.exported("several", rows_of(range(90)), shards=3),
        FakeRun.exported("empty", []),
        FakeRun.logging("live", rows_of(range(30))),
        behind,
    )


async def pulled(out: Path, **options: Any) -> bytes:
    report = await pull_from(server(), out, **options)
    assert report.incomplete == ()
    return await anyio.Path(out).read_bytes()


@pytest.mark.anyio
@pytest.mark.parametrize("metrics", [None, "m0"])
async def test_the_bundle_is_the_same_to_the_byte(
    tmp_path: Path, encoded: list[str], metrics: str | None
) -> None:
    alone = await pulled(tmp_path / "alone.wandb.zip", metrics=metrics)
    assert encoded == []
    assert await pulled(tmp_path / "shared.wandb.zip", processes=2, metrics=metrics) == alone
    assert len(encoded) == 9  # all that are the only file of their run and have rows


@pytest.mark.anyio
async def test_processes_that_are_killed_change_nothing(
    tmp_path: Path, encoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = await pulled(tmp_path / "alone.wandb.zip")
    started: list[EncoderProcess] = []

    class Short(EncoderProcess):
        """Is killed while its third file is encoded."""

        def encode(self, data: bytes) -> Any:
            started.append(self)
            if len(started) == 3:
                os.kill(self.pid, signal.SIGKILL)
            return super().encode(data)

    monkeypatch.setattr(encoders, "EncoderProcess", Short)
    assert await pulled(tmp_path / "shared.wandb.zip", processes=2) == alone
    assert len(encoded) < 9


@pytest.mark.anyio
async def test_a_process_that_cannot_be_started_changes_nothing(
    tmp_path: Path, encoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = await pulled(tmp_path / "alone.wandb.zip")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "missing"))
    assert await pulled(tmp_path / "shared.wandb.zip", processes=2) == alone
    assert encoded == []


@pytest.mark.anyio
async def test_a_process_that_is_stopped_changes_nothing(
    tmp_path: Path, encoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = await pulled(tmp_path / "alone.wandb.zip")
    files: list[EncoderProcess] = []

    class Stopped(EncoderProcess):
        """Is stopped while its third file is encoded."""

        def encode(self, data: bytes) -> Any:
            files.append(self)
            if len(files) == 3:
                os.kill(self.pid, signal.SIGSTOP)
            return super().encode(data)

    monkeypatch.setattr(encoders, "EncoderProcess", Stopped)
    monkeypatch.setattr(encoders, "ANSWER_SECONDS", 0.2)
    assert await pulled(tmp_path / "shared.wandb.zip", processes=2) == alone
    assert len(encoded) < 9
    assert not _is_running(files[0].pid)


@pytest.mark.anyio
async def test_a_pull_does_not_wait_for_a_process_that_is_stopped_when_it_is_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(encoders, "MANY_FILES", 1)
    monkeypatch.setattr(encoders, "Thread", AtOnce)
    with encoders.Encoders(processes=2, metrics=None) as some:
        some.expect(1)
        assert await some.encode(PLAIN) is not None
        (process,) = some.started
        os.kill(process.pid, signal.SIGSTOP)
        with anyio.fail_after(encoders.ANSWER_SECONDS / 2):
            async with anyio.create_task_group() as group:
                group.start_soon(some.encode, PLAIN)
                while not process.waiting:
                    await anyio.lowlevel.checkpoint()
                group.cancel_scope.cancel()


@pytest.mark.anyio
async def test_the_processes_are_started_when_the_runs_are_listed(
    tmp_path: Path, encoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoders, "MANY_FILES", 9)
    await pulled(tmp_path / "shared.wandb.zip", processes=2)
    assert len(encoded) == 9  # had the files been counted as they arrived, only the last one


@pytest.mark.anyio
async def test_the_processes_are_started_with_the_first_of_many_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    begin = EarlyFiles.begin

    def noted(self: EarlyFiles, run: FoundRun, group: TaskGroup) -> None:
        events.append(run.path.run_id)
        begin(self, run, group)

    monkeypatch.setattr(encoders, "MANY_FILES", 9)
    monkeypatch.setattr(encoders, "Thread", AtOnce)
    monkeypatch.setattr(encoders.Encoders, "_start", lambda _: events.append("started"))
    monkeypatch.setattr(EarlyFiles, "begin", noted)
    await pulled(tmp_path / "shared.wandb.zip", processes=2)
    assert events[:3] == ["started", "one-0", "one-1"]


@pytest.mark.anyio
@pytest.mark.parametrize("interpreter", [None, ""])
async def test_without_an_interpreter_there_is_no_other_process(
    tmp_path: Path, encoded: list[str], monkeypatch: pytest.MonkeyPatch, interpreter: str | None
) -> None:
    alone = await pulled(tmp_path / "alone.wandb.zip")
    monkeypatch.setattr(sys, "executable", interpreter)
    assert await pulled(tmp_path / "shared.wandb.zip", processes=2) == alone
    assert encoded == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(exports())
def test_a_file_comes_back_from_bytes_as_it_was(rows: list[Row]) -> None:
    for keep in (None, metric_filter(None), lambda key: key < "m"):
        found = encode_file(shard_bytes(rows), keep=keep)
        assert (found is None) == (not rows)
        if found is not None:
            again = from_bytes(to_bytes(found))
            assert (again.history, again.rows) == (found.history, len(rows))
            assert np.array_equal(again.lines.steps, found.lines.steps)
            assert np.array_equal(again.lines.stamps, found.lines.stamps)


def test_threads_get_the_answers_to_their_own_files(process: EncoderProcess) -> None:
    files = [shard_bytes(rows_of(range(count))) for count in range(1, 40)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(process.encode, files))
    assert [one.rows if one else None for one in found] == list(range(1, 40))
    assert process.waiting == 0


def test_a_file_that_cannot_be_read_is_left_to_this_process_and_the_next_one_is_encoded(
    process: EncoderProcess,
) -> None:
    assert process.encode(b"PAR1 nothing PAR1") is None
    assert process.encode(PLAIN[: len(PLAIN) // 2]) is None
    assert process.encode(b"") is None
    found = process.encode(PLAIN)
    assert found is not None
    assert found.rows == 40


def test_a_file_of_many_values_in_few_bytes_is_left_to_this_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert encode_file(PLAIN, keep=None) is not None
    monkeypatch.setattr(encoded_file, "MOST_DECODED", 40 * 3 * 8 - 1)
    assert encode_file(PLAIN, keep=None) is None


def test_a_process_that_has_ended_answers_nothing(process: EncoderProcess) -> None:
    os.kill(process.pid, signal.SIGKILL)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(process.encode, [PLAIN] * 8)) == [None] * 8
    assert not process.usable


def test_it_ends_when_its_parent_is_killed() -> None:
    script = (
        "from pull_logs.fetch.decoding.encoder_process import EncoderProcess\n"
        "process = EncoderProcess(None); process.wait_until_ready(); print(process.pid, flush=True)\n"
        "import time; time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    ended = threading.Event()
    for _ in range(200):
        if not _is_running(child):
            break
        ended.wait(0.05)
    assert not _is_running(child)


def _is_running(pid: int) -> bool:
    """Whether a process runs; one that nobody waits for does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in {"Z", "X"}
