"""Where the columns of a table are put on a screen that is too narrow for all of them.

Texts are wrapped as far as they stay readable. What does not fit then continues in further blocks below,
each with the columns that identify a row, so that nothing is left out; a table of one or two rows is turned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pull_logs.cli.formats.grid import Grid

GAP = 2
"""The spaces between columns."""

_READABLE = 24
"""Texts are not wrapped into a narrower column while others can go to another block."""

_READABLE_NAME = 14
"""The same for the name of a column."""

_TIGHT = 16
_TIGHT_NAME = 9
"""The same where that saves a block."""

_LEAST = 6
_MOST_KEYS = 3
_FEW_ROWS = 2


@dataclass(frozen=True, slots=True)
class Block:
    """Columns of a table that fit side by side.

    Attributes:
        columns: Their indexes.
        widths: Their widths.
    """

    columns: Sequence[int]
    widths: Sequence[int]


@dataclass(frozen=True, slots=True)
class Widths:
    """The widths that a column may have.

    Attributes:
        natural: What its longest cell takes.
        readable: The least for others that could go to another block.
        tight: The least where that saves a block.
        least: The least of all.
    """

    natural: int
    readable: int
    tight: int
    least: int


def arrange_columns(grid: Grid, measures: Sequence[Widths], width: int) -> list[Block]:
    """Return the blocks of a table.

    Args:
        grid: The table.
        measures: The widths of its columns.
        width: The width of the screen.
    """
    every = list(range(len(measures)))
    if (widths := _fit(every, measures, width)) is not None:
        return [Block(every, widths)]
    tight = [replace(item, readable=item.tight) for item in measures]
    if (widths := _fit(every, tight, width)) is not None:
        return [Block(every, widths)]
    keys = _keys(grid, measures, width)
    blocks: list[Block] = []
    columns: list[int] = []
    for column in every[len(keys) :]:
        if columns and _fit([*keys, *columns, column], measures, width) is None:
            blocks.append(_block([*keys, *columns], measures, width))
            columns = []
        columns.append(column)
    return [*blocks, _block([*keys, *columns], measures, width)]


def turned(grid: Grid) -> Grid:
    """Return a table of few rows with its columns as rows."""
    names, *others = zip(grid.head, *grid.rows, strict=True)
    _, *values = zip([None] * len(grid.head), *grid.values, strict=True)
    return replace(
        grid,
        head=list(names),
        rows=[list(texts) for texts in others],
        values=[list(row) for row in values],
        numeric=[False, *[all(grid.numeric[1:])] * len(grid.rows)],
    )


def may_turn(grid: Grid) -> bool:
    """Whether a table has so few rows that they can be columns."""
    return len(grid.rows) <= _FEW_ROWS and len(grid.head) > len(grid.rows) + 1


def _keys(grid: Grid, measures: Sequence[Widths], width: int) -> list[int]:
    """Return the first columns, which no two rows have in common, as far as they leave space for others."""
    most = min(_MOST_KEYS, len(grid.head) - 1)
    distinct = (count for count in range(1, most) if _identify(grid, count))
    count = next(distinct, max(most, 1))
    while count > 1 and sum(measures[index].least + GAP for index in range(count)) > width // 2:
        count -= 1
    return list(range(count))


def _identify(grid: Grid, count: int) -> bool:
    """Whether no two rows have the same first cells."""
    return len({tuple(row[:count]) for row in grid.rows}) == len(grid.rows)


def _fit(columns: Sequence[int], measures: Sequence[Widths], width: int) -> list[int] | None:
    """Return the widths of columns that fit and stay readable, or None."""
    chosen = [measures[index] for index in columns]
    space = width - GAP * (len(columns) - 1)
    if sum(item.readable for item in chosen) > space:
        return None
    return _levelled([(item.readable, item.natural) for item in chosen], space)


def _block(columns: Sequence[int], measures: Sequence[Widths], width: int) -> Block:
    widths = _fit(columns, measures, width)
    if widths is None:
        space = max(width - GAP * (len(columns) - 1), len(columns))
        chosen = [(measures[index].least, measures[index].natural) for index in columns]
        if sum(least for least, _ in chosen) > space:
            chosen = [(min(_LEAST, natural, space // len(columns)), natural) for _, natural in chosen]
        widths = _levelled(chosen, space)
    return Block(columns, widths)


def _levelled(bounds: Sequence[tuple[int, int]], space: int) -> list[int]:
    """Return widths between a least and a natural one that use the space: the widest are cut first."""
    low, high = 1, max((natural for _, natural in bounds), default=1)
    while low < high:
        level = (low + high + 1) // 2
        if sum(max(least, min(natural, level)) for least, natural in bounds) <= space:
            low = level
        else:
            high = level - 1
    return [max(least, min(natural, low)) for least, natural in bounds]


def measure(*, widest: int, name: int, numeric: bool) -> Widths:
    """Return the widths of a column.

    Args:
        widest: The cells that its longest value takes.
        name: The cells that its name takes.
        numeric: Whether it has numbers, which are not wrapped.
    """
    natural = max(widest, name, 1)
    readable = max(widest if numeric else min(widest, _READABLE), min(name, _READABLE_NAME), 1)
    tight = max(widest if numeric else min(widest, _TIGHT), min(name, _TIGHT_NAME), 1)
    least = max(widest if numeric else min(widest, _LEAST), min(name, _LEAST), 1)
    return Widths(natural, readable, tight, least)
