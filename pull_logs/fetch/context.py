"""What reading histories needs, shared by all runs of a pull."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import anyio
from anyio.to_thread import run_sync

from pull_logs.errors import RunNotFoundError
from pull_logs.fetch.api import Answer, Client, Query
from pull_logs.fetch.discovery import Lessons
from pull_logs.fetch.wantedfiles import FileTally, WantedFiles
from pull_logs.fetch.windows import WindowSize
from pull_logs.runs import RunPath
from pull_logs.snapshot import Spool

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """What reading histories needs, shared by all runs of a pull.

    Attributes:
        client: Whom to ask.
        spool: Where rows are kept.
        threads: Worker threads for decoding and encoding, as many as there are processors.
        hands: Room for downloads that are not decoded yet.
        lessons: What the server is known not to do.
        size: Rows in a live window.
        keys: The names of the metrics that are kept; None for all.
        system: Whether system metrics are wanted.
        files: Which files of the runs are wanted; None for no more than an earlier bundle has.
        file_tally: Counts what became of them.
    """

    client: Client
    spool: Spool
    threads: anyio.CapacityLimiter
    hands: anyio.Semaphore
    lessons: Lessons
    size: WindowSize
    keys: re.Pattern[str] | None = None
    system: bool = False
    files: WantedFiles | None = None
    file_tally: FileTally = field(default_factory=FileTally)

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Do work for the processor in one of the worker threads."""
        return await run_sync(work, limiter=self.threads)

    async def ask_run(
        self, query: Query, path: RunPath, *, heavy_attempts: int | None = None
    ) -> Mapping[str, Any]:
        """What a query about one run answers of it.

        Raises:
            RunNotFoundError: The run is not there (any more).
            HeavyRequestError: See `Client.query`.
            AccessError: The server could not be asked.
        """
        return await ask_run(self.client, query, path, heavy_attempts=heavy_attempts)


async def ask_run(
    client: Client, query: Query, path: RunPath, *, heavy_attempts: int | None = None
) -> Mapping[str, Any]:
    """What a query about one run answers of it.

    Raises:
        RunNotFoundError: The run is not there (any more).
        HeavyRequestError: See `Client.query`.
        AccessError: The server could not be asked.
    """
    answer: Answer = await client.query(query, heavy_attempts=heavy_attempts)
    project = answer.data.get("project")
    run = project.get("run") if isinstance(project, Mapping) else None
    if not isinstance(run, Mapping):
        raise RunNotFoundError(f"run {str(path)!r} was deleted while it was read")
    return run
