"""A progress bar on stderr, if stderr is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pull_logs.fetch import PullProgress


def _describe(state: PullProgress) -> str:
    rate = state.rows / state.seconds if state.seconds > 0 else 0.0
    retries = f", {state.retries} retries" if state.retries else ""
    failed = f"  {state.runs_failed} failed" if state.runs_failed else ""
    return (
        f"{state.rows:,} rows  {state.bytes_received / 1e6:.1f} MB  {rate:,.0f} rows/s"
        f"  {state.requests} requests, {state.limit} at a time{retries}{failed}"
    )


@contextmanager
def progress_display() -> Iterator[Callable[[PullProgress], None] | None]:
    """Yield a hook for `pull` that draws a progress bar, or None if stderr is not a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("runs"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("finding runs", total=None)

        def draw(state: PullProgress) -> None:
            bar.update(task, total=state.runs_total, completed=state.runs_done, description=_describe(state))

        yield draw
