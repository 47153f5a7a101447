"""Copies of this process do their share of a map: with the same answer, and none outlives it."""

from __future__ import annotations

import multiprocessing
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from bundlekit import bundle_run, make_bundle
from checkout import RECORDED
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from questionkit import ASSERTS, comparisons, exported, outcome, views

from pull_logs.analyze import Subject, View, answer, overview
from pull_logs.analyze.answers import compare_runs
from pull_logs.analyze.answers.mapping import run_map
from pull_logs.cli.render import render_text, text
from pull_logs.cli.sections import view_sections
from pull_logs.errors import BundleDamagedError, MachineLimitError
from pull_logs.executors import SERIAL, Engine
from pull_logs.executors.forked_map import can_fork, forked_map
from pull_logs.interface import Sources, comparison_of, open_subjects
from pull_logs.interface.first_look import look_on
from pull_logs.interface.known_findings import KnownFindings
from pull_logs.snapshot import Run, export_runs, verify_bundle
from pull_logs.snapshot.operations import exported_runs
from pull_logs.snapshot.workers import check_on, member_check, run_parts

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are copied on Linux only")

QUICK = settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture
def copying(monkeypatch: pytest.MonkeyPatch) -> Engine:
    """An engine of two processes; the threads of the program that runs tests do not matter to it."""
    monkeypatch.setattr("pull_logs.executors.forked_map.can_fork", lambda: True)
    monkeypatch.setattr(run_parts, "_MOST_RUNS", 3)
    return Engine(workers=2, shares_memory=False, forks=True)


@pytest.fixture(scope="module")
def subjects() -> Iterator[Sequence[Subject]]:
    with open_subjects(Sources(bundles=(RECORDED,)), report=pytest.fail) as found:
        yield found[::2]


def reciprocal(number: int) -> float:
    return 1 / number


def results(found: Iterator[Any]) -> list[Any]:
    """All results, and the error at the end."""
    had: list[Any] = []
    try:
        had.extend(iter(lambda: next(found), None))
    except (StopIteration, ZeroDivisionError) as exc:
        had.append(repr(exc))
    return had


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.integers(-3, 99), max_size=50), st.integers(1, 4))
def test_results_and_the_first_error_are_those_of_one_process(tasks: list[int], processes: int) -> None:
    assert results(forked_map(reciprocal, tasks, processes=processes)) == results(map(reciprocal, tasks))
    assert not multiprocessing.active_children()


def test_this_process_does_its_share() -> None:
    here, (reading, writing) = os.getpid(), os.pipe()

    def work(_: int) -> int:
        if os.getpid() == here:
            os.write(writing, b".")
        else:
            select.select([reading], [], [])  # until the other one has done a task
        return os.getpid()

    assert len({*forked_map(work, range(20), processes=2)}) == 2
    os.close(reading)
    os.close(writing)


def test_few_tasks_are_begun_before_the_first_result_is_used() -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    begun = 0
    for used, _ in enumerate(forked_map(lambda _: os.write(writing, b"."), range(100), processes=2)):
        begun += len(os.read(reading, 100)) if select.select([reading], [], [], 0)[0] else 0
        assert used < begun <= used + 1 + 16
    assert begun == 100
    os.close(reading)
    os.close(writing)


def test_a_copy_that_ends_is_an_error() -> None:
    here = os.getpid()

    def work(_: int) -> None:
        if os.getpid() != here:
            os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(MachineLimitError) as caught:
        list(forked_map(work, range(50), processes=2))
    assert str(caught.value) == (
        "a worker process ended before it had answered; the system ends processes when memory is short; start"
        " fewer with --jobs"
    )
    assert not multiprocessing.active_children()


def test_a_result_that_cannot_be_pickled_is_an_error() -> None:
    here = os.getpid()
    with pytest.raises(TypeError, match="a result cannot be pickled"):
        list(forked_map(lambda _: None if os.getpid() == here else threading.Lock(), range(50), processes=2))


def test_a_map_that_is_left_ends_its_copies_and_threads() -> None:
    threads = threading.active_count()
    found = forked_map(abs, range(100), processes=3)
    assert next(found) == 0
    assert len(multiprocessing.active_children()) == 2
    found.close()  # type: ignore[attr-defined] # it is a generator
    assert not multiprocessing.active_children()
    assert threading.active_count() == threads


def test_where_no_copy_can_be_started_this_process_does_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def fork() -> int:
        raise BlockingIOError

    monkeypatch.setattr(os, "fork", fork)
    assert list(forked_map(abs, range(9), processes=3)) == list(range(9))


