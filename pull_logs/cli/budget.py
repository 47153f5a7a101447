"""Fitting an answer into a token budget: which parts of it to leave out, and how to say so.

A token is counted as three bytes of UTF-8, which no tokenizer exceeds by much
on text like this. Sections that are small stay whole; the room that is left is
shared by the large ones. A section is cut in steps, the least telling first:
long text, then keys or rows, then columns, then runs. History rows go in the
order of `sample.rank_rows`, so that the ends and the extremes stay longest.

The same code cuts text and JSON: it works on the sections as data, and asks the
writer how many bytes a section takes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from pull_logs.errors import UsageError

MIN_TOKENS = 300
"""The smallest budget: enough to name every section and to say that it was cut."""

_ROUGH = 0.8
"""How much of a quantity one step of cutting leaves."""

Size: TypeAlias = Callable[[str, Any, str], int]
"""The bytes that a section takes: its name, its value, and the words that tell its cut (empty without)."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How much of each kind a section has, or may have."""

    runs: int = 0
    entries: int = 0
    rows: int = 0
    columns: int = 0
    chars: int = 0


@dataclass(frozen=True, slots=True)
class Shape:
    """How a section is measured and cut.

    Attributes:
        extent: What a value has.
        cutter: From a value to the function that cuts it to an extent.
        plan: What to cut, in order: the field of an extent and how far down.
        words: What the fields are called when a cut is told.
        flag: What shows the rest.
        weight: Its part of scarce room.
    """

    extent: Callable[[Any], Extent]
    cutter: Callable[[Any], Callable[[Extent], Any]]
    plan: tuple[tuple[str, int], ...]
    words: Mapping[str, str]
    flag: str = "--max-tokens 0 shows all"
    weight: int = 1


def check_budget(max_tokens: int) -> None:
    """Refuse a budget that no answer fits into.

    Raises:
        UsageError: It is neither 0, which is no limit, nor at least `MIN_TOKENS`.
    """
    if max_tokens and max_tokens < MIN_TOKENS:
        raise UsageError(
            f"--max-tokens {max_tokens} is too small for any answer",
            hint=f"give at least {MIN_TOKENS}, or 0 for no limit",
        )


def fit_sections(
    sections: Mapping[str, Any],
    *,
    limit: int,
    fixed: int,
    size: Size,
    shapes: Mapping[str, Shape] | None = None,
) -> tuple[dict[str, Any], dict[str, str]]:
    """Cut sections until they fit.

    Args:
        sections: Values by section name.
        limit: The bytes that all may take; 0 is no limit.
        fixed: Bytes that are taken whatever is cut.
        size: How many bytes a section takes.
        shapes: How the sections of a command of its own are cut; by default, those of the bare view.

    Returns:
        The sections, and for those that were cut the words that tell how.
    """
    full = {name: _full_size(name, value, size, limit=limit) for name, value in sections.items()}
    if not limit or sum(full.values()) + fixed <= limit:
        return dict(sections), {}
    shapes = shapes or SHAPES
    ladders = {name: _Ladder(name, value, size, shapes[name]) for name, value in sections.items()}
    least = {name: min(full[name], ladder.least()) for name, ladder in ladders.items()}
    room = max(limit - fixed - sum(least.values()), 0)
    shares = _share({name: (full[name] - least[name], shapes[name].weight) for name in sections}, room)
    fitted: dict[str, Any] = {}
    cuts: dict[str, str] = {}
    spare = 0
    for name in sorted(sections, key=lambda name: full[name]):
        allowed = least[name] + shares[name] + spare
        taken = full[name]
        fitted[name] = sections[name]
        if taken > allowed:
            fitted[name], cuts[name], taken = ladders[name].highest(allowed)
        spare = allowed - taken
    return {name: fitted[name] for name in sections}, cuts


def _full_size(name: str, value: Any, size: Size, *, limit: int) -> int:
    """The bytes of a section, or, of one that is too long anyway, at least so many as it has cells."""
    cells = 0
    if limit and name == "history":
        cells = sum(len(history["rows"]) * len(history["columns"]) for history in value.values())
    elif limit and name in ("stats", "stats_by_metric"):
        cells = sum(len(found) for entries in value.values() for found in entries.values())
    if cells > limit:
        return cells
    return size(name, value, "")


