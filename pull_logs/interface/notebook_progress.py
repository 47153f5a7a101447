"""The progress of a download below the cell of a notebook; it needs no extension of the notebook.

The output of the cell is updated in place, so it works wherever a kernel of IPython has a front end: in
Jupyter, VS Code and Colab.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from pull_logs.suggestions import counted

if TYPE_CHECKING:
    from pull_logs.fetch import PullProgress

_SECONDS = 0.25
"""The shortest time between two updates."""

_LONGEST = 400
"""The most characters of a failure."""


def notebook_progress() -> Callable[[PullProgress], None]:
    """Return a hook for `pull` and `pull_sync` that shows their progress below the cell of a notebook.

    Outside of a notebook it shows nothing.
    """
    kernel = _kernel()
    if kernel is None:
        return lambda _state: None
    return _CellProgress(kernel)


def _kernel() -> Any:
    """Return the shell of the kernel of a notebook; None outside of one."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell if getattr(shell, "kernel", None) is not None else None


class _CellProgress:
    """Updates one output of a cell, created with the first state.

    The last state is shown too: the one after which no run is left.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._output: str | None = None
        self._shown = 0.0

    def __call__(self, state: PullProgress) -> None:
        now = time.monotonic()
        finished = state.runs_total is not None and state.runs_done >= state.runs_total
        if self._output is not None and now - self._shown < _SECONDS and not finished:
            return
        self._shown = now
        known = self._output
        self._output = known or uuid4().hex
        self._shell.display_pub.publish(
            {"text/html": progress_html(state), "text/plain": counted(state.runs_done, "run")},
            transient={"display_id": self._output},
            update=known is not None,
        )


def progress_html(state: PullProgress) -> str:
    """Return the state of a pull as HTML: a bar and the counters, every text escaped."""
    total = state.runs_total
    bar = "" if not total else f'<progress value="{min(state.runs_done, total)}" max="{total}"></progress> '
    runs = f"{state.runs_done:,}" + ("" if total is None else f" of {total:,}") + " runs"
    parts = [runs, counted(state.rows, "row"), f"{state.bytes_received / 1e6:,.1f} MB"]
    if state.retries:
        parts.append(counted(state.retries, "retry", "retries"))
    if state.rate_limit.wait >= 1:
        parts.append(f"waiting {state.rate_limit.wait:.0f} s for the rate limit")
    parts.append(f"{state.seconds:.0f} s")
    failed = ""
    if state.runs_failed:
        failed = f"<br>{state.runs_failed:,} failed, the last: {escape(state.failure[:_LONGEST])}"
    return f"<div>{bar}{', '.join(parts)}{failed}</div>"
