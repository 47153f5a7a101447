"""Chooses the digits that the numbers of a section are shown with.

A float has six significant digits, and up to twelve where another number of its column, or the number beside
it, is different and would have the same text. A number that was stored in 32 bits has no more digits than
distinguish it from other such numbers. All digits before the point are always shown. Seconds are durations
(`durations`).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, TypeAlias

from pull_logs.cli.render.cells import (
    DIGITS,
    At,
    Shown,
    Span,
    at_cell,
    cell,
    finite_number,
    known,
    short_float,
)
from pull_logs.cli.render.durations import with_durations
from pull_logs.cli.render.section import Section

MOST_DIGITS = 12
"""The digits up to which numbers are distinguished; what differs after them is rounding."""

_MOST_DIGITS_OF_32_BITS = 9
"""The digits that distinguish any two floats of 32 bits."""

_CLOSE = 1.1e-5
"""The relative difference above which two numbers differ in their first six digits."""

_ROUNDED: tuple[Callable[[Any], str], ...] = (cell, known, at_cell)
"""The functions that show rounded numbers."""

Digits: TypeAlias = dict[float, int]
"""The digits of the numbers that need more than six, by number: it has the same text in each cell."""


def shown_rows(section: Section, digits: int | None = None) -> Sequence[Sequence[Any]]:
    """Return the rows of a section, whose floats know the text that they are shown as, seconds as durations.

    Args:
        section: The section.
        digits: The significant digits of floats; None for as many as distinguish them, at least six.
    """
    made = replace(section, rows=list(section.rows))  # they may be made when they are used
    return with_durations(made, _rounded_rows(made, digits), digits)


def _rounded_rows(section: Section, digits: int | None) -> Sequence[Sequence[Any]]:
    rounded = [index for index, column in enumerate(section.columns) if column.show in _ROUNDED]
    if not rounded:
        return section.rows
    if digits is not None:
        return _with_digits(section.rows, frozenset(rounded), digits)
    needed = _distinguish(_groups(section, rounded))
    return _with_needed(section.rows, rounded, needed) if needed else section.rows


def _with_digits(rows: Iterable[Sequence[Any]], rounded: frozenset[int], digits: int) -> list[Sequence[Any]]:
    return [
        [_shown(value, digits) if index in rounded else value for index, value in enumerate(row)]
        for row in rows
    ]


def _with_needed(
    rows: Iterable[Sequence[Any]], rounded: Sequence[int], needed: Mapping[float, int]
) -> list[Sequence[Any]]:
    changed: list[Sequence[Any]] = []
    for row in rows:
        cells = row
        for index in rounded:
            number = finite_number(row[index])
            if number is not None and number in needed:
                cells = list(cells)
                cells[index] = _shown(row[index], needed[number])
        changed.append(cells)
    return changed


def _shown(value: Any, digits: int) -> Any:
    """Return the value of a cell with the text of so many digits."""
    if isinstance(value, At):
        return replace(value, value=_shown(value.value, digits))
    if isinstance(value, Span):
        return Span(_shown(value.low, digits), _shown(value.high, digits))
    return Shown(value, short_float(value, digits)) if isinstance(value, float) else value


def _groups(section: Section, rounded: Sequence[int]) -> list[set[float]]:
    """Return the numbers that are compared with each other: those of a column, and those of a row."""
    groups = [_close(row[index] for row in section.rows) for index in rounded]
    if section.sampled is None:  # the metrics of a row of history are not compared with each other
        groups += [_close(row[index] for index in rounded) for row in section.rows]
    return [group for group in groups if group]


def _close(values: Iterable[Any]) -> set[float]:
    """Return the numbers to which another one is so close that both may have the same six digits."""
    numbers = {number for number in map(finite_number, values) if number is not None}
    close: set[float] = set()
    for one, next_one in pairwise(sorted(numbers)):
        if next_one - one <= _CLOSE * max(abs(one), abs(next_one)):
            close |= {one, next_one}
    return close


def _distinguish(groups: Sequence[set[float]]) -> Digits:
    """Return the digits of the numbers that need more than six.

    A number with the text of one that has fewer digits has the same text with these fewer digits. So after a
    round, in which all numbers are compared, only those that got more digits can have the same text.
    """
    needed: Digits = {}
    while any([_raise_digits(group, needed) for group in groups]):  # noqa: C419 - every group, in each round
        groups = [group & needed.keys() for group in groups]
    return needed


def _raise_digits(group: Iterable[float], needed: Digits) -> bool:
    """Give more digits to numbers that have the text of another one; return whether any has got more."""
    raised = False
    while True:
        texts: dict[str, list[float]] = {}
        for number in group:
            texts.setdefault(short_float(number, needed.get(number, DIGITS)), []).append(number)
        group = [number for same in texts.values() if len(same) > 1 for number in same]
        more = [number for number in group if needed.get(number, DIGITS) < _most_digits(number)]
        if not more:
            return raised
        for number in more:
            needed[number] = needed.get(number, DIGITS) + 1
        raised = True


def _most_digits(number: float) -> int:
    """Return the digits up to which a number is distinguished.

    Of one that was stored in 32 bits, as training code does, these are the digits that distinguish it from
    other such numbers: 0.10000000149 is 0.1.
    """
    try:
        (rounded,) = struct.unpack("f", struct.pack("f", number))
        if rounded != number:
            return MOST_DIGITS
        shortest = (
            digits
            for digits in range(DIGITS, _MOST_DIGITS_OF_32_BITS)
            if struct.unpack("f", struct.pack("f", float(f"{number:.{digits}g}"))) == (number,)
        )
        return next(shortest, _MOST_DIGITS_OF_32_BITS)
    except OverflowError:
        return MOST_DIGITS
