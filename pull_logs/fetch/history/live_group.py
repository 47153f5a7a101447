"""The live rows of several small runs, requested in one query where the server accepts that.

A server counts queries, and a query for the rows of one small run takes about as long as one for ten. Where
the server refuses such a query, or is too slow for it, the next ones ask for half as many runs, down to none.
The rows are read as those of a query for one run (`live`), so that they are checked in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace

from pull_logs.errors import AccessError
from pull_logs.fetch.api import (
    HeavyRequestError,
    PageOfRun,
    RejectedQueryError,
    affects_all_runs,
    failed_items,
    history_pages,
)
from pull_logs.fetch.context import PullContext
from pull_logs.fetch.discovery import FoundRun, LivePage
from pull_logs.fetch.windows import Window, WindowSize, planned_stop, samples_for, windows_of_steps


async def read_live_group(context: PullContext, runs: Sequence[FoundRun]) -> list[FoundRun]:
    """Return small live runs of one project with their live rows, where queries for several could have them.

    Raises:
        AccessError: The key was refused, or the API cannot be reached.
    """
    capabilities = context.capabilities
    done, waiting = list[FoundRun](), list(runs)
    while waiting:
        # Until the server accepted one such query, only one at a time tries.
        async with nullcontext() if capabilities.accepts_groups else context.first_group:
            part = waiting[: capabilities.histories_in_a_query]
            if len(part) < 2:
                break
            try:
                found = await _request(context, part)
            except (RejectedQueryError, HeavyRequestError):
                capabilities.refuse_group(len(part))
                continue
            if any(run.live_page is not None for run in found):
                capabilities.accepts_groups = True
            else:
                capabilities.refuse_group(len(part))
        done += found
        waiting = waiting[len(part) :]
    return [*done, *waiting]


async def _request(context: PullContext, runs: Sequence[FoundRun]) -> list[FoundRun]:
    """Request the live rows of runs, and return the runs with those that arrived.

    Raises:
        RejectedQueryError: The server does not accept a query of this form.
        HeavyRequestError: A query for fewer runs may succeed.
        AccessError: The key was refused, or the API cannot be reached.
    """
    windows = [_window(run) for run in runs]
    pages = [
        PageOfRun(run_id=run.path.run_id, start=window.start, stop=window.stop, samples=samples_for(window))
        for run, window in zip(runs, windows, strict=True)
    ]
    path, client = runs[0].path, context.client
    try:
        answer = await client.query(
            history_pages(path.entity, path.project, pages), partial=True, heavy_attempts=1
        )
    except RejectedQueryError:
        raise
    except AccessError as exc:
        if affects_all_runs(exc, api_host=client.host):
            raise
        return list(runs)  # each is requested alone, which reports the error
    found = answer.data.get("project")
    failed = failed_items(answer.errors, depth=1)
    if failed is None or not isinstance(found, Mapping):
        return list(runs)
    return [
        run if f"r{number}" in failed else _with_page(run, window, found.get(f"r{number}"))
        for number, (run, window) in enumerate(zip(runs, windows, strict=True))
    ]


def _window(run: FoundRun) -> Window:
    """Return the window that holds the live rows of a small run, as `windows_of_steps` divides them."""
    steps = run.exports.live_steps if run.exports is not None else None
    if steps is None:
        raise ValueError(f"the live rows of {run.path} are not known")
    return next(windows_of_steps(steps, stop=planned_stop(run.promise, steps), covered=(), size=WindowSize()))


def _with_page(run: FoundRun, window: Window, node: object) -> FoundRun:
    rows = node.get("history") if isinstance(node, Mapping) else None
    if not isinstance(rows, list):
        return run  # requested again alone, which reports what is wrong with it
    return replace(run, live_page=LivePage(window.start, window.stop, rows))
