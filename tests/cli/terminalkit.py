"""Runs a command in a pseudo-terminal, and shows the screen as a person sees it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import pyte
from checkout import ROOT


class Terminal:
    """A command in a terminal.

    Attributes:
        screen: What the terminal shows.
        output: Every byte that was written to it.
        code: The exit code, after `finish`.
    """

    def __init__(
        self,
        *words: str | Path,
        columns: int = 80,
        rows: int = 24,
        environment: Mapping[str, str] | None = None,
        program: tuple[str, ...] = ("-m", "pull_logs"),
    ) -> None:
        self.screen: Any = pyte.Screen(columns, rows)
        self.output = b""
        self.code: int | None = None
        self._stream: Any = pyte.ByteStream(self.screen)
        self._main, terminal = pty.openpty()
        self._set_size(columns, rows)

        def attach() -> None:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            signal.signal(signal.SIGINT, signal.SIG_DFL)

        inherited = {"COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"}
        known = {name: value for name, value in os.environ.items() if name not in inherited}
        self._process = subprocess.Popen(
            [sys.executable, *program, *map(str, words)],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env={**known, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **(environment or {})},
            preexec_fn=attach,  # noqa: PLW1509 - the terminal is attached in the child alone
        )
        os.close(terminal)

    def _set_size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._main, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, columns: int, rows: int) -> None:
        """Change the size; lines that are too wide are cut, as by terminals that do not wrap them again."""
        self.screen.resize(rows, columns)
        self._set_size(columns, rows)

    @property
    def lines(self) -> list[str]:
        """The lines of the screen that are not empty."""
        return [line.rstrip() for line in self.screen.display if line.strip()]

    @property
    def text(self) -> str:
        """The screen, one line per row."""
        return "\n".join(self.lines)

    def cursor_hidden(self) -> bool:
        """Whether the cursor is hidden."""
        return bool(self.screen.cursor.hidden)

    def wait_for(self, shown: Callable[[str], bool], *, seconds: float = 60.0) -> str:
        """Return the screen as soon as it is as expected."""
        until = time.monotonic() + seconds
        while not shown(self.text):
            if not self._read(until - time.monotonic()):
                raise AssertionError(f"the screen never was as expected:\n{self.text}")
        return self.text

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._main, keys)

    def finish(self, *, seconds: float = 60.0) -> str:
        """Wait for the end of the command, and return the screen."""
        until = time.monotonic() + seconds
        while self._read(until - time.monotonic()):
            pass
        self.code = self._process.wait(seconds)
        return self.text

    def _read(self, seconds: float) -> bool:
        """Show what is written next; return False at the end, or if nothing comes in time."""
        if seconds <= 0 or not select.select([self._main], [], [], seconds)[0]:
            return False
        try:
            found = os.read(self._main, 65_536)
        except OSError:  # Linux reports the end of the other side as an error
            return False
        self.output += found
        self._stream.feed(found)
        return bool(found)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._main)
