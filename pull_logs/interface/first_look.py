"""A first look at thousands of runs: what is wrong with them is found in several processes.

Finding it reads histories and computes with their values, which one process cannot do on two processors. A
worker answers an overview of a part of the runs at a time, and returns what the cache keeps of it. The
overview of all runs then finds it there, and is the same as without workers. Whatever stops a worker costs
only time: what it did not find is found again. A worker ends with its pipe, also when this process is killed.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from multiprocessing import get_context
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from pull_logs.errors import PullLogsError
from pull_logs.executors import Engine
from pull_logs.interface.known_findings import KnownFindings

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from pull_logs.analyze import Subject
    from pull_logs.analyze.answers import Identity
    from pull_logs.analyze.health import HealthFinding
    from pull_logs.snapshot import Bundle

FEWEST_RUNS = 1_000
"""With fewer runs, a worker would not have started before all is done."""

FEWEST_COLUMNS = 40_000
"""With so many columns of all runs together, a copy of this process is worth its start for fewer runs too."""

MOST_WORKERS = 7
_RUNS_AT_ONCE = 100
_PARTS_AHEAD = 2
"""How many parts a worker has at once, so that it never waits for this process."""

Found: TypeAlias = Sequence[tuple[bytes, str]]
"""What the cache keeps: keys, and findings as text."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some runs of a bundle.

    Attributes:
        bundle: The path of the bundle.
        runs: The paths of the runs.
        select: The regular expression of the overview, if it has one.
    """

    bundle: str
    runs: tuple[str, ...]
    select: str | None


@dataclass(frozen=True, slots=True)
class _OpenPart:
    """A part, and its runs as this process has opened them."""

    part: Part
    subjects: Sequence[Subject]


def look_first(
    subjects: Sequence[Subject], known: KnownFindings, *, select: str | None, workers: int
) -> None:
    """Keep what is wrong with runs, found in this process and in others, if none of it is known yet.

    Args:
        subjects: The runs.
        known: Where findings are kept.
        select: The regular expression of the overview.
        workers: How many other processes to start at most.
    """
    copies = Engine(workers=min(workers, MOST_WORKERS) + 1, shares_memory=False, forks=True)
    many = len(subjects) >= FEWEST_RUNS or (copies.copies and _columns(subjects) >= FEWEST_COLUMNS)
    if workers < 1 or not many or _is_known(subjects, known, select):
        return
    if copies.copies:
        with suppress(PullLogsError):
            _find_on(copies, subjects, known, select)
        return
    parts = deque(_parts(subjects, select))
    with suppress(PullLogsError, OSError), _workers(min(workers, MOST_WORKERS)) as started:
        _share(parts, started, known)


def _columns(subjects: Sequence[Subject]) -> int:
    """Return how many columns runs have together, as far as an index says; one run is read by one process."""
    with suppress(PullLogsError):
        return sum(len(one.run.indexed_names() or ()) for one in subjects[1:])
    return 0


@dataclass(frozen=True, slots=True)
class _FindingReader:
    """Finds what is wrong with runs, in a worker.

    Attributes:
        select: The regular expression of the overview.
    """

    select: str | None

    def read_runs(self, subjects: Sequence[Subject]) -> Sequence[Found]:
        """Return what is wrong with all of these runs, with the first of them."""
        return [_find(subjects, self.select), *(() for _ in subjects[1:])]


def look_on(engine: Engine, subjects: Sequence[Subject], known: KnownFindings, *, select: str | None) -> None:
    """Keep what is wrong with runs, found on an engine, if none of it is known yet.

    Args:
        engine: Where histories are read.
        subjects: The runs.
        known: Where findings are kept.
        select: The regular expression of the overview.

    Raises:
        PullLogsError: A worker ended, or cannot open a bundle.
    """
    if subjects and not _is_known(subjects, known, select):
        _find_on(engine, subjects, known, select)


def _find_on(engine: Engine, subjects: Sequence[Subject], known: KnownFindings, select: str | None) -> None:
    from pull_logs.analyze.answers.mapping import map_runs

    for found in map_runs(_FindingReader(select), subjects, engine):
        known.keep_all(found)


def _is_known(subjects: Sequence[Subject], known: KnownFindings, select: str | None) -> bool:
    """Whether the findings of the first or the last run are known, or cannot be looked up."""
    from pull_logs.analyze.answers import find_what_is_wrong

    probe = _Probe(known)
    with suppress(PullLogsError):
        find_what_is_wrong([subjects[0], subjects[-1]], select=select, known=probe)
    return not probe.missed


class _Probe:
    """Finds out whether findings are known, without finding any.

    Attributes:
        missed: Whether all that were asked for are unknown.
    """

    def __init__(self, known: KnownFindings) -> None:
        self._known = known
        self.missed = False

    def find_all(self, identities: Iterable[Identity]) -> list[tuple[HealthFinding, ...] | None]:
        """Return no findings, known or not."""
        found = self._known.find_all(identities)
        self.missed = not any(one is not None for one in found)
        return [()] * len(found)

    def keep(self, identity: Identity, found: Sequence[HealthFinding]) -> None:
        """Do nothing."""


def _parts(subjects: Sequence[Subject], select: str | None) -> Iterator[_OpenPart]:
    """Divide runs into parts; runs of bundles that another process cannot open are left out."""
    for bundle, members in groupby(subjects, key=attrgetter("run.bundle_path")):
        found = list(members)
        if not Path(bundle).exists():
            continue
        for start in range(0, len(found), _RUNS_AT_ONCE):
            some = found[start : start + _RUNS_AT_ONCE]
            yield _OpenPart(Part(bundle, tuple(str(one.run.path) for one in some), select), some)


def _share(parts: deque[_OpenPart], workers: Sequence[Connection], known: KnownFindings) -> None:
    """Give parts to the workers, do the last ones here, and keep what is found."""
    waiting = dict.fromkeys(workers, 0)
    while parts or any(waiting.values()):
        for worker in tuple(waiting):
            try:
                while waiting[worker] and (not parts or worker.poll()):
                    known.keep_all(worker.recv())
                    waiting[worker] -= 1
                while parts and waiting[worker] < _PARTS_AHEAD:
                    worker.send(parts.popleft().part)
                    waiting[worker] += 1
            except (EOFError, OSError):
                del waiting[worker]  # it has ended
        if parts:
            last = parts.pop()
            known.keep_all(_find(last.subjects, last.part.select))


@contextmanager
def _workers(count: int) -> Iterator[Sequence[Connection]]:
    """Start workers, and yield the connections to them; they end with the block."""
    context = get_context("spawn")
    started, connections = [], []
    try:
        for _ in range(count):
            ours, theirs = context.Pipe()
            connections.append(ours)
            worker = context.Process(target=serve_parts, args=(theirs,), daemon=True)
            worker.start()
            started.append(worker)
            theirs.close()
        yield connections
    finally:
        for connection in connections:
            connection.close()
        for worker in started:
            worker.terminate()
            worker.join()


def serve_parts(connection: Connection) -> None:
    """Answer parts with what is found in them, until the connection is closed: what a worker does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one ends it
    with suppress(EOFError, OSError):
        while True:
            part: Part = connection.recv()
            connection.send(find_in_part(part))


def find_in_part(part: Part) -> Found:
    """Return what is wrong with the runs of a part; less where one of them cannot be read."""
    from pull_logs.analyze import Subject

    with suppress(PullLogsError):
        bundle = _opened(part.bundle)
        subjects = [Subject(label=path, run=bundle[path], source=part.bundle) for path in part.runs]
        return _find(subjects, part.select)
    return ()


def _find(subjects: Sequence[Subject], select: str | None) -> Found:
    from pull_logs.analyze.answers import find_what_is_wrong

    found = KnownFindings(None)
    with suppress(PullLogsError):
        find_what_is_wrong(subjects, select=select, known=found)
    return found.new


@lru_cache(maxsize=2)
def _opened(path: str) -> Bundle:
    from pull_logs.snapshot import open_bundle

    return open_bundle(path)
