"""Windows of steps: how a live history is cut into requests, by rows expected and not by steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pull_logs.fetch.discovery import Steps

EXACT = 1000
"""Steps in a window of the SDK, which asks for as many rows: nothing can be sampled away from it."""

LAST_STEP = 2**53
"""A step beyond all others, for a history whose end is not known."""

_FILL = 0.7
"""How full a window is meant to be, so that an uneven history does not fill it."""


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """The steps `start <= step < stop`.

    Attributes:
        expected: Steps in it that are known to have rows; None if that is not known.
    """

    start: int
    stop: int
    expected: int | None = None

    @property
    def width(self) -> int:
        """Steps in it."""
        return self.stop - self.start

    def split(self, at: int | None = None) -> tuple[Window, Window]:
        """Two parts of it, which must have two steps at least.

        Args:
            at: The first step of the second part, such as the middle one of the rows that came; the
                middle of the window if None, or if it is no step inside.
        """
        middle = at if at is not None and self.start < at < self.stop else self.start + self.width // 2
        return Window(self.start, middle), Window(middle, self.stop)


@dataclass(slots=True)
class WindowSize:
    """Rows to ask for in a window, learned from how the answers come.

    Attributes:
        rows: As of now.
        most: What it may grow to.
    """

    rows: int = EXACT
    most: int = 5000

    def learn(self, *, rows: int, size: int, seconds: float) -> None:
        """Take in an answer: its rows, its size in bytes and its seconds."""
        if rows >= self.rows // 2 and size < 2 * 2**20 and seconds < 2:
            self.rows = min(self.most, self.rows * 3 // 2)

    def shrink(self) -> None:
        """An answer was too heavy."""
        self.rows = max(50, self.rows // 2)


def samples_for(window: Window) -> int:
    """Rows to ask for, so that an answer that is not full holds all rows of the window.

    More than the window has steps, because a step may have several lines. A server might
    give fewer than it is asked for, if it has a limit of its own; up to `EXACT` it does
    not, because the SDK relies on it. Beyond that only windows whose rows are known are
    asked for, and their answers are checked.
    """
    return max(EXACT, 2 * (window.expected or 0))


def gaps(start: int, stop: int, covered: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The parts of `[start, stop)` that no covered interval holds."""
    for first, end in sorted(covered):
        if first > start and start < stop:
            yield start, min(first, stop)
        start = max(start, end)
    if start < stop:
        yield start, stop


def windows_of_steps(
    steps: Steps, *, stop: int, covered: Iterable[tuple[int, int]], size: WindowSize
) -> Iterator[Window]:
    """Windows over the steps that are known to have rows; the last one ends at `stop`."""
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
    """Windows over steps of which it is not known which have rows.

    Args:
        start: The first step.
        stop: The step after the last.
        rows: Rows that are expected in all of it; None if that is not known.
        covered: What need not be asked for.
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