def _share(wanted: Mapping[str, tuple[int, int]], room: int) -> dict[str, int]:
    """Room for each section: what it wants where that is little, a part of the rest by weight otherwise."""
    shares: dict[str, int] = {}
    weights = {name: weight for name, (_, weight) in wanted.items()}
    for name in sorted(wanted, key=lambda name: wanted[name][0] / weights[name]):
        shares[name] = min(wanted[name][0], room * weights[name] // sum(weights.values()))
        room -= shares[name]
        del weights[name]
    return shares


class _Ladder:
    """The cuts of one section, from none to all."""

    def __init__(self, name: str, value: Any, size: Size, shape: Shape) -> None:
        self._name, self._shape, self._size = name, shape, size
        self._full = shape.extent(value)
        self._cut = shape.cutter(value)
        self._rungs = list(_rungs(self._full, shape.plan))

    def least(self) -> int:
        """The bytes of the section with all cut away."""
        return self._at(len(self._rungs) - 1)[2]

    def highest(self, allowed: int) -> tuple[Any, str, int]:
        """The mildest cut that fits, the words for it, and its bytes; the last one where none does."""
        low, high = 0, len(self._rungs) - 1
        while low < high:
            middle = (low + high) // 2
            if self._at(middle)[2] <= allowed:
                high = middle
            else:
                low = middle + 1
        found = self._at(low)
        while found[2] > allowed and low < len(self._rungs) - 1:  # a rung may take more than the one above it
            low += 1
            found = self._at(low)
        return found

    def _at(self, rung: int) -> tuple[Any, str, int]:
        value = self._cut(self._rungs[rung])
        words = self._words(self._shape.extent(value), self._rungs[rung])
        return value, words, self._size(self._name, value, words)

    def _words(self, left: Extent, rung: Extent) -> str:
        parts = []
        for field, word in self._shape.words.items():
            shown, had = getattr(left, field), getattr(self._full, field)
            if shown < had:
                parts.append(f"{shown} of {had} {word}")
                if not shown:
                    break
        else:
            if rung.chars < self._full.chars:
                parts.append(f"texts of {rung.chars} characters")
        return f"{', '.join(parts)}; {self._shape.flag}"


def _rungs(full: Extent, plan: Iterable[tuple[str, int]]) -> Iterator[Extent]:
    extent = full
    for field, floor in plan:
        while (now := getattr(extent, field)) > floor:
            extent = replace(extent, **{field: max(floor, min(int(now * _ROUGH), now - 1))})
            yield extent
    yield Extent()


def longest(value: Any) -> int:
    """The longest text in a value, or the length of the JSON of its longest list."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return max((max(len(key), longest(item)) for key, item in value.items()), default=0)
    if isinstance(value, list):
        return len(json.dumps(value))
    return 0


def clip(value: Any, chars: int) -> Any:
    """A value of a record or a cell with its text and its lists cut short."""
    if isinstance(value, str):
        return value if len(value) <= chars else value[: max(chars - 1, 0)] + "…"
    if isinstance(value, list) and len(json.dumps(value)) > chars:
        return _clip_items(value, chars)
    if isinstance(value, Mapping):
        return {key: clip(item, chars) for key, item in value.items() if len(key) <= chars}
    return value


def _clip_items(items: Sequence[Any], chars: int) -> list[Any]:
    kept = []
    for item in items:
        clipped = clip(item, chars)
        chars -= len(json.dumps(clipped)) + 1
        if chars < 0:
            break
        kept.append(clipped)
    return kept


def _first(mapping: Mapping[str, Any], count: int, chars: int) -> dict[str, Any]:
    """The first members whose keys are not too long."""
    kept = [key for key in mapping if len(key) <= chars][:count]
    return {key: mapping[key] for key in kept}


def _some_runs(mapping: Mapping[str, Any], count: int) -> dict[str, Any]:
    return dict(list(mapping.items())[:count])


def _list_extent(entries: Sequence[Any]) -> Extent:
    return Extent(entries=len(entries), chars=max(map(longest, entries), default=0))


def _cut_list(entries: Sequence[Any]) -> Callable[[Extent], Any]:
    return lambda to: [clip(entry, to.chars) for entry in entries[: to.entries]]


def _cut_runs(runs: Sequence[Mapping[str, Any]]) -> Callable[[Extent], Any]:
    return lambda to: [
        {key: clip(value, to.chars) for key, value in run.items()} for run in runs[: to.entries]
    ]


def _records_extent(records: Mapping[str, Any]) -> Extent:
    return Extent(
        runs=len(records),
        entries=max(map(len, records.values()), default=0),
        chars=max(
            (longest(record) if isinstance(record, dict) else 0 for record in records.values()), default=0
        ),
    )


def _cut_records(records: Mapping[str, Mapping[str, Any]]) -> Callable[[Extent], Any]:
    return lambda to: {
        run: {key: clip(value, to.chars) for key, value in _first(record, to.entries, to.chars).items()}
        for run, record in _some_runs(records, to.runs).items()
    }


def _schema_extent(schemas: Mapping[str, Sequence[Mapping[str, Any]]]) -> Extent:
    names = [len(entry["name"]) for entries in schemas.values() for entry in entries]
    return Extent(
        runs=len(schemas), entries=max(map(len, schemas.values()), default=0), chars=max(names, default=0)
    )


def _cut_schema(schemas: Mapping[str, Sequence[Mapping[str, Any]]]) -> Callable[[Extent], Any]:
    return lambda to: {
        run: [
            {**entry, "type": clip(entry["type"], to.chars)}
            for entry in entries
            if len(entry["name"]) <= to.chars
        ][: to.entries]
        for run, entries in _some_runs(schemas, to.runs).items()
    }


def _history_extent(histories: Mapping[str, Mapping[str, Any]]) -> Extent:
    texts = (
        longest(cell)
        for history in histories.values()
        for row in (history["columns"], *history["rows"])
        for cell in row
        if isinstance(cell, (str, list, dict))
    )
    return Extent(
        runs=len(histories),
        rows=max((len(history["rows"]) for history in histories.values()), default=0),
        columns=max((len(history["columns"]) - 1 for history in histories.values()), default=0),
        chars=max(texts, default=0),
    )


def _cut_history(histories: Mapping[str, Mapping[str, Any]]) -> Callable[[Extent], Any]:
    ranks: dict[str, list[int]] = {}

    def cut(to: Extent) -> dict[str, Any]:
        shown = _some_runs(histories, to.runs)
        for run, history in shown.items():
            if run not in ranks and to.rows < len(history["rows"]):
                ranks[run] = _ranked(history["rows"])
        return {run: _cut_table(history, ranks.get(run), to) for run, history in shown.items()}

    return cut


def _cut_table(history: Mapping[str, Any], rank: Sequence[int] | None, to: Extent) -> dict[str, Any]:
    names, rows = history["columns"], history["rows"]
    kept = [0, *[place for place, name in enumerate(names) if place and len(name) <= to.chars][: to.columns]]
    if rank is not None and to.rows < len(rows):
        rows = [rows[place] for place in sorted(rank[: to.rows])]
    picked = history["rows_picked"]
    return {
        **history,
        "columns": [names[place] for place in kept],
        "rows": [[clip(row[place], to.chars) for place in kept] for row in rows],
        "rows_shown": len(rows),
        "sampling": "none" if len(rows) == picked else f"extremes {len(rows)}/{picked}",
    }


def _ranked(rows: Sequence[Sequence[Any]]) -> list[int]:
    """The rows in the order in which a budget takes them."""
    import numpy as np

    from pull_logs.analyze.sample import rank_rows

    metrics = []
    for cells in list(zip(*rows, strict=True))[1:]:
        numbers = [_as_number(cell) for cell in cells]
        numeric = np.array([number is not None for number in numbers], np.bool_)
        metrics.append((np.array([number or 0.0 for number in numbers], np.float64), numeric))
    return [int(row) for row in rank_rows(metrics, length=len(rows))]


def _as_number(cell: object) -> float | None:
    """The number of a cell of an answer, where text is a number only if it spells one that is not finite."""
    if isinstance(cell, bool) or not isinstance(cell, (int, float, str)):
        return None
    if isinstance(cell, str) and cell not in ("NaN", "Infinity", "-Infinity"):
        return None
    try:
        return float(cell)
    except OverflowError:
        return float("inf")


def _entries_extent(entries: Sequence[Mapping[str, Any]]) -> Extent:
    """The extent of a comparison: entries that hold mappings from run labels to values."""
    tables = [item for entry in entries for item in entry.values() if isinstance(item, Mapping)]
    names = [item for entry in entries for item in entry.values() if isinstance(item, str)]
    return Extent(
        runs=len({run for table in tables for run in table}),
        entries=len(entries),
        chars=max(
            map(longest, (*names, *(value for table in tables for value in table.values()))), default=0
        ),
    )


def _cut_entries(entries: Sequence[Mapping[str, Any]]) -> Callable[[Extent], Any]:
    order = sorted(
        {run for entry in entries for item in entry.values() if isinstance(item, Mapping) for run in item},
        key=lambda run: (len(run), run),
    )

    def cut(to: Extent) -> list[dict[str, Any]]:
        runs = set(order[: to.runs])
        return [
            {
                field: {run: clip(value, to.chars) for run, value in item.items() if run in runs}
                if isinstance(item, Mapping)
                else item
                for field, item in entry.items()
            }
            for entry in entries
            if all(len(item) <= to.chars for item in entry.values() if isinstance(item, str))
        ][: to.entries]

    return cut


_RECORD = Shape(
    _records_extent,
    _cut_records,
    (
        ("chars", 500),
        ("chars", 120),
        ("entries", 40),
        ("runs", 8),
        ("chars", 40),
        ("entries", 6),
        ("runs", 1),
        ("entries", 1),
    ),
    {"runs": "runs", "entries": "keys"},
)
_METRICS = replace(
    _RECORD,
    words={"runs": "runs", "entries": "metrics"},
    flag="--select REGEX or --max-tokens 0 shows more",
)
_ENTRIES = Shape(
    _entries_extent,
    _cut_entries,
    (
        ("chars", 500),
        ("chars", 120),
        ("entries", 40),
        ("runs", 12),
        ("chars", 40),
        ("entries", 6),
        ("runs", 2),
        ("entries", 1),
    ),
    {"entries": "keys", "runs": "runs"},
)
SHAPES: Mapping[str, Shape] = {
    "runs": Shape(
        _list_extent,
        _cut_runs,
        (("chars", 200), ("chars", 60), ("entries", 8), ("chars", 24), ("entries", 1)),
        {"entries": "runs"},
        weight=12,  # labels mean nothing without the legend
    ),
    "notes": Shape(_list_extent, _cut_list, (("chars", 200), ("entries", 1)), {"entries": "notes"}),
    "assertions": Shape(
        _list_extent,
        _cut_list,
        (("chars", 2000), ("chars", 300), ("entries", 8), ("chars", 80), ("entries", 1)),
        {"entries": "assertions"},
        weight=3,
    ),
    "config": _RECORD,
    "summary": _RECORD,
    "schema": replace(_METRICS, extent=_schema_extent, cutter=_cut_schema),
    "stats": _METRICS,
    "stats_by_metric": replace(
        _METRICS,
        plan=(
            ("chars", 120),
            ("entries", 40),
            ("runs", 20),
            ("entries", 12),
            ("chars", 40),
            ("runs", 6),
            ("entries", 4),
            ("runs", 1),
            ("entries", 1),
        ),
        words={"runs": "metrics", "entries": "runs"},
    ),
    "history": Shape(
        _history_extent,
        _cut_history,
        (
            ("chars", 300),
            ("rows", 24),
            ("columns", 12),
            ("chars", 80),
            ("rows", 6),
            ("runs", 8),
            ("columns", 3),
            ("runs", 1),
            ("rows", 2),
            ("columns", 1),
        ),
        {"runs": "runs", "rows": "rows", "columns": "columns"},
        "--select, --where or --max-tokens 0 shows more",
        weight=3,  # what a budget is mostly for
    ),
    "checkpoints": Shape(
        _list_extent,
        _cut_list,
        (("chars", 200), ("entries", 40), ("chars", 60), ("entries", 3), ("chars", 24), ("entries", 1)),
        {"entries": "checkpoints"},
        "--select REGEX or --max-tokens 0 shows more",
    ),
    "comparison": replace(_ENTRIES, words={"entries": "metrics", "runs": "runs"}, flag=_METRICS.flag),
    "config_diff": _ENTRIES,
    "summary_comparison": _ENTRIES,
}
