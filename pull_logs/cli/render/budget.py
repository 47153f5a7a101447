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

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from pull_logs.cli.render.cutting import (
    Extent,
    clip,
    cut_entries,
    cut_history,
    cut_list,
    cut_records,
    cut_runs,
    cut_schema,
    cut_stats,
    entries_extent,
    history_extent,
    list_extent,
    longest,
    records_extent,
    schema_extent,
    stats_extent,
)
from pull_logs.errors import UsageError

__all__ = ["MIN_TOKENS", "SHAPES", "Extent", "Shape", "check_budget", "clip", "fit_sections", "longest"]

MIN_TOKENS = 300
"""The smallest budget: enough to name every section and to say that it was cut."""

_ROUGH = 0.8
"""How much of a quantity one step of cutting leaves."""

Size: TypeAlias = Callable[[str, Any, str], int]
"""The bytes that a section takes: its name, its value, and the words that tell its cut (empty without)."""


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


_RECORD = Shape(
    records_extent,
    cut_records,
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
    entries_extent,
    cut_entries,
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
        list_extent,
        cut_runs,
        (("chars", 200), ("chars", 60), ("entries", 8), ("chars", 24), ("entries", 1)),
        {"entries": "runs"},
        weight=12,  # labels mean nothing without the legend
    ),
    "notes": Shape(list_extent, cut_list, (("chars", 200), ("entries", 1)), {"entries": "notes"}),
    "assertions": Shape(
        list_extent,
        cut_list,
        (("chars", 2000), ("chars", 300), ("entries", 8), ("chars", 80), ("entries", 1)),
        {"entries": "assertions"},
        weight=3,
    ),
    "config": _RECORD,
    "summary": _RECORD,
    "schema": replace(_METRICS, extent=schema_extent, cutter=cut_schema),
    "stats": replace(_METRICS, extent=stats_extent, cutter=cut_stats),
    "stats_by_metric": replace(
        _METRICS,
        extent=stats_extent,
        cutter=cut_stats,
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
        history_extent,
        cut_history,
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
        list_extent,
        cut_list,
        (("chars", 200), ("entries", 40), ("chars", 60), ("entries", 3), ("chars", 24), ("entries", 1)),
        {"entries": "checkpoints"},
        "--select REGEX or --max-tokens 0 shows more",
    ),
    "comparison": replace(_ENTRIES, words={"entries": "metrics", "runs": "runs"}, flag=_METRICS.flag),
    "config_diff": _ENTRIES,
    "summary_comparison": _ENTRIES,
}
