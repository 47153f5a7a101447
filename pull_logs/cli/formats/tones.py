"""Which cells of a table are good or bad news, which colour shows and no text depends on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from pull_logs.cli.formats.grid import Grid, bare, is_nonfinite

Tone: TypeAlias = Literal["good", "bad"]

_STATES: Mapping[str, Tone] = {"crashed": "bad", "failed": "bad", "killed": "bad"}
_VERDICTS: Mapping[str, Tone] = {"better": "good", "regression": "bad", "no regression": "good"}
_CHANGES: Mapping[str, Tone] = {"added": "good", "gone": "bad", "removed": "bad"}
_BOOLS: Mapping[bool, Tone] = {True: "good", False: "bad"}


def _known(tones: Mapping[Any, Tone]) -> Callable[[Any], Tone | None]:
    return lambda value: tones.get(value) if isinstance(value, (str, bool)) else None


TONES: Mapping[str, Callable[[Any], Tone | None]] = {
    "state": _known(_STATES),
    "complete": _known(_BOOLS),
    "holds": _known(_BOOLS),
    "verdict": _known(_VERDICTS),
    "change": _known(_CHANGES),
    "nonfinite": lambda value: "bad" if value else None,
}
"""The tone of a value by the name of its column, in all sections that name no runs in their columns."""

_OF_RUNS = frozenset({"META", "CONFIG", "SUMMARY", "HISTORY", "COMPARISON", "CONFIG_DIFF"})
"""Sections whose columns have names of runs, metrics or keys, which may be any."""


def tones_of(grid: Grid) -> list[list[Tone | None]]:
    """Return the tone of each cell of a grid."""
    if grid.name == "SUMMARY_COMPARISON" and grid.head[1:2] != ["n"]:
        return [_differences(row) for row in grid.values]
    if grid.name == "HEALTH":
        return [["bad" if row[1] else None, *[None] * (len(row) - 1)] for row in grid.values]
    rules = [None if grid.name in _OF_RUNS else TONES.get(name) for name in grid.head]
    return [
        ["bad" if is_nonfinite(value) else rule(value) if rule else None
         for rule, value in zip(rules, row, strict=True)]
        for row in grid.values
    ]  # fmt: skip


def _differences(row: Sequence[Any]) -> list[Tone | None]:
    """Return the tones of a key, the values of n runs, and n - 1 differences from the first."""
    from pull_logs.analyze.statistics import outcome_end

    runs = len(row) // 2
    end = outcome_end(str(row[0]))
    return [
        *("bad" if is_nonfinite(value) else None for value in row[: runs + 1]),
        *(_difference(bare(value), end) for value in row[runs + 1 :]),
    ]


def _difference(value: Any, end: str | None) -> Tone | None:
    if is_nonfinite(value):
        return "bad"
    if end is None or not isinstance(value, (int, float)) or not value:
        return None
    return "good" if (value > 0) is (end == "max") else "bad"
