"""The words of a live display: what a pull or an import has done, how fast it is, and what holds it up."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pull_logs.suggestions import counted

if TYPE_CHECKING:
    from pull_logs.fetch import PullProgress

_SPEED_SECONDS = 5.0
"""The seconds over which the speed of a download is measured."""

_PACE_SECONDS = 30.0
"""The seconds over which the pace of finished runs is measured, for the time that is left."""

_WIDEST_BAR, _NARROWEST_BAR = 32, 8

_SHORTEST_WAIT = 1.0
"""The shortest wait for a server that is reported, in seconds."""


@dataclass(slots=True)
class Pace:
    """The mean rate at which a counter grew during the last seconds.

    Attributes:
        window: How many seconds are taken into account.
    """

    window: float
    _samples: deque[tuple[float, float]] = field(default_factory=deque)

    def add(self, now: float, count: float) -> None:
        """Record the value of the counter at a time, not before the time of the last call."""
        self._samples.append((now, count))
        while len(self._samples) > 2 and self._samples[1][0] <= now - self.window:
            self._samples.popleft()

    @property
    def per_second(self) -> float:
        """How much the counter grew per second; 0 if that is not known yet."""
        if len(self._samples) < 2:
            return 0.0
        (start, before), (end, after) = self._samples[0], self._samples[-1]
        return (after - before) / (end - start) if end > start else 0.0


@dataclass(slots=True)
class PullPace:
    """How fast a pull proceeds, measured whenever its display is drawn."""

    _bytes: Pace = field(default_factory=lambda: Pace(_SPEED_SECONDS))
    _runs: Pace = field(default_factory=lambda: Pace(_PACE_SECONDS))

    def add(self, state: PullProgress, *, now: float) -> None:
        """Record the counters at a time, in seconds since the pull began."""
        self._bytes.add(now, state.bytes_received)
        self._runs.add(now, state.runs_done)

    @property
    def bytes_per_second(self) -> float:
        """The speed of the download."""
        return self._bytes.per_second

    def seconds_left(self, state: PullProgress, *, now: float) -> float | None:
        """Return the seconds that the other runs will take at the pace of the last ones; None if unknown."""
        if not state.runs_done or state.runs_total is None or now <= 0:
            return None
        pace = self._runs.per_second or state.runs_done / now
        return max(0, state.runs_total - state.runs_done) / pace


def headline(state: PullProgress, pace: PullPace, *, now: float) -> str:
    """Return what comes after the bar: the runs that are done, of all, and the time that is left."""
    if state.runs_total is None:
        return counted(state.runs_done, "run") if state.runs_done else f"{duration(now)}"
    left = pace.seconds_left(state, now=now)
    rest = "" if not left else f"   {duration(left)} left"
    return f"{state.runs_done:,} of {counted(state.runs_total, 'run')}{rest}"


def details(state: PullProgress, pace: PullPace) -> list[str]:
    """Return the counters of a pull, in the order of their importance."""
    parts = [counted(state.rows, "row"), f"{state.bytes_received / 1e6:,.1f} MB"]
    if pace.bytes_per_second:
        parts.append(f"{pace.bytes_per_second / 1e6:,.1f} MB/s")
    parts.append(f"{counted(state.requests, 'request')}, {state.limit} at a time")
    if state.retries:
        parts.append(counted(state.retries, "retry", "retries"))
    return parts


def rate_limit(state: PullProgress, *, age: float) -> tuple[str, bool]:
    """Return what the server allows, and whether it holds the pull up.

    Args:
        state: The counters.
        age: How many seconds ago the counters had this state.
    """
    limit = state.rate_limit
    wait = limit.wait - age
    if wait >= _SHORTEST_WAIT:
        return f"rate limit: waiting {duration(wait)}", True
    if limit.remaining is None or limit.resets_in is None or limit.resets_in <= age:
        return "", False
    return f"rate limit: {limit.remaining:,.0f} left, renewed in {duration(limit.resets_in - age)}", False


def bar_line(phase: str, text: str, width: int, *, done: int, total: int | None, track: str) -> str:
    """Return a line with a bar, which is left out where it would be too narrow.

    Args:
        phase: What comes before the bar.
        text: What comes after it.
        width: The columns that the line may take.
        done: The number of items that are done.
        total: The number of all items; None or 0 for no bar.
        track: The character for what is done, and that for the rest.
    """
    columns = min(_WIDEST_BAR, width - len(phase) - len(text) - 2)
    if not total or columns < _NARROWEST_BAR:
        return f"{phase}   {text}"
    full = columns * min(done, total) // total
    return f"{phase} {track[0] * full}{track[1] * (columns - full)} {text}"


def duration(seconds: float) -> str:
    """Return seconds as `42 s`, `3:07` or `1:03:07`."""
    rounded = round(seconds)
    if rounded < 60:
        return f"{rounded} s"
    minutes, rest = divmod(rounded, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def pack(parts: list[str], width: int) -> list[str]:
    """Put texts next to each other on as few lines as possible, without changing their order."""
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + 3 + len(part) <= width:
            lines[-1] += "   " + part
        else:
            lines.append(part)
    return lines
