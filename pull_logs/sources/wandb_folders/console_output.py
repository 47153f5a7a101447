"""The console log of a run, from the pieces of text in its log: what a terminal shows of them, line by line.

W&B gives stdout and stderr a screen each, and numbers the lines of both in the order in which they begin. A
carriage return goes to the start of the line, and `ESC [ A` and `ESC [ B` go up and down, so that a progress
bar is one line and not hundreds. Other escape sequences stay in the text. Of all lines, the last 32 can still
change. See docs/protocol.md, "Console logs".
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from typing import Literal

from pull_logs.snapshot.format import ConsoleLine

Stream = Literal["stdout", "stderr"]

CHANGEABLE = 32
"""The lines that can still change, and the height of the screen of stdout."""

_HEIGHTS = {"stdout": CHANGEABLE, "stderr": 4096}
_LEVELS = {"stdout": "", "stderr": "error"}

MAX_CHARACTERS = 2**20
"""The characters of a line that are kept; W&B keeps 4,096."""

_TOKEN = re.compile(r"\r|\n|\x1b\[[AB]|\x1b\[.|\x1b[^\[]|[^\r\n\x1b]+", re.DOTALL)
_UNFINISHED = re.compile(r"\x1b\[?\Z")


class _Line:
    """A line that can still change.

    Attributes:
        number: Its number.
        level: The level of its stream.
        timestamp: When it began.
        final: Whether it was emitted, so that it no longer changes.
    """

    def __init__(self, number: int, level: str, timestamp: str | None) -> None:
        self.number, self.level, self.timestamp = number, level, timestamp
        self.final = False
        self._parts: list[str] = []
        self._length = 0

    @property
    def text(self) -> str:
        """What it shows."""
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0] if self._parts else ""

    def put(self, text: str, column: int) -> None:
        """Write text over what is at a column."""
        text = text[: max(0, MAX_CHARACTERS - column)]
        if not text:
            return
        if column > self._length:
            self._parts.append(" " * (column - self._length))
            self._length = column
        if column < self._length:
            known = self.text
            self._parts = [known[:column], text, known[column + len(text) :]]
        else:
            self._parts.append(text)
        self._length = max(self._length, column + len(text))


class _Screen:
    """The screen of one stream: the lines that its cursor reaches."""

    def __init__(self, height: int, begin: Callable[[str | None], _Line]) -> None:
        self._height, self._begin = height, begin
        self._lines: deque[_Line] = deque()
        self._row = self._column = 0
        self._unfinished = ""

    def write(self, text: str, timestamp: str | None) -> None:
        """Show text; an escape sequence may be divided between two texts."""
        text = self._unfinished + text
        found = _UNFINISHED.search(text)
        # The second of two escape characters is text, and begins no sequence.
        if found is not None and _ends_with_escape(text, found.start()):
            self._unfinished, text = text[found.start() :], text[: found.start()]
        else:
            self._unfinished = ""
        for part in _TOKEN.findall(text):
            if part == "\n":
                self._column = 0
                self._down()
            elif part == "\r":
                self._column = 0
            elif part == "\x1b[A":
                self._row = max(0, self._row - 1)
            elif part == "\x1b[B":
                self._down()
            else:
                self._put(part, timestamp)

    def _down(self) -> None:
        self._row += 1
        if self._row >= self._height:
            if self._lines:
                self._lines.popleft()
            self._row -= 1

    def _put(self, text: str, timestamp: str | None) -> None:
        while self._row >= len(self._lines):
            self._lines.append(self._begin(timestamp))
        line = self._lines[self._row]
        if not line.final:
            line.put(text, self._column)
        self._column += len(text)


def _ends_with_escape(text: str, start: int) -> bool:
    """Return whether the escape character at `start` begins a sequence, and is not the end of one."""
    position = 0
    for match in _TOKEN.finditer(text):
        position = match.end()
        if match.start() <= start < position:
            return match.start() == start
    return True


class ConsoleOutput:
    """Makes the lines of a console log from the pieces of text that a run printed.

    Args:
        emit: Takes each line in order, once it can no longer change.
    """

    def __init__(self, emit: Callable[[ConsoleLine], None]) -> None:
        self._emit = emit
        self._recent: deque[_Line] = deque()
        self._next = 0
        self._screens = {
            stream: _Screen(height, self._beginner(_LEVELS[stream])) for stream, height in _HEIGHTS.items()
        }

    def write(self, stream: Stream, text: str, timestamp: str | None) -> None:
        """Add a piece of text.

        Args:
            stream: Where it was printed.
            text: The text.
            timestamp: When it was printed.
        """
        self._screens[stream].write(text, timestamp)

    def close(self) -> None:
        """Emit the lines that could still change."""
        while self._recent:
            self._finish(self._recent.popleft())

    def _beginner(self, level: str) -> Callable[[str | None], _Line]:
        def begin(timestamp: str | None) -> _Line:
            line = _Line(self._next, level, timestamp)
            self._next += 1
            self._recent.append(line)
            if len(self._recent) > CHANGEABLE:
                self._finish(self._recent.popleft())
            return line

        return begin

    def _finish(self, line: _Line) -> None:
        line.final = True
        self._emit(
            ConsoleLine(number=line.number, text=line.text, timestamp=line.timestamp, level=line.level)
        )
