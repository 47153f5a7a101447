"""A map over tasks on any `concurrent.futures.Executor`, with answers in the order of the tasks."""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pull_logs._version import __version__
from pull_logs.errors import PullLogsError, UsageError

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")

_AHEAD = 2
"""Tasks for each worker that are given away at once, so that none waits for this process."""


def _process_failure(error: BaseException) -> PullLogsError | None:
    """Return what the failure of an executor of this machine means; None for any other error."""
    # These import `multiprocessing`, which most commands do not use.
    from concurrent.futures.process import BrokenProcessPool

    from pull_logs.executors.forked_map import lost_worker

    return lost_worker() if isinstance(error, BrokenProcessPool) else None


@dataclass(frozen=True, slots=True)
class Engine:
    """Where tasks run.

    Attributes:
        executor: What runs them; None for this thread.
        workers: How many of them run at once.
        shares_memory: Whether they run in this process, so that nothing has to be pickled.
        failure: Returns what an error of the executor means; None for an error of the task itself.
        forks: Whether tasks may run in copies of this process instead, where it can be copied.
    """

    executor: Executor | None = None
    workers: int = 1
    shares_memory: bool = True
    failure: Callable[[BaseException], PullLogsError | None] = field(default=_process_failure)
    forks: bool = False

    @property
    def is_serial(self) -> bool:
        """Whether tasks run one after the other in this thread."""
        return self.executor is None

    @property
    def sees_memory(self) -> bool:
        """Whether `map_open` can be used now."""
        return self.shares_memory or self.copies

    @property
    def copies(self) -> bool:
        """Whether `map_open` runs tasks in copies of this process."""
        if not self.forks:
            return False
        from pull_logs.executors.forked_map import can_fork

        return can_fork()

    def map_open(self, function: Callable[[TaskT], ResultT], tasks: Iterable[TaskT]) -> Iterator[ResultT]:
        """Iterate as `map` does, over tasks that refer to what is open in this process.

        Only for an engine that sees its memory. In a copy of it, results are pickled, tasks are not.

        Args:
            function: What to do with a task.
            tasks: The tasks.

        Raises:
            MachineLimitError: A worker ended.
            Exception: The error of the first task that failed, in the order of the tasks.
        """
        if self.shares_memory:
            return self.map(function, tasks)
        from pull_logs.executors.forked_map import forked_map

        return forked_map(function, list(tasks), processes=self.workers)

    def map(self, function: Callable[[TaskT], ResultT], tasks: Iterable[TaskT]) -> Iterator[ResultT]:
        """Iterate over the results of tasks, in the order of the tasks.

        Few tasks are waiting at any time, and their results with them. When the iterator is closed, or a
        task fails, those that have not started are cancelled.

        Args:
            function: What to do with a task; a function of a module, so that workers can import it.
            tasks: The tasks, which are taken as they are needed.

        Raises:
            MachineLimitError: A worker ended.
            UsageError: A worker has another version of this package.
            Exception: The error of the first task that failed, in the order of the tasks.
        """
        if self.executor is None:
            yield from map(function, tasks)
            return
        waiting: deque[Future[ResultT]] = deque()
        try:
            for task in tasks:
                if len(waiting) >= _AHEAD * self.workers:
                    yield self._result(waiting.popleft())
                waiting.append(self._submit(self.executor, function, task))
            while waiting:
                yield self._result(waiting.popleft())
        finally:
            for future in waiting:
                future.cancel()

    def _submit(
        self, executor: Executor, function: Callable[[TaskT], ResultT], task: TaskT
    ) -> Future[ResultT]:
        try:
            if self.shares_memory:
                return executor.submit(function, task)
            return executor.submit(run_call, Call(__version__, pickle.dumps((function, task))))
        except BaseException as exc:
            raise self.failure(exc) or exc from exc

    def _result(self, future: Future[ResultT]) -> ResultT:
        try:
            return future.result()
        except BaseException as exc:
            failure = self.failure(exc)
            if failure is None:
                raise
            raise failure from exc


SERIAL = Engine()
"""Every task in this thread, one after the other."""


def engine_of(executor: Executor | None) -> Engine:
    """Return an engine over an executor that was made elsewhere; without one, that of this thread.

    Its worker processes import this package, and open bundles by their paths.
    """
    if executor is None:
        return SERIAL
    workers: int = getattr(executor, "_max_workers", None) or 4
    return Engine(executor, workers, shares_memory=isinstance(executor, ThreadPoolExecutor))


@dataclass(frozen=True, slots=True)
class Call:
    """A function and its task, on the way to a worker.

    Attributes:
        version: The version of this package that sent it.
        pickled: The function and the task, read only by the same version.
    """

    version: str
    pickled: bytes


def run_call(call: Call) -> Any:
    """Run a call: what a worker does.

    Raises:
        UsageError: The worker has another version of this package.
    """
    if call.version != __version__:
        raise UsageError(
            f"a worker has pull-logs {__version__}, and the question comes from {call.version}",
            hint="install the same version on the workers",
        )
    function, task = pickle.loads(call.pickled)  # noqa: S301 - it comes from the process that owns the worker
    return function(task)
