"""Structured concurrency: bounded fan-out, plain errors, and an entry point for synchronous callers."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

import anyio

from pull_logs.errors import PullLogsError

T = TypeVar("T")


async def for_each(items: Iterable[T], work: Callable[[T], Awaitable[None]], *, workers: int) -> None:
    """Call `work` for every item, at most `workers` at a time; an item is taken when a worker is free."""
    source = iter(items)

    async def take(item: T) -> None:
        await work(item)
        for following in source:
            await work(following)

    first = list(islice(source, workers))
    if len(first) == 1:
        await take(
            first[0]
        )  # most runs have one exported file, and a task of its own costs as much as a request
        return
    async with anyio.create_task_group() as group:
        for item in first:
            group.start_soon(take, item)


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


@contextmanager
def flat_errors() -> Iterator[None]:
    """Raise one plain error instead of a group of them.

    An interruption takes precedence over everything, and an unexpected error over those of
    this package (it is a defect and must be seen). Otherwise the first error is raised.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        found = list(_leaves(group))
        found.sort(key=lambda error: (isinstance(error, Exception), isinstance(error, PullLogsError)))
        raise found[0] from found[0].__cause__


def run_async(work: Callable[[], Awaitable[T]]) -> T:
    """Run `work` to completion and return its result, also where an event loop is already running.

    Inside a running loop (for example in a notebook) it runs in a second loop in another thread,
    and the caller waits. An interruption of the caller cancels it and waits for its clean-up.
    """
    if not _loop_is_running():
        return anyio.run(work)
    from anyio.from_thread import start_blocking_portal

    with start_blocking_portal() as portal:
        future = portal.start_task_soon(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise


def _loop_is_running() -> bool:
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_run():
        return True
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
