"""Any executor gives the same answer; one that fails is an error that says what to do."""

from __future__ import annotations

import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from bundlekit import bundle_run, make_bundle
from checkout import RECORDED
from distributed import KilledWorker
from hypothesis import HealthCheck, given, settings
from questionkit import ASSERTS, comparisons, exported, outcome, views

from pull_logs import errors
from pull_logs._version import __version__
from pull_logs.analyze import Subject, View, answer, overview
from pull_logs.analyze.answers import compare_runs
from pull_logs.errors import (
    BundleDamagedError,
    FileMissingError,
    MachineLimitError,
    NetworkError,
    PullLogsError,
    UsageError,
)
from pull_logs.executors import SERIAL, Engine, choice, dask_cluster, engine_of, open_engine
from pull_logs.executors.engine import Call, run_call
from pull_logs.executors.process_pool import process_pool
from pull_logs.interface import Sources, comparison_of, open_subjects
from pull_logs.interface.first_look import look_on
from pull_logs.interface.known_findings import KnownFindings
from pull_logs.snapshot import Run, verify_bundle
from pull_logs.snapshot.operations.exported_runs import Format, RunFilesWriter
from pull_logs.snapshot.operations.plain_columns import PlainPlan
from pull_logs.snapshot.workers import (
    BundleLocation,
    check_on,
    close_checked,
    close_located,
    located,
    member_check,
    run_parts,
)
from pull_logs.snapshot.workers.location import KeptOpen


@pytest.fixture(scope="module")
def engines() -> Iterator[Mapping[str, Engine]]:
    """Every kind of executor, two workers each."""
    from distributed import LocalCluster

    with ExitStack() as stack:
        stack.callback(close_located)
        stack.callback(close_checked)
        cluster = stack.enter_context(
            LocalCluster(
                n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0", protocol="tcp"
            )
        )
        address = cluster.scheduler_address.replace("tcp://", "dask://")
        yield {
            "serial": SERIAL,
            "threads": stack.enter_context(open_engine("threads", jobs=2)),
            "processes": stack.enter_context(open_engine(None, jobs=2)),
            "dask": stack.enter_context(open_engine(address, jobs=None)),
        }


@pytest.fixture(autouse=True)
def _small_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_parts, "_MOST_RUNS", 3)


@pytest.fixture(scope="module")
def subjects() -> Iterator[Sequence[Subject]]:
    with open_subjects(Sources(bundles=(RECORDED,)), report=pytest.fail) as found:
        yield found[::2]


@pytest.mark.timeout(300)
@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(comparisons())
def test_a_comparison_is_the_same_on_every_engine(
    engines: Mapping[str, Engine], subjects: Sequence[Subject], options: dict[str, Any]
) -> None:
    def ask(engine: Engine) -> Any:
        return compare_runs(subjects, comparison_of(**options), engine=engine)

    found = {name: outcome(partial(ask, engine)) for name, engine in engines.items()}
    assert dict.fromkeys(found, found["serial"]) == found


@pytest.mark.timeout(300)
@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(views())
def test_a_view_is_the_same_on_every_engine(
    engines: Mapping[str, Engine], subjects: Sequence[Subject], view: View
) -> None:
    found = {
        name: outcome(partial(answer, subjects, view, engine=engine)) for name, engine in engines.items()
    }
    assert dict.fromkeys(found, found["serial"]) == found


@pytest.mark.parametrize("asserts", ASSERTS[1:3])
def test_an_overview_is_the_same_on_every_engine(
    engines: Mapping[str, Engine], subjects: Sequence[Subject], asserts: tuple[str, ...]
) -> None:
    expected = KnownFindings(None)
    text = outcome(lambda: overview(subjects, asserts=asserts, known=expected))
    for engine in engines.values():
        known = KnownFindings(None)
        look_on(engine, subjects, known, select=None)
        assert dict(known.new) == dict(expected.new)
        ask = partial(overview, subjects, asserts=asserts, known=known, engine=engine)
        assert outcome(ask) == text


