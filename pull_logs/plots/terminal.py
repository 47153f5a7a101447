"""A plot of text: 80 columns of plain characters, for a terminal as for a program that reads text.

Each line is drawn with a letter of its own, so that no colour is needed, and the band of a group with dots.
That, and the bound on its size, is why it is drawn here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pull_logs.frames import Floats
from pull_logs.plots.lines import Line, Panel, PlotOptions, diverged
from pull_logs.rows.canonical import STEP
from pull_logs.suggestions import counted

WIDTH, HEIGHT = 80, 24
_LABELS = 10
Cells: TypeAlias = npt.NDArray[np.int64]

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_IN_LEGEND = 6
_LARGEST = math.log(np.finfo(np.float64).max)
_MARKS = {"nan": "x", "inf": "^", "-inf": "v"}


def draw_text(panel: Panel, options: PlotOptions, *, width: int = WIDTH, height: int = HEIGHT) -> str:
    """Return a metric as lines of text; the last ones say which letter is which run.

    Args:
        panel: The metric.
        options: How it is drawn.
        width: The columns of the text.
        height: The most lines of the text.
    """
    named = list(zip(panel.lines, _letters(len(panel.lines)), strict=True))
    legend = _legend(named, width)
    rows = max(height - len(legend) - 4, 4)
    plot = _Plot([line for line, _ in named], options, columns=width - _LABELS - 1, rows=rows)
    for line, _ in reversed(named):
        plot.draw_band(line)
    for line, letter in reversed(named):
        plot.draw_line(line, letter)
    for line, _ in named:
        plot.draw_marks(line)
    x = options.x.removeprefix("_") if options.x == STEP else options.x
    title = f"{_plain(panel.metric, width - 30)} over {_plain(x, 20)}"
    return "\n".join(line.rstrip() for line in [title, *plot.text(), *legend]) + "\n"


def _letters(count: int) -> Sequence[str]:
    """Return a letter for each line; after the last one they start again."""
    return [_LETTERS[index % len(_LETTERS)] for index in range(count)]


def _legend(named: Sequence[tuple[Line, str]], width: int) -> list[str]:
    """Return which letter is which line, and what else is drawn."""
    shown = [
        f"{letter} {line.name}" if letter == line.key else f"{letter} {line.key} {line.name}"
        for line, letter in named
    ]
    rows = [_plain(text, width) for text in shown[:_IN_LEGEND]]
    if len(shown) > _IN_LEGEND:
        half = (width - 2) // 2
        pairs = [_plain(text, half) for text in shown]
        rows = [
            f"{pairs[index]:<{half}}  {pairs[index + 1] if index + 1 < len(pairs) else ''}"
            for index in range(0, min(len(pairs), 2 * _IN_LEGEND), 2)
        ]
        more = len(shown) - 2 * _IN_LEGEND
        if more > 0:
            rows.append(f"and {counted(more, 'more line')}")
    kinds = {kind for line, _ in named for kind, _ in line.marks}
    notes = [f"{_MARKS[kind]} {kind}" for kind in ("nan", "inf", "-inf") if kind in kinds]
    if any(line.low is not None for line, _ in named):
        notes.append(". mean +- one standard deviation")
    beyond = diverged([line for line, _ in named])
    if beyond:
        notes.append(f"beyond the axis: {' '.join(letter for line, letter in named if line in beyond)}")
    return [*rows, *([_plain(", ".join(notes), width)] if notes else [])]


def _plain(text: str, width: int) -> str:
    """Return a text of a run on one line, in printable characters."""
    shown = "".join(character if character.isprintable() else "?" for character in text)
    return shown if len(shown) <= width else f"{shown[: max(width - 3, 0)]}..."


class _Plot:
    """The characters of a plot."""

    def __init__(self, lines: Sequence[Line], options: PlotOptions, *, columns: int, rows: int) -> None:
        self._columns, self._rows = columns, rows
        self._log_x, self._log_y = options.log_x, options.log_y
        places = [place for line in lines for place in (line.x, *(x for _, x in line.marks))]
        self._x = _ends(places, log=self._log_x)
        beyond = diverged(lines)
        followed = [line for line in lines if line not in beyond]
        bands = [band for line in followed for band in (line.low, line.high) if band is not None]
        self._y = _ends([*(line.y for line in followed), *bands], log=self._log_y)
        self._cells = [[" "] * columns for _ in range(rows)]

    def draw_line(self, line: Line, letter: str) -> None:
        """Draw a line; of each column, all rows from its least to its greatest value."""
        columns, rows = self._places(line.x, line.y)
        before: tuple[int, int] | None = None
        for column in np.unique(columns):
            here = rows[columns == column]
            low, high, first, last = int(here.min()), int(here.max()), int(here[0]), int(here[-1])
            if before is not None:
                self._join(before, (int(column), first), letter)
            for row in range(low, high + 1):
                self._cells[row][int(column)] = letter
            before = int(column), last

    def draw_band(self, line: Line) -> None:
        """Draw the band of a group."""
        if line.low is None or line.high is None:
            return
        known = np.isfinite(line.low) & np.isfinite(line.high)
        x, low, high = line.x[known], line.low[known], line.high[known]
        columns = self._scaled(x, self._x, self._columns, log=self._log_x)
        if not len(columns):
            return
        for column in range(max(int(columns[0]), 0), int(columns[-1]) + 1):
            at = self._value(self._x, (column + 0.5) / self._columns, log=self._log_x)
            ends = [self._clipped_row(float(np.interp(at, x, band))) for band in (low, high)]
            for row in range(min(ends), max(ends) + 1):
                self._cells[row][column] = "."

    def _clipped_row(self, value: float) -> int:
        """Return the row of a value; the first or the last one for a value outside of the axis."""
        low, high = (math.exp(min(end, _LARGEST)) if self._log_y else end for end in self._y)
        inside = np.array([min(max(value, low), high)])
        height = int(self._scaled(inside, self._y, self._rows, log=self._log_y)[0])
        return self._rows - 1 - max(height, 0)

    def draw_marks(self, line: Line) -> None:
        """Mark values that are not finite, at the top or the bottom."""
        for kind, positions in line.marks:
            row = 0 if kind == "inf" else self._rows - 1
            scaled = self._scaled(positions, self._x, self._columns, log=self._log_x)
            for column in np.unique(scaled[scaled >= 0]).tolist():
                self._cells[row][column] = _MARKS[kind]

    def text(self) -> list[str]:
        """Return the plot with its axes."""
        lines = []
        step = max(self._rows // 5, 1)
        for row, cells in enumerate(self._cells):
            above = self._rows - 1 - row
            shown = above == 0 or (row % step == 0 and above >= step)
            value = self._value(self._y, above / max(self._rows - 1, 1), log=self._log_y)
            lines.append(f"{_number(value) if shown else '':>{_LABELS - 1}} |{''.join(cells)}")
        lines.append(" " * _LABELS + "+" + "-" * self._columns)
        ends = [_number(self._value(self._x, share, log=self._log_x)) for share in (0, 0.5, 1)]
        space = self._columns - sum(map(len, ends))
        axis = ends[0] + " " * (space // 2) + ends[1] + " " * (space - space // 2) + ends[2]
        lines.append(" " * (_LABELS + 1) + axis)
        return lines

    def _places(self, x: Floats, y: Floats) -> tuple[Cells, Cells]:
        """Return the column and row of each point that is inside of the axes."""
        columns = self._scaled(x, self._x, self._columns, log=self._log_x)
        heights = self._scaled(y, self._y, self._rows, log=self._log_y)
        kept = (columns >= 0) & (heights >= 0)
        return columns[kept], self._rows - 1 - heights[kept]

    @staticmethod
    def _scaled(values: Floats, ends: tuple[float, float], count: int, *, log: bool) -> Cells:
        """Return the index of the cell of each value; -1 where it has none."""
        with np.errstate(divide="ignore", invalid="ignore"):
            scaled = np.log(values) if log else values
            share = (scaled / 2 - ends[0] / 2) / (ends[1] / 2 - ends[0] / 2)
        there = np.isfinite(share) & (share >= -1e-9) & (share <= 1 + 1e-9)
        return np.where(there, np.clip(np.where(there, share, 0) * count, 0, count - 1), -1).astype(np.int64)

    @staticmethod
    def _value(ends: tuple[float, float], share: float, *, log: bool) -> float:
        at = ends[0] * (1 - share) + ends[1] * share
        return math.exp(min(at, _LARGEST)) if log else at

    def _join(self, start: tuple[int, int], end: tuple[int, int], letter: str) -> None:
        """Draw from one cell to another, in a later column."""
        for column in range(start[0] + 1, end[0]):
            share = (column - start[0]) / (end[0] - start[0])
            self._cells[round(start[1] + (end[1] - start[1]) * share)][column] = letter


def _ends(arrays: Sequence[Floats], *, log: bool) -> tuple[float, float]:
    """Return the least and the greatest finite value, or around them where they are the same."""
    values = np.concatenate([np.empty(0), *arrays])
    values = values[np.isfinite(values)]
    if log:
        values = np.log(values[values > 0])
    if not len(values):
        return (0.0, 1.0)
    low, high = float(values.min()), float(values.max())
    if low == high:
        pad = abs(low) / 10 or 1.0
        return (low - pad, high + pad)
    return (low, high)


def _number(value: float) -> str:
    text = f"{value:.4g}"
    return text if len(text) < _LABELS else f"{value:.2g}"
