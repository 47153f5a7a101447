"""A map over tasks in copies of this process, which does its share of them too.

A copy has all that this process has open and imported, so that it starts in milliseconds, nothing is
opened again, and tasks are not sent but named by their number. Only results are pickled. Copies end with the
map, and when this process ends, also where it is killed.

Threads do not exist in a copy, and a lock that one of them holds is never released there. So nothing is
copied while this process has threads of its own (`can_fork`). The threads that numpy and pyarrow keep for
themselves are started again in a copy by those libraries.
"""

from __future__ import annotations

import gc
import pickle
import signal
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from pull_logs.errors import MachineLimitError
from pull_logs.executors.process_pool import end_with

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")

_AHEAD = 2
"""Tasks that a copy has at once, so that it never waits for this process."""

_WINDOW = 8
"""Tasks for each process that are begun at most before the result of the first of them is used."""


def can_fork() -> bool:
    """Whether this process may be copied: on Linux, without threads of its own, and not as a copy itself."""
    return sys.platform == "linux" and threading.active_count() == 1 and parent_process() is None


def lost_worker() -> MachineLimitError:
    """Return the error about a process that ended before it had answered."""
    return MachineLimitError(
        "a worker process ended before it had answered",
        hint="the system ends processes when memory is short; start fewer with --jobs",
    )


def forked_map(
    function: Callable[[TaskT], ResultT], tasks: Sequence[TaskT], *, processes: int
) -> Iterator[ResultT]:
    """Iterate over the results of tasks, in the order of the tasks.

    Args:
        function: What to do with a task; it and the tasks may refer to anything in this process.
        tasks: The tasks.
        processes: How many work, this one included.

    Raises:
        MachineLimitError: A copy ended.
        Exception: The error of the first task that failed, in the order of the tasks.
    """
    shared = _Shared(len(tasks), window=_WINDOW * processes)
    with ExitStack() as stack:
        copies = _started(_Work(function, tasks), min(processes, len(tasks)) - 1, stack)
        for connection in copies:
            thread = threading.Thread(target=shared.serve, args=(connection,), daemon=True)
            thread.start()
            stack.callback(thread.join)
        # What is registered last is done first: without copies, no thread waits for one.
        stack.callback(shared.stop)
        stack.callback(_end, list(copies.values()))
        for position in range(len(tasks)):
            while (outcome := shared.outcome(position)) is None:
                number = shared.take()
                if number is None:
                    shared.wait(position)
                else:
                    shared.put(number, _Outcome.of(function, tasks[number]))
            yield outcome.result()


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of a task.

    Attributes:
        value: Its result; None where it failed.
        error: The error that it raised.
    """

    value: Any = None
    error: Exception | None = None

    @classmethod
    def of(cls, function: Callable[[Any], Any], task: Any) -> _Outcome:
        """Do a task."""
        try:
            return cls(function(task))
        except Exception as exc:  # noqa: BLE001 - it is raised where the result is used
            return cls(error=exc)

    def result(self) -> Any:
        """Return the result, or raise the error."""
        if self.error is not None:
            raise self.error
        return self.value


@dataclass(frozen=True, slots=True)
class _Sent:
    """An outcome as a copy sent it.

    Attributes:
        pickled: The outcome.
    """

    pickled: bytes

    def result(self) -> Any:
        """Return the result, or raise the error."""
        outcome: _Outcome = pickle.loads(self.pickled)  # noqa: S301 - a copy of this process sent it
        return outcome.result()


class _Shared:
    """Which tasks are given away, and the outcomes that are not used yet.

    Args:
        count: How many tasks there are.
        window: How many are begun at most before the first of them is used.
    """

    def __init__(self, count: int, *, window: int) -> None:
        self._count, self._window = count, window
        self._next = self._used = 0
        self._outcomes: dict[int, _Outcome | _Sent] = {}
        self._stopped = False
        self._changed = threading.Condition()

    def take(self, *, wait: bool = False) -> int | None:
        """Return the number of the next task; None if there is none, or none yet unless `wait`."""
        with self._changed:
            while wait and not self._stopped and self._used + self._window <= self._next < self._count:
                self._changed.wait()
            if self._stopped or self._next >= min(self._used + self._window, self._count):
                return None
            self._next += 1
            return self._next - 1

    def put(self, number: int, outcome: _Outcome | _Sent) -> None:
        """Keep the outcome of a task."""
        with self._changed:
            self._outcomes[number] = outcome
            self._changed.notify_all()

    def outcome(self, number: int) -> _Outcome | _Sent | None:
        """Return the outcome of a task, which is then used; None if there is none yet."""
        with self._changed:
            found = self._outcomes.pop(number, None)
            if found is not None:
                self._used = number + 1
                self._changed.notify_all()
            return found

    def wait(self, number: int) -> None:
        """Wait for the outcome of a task."""
        with self._changed:
            self._changed.wait_for(lambda: number in self._outcomes)

    def stop(self) -> None:
        """Give no more tasks away."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def serve(self, connection: Connection) -> None:
        """Give tasks to a copy until there are no more, and keep what it sends."""
        given: deque[int] = deque()
        try:
            while True:
                while len(given) < _AHEAD and (number := self.take(wait=not given)) is not None:
                    given.append(number)
                    connection.send(number)
                if not given:
                    return
                sent = _Sent(connection.recv_bytes())
                self.put(given.popleft(), sent)
        except (EOFError, OSError):
            for number in given:
                self.put(number, _Outcome(error=lost_worker()))


