"""Shows seconds as durations: `12.3s`, `3m05s`, `1h02m`, `2d03h`.

Which values are seconds is known of W&B's own metrics, of the run field `duration`, and of metrics whose name
ends in `seconds`. Durations that differ have different texts: where the two largest units are the same, more
of them are shown.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from pull_logs.cli.render.cells import At, Shown, at_cell, cell, finite_number, known, known_exact
from pull_logs.cli.render.section import Section

_NAMED = re.compile(r"(?:^|[/._])(?<!per_)(?:seconds|secs)$")
"""The end of the name of a metric that says that it is in seconds."""

_LONGEST = 1e10
"""The seconds from which on a number is not shown as a duration: three centuries."""

_MOST_EXACT = 7
"""The exactness up to which durations are distinguished: microseconds."""

_DIGITS = 3
"""The significant digits of a duration shorter than a minute."""

_UNITS = ((86400, 3600), (3600, 60), (60, 1))
"""From which length on, the least unit that is shown."""

_BY_METRIC = frozenset({"SCHEMA", "STATS", "METRICS", "GROUP_STATS", "VERDICTS", "COLUMN_TOTALS", "GATE"})
"""The sections whose rows may be about one metric each, with a column for each kind of number."""

_BY_RUN = frozenset({"META", "SUMMARY", "COMPARISON", "SUMMARY_COMPARISON"})
"""The sections whose rows may be about one metric or key each, with a column for each run."""

_IN_UNIT = re.compile(
    r"value|best|new|base|worse|detectable|sum|mean|std|median|difference|first|last|p\d[\d.]*"
    r"|(?:last_)?(?:min|median|max)|ci_(?:low|high)|iqm(?:_low|_high)?|(?:best|worst)_median"
)
"""The columns that are in the unit of the metric that a row or a section is about."""

_COUNTS = frozenset({"n", "members"})

_NUMBERS = (cell, known, known_exact, at_cell)
"""The functions that show numbers."""

Cells: TypeAlias = list[tuple[int, int]]
"""The row and the column of cells that are compared with each other."""


def is_seconds(name: object, known_names: Collection[str]) -> bool:
    """Whether the values of a metric, a summary key or a field are seconds.

    Args:
        name: Its name.
        known_names: The names that are known to be seconds.
    """
    return isinstance(name, str) and (name in known_names or _NAMED.search(name) is not None)


def with_durations(
    section: Section, rows: Sequence[Sequence[Any]], digits: int | None = None
) -> Sequence[Sequence[Any]]:
    """Return the rows of a section, in which seconds know the durations that they are shown as.

    Args:
        section: The section.
        rows: Its rows.
        digits: The significant digits of durations shorter than a minute; by default three.
    """
    changed: list[list[Any]] | None = None
    for cells in _durations(section, rows):
        found = [(row, column, finite_number(rows[row][column])) for row, column in cells]
        seconds = {number for _, _, number in found if number is not None and abs(number) < _LONGEST}
        texts = _texts(seconds, digits or _DIGITS)
        for row, column, number in found:
            if number in texts:
                changed = changed or [list(cells) for cells in rows]
                changed[row][column] = _shown(changed[row][column], number, texts[number])
    return rows if changed is None else changed


def duration(seconds: float, exactness: int = 0, digits: int = _DIGITS) -> str:
    """Return seconds as a duration.

    Args:
        seconds: The seconds.
        exactness: 0 for the two largest units; from 1 on all units, with a decimal for each further one.
        digits: The significant digits of less than a minute, to which the exactness is added.
    """
    sign, rest = "-" if seconds < 0 else "", abs(seconds)
    short = f"{rest:.{digits + exactness}g}"
    if float(short) < 60:
        return f"{sign}{short}s"
    decimals = max(exactness - 1, 0)
    unit = 1 if exactness else next((least for start, least in _UNITS if rest >= start), 1)
    scale: int = 10**decimals
    minutes, ticks = divmod(round(rest / unit * scale) * unit, 60 * scale)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    whole, fraction = divmod(ticks, scale)
    tail = f".{fraction:0{decimals}}" if decimals else ""
    parts = [
        (days, f"{days}d"),
        (hours, f"{hours:02}h"),
        (minutes, f"{minutes:02}m"),
        (1, f"{whole:02}{tail}s"),
    ]
    largest = next(index for index, (count, _) in enumerate(parts) if count)
    texts = [text for _, text in parts[largest:]]
    return sign + "".join(texts if exactness else texts[:2]).removeprefix("0")


def _texts(seconds: Iterable[float], digits: int) -> dict[float, str]:
    """Return the durations of seconds, those that differ with different texts as far as microseconds."""
    texts: dict[float, str] = {}
    left = set(seconds)
    for exactness in range(_MOST_EXACT + 1):
        texts |= {number: duration(number, exactness, digits) for number in left}
        alike: dict[str, list[float]] = {}
        for number in left:
            alike.setdefault(texts[number], []).append(number)
        left = {number for same in alike.values() if len(same) > 1 for number in same}
    return texts


def _shown(value: Any, number: float, text: str) -> Any:
    return replace(value, value=Shown(number, text)) if isinstance(value, At) else Shown(number, text)


def _durations(section: Section, rows: Sequence[Sequence[Any]]) -> Iterator[Cells]:
    """Yield the cells that are seconds: columns of such fields, and rows or sections about such metrics."""
    if section.layout not in ("table", "records"):
        return
    names = [column.name for column in section.columns]
    numbers = [index for index, column in enumerate(section.columns) if column.show in _NUMBERS]
    in_unit = [index for index in numbers if _IN_UNIT.fullmatch(names[index])]
    every = range(len(rows))
    for index in numbers:
        about = is_seconds(section.facts.get("metric"), section.seconds) and index in in_unit
        if about or is_seconds(names[index].removesuffix(" final"), section.seconds):
            yield [(row, index) for row in every]
    if section.name in _BY_METRIC | _BY_RUN:
        shown = [index for index in numbers if index and names[index] not in _COUNTS]
        for row in every:
            if rows[row] and is_seconds(rows[row][0], section.seconds):
                by_run = section.name in _BY_RUN and not set(names) & {"min_run"}
                yield [(row, index) for index in (shown if by_run else in_unit)]
