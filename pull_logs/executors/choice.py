"""Which executor the words of a command line mean."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from pull_logs.errors import UsageError
from pull_logs.executors.engine import SERIAL, Engine
from pull_logs.executors.processors import processors
from pull_logs.suggestions import did_you_mean

ENGINES = ("processes", "threads", "dask://HOST:PORT")
"""The values of `--engine`."""

_DASK = "dask://"


@contextmanager
def open_engine(engine: str | None, *, jobs: int | None) -> Iterator[Engine]:
    """Start what runs tasks, and yield it; it ends with the block.

    Args:
        engine: One of `ENGINES`; by default processes, where their number is given.
        jobs: How many tasks run at once; by default, as many as there are processors.

    Raises:
        UsageError: There is no such engine, or Dask is not installed.
        NetworkError: The scheduler cannot be reached, or has no workers.
    """
    if engine is not None and engine.startswith(_DASK):
        if jobs is not None:
            raise UsageError(
                "--jobs is for workers on this machine, and --engine names a Dask cluster",
                hint="leave one of the two out",
            )
        from pull_logs.executors.dask_cluster import dask_engine

        with dask_engine(engine) as found:
            yield found
        return
    if engine not in (None, "processes", "threads"):
        hint = did_you_mean(engine, ENGINES) or f"it is one of {', '.join(ENGINES)}"
        raise UsageError(f"--engine {engine!r} is not known", hint=hint)
    workers = (1 if engine is None else processors()) if jobs is None else jobs
    if workers == 1:
        yield SERIAL
    elif engine == "threads":
        with ThreadPoolExecutor(workers) as pool:
            yield Engine(pool, workers)
    else:
        from pull_logs.executors.process_pool import process_pool

        with process_pool(workers) as processes:
            yield Engine(processes, workers, shares_memory=False, forks=True)
