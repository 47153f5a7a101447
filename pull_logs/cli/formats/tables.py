"""Answers as aligned tables for a terminal, drawn by `rich`."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD, Box
from rich.cells import cell_len
from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from pull_logs.cli.formats.grid import Grid
from pull_logs.cli.formats.layout import GAP, Block, Widths, arrange_columns, may_turn, measure, turned
from pull_logs.cli.formats.tones import Tone, tones_of
from pull_logs.cli.render import NOTHING

if TYPE_CHECKING:
    from pull_logs.cli.formats.terminal import Terminal

STYLES: Mapping[Tone, Style] = {
    "good": Style(color="color(32)"),
    "bad": Style(color="color(166)", bold=True),
}
"""Blue and vermilion, which differ for any colour vision and are legible on black and on white."""

_TITLE = Style(bold=True)
_NOTE = "# "
_PLAIN = Style()
_ASCII_HEAD = Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)


def draw_tables(grids: Iterable[Grid], terminal: Terminal) -> str:
    """Return sections as tables that fit the width of a terminal."""
    stream = io.StringIO()
    console = Console(
        file=stream,
        width=terminal.width,
        color_system="256" if terminal.colour else None,
        force_terminal=terminal.colour,
        no_color=not terminal.colour,
        legacy_windows=False,
        markup=False,
        emoji=False,
        highlight=False,
        soft_wrap=False,
        _environ={},
    )
    for index, grid in enumerate(grids):
        if index and grid.name:
            console.print()
        for part in _parts(grid, terminal):
            console.print(part, overflow="fold")
    return "".join(f"{line.rstrip()}\n" for line in stream.getvalue().splitlines())


def _parts(grid: Grid, terminal: Terminal) -> Iterator[Text | Table]:
    if grid.name:
        title = Text().append(grid.name, style=_TITLE)
        for key, fact in grid.facts.items():
            title.append(f"  {_shown(key, terminal)}={_shown(fact, terminal)}")
        yield title
    if grid.sentences:
        mark = "" if grid.name else _NOTE
        yield from (Text(mark + _shown(row[0], terminal)) for row in grid.rows)
    elif grid.rows:
        yield from _tables(grid, terminal)
    if grid.empty:
        yield Text(NOTHING)
    yield from (Text(_NOTE + _shown(note, terminal)) for note in grid.notes)


def _shown(text: str, terminal: Terminal) -> str:
    """Return text as the encoding of the terminal has it, so that its width is what is measured."""
    if terminal.unicode:
        return text
    return text.encode(terminal.encoding, "pull_logs.json_escapes").decode(terminal.encoding)


def _tables(grid: Grid, terminal: Terminal) -> Iterator[Text | Table]:
    blocks = arrange_columns(grid, _measures(grid), terminal.width)
    tones = tones_of(grid)
    if len(blocks) > 1 and may_turn(grid):
        grid = turned(grid)
        tones = [[None, *column] for column in list(zip(*tones, strict=True))[1:]]
        blocks = arrange_columns(grid, _measures(grid), terminal.width)
    for index, block in enumerate(blocks):
        if index:
            yield Text()
        yield _table(grid, block, tones, terminal)


def _measures(grid: Grid) -> list[Widths]:
    return [
        measure(
            widest=max((cell_len(row[index]) for row in grid.rows), default=0),
            name=0 if grid.headless else cell_len(name),
            numeric=grid.numeric[index],
        )
        for index, name in enumerate(grid.head)
    ]


def _table(grid: Grid, block: Block, tones: Sequence[Sequence[Tone | None]], terminal: Terminal) -> Table:
    table = Table(
        box=SIMPLE_HEAD if terminal.unicode else _ASCII_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, GAP - 1, 0, 0),
        show_header=not grid.headless,
        header_style=_TITLE,
    )
    for index, width in zip(block.columns, block.widths, strict=True):
        table.add_column(
            Text(grid.head[index], overflow="fold"),
            width=width,
            justify="right" if grid.numeric[index] else "left",
            overflow="fold",
        )
    for row, colours in zip(grid.rows, tones, strict=True):
        table.add_row(*(_cell(row[index], colours[index]) for index in block.columns))
    return table


def _cell(text: str, tone: Tone | None) -> Text:
    return Text(text, style=_PLAIN if tone is None else STYLES[tone], overflow="fold")
