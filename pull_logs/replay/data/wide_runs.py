"""Runs whose few rows are spread over many steps.

`scan_history()` of the SDK requests pages of 1,000 steps up to the last step, however few rows there are
(docs/protocol.md, "Ten traps"), and no answer of a server shortens that. A page of an exported run is read by
the SDK's own service from the downloaded file, for a quarter of the time that a page from a server takes. See
docs/replay.md, "Steps far apart".
"""

from __future__ import annotations

from pull_logs.snapshot import Run

_PAGE = 1000
"""Steps of a page of `scan_history()`, unless its `page_size` says otherwise."""
_LIVE_PAGES = 100
"""Pages that are requested from the server at most; a run with more of them is exported."""
_SLOW_PAGES = 10_000
"""Pages from which on a scan takes seconds."""
_LARGEST_PAGE = 2**31 - 1
"""The largest page that can be requested from a server: its size is a GraphQL Int."""


def is_wide(run: Run) -> bool:
    """Return whether scanning a run takes so many pages that it is better exported, though it may be live."""
    return _pages(run, _PAGE) > _LIVE_PAGES


def scan_advice(run: Run) -> str | None:
    """Return what makes the scan of a run fast that is slow for the steps between its rows; else None."""
    pages = _pages(run, _PAGE)
    if pages < _SLOW_PAGES or pages * _PAGE < 10 * run.rows:
        return None
    size = min(pages * _PAGE, _LARGEST_PAGE)
    fewer, steps = _pages(run, size), _steps(run)
    return (
        f"run {str(run.path)!r} has {run.rows} rows over {steps} steps: scan_history() of the SDK reads "
        f"{pages} pages of {_PAGE} steps; scan_history(page_size={size}) reads {fewer}"
    )


def _steps(run: Run) -> int:
    promised = -1 if run.complete else run.coverage.promised_last_step or -1
    return 1 + max(run.last_step or 0, promised)


def _pages(run: Run, size: int) -> int:
    return -(-_steps(run) // size)
