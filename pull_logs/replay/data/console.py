"""Console logs page by page, each read once as long as its pages are requested in order.

A log is unpacked from its beginning. So where a page ended is remembered, for some logs at once, and the next
page continues there; a log is never in memory completely.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice
from threading import Lock
from typing import TYPE_CHECKING

from pull_logs.runs import RunPath
from pull_logs.snapshot import Run

if TYPE_CHECKING:
    from pull_logs.snapshot.format import ConsoleLine

_MOST_OPEN = 16

MAX_TAIL = 10_000
"""The most lines at the end of a log in one answer; the newest are in it."""


class ConsolePages:
    """Reads console logs, and remembers where pages ended."""

    def __init__(self) -> None:
        self._open: OrderedDict[tuple[RunPath, int], Iterator[ConsoleLine]] = OrderedDict()
        self._lock = Lock()

    def page(self, run: Run, start: int, count: int) -> list[ConsoleLine]:
        """Return the lines from the one at index `start` on, at most `count`.

        Raises:
            BundleDamagedError: The log is damaged.
        """
        with self._lock:
            lines = self._open.pop((run.path, start), None)
        if lines is None:
            lines = run.console_logs()
            next(islice(lines, start, start), None)
        found = list(islice(lines, count))
        if found:
            with self._lock:
                self._open[run.path, start + len(found)] = lines
                while len(self._open) > _MOST_OPEN:
                    self._open.popitem(last=False)
        return found

    def tail(self, run: Run, count: int) -> list[ConsoleLine]:
        """Return the last lines, at most `count`.

        Raises:
            BundleDamagedError: The log is damaged.
        """
        return list(run.console_logs(last=max(0, min(count, MAX_TAIL))))
