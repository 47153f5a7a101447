"""A section as a grid of texts, which is what every format but the text of pipes is drawn from.

A cell has the text that a pipe gets, without the quotes that only a program needs. Text of runs is harmless
for terminals then (`pull_logs.cli.render.inline`); each format escapes what else is special in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pull_logs.cli.render import ABSENT, NONFINITE, At, FittedGroup, Section, Span, inline, shown_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A section of an answer.

    Attributes:
        name: Its name; empty for notes without a section.
        facts: What its heading says.
        head: The names of the columns.
        rows: The texts of the cells.
        values: The values of the cells.
        numeric: Which columns have numbers alone.
        notes: Sentences after the rows.
        headless: Whether the names of the columns say nothing, as in the config of one run.
        sentences: Whether the rows are sentences and not cells.
        columns: Whether the section has columns, so that no rows means that there is nothing.
    """

    name: str
    facts: Mapping[str, str]
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    values: Sequence[Sequence[Any]]
    numeric: Sequence[bool]
    notes: Sequence[str]
    headless: bool
    sentences: bool
    columns: bool

    @property
    def empty(self) -> bool:
        """Whether the section was asked for and has nothing."""
        return bool(self.name and self.columns and not (self.rows or self.notes))


def grids_of(group: FittedGroup, *, exact: bool = False) -> Iterator[Grid]:
    """Yield the sections of one name; what a budget cut of them is a note of the last.

    Args:
        group: The sections.
        exact: Whether numbers are what they are, and not what they are shown as.
    """
    cut = [f"cut to {inline(group.cut)}"] if group.cut else []
    for index, section in enumerate(group.sections):
        rows = section.rows if exact else shown_rows(section, group.digits)
        yield _grid(section, rows, cut if index == len(group.sections) - 1 else [])


def _grid(section: Section, rows: Sequence[Sequence[Any]], cut: Sequence[str]) -> Grid:
    used = _used(section)
    columns = [section.columns[index] for index in used]
    values = [[row[index] for index in used] for row in rows]
    return Grid(
        name=section.name,
        facts={key: inline(str(fact)) for key, fact in section.facts.items() if fact is not None},
        head=[inline(column.name) for column in columns],
        rows=[
            ["" if value is None and section.layout == "legend" else readable(column.show(value), value)
             for column, value in zip(columns, row, strict=True)]
            for row in values
        ],
        values=values,
        numeric=[_is_numeric([row[index] for row in values]) for index in range(len(columns))],
        notes=[*map(inline, section.notes), *cut],
        headless=section.layout == "records",
        sentences=section.layout == "sentences",
        columns=bool(section.columns),
    )  # fmt: skip


def _used(section: Section) -> list[int]:
    """Return the columns to show; of a legend, those that any row has a value for."""
    every = range(len(section.columns))
    if section.layout != "legend":
        return list(every)
    return [index for index in every if any(row[index] is not None for row in section.rows)]


def readable(shown: str, value: Any) -> str:
    """Return the text of a cell without its quotes, where they do not distinguish it from another value."""
    if not isinstance(bare(value), str) or not shown.startswith('"'):
        return shown
    try:
        text = json.loads(shown)
    except ValueError:  # it goes on after the quotes
        return shown
    if text != text.strip() or not text or text.startswith('"') or _is_json(text):
        return shown
    return inline(text)


def _is_json(text: str) -> bool:
    """Whether a text looks like a number, a list or another value that is not a text."""
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def bare(value: Any) -> Any:
    """Return a value without its step."""
    return value.value if isinstance(value, At) else value


def is_number(value: Any) -> bool:
    """Whether a cell is a number, or a range of numbers."""
    value = bare(value)
    return (isinstance(value, (int, float, Span)) and not isinstance(value, bool)) or is_nonfinite(value)


def is_nonfinite(value: Any) -> bool:
    """Whether a cell is a number that is not finite."""
    value = bare(value)
    return isinstance(value, str) and value in NONFINITE


def is_missing(value: Any) -> bool:
    """Whether a cell has no value."""
    return bare(value) in (None, ABSENT)


def _is_numeric(values: Sequence[Any]) -> bool:
    found = [value for value in values if not is_missing(value)]
    return bool(found) and all(map(is_number, found))
