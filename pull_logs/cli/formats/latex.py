"""Answers as LaTeX tables with the rules of the `booktabs` package, for papers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from pull_logs.cli.formats.grid import Grid
from pull_logs.cli.formats.markdown import title
from pull_logs.cli.render import NOTHING, inline

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\char34{}",
    "'": r"\char39{}",
    "`": r"\char96{}",
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
}
r"""Characters that LaTeX acts on; `\\` takes a bracket or a star of the next row."""

_LIGATURE = re.compile("-(?=-)|,(?=,)")

_NUMBER = re.compile(r"(-?)(\d+(?:\.\d+)?)(?:e([+-]?)0*(\d+))?")


def latex_text(text: str) -> str:
    """Return text on one line that LaTeX prints as it is."""
    shown = "".join(_ESCAPES.get(character, character) for character in inline(text))
    return _LIGATURE.sub(r"\g<0>{}", shown)


def write_latex(grids: Iterable[Grid]) -> str:
    """Return sections as LaTeX: a table for each, and notes as comments."""
    lines = [r"% The tables need \usepackage{booktabs}."]
    for grid in grids:
        lines += ["", *_lines(grid)]
    return "\n".join(lines) + "\n"


def _lines(grid: Grid) -> Iterator[str]:
    if grid.rows and not grid.sentences:
        yield from _table(grid)
    elif grid.name:
        yield f"% {title(grid.name)}{f': {NOTHING}' if grid.empty else ''}"
    for sentence in [*(row[0] for row in grid.rows if grid.sentences), *grid.notes]:
        yield f"% {inline(sentence)}"


def _table(grid: Grid) -> Iterator[str]:
    facts = ", ".join(f"{key} {fact}" for key, fact in grid.facts.items())
    caption = f"{title(grid.name)}: {facts}" if facts else title(grid.name)
    yield r"\begin{table}"
    yield r"\centering"
    yield rf"\caption{{{latex_text(caption)}}}"
    yield rf"\begin{{tabular}}{{{''.join('r' if numeric else 'l' for numeric in grid.numeric)}}}"
    yield r"\toprule"
    yield _row([latex_text(name) for name in grid.head])
    yield r"\midrule"
    for row in grid.rows:
        cells = zip(row, grid.numeric, strict=True)
        yield _row([_number(text) if numeric else latex_text(text) for text, numeric in cells])
    yield r"\bottomrule"
    yield r"\end{tabular}"
    yield r"\end{table}"


def _row(cells: Sequence[str]) -> str:
    return rf"{' & '.join(cells)} \\"


def _number(text: str) -> str:
    """Return a number with a minus sign and powers of ten; what is not one, such as a range, as text."""
    found = _NUMBER.fullmatch(text)
    if found is None:
        return latex_text(text)
    sign, digits, minus, power = found.groups()
    if power is None:
        return f"${sign}{digits}$" if sign else digits
    return rf"${sign}{digits}\times10^{{{'-' if minus == '-' else ''}{power}}}$"
