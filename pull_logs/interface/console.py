"""Lines of console logs: those near a step, those that match a pattern, the last ones."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

from pull_logs.errors import FileMissingError, UsageError
from pull_logs.rows.patterns import TextPattern

if TYPE_CHECKING:
    from pull_logs.snapshot import Run
    from pull_logs.snapshot.format import ConsoleLine

_BLOCK = 4096
_STYLES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
"""Escape sequences for colours and cursors, which are not text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleView:
    """Which lines of a console log are shown.

    Attributes:
        tail: The most lines, of which the last are shown; 0 for all.
        pattern: A regular expression (RE2) that a line must match anywhere; None for all lines.
        around_step: Only lines printed near the time of this step.
        window: The number of lines before and after that time.

    Raises:
        UsageError: A value is invalid.
    """

    tail: int = 100
    pattern: str | None = None
    around_step: int | None = None
    window: int = 10

    def __post_init__(self) -> None:
        try:
            TextPattern(self.pattern or "")
        except ValueError as exc:
            hint = (
                "escape special characters with a backslash; there are no look-arounds and no back-references"
            )
            raise UsageError(f"--grep {self.pattern!r} {exc}", hint=hint) from exc


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleExcerpt:
    """Lines of the console log of one run.

    Attributes:
        total: The number of lines of the log.
        matched: The number of lines that match, of which `lines` are the last.
        lines: The lines that are shown.
        step: The step nearest to the requested one; None without one.
        step_time: When that step was logged, in UTC.
    """

    total: int
    matched: int
    lines: tuple[ConsoleLine, ...]
    step: int | None = None
    step_time: str | None = None


def plain_line(text: str) -> str:
    """Return the text of a line without escape sequences for colours and cursors."""
    return _STYLES.sub("", text)


def excerpt(run: Run, view: ConsoleView) -> ConsoleExcerpt | None:
    """Return the lines of a run that are shown; None if it has no console log.

    Raises:
        UsageError: A step was asked for, and rows or lines have no times.
        BundleDamagedError: The log is damaged.
    """
    console = run.console
    if console is None:
        return None
    lines: Iterable[ConsoleLine] = console
    step, moment = None, None
    if view.around_step is not None:
        step, moment = _time_of_step(run, view.around_step)
        lines = _near(run, moment, view.window)
    matched = 0
    kept: deque[ConsoleLine] = deque(maxlen=view.tail or None)
    for line in _matching(lines, view.pattern):
        matched += 1
        kept.append(line)
    shown = None if moment is None else datetime.fromtimestamp(moment, UTC).isoformat().replace("+00:00", "")
    return ConsoleExcerpt(total=len(console), matched=matched, lines=tuple(kept), step=step, step_time=shown)


def require_consoles(runs: Iterable[Run]) -> None:
    """Make sure that at least one of the runs has a console log.

    Raises:
        FileMissingError: None has one.
    """
    runs = list(runs)
    if any(run.console is not None for run in runs):
        return
    which = f"run {str(runs[0].path)!r} has" if len(runs) == 1 else f"the {len(runs)} runs have"
    raise FileMissingError(
        f"{which} no console log",
        hint="`pull-logs fetch --console` downloads console logs, and `import` takes them from local folders",
    )


def _matching(lines: Iterable[ConsoleLine], pattern: str | None) -> Iterator[ConsoleLine]:
    if pattern is None:
        yield from lines
        return
    search, iterator = TextPattern(pattern), iter(lines)
    while block := list(islice(iterator, _BLOCK)):
        found = search.search_all(plain_line(line.text) for line in block)
        yield from (line for line, match in zip(block, found, strict=True) if match)


def _time_of_step(run: Run, wanted: int) -> tuple[int, float]:
    """Return the step nearest to a step among the rows with a time, and its time in seconds since 1970.

    Raises:
        UsageError: No row has a time.
    """
    best: tuple[int, float] | None = None
    for row in run.scan_history(keys=("_step", "_timestamp")):
        step, time = row["_step"], row.get("_timestamp")
        if not isinstance(time, (int, float)) or isinstance(time, bool):
            continue
        if best is None or abs(step - wanted) < abs(best[0] - wanted):
            best = step, float(time)
    if best is None:
        raise UsageError(f"run {str(run.path)!r} has no row with a time, so lines near a step are not known")
    return best


def _near(run: Run, moment: float, window: int) -> list[ConsoleLine]:
    """Return the last lines that were printed up to a moment, and the first ones after it.

    Raises:
        UsageError: No line has a time.
    """
    last, timed = -1, False
    for index, line in enumerate(run.console_logs()):
        time = seconds_of(line.timestamp)
        timed |= time is not None
        if time is not None and time <= moment:
            last = index
    if not timed:
        raise UsageError(f"the console lines of run {str(run.path)!r} have no times")
    return list(islice(run.console_logs(), max(0, last + 1 - window), last + 1 + window))


def seconds_of(timestamp: str | None) -> float | None:
    """Return the time of a line in seconds since 1970; None if it is unknown."""
    if timestamp is None:
        return None
    try:
        moment = datetime.fromisoformat(timestamp)
    except ValueError:
        return None
    return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).timestamp()
