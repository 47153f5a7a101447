"""Fits an answer into a token budget: what is left out, and how that is reported.

Tokens are counted in fifths (see `tokens`). Small sections stay complete; the large ones share the remaining
space. A section is cut in steps, the least important first:
long text, then rows, then columns, then runs.

Text and JSON are cut by the same code. It is given a shape, which measures a section and cuts it, and a
function that weighs a section. The shapes of JSON answers are in `shapes`, that of text
sections is in `text`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from pull_logs.cli.render.cutting import Extent
from pull_logs.errors import UsageError

MIN_TOKENS = 300
"""The smallest budget: enough to name every section and to say that it was cut."""

MIN_JSON_TOKENS = 600
"""The smallest budget of a JSON object."""

_KEPT = 0.8
"""The part of a quantity that one step of cutting leaves."""

Size: TypeAlias = Callable[[str, Any, str], int]
"""Weighs a section, given its name, its value and the note about its cut, which may be empty."""

LowerBound: TypeAlias = Callable[[str, Any], int]
"""Gives the least weight that a section can have, without writing it."""


REMEDY = "--max-tokens N shows more"
"""What shows the parts of a section that no other option shows."""

LEAST_TEXT = 24
"""The characters that are left of a text that is never cut away."""

NOTHING_LEFT = "nothing"
"""What is said of a section of which only the name is left, so that the smallest budget has space for all."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How a section is measured and cut.

    Attributes:
        extent: Measures a value.
        cutter: Takes a value and returns the function that cuts it to an extent.
        plan: What to cut, in order: the field of an extent and its least value.
        words: What a note about a cut calls the fields.
        uncut: How many columns it counts beside those that can be cut.
        remedy: What shows the rest.
        weight: The section's part of scarce space, relative to the others.
    """

    extent: Callable[[Any], Extent]
    cutter: Callable[[Any], Callable[[Extent], Any]]
    plan: tuple[tuple[str, int], ...]
    words: Mapping[str, str]
    remedy: str = REMEDY
    weight: int = 1
    uncut: int = 0


def check_budget(max_tokens: int, *, as_json: bool = False) -> None:
    """Refuse a budget that no answer fits into.

    Args:
        max_tokens: The budget; 0 for no limit.
        as_json: Whether the answer is a JSON object, whose members are always there.

    Raises:
        UsageError: The budget is neither 0 nor at least the smallest one.
    """
    least = MIN_JSON_TOKENS if as_json else MIN_TOKENS
    if max_tokens and max_tokens < least:
        raise UsageError(
            f"--max-tokens {max_tokens} is too small for any answer{' as JSON' if as_json else ''}",
            hint=f"give at least {least}, or 0 for no limit",
        )


def fit_sections(
    sections: Mapping[str, Any],
    *,
    limit: int,
    fixed: int,
    size: Size,
    shapes: Mapping[str, Shape],
    lower_bound: LowerBound,
) -> tuple[dict[str, Any], dict[str, str]]:
    """Cut sections until they fit.

    Args:
        sections: Values by section name.
        limit: The weight that all may have together; 0 for no limit.
        fixed: The weight of what is never cut.
        size: Weighs a section.
        shapes: How each section is cut.
        lower_bound: Bounds the weight of a section, so that one far too long is not written to be weighed.

    Returns:
        The sections, and for those that were cut the words that say how.
    """
    if not limit:
        return dict(sections), {}
    full = {name: _full_size(name, value, size, lower_bound, limit) for name, value in sections.items()}
    if sum(full.values()) + fixed <= limit:
        return dict(sections), {}
    ladders = {name: _Ladder(name, value, size, shapes[name]) for name, value in sections.items()}
    least = {name: min(full[name], ladder.least()) for name, ladder in ladders.items()}
    free = max(limit - fixed - sum(least.values()), 0)
    shares = _share({name: (full[name] - least[name], shapes[name].weight) for name in sections}, free)
    fitted: dict[str, Any] = {}
    cuts: dict[str, str] = {}
    spare = 0
    for name in sorted(sections, key=lambda name: full[name]):
        allowed = least[name] + shares[name] + spare
        taken = full[name]
        fitted[name] = sections[name]
        if taken > allowed:
            fitted[name], cuts[name], taken = ladders[name].mildest(allowed)
        spare = allowed - taken
    return {name: fitted[name] for name in sections}, cuts


def _full_size(name: str, value: Any, size: Size, lower_bound: LowerBound, limit: int) -> int:
    bound = lower_bound(name, value)
    return bound if bound > limit else size(name, value, "")


def _share(wanted: Mapping[str, tuple[int, int]], free: int) -> dict[str, int]:
    """Return the space of each section: all it needs if that is little, else a part of the rest by weight."""
    shares: dict[str, int] = {}
    weights = {name: weight for name, (_, weight) in wanted.items()}
    for name in sorted(wanted, key=lambda name: wanted[name][0] / weights[name]):
        shares[name] = min(wanted[name][0], free * weights[name] // sum(weights.values()))
        free -= shares[name]
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
        """Return the weight of the section with all cut away."""
        return self._at(len(self._rungs) - 1)[2]

    def mildest(self, allowed: int) -> tuple[Any, str, int]:
        """Return the mildest cut that fits, the words about it, and its weight; the last cut if none fits."""
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
        words = NOTHING_LEFT
        if rung < len(self._rungs) - 1 or not self._shape.words:
            words = self._words(self._shape.extent(value), self._rungs[rung])
        return value, words, self._size(self._name, value, words)

    def _words(self, left: Extent, rung: Extent) -> str:
        parts = []
        for field, word in self._shape.words.items():
            shown, had = getattr(left, field), getattr(self._full, field)
            if shown < had:
                uncut = self._shape.uncut if field == "columns" else 0
                parts.append(f"{shown + uncut} of {had + uncut} {word}")
                if not shown:
                    break
        else:
            if rung.chars < self._full.chars:
                parts.append(f"texts of {max(rung.chars, LEAST_TEXT)} characters")
        return f"{', '.join(parts)}; {self._shape.remedy}"


def _rungs(full: Extent, plan: Iterable[tuple[str, int]]) -> Iterator[Extent]:
    extent = full
    for field, floor in plan:
        while (now := getattr(extent, field)) > floor:
            extent = replace(extent, **{field: max(floor, min(int(now * _KEPT), now - 1))})
            yield extent
    yield Extent()
