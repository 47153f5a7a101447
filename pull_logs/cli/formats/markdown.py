"""Answers as GitHub Markdown, for comments on pull requests and pages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from pull_logs.cli.formats.grid import Grid
from pull_logs.cli.render import NOTHING, inline

_SPECIAL = re.compile(r"([\\`*_\[\]#|~])")
_AUTOMATIC = re.compile(r"@(?=\w)|#(?=\d)|:(?=//)|:(?!(?:min|max):)(?=[\w+-]+:)|www(?=\.)")
"""What GitHub makes a mention, a reference, a link or an emoji of, without a zero-width space after it."""

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "$": "&#36;"}
_ENTITY = re.compile("[&<>$]")


def markdown_text(text: str) -> str:
    """Return text on one line that Markdown shows as it is: no link, image, mention, tag or cell border."""
    shown = _SPECIAL.sub(r"\\\1", inline(text))
    shown = _ENTITY.sub(lambda found: _ENTITIES[found[0]], shown)
    return _AUTOMATIC.sub(lambda found: f"{found[0]}\u200b", shown)


def write_markdown(grids: Iterable[Grid]) -> str:
    """Return sections as Markdown: a heading, a table and notes for each."""
    return "\n".join(line for grid in grids for line in _lines(grid)).strip("\n") + "\n"


def _lines(grid: Grid) -> Iterator[str]:
    if grid.name:
        yield from (f"### {title(grid.name)}", "")
    if grid.facts:
        yield ", ".join(f"{markdown_text(key)}: {markdown_text(fact)}" for key, fact in grid.facts.items())
        yield ""
    if grid.sentences:
        for row in grid.rows:
            yield from (_sentence(row[0]), "")
    elif grid.rows:
        yield from _table(grid)
        yield ""
    if grid.empty:
        yield from (NOTHING, "")
    for note in grid.notes:
        yield f"- {_sentence(note)}"
    if grid.notes:
        yield ""


def title(name: str) -> str:
    """Return the name of a section as a title."""
    return name.replace("_", " ").capitalize()


def _sentence(text: str) -> str:
    """Return a sentence that does not begin a list or a heading."""
    text = markdown_text(text)
    return re.sub(r"^([-+=]|\d+(?=[.)]))", lambda found: f"{found[0]}\u200b", text)


def _table(grid: Grid) -> Iterator[str]:
    yield _row(grid.head)
    yield f"|{'|'.join('---:' if numeric else '---' for numeric in grid.numeric)}|"
    yield from map(_row, grid.rows)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(markdown_text, cells))} |"
