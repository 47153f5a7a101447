"""What the terminal, or the reader of a pipe, can show: its width, colours and characters."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TextIO

_DEFAULT_WIDTH = 80
_LEAST_WIDTH = 20


@dataclass(frozen=True, slots=True)
class Terminal:
    """A terminal.

    Attributes:
        width: Its columns.
        colour: Whether it is sent colours.
        encoding: What its characters are encoded with.
    """

    width: int
    colour: bool
    encoding: str = "utf-8"

    @property
    def unicode(self) -> bool:
        """Whether it shows every character."""
        return codecs.lookup(self.encoding).name.startswith("utf")


def is_terminal(stream: TextIO) -> bool:
    """Whether a stream leads to a terminal."""
    try:
        return stream.isatty()
    except ValueError:  # it is closed
        return False


def this_terminal() -> Terminal:
    """Return what stdout can show."""
    return Terminal(
        width=max(_width(os.environ), _LEAST_WIDTH),
        colour=wants_colour(os.environ, terminal=is_terminal(sys.stdout)),
        encoding=sys.stdout.encoding or "utf-8",
    )


def _width(environ: Mapping[str, str]) -> int:
    """Return COLUMNS, or the width of the terminal that stdout, stderr or stdin leads to."""
    if (given := environ.get("COLUMNS", "")).isdecimal() and int(given):
        return int(given)
    for stream in (sys.stdout, sys.stderr, sys.stdin):
        with suppress(AttributeError, OSError, ValueError):  # it is closed, or not a terminal
            if columns := os.get_terminal_size(stream.fileno()).columns:
                return columns
    return _DEFAULT_WIDTH


def wants_colour(environ: Mapping[str, str], *, terminal: bool) -> bool:
    """Whether colours are shown: NO_COLOR before FORCE_COLOR before TERM=dumb, as Python decides it.

    Args:
        environ: The environment.
        terminal: Whether stdout is a terminal.
    """
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR"):
        return True
    return terminal and environ.get("TERM") != "dumb"
