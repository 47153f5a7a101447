"""The live display on stderr of what takes long; there is none unless stderr is a terminal that can redraw.

It is drawn by a thread, a few times a second, from the last state that was reported, so that reporting costs
an assignment. What is printed meanwhile appears above it. It disappears when the work ends, for any reason.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from typing import TYPE_CHECKING, Any, Protocol, TextIO, cast

from pull_logs.cli.pulling.progress_text import (
    PullPace,
    bar_line,
    details,
    duration,
    headline,
    pack,
    rate_limit,
)
from pull_logs.cli.render import inline

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from pull_logs.fetch import PullProgress

_PER_SECOND = 4


class _Drawing(Protocol):
    def lines(self, width: int, *, track: str) -> list[tuple[str, str]]: ...


class _PullDrawing:
    """Draws the state of a pull."""

    def __init__(self) -> None:
        self._state: PullProgress | None = None
        self._received = self._began = time.monotonic()
        self._pace = PullPace()

    def update(self, state: PullProgress) -> None:
        """Draw this state from now on."""
        self._state, self._received = state, time.monotonic()

    def lines(self, width: int, *, track: str) -> list[tuple[str, str]]:
        """Return the lines with their styles."""
        state = self._state
        if state is None:
            return [(f"finding runs   {duration(time.monotonic() - self._began)}", "")]
        age = max(0.0, time.monotonic() - self._received)
        now = state.seconds + age
        self._pace.add(state, now=now)
        done, total = state.runs_done, state.runs_total
        phase = "finding runs" if total is None else "finishing" if done >= total > 0 else "downloading"
        head = headline(state, self._pace, now=now)
        lines = [(bar_line(phase, head, width, done=done, total=total, track=track), "bold")]
        lines += ((line, "") for line in pack(details(state, self._pace), width))
        limit, holds_up = rate_limit(state, age=age)
        if limit:
            lines.append((limit, "yellow" if holds_up else ""))
        if state.runs_failed:
            lines.append((f"{state.runs_failed:,} failed, the last: {inline(state.failure)}", "red"))
        return lines


class _CountDrawing:
    """Draws how many of some items are done."""

    def __init__(self, items: str, ending: str) -> None:
        self._items, self._ending = items, ending
        self._counts: tuple[int, int] | None = None
        self._began = time.monotonic()

    def update(self, done: int, total: int) -> None:
        """Draw these numbers from now on."""
        self._counts = done, total

    def lines(self, width: int, *, track: str) -> list[tuple[str, str]]:
        """Return one line with its style."""
        elapsed = duration(time.monotonic() - self._began)
        if self._counts is None:
            return [(f"reading   {elapsed}", "bold")]
        done, total = self._counts
        phase = self._ending if done >= total else "reading"
        text = f"{done:,} of {total:,} {self._items}   {elapsed}"
        return [(bar_line(phase, text, width, done=done, total=total, track=track), "bold")]


class _Frame:
    """The lines of a drawing, cut to the width of the terminal.

    Attributes:
        widths: The columns that each line took when it was drawn last.
    """

    def __init__(self, drawing: _Drawing) -> None:
        self.widths: list[int] = []
        self._drawing = drawing

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines. The last column stays free, at which terminals wrap."""
        from rich.cells import cell_len, set_cell_size
        from rich.text import Text

        width = max(1, options.max_width - 1)
        drawn = self._drawing.lines(width, track="#." if options.ascii_only else "\u2501\u2500")
        cut = [
            (text if cell_len(text) <= width else set_cell_size(text, width), style) for text, style in drawn
        ]
        self.widths = [cell_len(text) for text, _ in cut]
        for text, style in cut:
            yield Text(text, style=style, no_wrap=True, overflow="crop")


def _wrapped(widths: list[int], columns: int) -> int:
    """Return how many rows lines need beyond one each, since the terminal was made narrower."""
    return sum(max(0, -(-width // columns) - 1) for width in widths)


class _Above:
    """A stderr whose lines are printed above the display.

    Rich has one too, which click bypasses: it has no encoding, so that click writes to the buffer below it.
    """

    def __init__(self, stream: TextIO, say: Callable[[str], None]) -> None:
        self._stream, self._say, self._begun = stream, say, ""

    def write(self, text: str) -> int:
        """Print the lines that are complete."""
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            self._say(line)
        return len(text)

    def flush(self) -> None:
        """Wait for the end of the line."""

    def finish(self) -> None:
        """Print what is left of a line."""
        if self._begun:
            self._say(self._begun)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def _live(drawing: _Drawing) -> Iterator[Callable[[str], None] | None]:
    """Draw something while the block runs, and yield a function that prints a line above it.

    It yields None, and draws nothing, if stderr is not a terminal that can redraw.
    """
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.control import Control
    from rich.live import Live
    from rich.segment import ControlType
    from rich.text import Text

    class Resized(Live):
        """Also removes the rows that wrapped lines take after the terminal was made narrower."""

        def refresh(self) -> None:
            for _ in range(_wrapped(frame.widths, max(1, console.width))):
                console.control(Control((ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1)))
            frame.widths = []
            super().refresh()

    frame = _Frame(drawing)
    console = Console(file=sys.stderr, highlight=False)
    if not console.is_terminal or console.is_dumb_terminal:
        yield None
        return
    live = Resized(
        frame,
        console=console,
        transient=True,
        refresh_per_second=_PER_SECOND,
        redirect_stdout=False,
        redirect_stderr=False,
    )

    def say(line: str) -> None:
        console.print(Text(line), soft_wrap=True)

    above = _Above(sys.stderr, say)
    try:
        with live, redirect_stderr(cast("TextIO", above)):
            yield say
            above.finish()
    finally:
        console.show_cursor(show=True)  # also if a second Ctrl-C came while the display was taken down


@contextmanager
def pull_display() -> Iterator[tuple[Callable[[PullProgress], None], Callable[[str], None]] | None]:
    """Yield a hook for `pull` that draws its progress, and a function that prints a line above it.

    It yields None where no display is possible.
    """
    drawing = _PullDrawing()
    with _live(drawing) as say:
        yield None if say is None else (drawing.update, say)


@contextmanager
def progress_display() -> Iterator[Callable[[PullProgress], None] | None]:
    """Yield a hook for `pull` that draws its progress; None where no display is possible."""
    with pull_display() as display:
        yield None if display is None else display[0]


@contextmanager
def count_display(items: str, *, ending: str) -> Iterator[Callable[[int, int], None] | None]:
    """Yield a hook that draws how many items are done, of how many; None where no display is possible.

    Args:
        items: What is counted, in the plural.
        ending: What happens after the last item.
    """
    drawing = _CountDrawing(items, ending)
    with _live(drawing) as say:
        yield None if say is None else drawing.update
