"""Reads ahead in threads, in order and within a bound."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


def read_ahead(
    tasks: Iterable[_Task],
    work: Callable[[_Task], Iterable[_Result]],
    *,
    threads: Callable[[], ThreadPoolExecutor],
    tasks_ahead: int,
    size: Callable[[_Task], int],
    most: int,
) -> Iterator[_Result]:
    """Iterate over the results of tasks, in their order, while later tasks are worked on in threads.

    Args:
        tasks: The tasks; each is taken when it can be worked on.
        work: What returns the results of a task.
        threads: Returns the threads; not called for a single task.
        tasks_ahead: Most tasks that are worked on before their results are asked for.
        size: What a task and its results take of `most`.
        most: How much may be taken at a time; one task may take more.
    """
    source = iter(tasks)
    few = list(islice(source, 2))
    if len(few) < 2:
        for task in few:
            yield from work(task)
        return
    pool = threads()
    pending: deque[tuple[int, Future[Iterable[_Result]]]] = deque()
    taken = 0
    try:
        for task in chain(few, source):
            needed = size(task)
            while pending and (taken + needed > most or len(pending) > tasks_ahead):
                freed, future = pending.popleft()
                yield from future.result()
                taken -= freed
            pending.append((needed, pool.submit(work, task)))
            taken += needed
        while pending:
            yield from pending.popleft()[1].result()
    finally:
        for _, future in pending:
            future.cancel()
