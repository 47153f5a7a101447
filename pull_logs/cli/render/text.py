"""Writes sections as compact text for people and programs, fitted into a token budget.

A section starts with a heading `[NAME] key=value ...` on a line of its own; no other line starts with `[`.
Under it are

    name,name,...           a table: a line of column names, then a line per row, cells separated by commas;
    name: value             records, such as the config of one run, values as JSON;
    LABEL key=value ...     a legend, such as the runs in [RUNS];
    # sentence              what a reader must know: notes, and what a token budget cut;
    (none)                  if the section has nothing.

A cell is empty if there is no value. Text is a JSON string; names are bare if they are one harmless word,
else JSON strings too. Floats have six significant digits, and up to twelve where two that differ would look
the same (see `numbers`; `--json` has all digits). Values of configs have all their digits, because two that
differ must not look the same. Histograms, images and tables are shown as `<histogram>`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from pull_logs.cli.render.budget import NOTHING_LEFT, Shape, check_budget, fit_sections
from pull_logs.cli.render.cells import At
from pull_logs.cli.render.cutting import Extent, clip, longest, ranked_rows, text_length
from pull_logs.cli.render.escape import escape, inline
from pull_logs.cli.render.numbers import shown_rows
from pull_logs.cli.render.section import Column, Section
from pull_logs.cli.render.tokens import FIFTHS, weigh

if TYPE_CHECKING:
    from pull_logs.executors import Engine

Group: TypeAlias = tuple[Section, ...]
"""Sections of one name, which are cut together."""

NOTHING = "(none)"
"""The line of a section that has nothing."""

_PLAN = (
    ("chars", 500),
    ("chars", 120),
    ("rows", 40),
    ("columns", 12),
    ("sections", 12),
    ("rows", 12),
    ("columns", 3),
    ("chars", 40),
    ("sections", 3),
    ("rows", 6),
    ("sections", 1),
    ("rows", 3),
    ("columns", 1),
    ("rows", 1),
)
"""What is cut of a group, in order, and how far down."""


_MANY_ROWS = 10_000
"""From so many rows on, sections of one name are written in several processes."""


def render_text(
    sections: Iterable[Section],
    *,
    max_tokens: int = 0,
    digits: int | None = None,
    engine: Engine | None = None,
) -> str:
    """Return sections as text, cut until they fit into a token budget.

    Args:
        sections: The sections, in order.
        max_tokens: The budget; 0 for no limit.
        digits: The significant digits of floats; None for as many as distinguish them, at least six.
        engine: Where many long sections are written; the text does not depend on it.

    Raises:
        UsageError: The budget is too small for any answer.
    """
    fitted = fit_groups(sections, max_tokens=max_tokens, digits=digits)
    return "".join(_rendered(item.name, item.sections, item.cut, digits, engine) for item in fitted)


_SHOWS_NOTHING_LEFT = "--section NAME shows a section of which nothing is left"
"""The sentence after the sections, where a budget left only the heading of one."""


@dataclass(frozen=True, slots=True)
class FittedGroup:
    """Sections of one name, as far as a token budget has space for them.

    Attributes:
        name: Their name.
        sections: The sections.
        cut: What was cut; empty if nothing was.
        digits: The significant digits of their floats; None for as many as distinguish them.
    """

    name: str
    sections: Group
    cut: str
    digits: int | None = None


def fit_groups(
    sections: Iterable[Section], *, max_tokens: int = 0, digits: int | None = None
) -> list[FittedGroup]:
    """Cut sections until their text fits into a token budget.

    Args:
        sections: The sections, in order.
        max_tokens: The budget; 0 for no limit.
        digits: The significant digits of floats; None for as many as distinguish them, at least six.

    Raises:
        UsageError: The budget is too small for any answer.
    """
    check_budget(max_tokens)
    named: dict[str, list[Section]] = {}
    for section in sections:
        named.setdefault(section.name, []).append(section)
    groups: dict[str, Group] = {name: tuple(group) for name, group in named.items()}
    fitted, cuts = _fit(groups, max_tokens * FIFTHS, digits)
    if NOTHING_LEFT not in cuts.values():
        return [FittedGroup(name, group, cuts.get(name, ""), digits) for name, group in fitted.items()]
    remedy = Section(name="", columns=[Column("note")], rows=[[_SHOWS_NOTHING_LEFT]], layout="sentences")
    fitted, cuts = _fit(groups, max_tokens * FIFTHS, digits, fixed=_size("", (remedy,), "", digits=digits))
    left = [
        FittedGroup(name, group, _words_left(groups[name], cuts.get(name, "")), digits)
        for name, group in fitted.items()
    ]
    return [*left, FittedGroup("", (remedy,), "", digits)]


def _fit(
    groups: Mapping[str, Group], limit: int, digits: int | None, *, fixed: int = 0
) -> tuple[dict[str, Any], dict[str, str]]:
    return fit_sections(
        groups,
        limit=limit,
        fixed=fixed,
        size=lambda name, group, cut: _size(name, group, _words_left(groups[name], cut), digits=digits),
        shapes={name: _shape(group) for name, group in groups.items()},
        lower_bound=_cells,
    )


def _words_left(group: Group, cut: str) -> str:
    """Return the words about a cut; of sections of which only headings are left, how much there was."""
    if cut != NOTHING_LEFT:
        return cut
    if group[1:]:
        return f"0 of {len(group)} {group[0].nouns.sections}"
    rows = len(group[0].rows)
    return f"0 of {rows} {group[0].nouns.rows}" if rows else NOTHING_LEFT


def heading(name: str, facts: Mapping[str, object]) -> str:
    """Return the line that opens a section; a fact that is None is left out."""
    shown = (f"{key}={escape(str(fact))}" for key, fact in facts.items() if fact is not None)
    return " ".join((f"[{name}]", *shown))


def _size(name: str, group: Group, cut: str, *, digits: int | None) -> int:
    return weigh(_rendered(name, group, cut, digits))


def _cells(_name: str, group: Group) -> int:
    """Weigh the ends of the cells, and the characters of those that are texts as if they were spaces."""
    return sum(
        FIFTHS * len(section.rows) * len(section.columns)
        + sum(map(text_length, section.rows if section.texts is None else section.texts))
        for section in group
    )


def _rendered(name: str, group: Group, cut: str, digits: int | None, engine: Engine | None = None) -> str:
    write = partial(_written, digits=digits, cut=bool(cut))
    if engine is not None and engine.copies and _is_long(group):
        text = "".join(engine.map_open(write, group))
    else:
        text = "".join(map(write, group))
    if not cut:
        return text
    opened = text or (f"[{name}]\n" if name else "")
    return f"{opened}# cut to {inline(cut)}\n"


def _is_long(group: Group) -> bool:
    """Whether it is worth it that several processes write the sections."""
    return len(group) > 1 and sum(len(section.rows) for section in group) >= _MANY_ROWS


def _written(section: Section, *, digits: int | None, cut: bool) -> str:
    return "".join(f"{line}\n" for line in _lines(section, digits, cut=cut))


def _lines(section: Section, digits: int | None, *, cut: bool) -> Iterator[str]:
    if section.name:
        yield heading(section.name, section.facts)
    yield from _LAYOUTS[section.layout](section.columns, shown_rows(section, digits))
    yield from (f"# {inline(note)}" for note in section.notes)
    if section.name and section.columns and not (section.rows or section.notes or cut):
        yield NOTHING


def _table(columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    if rows:
        yield ",".join(escape(column.name) for column in columns)
    shows = [column.show for column in columns]
    yield from (",".join(show(value) for show, value in zip(shows, row, strict=True)) for row in rows)


def _records(columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    name, value = columns
    yield from (f"{name.show(row[0])}: {value.show(row[1])}" for row in rows)


def _legend(columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    label, *facts = columns
    for row in rows:
        shown = (
            f"{column.name}={column.show(value)}"
            for column, value in zip(facts, row[1:], strict=True)
            if value is not None
        )
        yield " ".join((label.show(row[0]), *shown))


def _sentences(_columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    yield from (f"# {inline(row[0])}" for row in rows)


_LAYOUTS: Mapping[str, Callable[[Sequence[Column], Sequence[Sequence[Any]]], Iterator[str]]] = {
    "table": _table,
    "records": _records,
    "legend": _legend,
    "sentences": _sentences,
}


def _shape(group: Group) -> Shape:
    """Return how sections of one name are measured and cut."""
    nouns = group[0].nouns
    words = {"sections": nouns.sections} if len(group) > 1 else {}
    return Shape(
        _extent,
        _cutter,
        _PLAN,
        {**words, "rows": nouns.rows, "columns": nouns.columns},
        group[0].remedy,
        group[0].weight,
        nouns.uncut,
    )


_NUMBERS = frozenset({int, float, bool, type(None)})
"""The types of cells that have no text."""


def _extent(group: Group) -> Extent:
    return Extent(
        sections=len(group),
        rows=max((len(section.rows) for section in group), default=0),
        columns=max((len(section.columns) - section.kept - section.tail for section in group), default=0),
        chars=max(map(_longest, group), default=0),
    )


def _longest(section: Section) -> int:
    """Return the length of the longest text in a section."""
    texts = [*(column.name for column in section.columns), *section.notes, *section.facts.values()]
    # Most cells of a large section are numbers, which no cut makes shorter.
    rows = section.rows if section.texts is None else section.texts
    cells = (value for row in rows for value in row if type(value) not in _NUMBERS)
    longest_cell = max((longest(_bare(value)) for value in cells), default=0)
    return max(longest_cell, *map(longest, texts), 0)


def _cutter(group: Group) -> Callable[[Extent], Group]:
    """Return the function that cuts a group to an extent; of no sections only the heading is left."""
    ranks: dict[int, list[int]] = {}

    def cut(to: Extent) -> Group:
        sections = []
        for index, section in enumerate(group[: to.sections]):
            if section.sampled is not None and index not in ranks and to.rows < len(section.rows):
                ranks[index] = ranked_rows(section.rows)
            sections.append(_cut(section, to, ranks.get(index)))
        return tuple(sections)

    return cut


def _cut(section: Section, to: Extent, rank: Sequence[int] | None) -> Section:
    left = section.kept + to.columns
    right = max(left, len(section.columns) - section.tail)
    rows = section.rows[: to.rows]
    if rank is not None and to.rows < len(section.rows):
        rows = [section.rows[index] for index in sorted(rank[: to.rows])]
    facts = {name: clip(fact, to.chars) for name, fact in section.facts.items()}
    if section.sampled is not None:
        facts |= sample_facts(len(rows), section.sampled)
    return replace(
        section,
        facts=facts,
        columns=[
            replace(column, name=clip(column.name, to.chars))
            for column in (*section.columns[:left], *section.columns[right:])
        ],
        rows=[[_clip_cell(value, to.chars) for value in (*row[:left], *row[right:])] for row in rows],
        notes=[clip(note, to.chars) for note in section.notes],
    )


def sample_facts(shown: int, picked: int) -> dict[str, object]:
    """Return what a heading says about a sample of rows.

    Args:
        shown: The rows that are shown.
        picked: The rows that they were sampled from.
    """
    return {
        "rows_shown": shown,
        "sampling": "none" if shown == picked else f"extremes {shown}/{picked}",
    }


def _bare(value: Any) -> Any:
    return value.value if isinstance(value, At) else value


def _clip_cell(value: Any, chars: int) -> Any:
    return replace(value, value=clip(value.value, chars)) if isinstance(value, At) else clip(value, chars)
