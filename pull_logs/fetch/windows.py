"""Windows of steps: how a live history is divided into requests, by the expected rows and not by steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pull_logs.fetch.discovery import Promise, Steps

EXACT = 1000
"""The steps of a window of the SDK, which requests as many rows, so that none are sampled away."""

LAST_STEP = 2**53
"""A step after all others, for a history whose end is not known."""

_FILL = 0.7
"""The intended fraction of rows in a window, so that an uneven history does not fill it."""


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """The steps `start <= step < stop`.

    Attributes:
        start: The first step.
        stop: The step after the last.
        expected: The number of steps in it that have rows; None if that is not known.
    """

    start: int
    stop: int
    expected: int | None = None

    @property
    def width(self) -> int:
        """The number of steps."""
        return self.stop - self.start

    def split(self, at: int | None = None) -> tuple[Window, Window]:
        """Return two parts of the window, which must have at least two steps.

        Args:
            at: The first step of the second part, for example the middle one of the received rows. The
                middle of the window is used if it is None or not inside the window.
        """
        middle = at if at is not None and self.start < at < self.stop else self.start + self.width // 2
        return Window(self.start, middle), Window(middle, self.stop)


@dataclass(slots=True)
class WindowSize:
    """The number of rows to request in a window, adapted to the answers.

    Attributes:
        rows: The current number.
        most: The maximum.
    """

    rows: int = EXACT
    most: int = 5000

    def update(self, *, rows: int, size: int, seconds: float) -> None:
        """Adapt to an answer with this number of rows and bytes, which took that many seconds."""
        if rows >= self.rows // 2 and size < 2 * 2**20 and seconds < 2:
            self.rows = min(self.most, self.rows * 3 // 2)

    def shrink(self) -> None:
        """Request fewer rows, because an answer was too large or too slow."""
        self.rows = max(50, self.rows // 2)


def samples_for(window: Window) -> int:
    """Return the number of rows to request, so that an answer with fewer rows has all rows of the window.

    It is larger than the number of steps, because a step may have several rows. A server may
    have a lower limit and send fewer rows than requested; up to `EXACT` it does not, because
    the SDK relies on that. Larger requests are only made for windows whose rows are known,
    and their answers are checked.
    """
    return max(EXACT, 2 * (window.expected or 0))


def planned_stop(promise: Promise, live_steps: Steps | None) -> int:
    """Return the step after the last one that the plan of a pull knows of."""
    ends = [int(live_steps[-1])] if live_steps is not None and len(live_steps) else []
    ends += [promise.last_step] if promise.last_step is not None else []
    return max(ends) + 1 if ends else LAST_STEP


def gaps(start: int, stop: int, covered: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the parts of `[start, stop)` that are in no covered interval."""
    for first, end in sorted(covered):
        if first > start and start < stop:
            yield start, min(first, stop)
        start = max(start, end)
    if start < stop:
        yield start, stop


def windows_of_steps(
    steps: Steps, *, stop: int, covered: Iterable[tuple[int, int]], size: WindowSize
) -> Iterator[Window]:
    """Yield windows over steps that are known to have rows; the last window ends at `stop`."""
    for first, end in gaps(int(steps[0]), stop, covered):
        inside = steps[np.searchsorted(steps, first) : np.searchsorted(steps, end)]
        at = 0
        while at < len(inside):
            count = size.rows
            following = int(inside[at + count]) if at + count < len(inside) else end
            yield Window(int(inside[at]), following, len(inside[at : at + count]))
            at += count


def windows_of_span(
    start: int, stop: int, *, rows: int | None, covered: Iterable[tuple[int, int]]
) -> Iterator[Window]:
    """Yield windows over a span of steps where it is not known which steps have rows.

    Args:
        start: The first step.
        stop: The step after the last.
        rows: The number of rows expected in the span; None if that is not known.
        covered: Intervals of steps that need not be requested.
    """
    for first, end in gaps(start, stop, covered):
        width = end - first
        share = None if rows is None else rows * width / (stop - start)
        if share is not None and share > width / 2:
            pieces = -(-width // EXACT)
        else:
            pieces = max(1, round((share or 0) / (_FILL * EXACT)))
        edges = [first + width * piece // pieces for piece in range(pieces + 1)]
        yield from (Window(low, high) for low, high in pairwise(edges) if low < high)