def test_a_check_finds_the_same_damage_on_every_engine(
    engines: Mapping[str, Engine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_bundle(tmp_path / "b.wandb.zip", [bundle_run(f"acme/nano/r{n}") for n in range(9)])
    monkeypatch.setattr(member_check, "_AT_ONCE", 2)
    data = bytearray(path.read_bytes())
    at = data.index(b"run=r4/history.parquet") + 200
    for damaged in (False, True):
        data[at] ^= damaged
        path.write_bytes(data)
        expected = verify_bundle(path)
        assert [damage.run for damage in expected.damages] == ["acme/nano/r4"] * damaged
        for engine in engines.values():
            assert verify_bundle(path, share=partial(check_on, engine=engine)) == expected


@pytest.mark.parametrize("to", ["parquet", "csv", "ndjson"])
def test_an_export_has_the_same_files_on_every_engine(
    engines: Mapping[str, Engine],
    subjects: Sequence[Subject],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    to: Format,
) -> None:
    monkeypatch.setattr(run_parts, "_MOST_RUNS", 3)
    runs = [subject.run for subject in subjects if isinstance(subject.run, Run)]
    found = {name: exported(runs, tmp_path / name, to, engine) for name, engine in engines.items()}
    assert dict.fromkeys(found, found["serial"]) == found


def test_a_worker_that_does_not_see_the_folder_of_an_export_says_what_to_name(tmp_path: Path) -> None:
    writer = RunFilesWriter(tmp_path / "t" / "new", "csv", False, PlainPlan(), PlainPlan())
    with pytest.raises(FileMissingError) as caught:
        writer.write([])
    assert str(caught.value) == (
        f"a worker does not find {str(tmp_path)!r}, where the export is written; name a folder that every"
        " worker can write, with -o"
    )


def test_a_damaged_history_is_the_same_error_on_every_engine(
    engines: Mapping[str, Engine], tmp_path: Path
) -> None:
    path = make_bundle(tmp_path / "b.wandb.zip", [bundle_run(f"acme/nano/r{n}") for n in range(9)])
    data = bytearray(path.read_bytes())
    for run in (b"run=r4/", b"run=r7/"):
        data[data.index(run + b"history.parquet") + 200] ^= 1
    path.write_bytes(data)
    with open_subjects(Sources(bundles=(str(path),)), report=pytest.fail) as found:
        for engine in engines.values():
            with pytest.raises(BundleDamagedError, match="run 'acme/nano/r4'"):
                answer(found, View(stats=True), engine=engine)


def test_results_come_in_the_order_of_the_tasks_and_few_wait(engines: Mapping[str, Engine]) -> None:
    taken: list[int] = []

    def tasks() -> Iterator[int]:
        for number in range(40):
            taken.append(number)
            yield number

    for name, engine in engines.items():
        taken.clear()
        found = engine.map(abs, tasks())
        assert [next(found) for _ in range(3)] == [0, 1, 2]
        assert len(taken) <= 8, name
        assert list(found) == list(range(3, 40))


def test_a_worker_that_sees_another_bundle_refuses(tmp_path: Path) -> None:
    path = make_bundle(tmp_path / "b.wandb.zip")
    where = BundleLocation("sha256:other", "b.wandb.zip", str(path))
    with pytest.raises(FileMissingError) as caught, located(where):
        pass
    assert str(caught.value) == (
        "a worker finds another bundle at 'b.wandb.zip' than this process; it was replaced while it was read,"
        " or the worker has another file of this name"
    )


def test_a_worker_that_does_not_see_the_bundle_says_where_to_put_it(tmp_path: Path) -> None:
    where = BundleLocation("sha256:any", "b.wandb.zip", str(tmp_path / "b.wandb.zip"))
    with pytest.raises(FileMissingError) as caught, located(where):
        pass
    assert str(caught.value) == (
        "a worker does not find 'b.wandb.zip'; put the bundle where every worker can read it, such as a"
        " shared folder or s3://"
    )


def test_bundles_that_nobody_uses_are_closed_when_others_are_opened(tmp_path: Path) -> None:
    opened: list[Closing] = []

    def opens(where: BundleLocation) -> Closing:
        opened.append(Closing(where))
        return opened[-1]

    kept = KeptOpen(opens)
    with kept.using(BundleLocation("a", "a", "used")) as used:
        for number in range(20):
            with kept.using(BundleLocation("a", "a", str(number))):
                pass
        assert not used.closed
        assert sum(not one.closed for one in opened) == 8
        with kept.using(BundleLocation("a", "a", "19")):
            assert len(opened) == 21
    kept.close()
    assert all(one.closed for one in opened)


class Closing:
    def __init__(self, where: BundleLocation) -> None:
        self.where, self.closed = where, False

    def close(self) -> None:
        self.closed = True


def test_a_worker_of_another_version_refuses() -> None:
    with pytest.raises(UsageError) as caught:
        run_call(Call("0.0.1", b""))
    assert str(caught.value) == (
        f"a worker has pull-logs {__version__}, and the question comes from 0.0.1; install the same version"
        " on the workers"
    )


def test_a_worker_process_that_ends_is_an_error() -> None:
    with open_engine(None, jobs=2) as engine, pytest.raises(MachineLimitError) as caught:
        list(engine.map(os._exit, [3]))
    assert str(caught.value) == (
        "a worker process ended before it had answered; the system ends processes when memory is short; start"
        " fewer with --jobs"
    )


def test_an_interrupted_question_does_not_wait_for_its_workers() -> None:
    def interrupted() -> None:
        with process_pool(1) as pool:
            started = pool.submit(wait_for_ever)
            while not started.running():
                pass
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()


def wait_for_ever() -> None:
    threading.Event().wait()


PROGRAM = """
import os, sys
from pull_logs.executors.process_pool import process_pool
if __name__ == "__main__":
    with process_pool(1) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        sys.stdin.read()
"""


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="only Linux can wait for another's process")
def test_worker_processes_end_when_the_process_that_started_them_is_killed(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    with subprocess.Popen(
        [sys.executable, str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        worker = os.pidfd_open(int(parent.stdout.readline()))
        parent.send_signal(signal.SIGKILL)
        try:
            assert select.select([worker], [], [], 60)[0] == [worker]
        finally:
            os.close(worker)


def test_a_scheduler_that_does_not_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_cluster, "_SECONDS", 0.1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens there
        address = f"dask://127.0.0.1:{taken.getsockname()[1]}"
        with (
            pytest.raises(NetworkError) as caught,
            open_engine(address, jobs=None),
        ):
            pass
    assert str(caught.value) == (
        f"the Dask scheduler at {address!r} did not answer within 0.1 seconds; start it with: dask scheduler"
    )


def test_a_scheduler_without_workers_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from distributed import LocalCluster

    monkeypatch.setattr(dask_cluster, "_SECONDS", 0.5)
    with LocalCluster(n_workers=0, processes=False, dashboard_address=":0", protocol="tcp") as cluster:
        address = cluster.scheduler_address.replace("tcp://", "dask://")
        with pytest.raises(NetworkError) as caught, open_engine(address, jobs=None):
            pass
    assert str(caught.value) == (
        f"the Dask scheduler at {address!r} has no workers; start some with: dask worker"
        f" {cluster.scheduler_address}"
    )


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (
            KilledWorker("task", None, 3),
            MachineLimitError,
            (
                "workers of 'dask://h:1' ended again and again while they worked on one task; their logs say"
                " why; workers with more memory, or one thread each, may do it"
            ),
        ),
        (
            CancelledError(),
            NetworkError,
            (
                "the connection to the Dask scheduler at 'dask://h:1' was lost; start the scheduler again,"
                " then this command"
            ),
        ),
        (
            ModuleNotFoundError("No module named 'pull_logs'"),
            UsageError,
            (
                "a worker of 'dask://h:1' cannot run this package: No module named 'pull_logs'; install the"
                " same version of wandb-pull-logs on the workers"
            ),
        ),
    ],
)
def test_errors_of_dask_become_ours(error: Exception, kind: type[PullLogsError], message: str) -> None:
    found = dask_cluster.DaskFailures("dask://h:1").failure(error)
    assert type(found) is kind
    assert str(found) == message


@pytest.mark.parametrize(
    ("engine", "jobs", "message"),
    [
        (
            "dask://nowhere",
            None,
            "'dask://nowhere' is not the address of a scheduler; write dask://HOST:PORT",
        ),
        (
            "dask://h:1",
            2,
            (
                "--jobs is for workers on this machine, and --engine names a Dask cluster; leave one of the"
                " two out"
            ),
        ),
        ("proceses", None, "--engine 'proceses' is not known; the nearest are 'processes', 'threads'"),
        (
            "spark",
            None,
            "--engine 'spark' is not known; it is one of processes, threads, dask://HOST:PORT",
        ),
    ],
)
def test_an_engine_that_there_is_not_is_a_usage_error(engine: str, jobs: int | None, message: str) -> None:
    with pytest.raises(UsageError) as caught, open_engine(engine, jobs=jobs):
        pass
    assert str(caught.value) == message


def test_without_dask_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UsageError) as caught, open_engine("dask://h:1", jobs=None):
        pass
    assert str(caught.value) == (
        "Dask is not installed; install it with: pip install 'wandb-pull-logs[dask]'"
    )


@pytest.mark.parametrize(
    ("engine", "jobs", "workers", "serial"),
    [(None, None, 1, True), (None, 1, 1, True), (None, 3, 3, False), ("processes", None, 5, False)],
)
def test_how_many_workers_there_are(
    engine: str | None, jobs: int | None, workers: int, *, serial: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "processors", lambda: 5)
    with open_engine(engine, jobs=jobs) as found:
        assert (found.workers, found.is_serial) == (workers, serial)


def test_any_executor_is_an_engine() -> None:
    assert engine_of(None) is SERIAL
    with ThreadPoolExecutor(3) as pool:
        assert engine_of(pool) == Engine(pool, 3, shares_memory=True)


def every_error() -> Iterator[PullLogsError]:
    """One of each kind."""
    more: dict[str, dict[str, Any]] = {
        "ExpressionError": {"source": "a +", "span": (2, 3)},
        "UnknownNameError": {"source": "a +", "span": (0, 1)},
        "MergeConflictError": {"conflicts": ("one",)},
        "BundleDamagedError": {"path": "b.zip", "member": "runs.parquet"},
        "ServerError": {"status": 503},
    }
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, PullLogsError):
            yield kind("it is wrong", hint="do that", **more.get(name, {}))


def test_every_error_comes_back_from_a_worker_as_it_was() -> None:
    for error in every_error():
        found = pickle.loads(pickle.dumps(error))
        assert (type(found), str(found), vars(found)) == (type(error), str(error), vars(error))
