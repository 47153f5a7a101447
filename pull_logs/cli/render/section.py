"""A section of a text answer: a heading with facts, rows under columns, and notes.

A command turns its answer into a list of sections (`pull_logs.cli.sections`), and `pull_logs.cli.render.text`
writes them. Rows hold plain values: they are cut before they become text, so a cut never meets a half-written
cell, and a value never depends on the names of an answer's members.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from pull_logs.cli.render.budget import REMEDY
from pull_logs.cli.render.cells import cell

REQUESTED = 12
"""The weight of a section that an option requests: twice that of the legend of runs."""

SECONDS = frozenset({"_runtime", "_wandb.runtime"})
"""The metrics and summary keys of W&B that are seconds."""

Layout: TypeAlias = Literal["table", "records", "legend", "sentences"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a section.

    Attributes:
        name: Its name.
        show: The function that makes text of its values.
    """

    name: str
    show: Callable[[Any], str] = cell


def columns(*names: str, **shows: Callable[[Any], str]) -> list[Column]:
    """Return columns by name, with the functions of those that are not shown by `cell`."""
    return [Column(name, shows.get(name, cell)) for name in names]


def run_columns(labels: Sequence[str], show: Callable[[Any], str] = cell) -> list[Column]:
    """Return a column for each run."""
    return [Column(label, show) for label in labels]


@dataclass(frozen=True, slots=True, kw_only=True)
class Nouns:
    """What a note about a cut calls the parts of a section.

    Attributes:
        rows: Its rows.
        columns: Its columns that can be cut, and `uncut` of the others.
        sections: Sections of one name, of which there is one for each run or metric.
        uncut: How many of the columns that are never cut are of the same sort, such as the first run of a
            table that has a column for each.
    """

    rows: str = "rows"
    columns: str = "columns"
    sections: str = "runs"
    uncut: int = 0


class ColumnRows(Sequence[list[Any]]):
    """The rows of columns of values, made when they are used: of thousands of rows, a text shows a few."""

    __slots__ = ("_columns",)

    def __init__(self, columns: Sequence[Sequence[Any]]) -> None:
        self._columns = columns

    def __len__(self) -> int:
        return len(self._columns[0])

    def __getitem__(self, index: Any) -> Any:
        found = [column[index] for column in self._columns]
        return list(map(list, zip(*found, strict=True))) if isinstance(index, slice) else found

    def __iter__(self) -> Iterator[list[Any]]:
        return map(list, zip(*self._columns, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A section of a text answer.

    Attributes:
        name: What its heading calls it; sections of one name follow each other and are cut together. A
            section without a name has no heading.
        facts: What its heading says; facts that are None are left out.
        columns: Its columns; a section without columns is its heading alone, one without rows has nothing.
        rows: Rows of values, one value per column; the first is a name or a number, which no heading looks
            like.
        notes: Sentences after the rows.
        layout: `table` has a line of column names and a line per row; `records` has a line `name: value` per
            row; `legend` has a line `label name=value ...` per row; `sentences` has a line `# sentence` per
            row.
        kept: How many of the first columns are never cut.
        tail: How many of the last columns are never cut.
        nouns: What a note about a cut calls its parts.
        remedy: What shows the parts that were cut.
        weight: Its part of scarce space, relative to other sections.
        sampled: How many rows there were before sampling, where the rows are a sample; a cut then keeps the
            ends and the extremes, and `rows_shown` and `sampling` of the facts follow it.
        texts: The cells that may be texts, by row or by column, where others need not be read to measure it;
            None where any cell may be one.
        seconds: The metrics, keys or fields whose values are seconds, beside those that are named so.
        on_request: Whether it is shown only where `--section` names it, because other sections have the most
            important parts of it.
    """

    name: str
    facts: Mapping[str, object] = field(default_factory=dict)
    columns: Sequence[Column] = ()
    rows: Sequence[Sequence[Any]] = ()
    notes: Sequence[str] = ()
    layout: Layout = "table"
    kept: int = 1
    tail: int = 0
    nouns: Nouns = field(default_factory=Nouns)
    remedy: str = REMEDY
    weight: int = 1
    sampled: int | None = None
    texts: Sequence[Sequence[Any]] | None = None
    seconds: Collection[str] = SECONDS
    on_request: bool = False