@dataclass(frozen=True, slots=True)
class _Work:
    """What a copy does.

    Attributes:
        function: What to do with a task.
        tasks: All tasks.
    """

    function: Callable[[Any], Any]
    tasks: Sequence[Any]

    def do(self, connection: Connection, alive: Connection, others: Sequence[Connection]) -> None:
        """Do the tasks whose numbers come, until the connection is closed.

        Args:
            connection: Where numbers come from, and outcomes go.
            alive: What is closed when the process that was copied ends.
            others: The ends of connections that only that process may hold.
        """
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        gc.freeze()  # what was copied is not looked at again, so that its memory stays shared
        for other in others:
            other.close()
        end_with(alive)
        with suppress(EOFError, OSError):
            while True:
                outcome = _Outcome.of(self.function, self.tasks[connection.recv()])
                connection.send_bytes(_pickled(outcome))


def _pickled(outcome: _Outcome) -> bytes:
    try:
        return pickle.dumps(outcome, protocol=pickle.HIGHEST_PROTOCOL)
    except (pickle.PicklingError, TypeError, AttributeError) as exc:
        return pickle.dumps(_Outcome(error=TypeError(f"a result cannot be pickled: {exc}")))


def _started(work: _Work, count: int, stack: ExitStack) -> dict[Connection, BaseProcess]:
    """Start copies of this process, and return the connections to them; fewer if no more can be started."""
    context = get_context("fork")
    alive, ours_alive = context.Pipe(duplex=False)
    ours: list[Connection] = [ours_alive]
    copies: dict[Connection, BaseProcess] = {}
    stack.callback(_close, alive, ours)
    for _ in range(count):
        here, there = context.Pipe()
        ours.append(here)
        copy = context.Process(target=work.do, args=(there, alive, tuple(ours)), daemon=True)
        with warnings.catch_warnings(), there:
            # Python from 3.12 on warns of the threads of numpy and pyarrow, which are made to be forked.
            warnings.simplefilter("ignore", DeprecationWarning)
            try:
                copy.start()
            except OSError:
                return copies
        copies[here] = copy
    return copies


def _close(alive: Connection, ours: Sequence[Connection]) -> None:
    for connection in (alive, *ours):
        connection.close()


def _end(copies: Sequence[BaseProcess]) -> None:
    for copy in copies:
        copy.kill()
    for copy in copies:
        copy.join()