PROGRAM = """
import os, signal, threading
from pull_logs.executors import open_engine

def work(_):
    if os.getpid() != here:
        os.write(1, b"%d\\n" % os.getpid())
    threading.Event().wait()

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what runs in the background
here = os.getpid()
with open_engine(None, jobs=2) as engine:
    assert engine.copies
    list(engine.map_open(work, range(9)))
"""


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_copies_end_at_once_when_the_process_that_they_are_of_is_stopped(stop: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        copy = os.pidfd_open(int(parent.stdout.readline()))
        parent.send_signal(stop)
        try:
            assert select.select([copy], [], [], 60)[0] == [copy]
        finally:
            os.close(copy)


def test_a_process_with_threads_is_not_copied() -> None:
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    assert not can_fork()
    assert not Engine(workers=2, shares_memory=False, forks=True).sees_memory
    done.set()
    thread.join()


def test_a_bundle_on_a_server_is_opened_again_by_each_worker(
    copying: Engine, subjects: Sequence[Subject], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_map._can_stay_open(subjects, copying)
    monkeypatch.setattr(run_map, "_bundle_of", lambda _: "s3://lab/sweep.wandb.zip")
    assert not run_map._can_stay_open(subjects, copying)


@QUICK
@given(comparisons())
def test_a_comparison_is_the_same_with_copies(
    copying: Engine, subjects: Sequence[Subject], options: dict[str, Any]
) -> None:
    def ask(engine: Engine) -> Any:
        return compare_runs(subjects, comparison_of(**options), engine=engine)

    assert outcome(partial(ask, copying)) == outcome(partial(ask, SERIAL))


@QUICK
@given(views())
def test_a_view_and_its_text_are_the_same_with_copies(
    copying: Engine, subjects: Sequence[Subject], monkeypatch: pytest.MonkeyPatch, view: View
) -> None:
    monkeypatch.setattr(text, "_MANY_ROWS", 1)

    def ask(engine: Engine) -> Mapping[str, Any]:
        found = answer(subjects, view, engine=engine)
        return {**found, "text": render_text(view_sections(found), engine=engine)}

    assert outcome(partial(ask, copying)) == outcome(partial(ask, SERIAL))


@pytest.mark.parametrize("asserts", ASSERTS[1:3])
def test_an_overview_is_the_same_with_copies(
    copying: Engine, subjects: Sequence[Subject], asserts: tuple[str, ...]
) -> None:
    expected, known = KnownFindings(None), KnownFindings(None)
    found = outcome(partial(overview, subjects, asserts=asserts, known=expected))
    look_on(copying, subjects, known, select=None)
    assert dict(known.new) == dict(expected.new)
    assert outcome(partial(overview, subjects, asserts=asserts, known=known, engine=copying)) == found


def test_an_export_has_the_same_files_with_copies(
    copying: Engine, subjects: Sequence[Subject], tmp_path: Path
) -> None:
    runs = [subject.run for subject in subjects if isinstance(subject.run, Run)]
    with_copies = exported(runs, tmp_path / "a", "parquet", copying)
    assert with_copies == exported(runs, tmp_path / "b", "parquet", SERIAL)


def test_a_disk_that_is_full_for_a_copy_is_the_same_error(
    copying: Engine, subjects: Sequence[Subject], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exported_runs.RunFilesWriter, "_write_run", full)
    runs = [subject.run for subject in subjects if isinstance(subject.run, Run)]
    with pytest.raises(MachineLimitError) as caught:
        export_runs(runs, tmp_path / "a", to="csv", engine=copying)
    assert str(caught.value) == (
        f"the disk is full, {str(tmp_path / 'a')!r} is not finished; free some space and try again; nothing"
        " was changed"
    )
    assert not any(tmp_path.iterdir())


def test_damage_is_found_as_by_one_process(
    copying: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(member_check, "_AT_ONCE", 2)
    path = make_bundle(tmp_path / "b.wandb.zip", [bundle_run(f"acme/nano/r{n}") for n in range(9)])
    data = bytearray(path.read_bytes())
    for run in (b"run=r4/", b"run=r7/"):
        data[data.index(run + b"history.parquet") + 200] ^= 1
    path.write_bytes(data)
    expected = verify_bundle(path)
    assert [damage.run for damage in expected.damages] == ["acme/nano/r4", "acme/nano/r7"]
    assert verify_bundle(path, share=partial(check_on, engine=copying)) == expected
    with open_subjects(Sources(bundles=(str(path),)), report=pytest.fail) as found:
        for engine in (SERIAL, copying):
            with pytest.raises(BundleDamagedError, match="run 'acme/nano/r4'"):
                answer(found, View(stats=True), engine=engine)
