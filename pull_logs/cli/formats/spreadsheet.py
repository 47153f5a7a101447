"""Answers as CSV with all digits, with formulas escaped as `export` does."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pull_logs.cli.formats.grid import Grid, bare, is_missing, is_number
from pull_logs.cli.render import NOTHING, At, exact, inline


def write_csv(grids: Sequence[Grid]) -> str:
    """Return sections as CSV.

    A single section without notes is one table, with a line of column names first. Several are separated by
    empty lines; each begins with a line of its name and facts, and notes follow its rows, after a `#`.
    """
    shown = [grid for grid in grids if grid.name or grid.notes]
    alone = len(shown) == 1 and bool(shown[0].rows)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    for index, grid in enumerate(shown):
        if index:
            stream.write("\n")
        writer.writerows(map(_harmless, _lines(grid, alone=alone)))
    return stream.getvalue()


def _lines(grid: Grid, *, alone: bool) -> Iterator[Sequence[Any]]:
    if grid.name and not alone:
        yield [f"[{grid.name}]", *(f"{key}={fact}" for key, fact in grid.facts.items())]
    if grid.sentences:
        yield from grid.rows
    elif grid.rows:
        yield from _table(grid)
    if grid.empty and not alone:
        yield [NOTHING]
    yield from ([f"# {note}"] for note in grid.notes)


def _table(grid: Grid) -> Iterator[Sequence[Any]]:
    """Yield the line of names and the rows; a column of values with steps becomes two."""
    stepped = [
        any(isinstance(row[index], At) and row[index].step is not None for row in grid.values)
        for index in range(len(grid.head))
    ]
    names = ([name, f"{name} step"] for name in grid.head)
    yield _flat(zip(names, stepped, strict=True))
    for texts, values in zip(grid.rows, grid.values, strict=True):
        yield _flat(
            ([_data(text, value), _data("", value.step) if isinstance(value, At) else ""], with_step)
            for text, value, with_step in zip(texts, values, stepped, strict=True)
        )


def _flat(cells: Iterable[tuple[Sequence[Any], bool]]) -> list[Any]:
    return [cell for pair, with_step in cells for cell in pair[: 2 if with_step else 1]]


def _data(text: str, value: Any) -> Any:
    """Return a number with all its digits, a text as it is, and another value as its text shows it."""
    value = bare(value)
    if is_missing(value):
        return text
    if isinstance(value, str):
        return inline(value)
    return _Exact(exact(value)) if is_number(value) else text


class _Exact(str):
    """The digits of a number, which is not a formula."""

    __slots__ = ()


def _harmless(row: Iterable[Any]) -> list[str]:
    from pull_logs.snapshot import escape_formula

    return [text if isinstance(text, _Exact) else escape_formula(text) for text in row]
