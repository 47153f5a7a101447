"""A map over runs: each worker opens their bundle itself, reads some of them, and returns what is kept.

What is asked is settled before, over all runs, and goes with each task; so what is read of a run does not
depend on which other runs are in its task, and the answer not on the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

from pull_logs.analyze.questions import Checkpoint, Subject
from pull_logs.executors import Engine
from pull_logs.frames import History, bundle_order, put_back
from pull_logs.snapshot import Run
from pull_logs.snapshot.format import is_url
from pull_logs.snapshot.workers import BundleLocation, divide_runs, located, most_runs

ResultT_co = TypeVar("ResultT_co", covariant=True)
ResultT = TypeVar("ResultT")
HistoryT = TypeVar("HistoryT", bound=History)


class RunReader(Protocol[ResultT_co]):
    """Reads runs; it can be pickled unless the engine shares the memory of this process."""

    def read_runs(self, subjects: Sequence[Subject]) -> Sequence[ResultT_co]:
        """Return what is kept of each run."""


@dataclass(frozen=True, slots=True)
class NamedRun:
    """A run of a task; the attributes are those of `Subject`, with the path of the run instead of it."""

    label: str
    path: str
    checkpoint: str | None
    checkpoint_step: int | None
    checkpoints: tuple[Checkpoint, ...]
    source: str


@dataclass(frozen=True, slots=True)
class RunTask:
    """Some runs of a bundle.

    Attributes:
        reader: Reads them.
        bundle: The bundle.
        runs: The runs.
    """

    reader: RunReader[Any]
    bundle: BundleLocation
    runs: tuple[NamedRun, ...]


@dataclass(frozen=True, slots=True)
class _OpenRuns:
    """Some runs that are open in this process.

    Attributes:
        reader: Reads them.
        subjects: The runs.
    """

    reader: RunReader[Any]
    subjects: Sequence[Subject]


def map_runs(reader: RunReader[ResultT], subjects: Sequence[Subject], engine: Engine) -> Iterator[ResultT]:
    """Iterate over what a reader returns of each run, in the order of the runs.

    Args:
        reader: Reads runs.
        subjects: The runs.
        engine: Where they are read.

    Raises:
        PullLogsError: As the reader, for the first run in bundle order that it raises an error for; or a
            worker failed.
    """
    order = bundle_order(one.run.bundle_id for one in subjects)
    return put_back(order, _map_parts(reader, [subjects[position] for position in order], engine))


def read_here(
    read: Callable[[Sequence[Subject], Sequence[HistoryT]], Iterable[ResultT]],
    subjects: Sequence[Subject],
    frames: Sequence[HistoryT],
) -> Iterator[ResultT]:
    """Iterate over what is read of each run in this thread, as `map_runs` does.

    Args:
        read: Reads runs one after the other.
        subjects: The runs.
        frames: Their histories.
    """
    order = bundle_order(one.run.bundle_id for one in subjects)
    return put_back(order, read([subjects[at] for at in order], [frames[at] for at in order]))


def _map_parts(reader: RunReader[ResultT], subjects: Sequence[Subject], engine: Engine) -> Iterator[ResultT]:
    divided = partial(divide_runs, subjects, bundle=_bundle_of, rows=_rows_of)
    if _can_stay_open(subjects, engine):
        opened = (_OpenRuns(reader, part) for part in divided(most=most_runs(len(subjects), engine)))
        found = engine.map_open(_read_open, opened)
    else:
        found = engine.map(read_task, (_task(reader, part) for part in divided()))
    for some in found:
        yield from some


def _can_stay_open(subjects: Sequence[Subject], engine: Engine) -> bool:
    """Whether workers read the runs that are open here; a connection to a server is not copied."""
    if engine.shares_memory or not engine.sees_memory:
        return engine.shares_memory
    return not any(where is not None and is_url(where) for where in set(map(_bundle_of, subjects)))


def _rows_of(subject: Subject) -> int:
    return subject.run.rows


def _bundle_of(subject: Subject) -> str | None:
    return subject.run.bundle_location if isinstance(subject.run, Run) else None


def _task(reader: RunReader[Any], subjects: Sequence[Subject]) -> RunTask:
    run = subjects[0].run
    if not isinstance(run, Run):
        raise TypeError(f"a worker cannot open a {type(run).__name__}")
    named = tuple(
        NamedRun(
            label=one.label,
            path=str(one.run.path),
            checkpoint=one.checkpoint,
            checkpoint_step=one.checkpoint_step,
            checkpoints=one.checkpoints,
            source=one.source,
        )
        for one in subjects
    )
    return RunTask(reader, BundleLocation.of(run), named)


def read_task(task: RunTask) -> Sequence[Any]:
    """Read the runs of a task: what a worker does."""
    with located(task.bundle) as bundle:
        subjects = [
            Subject(
                label=one.label,
                run=bundle[one.path],
                checkpoint=one.checkpoint,
                checkpoint_step=one.checkpoint_step,
                checkpoints=one.checkpoints,
                source=one.source,
            )
            for one in task.runs
        ]
        return task.reader.read_runs(subjects)


def _read_open(task: _OpenRuns) -> Sequence[Any]:
    return task.reader.read_runs(task.subjects)
