"""Rows of histories that are read when they are used, where the index says what else a view needs to know.

A text of thousands of runs is cut to a few of them. How many rows of numbers each run would show is known
from the index, so that only the histories of runs that are shown are opened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

from pull_logs.analyze.answers.picked_rows import counted_columns
from pull_logs.analyze.result_values import Cell
from pull_logs.analyze.results import HistoryResult
from pull_logs.frames import MetricFacts
from pull_logs.rows.canonical import STEP, spell

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pull_logs.analyze.questions import Slice

_NUMBERS = frozenset({"int", "number"})


class NumberRows(Sequence[list[Cell]]):
    """Rows of finite numbers, None where one is missing, that are read when the first one is used.

    The bundle has to be open then.
    """

    __slots__ = ("_length", "_read", "_rows")

    def __init__(self, length: int, read: Callable[[], list[list[Cell]]]) -> None:
        self._length, self._read = length, read
        self._rows: list[list[Cell]] | None = None

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> list[Cell]: ...
    @overload
    def __getitem__(self, index: slice) -> list[list[Cell]]: ...
    def __getitem__(self, index: int | slice) -> list[Cell] | list[list[Cell]]:
        if self._rows is None:
            self._rows = self._read()
        return self._rows[index]


def are_all_visible(
    facts: Mapping[str, MetricFacts], names: Sequence[str], *, length: int, show_all: bool
) -> bool:
    """Whether a view hides none of the rows of a history, so far as the index can say.

    Args:
        facts: The facts about its columns.
        names: The columns that are shown.
        length: The number of its rows.
        show_all: Whether rows are shown in which every metric is missing.
    """
    return show_all or any(facts[name].cells == length for name in counted_columns(names))


def are_numbers(facts: Mapping[str, MetricFacts], names: Sequence[str]) -> bool:
    """Whether every cell of these columns is a finite number or missing."""
    return all(facts[name].type in _NUMBERS and not facts[name].nonfinite for name in names)


def describe_rows(
    columns: list[str], rows: list[list[Cell]], *, total: int, matched: int, picked: int, hidden: int
) -> HistoryResult:
    """Return the entry of a history.

    Args:
        columns: Its columns.
        rows: The rows that are shown.
        total: All rows of the run.
        matched: Those that `--where` keeps.
        picked: Those of which the shown ones are a sample.
        hidden: Those that are left out because every shown metric is missing.
    """
    sampled = len(rows) < picked
    return {
        "columns": columns,
        "rows": rows,
        "rows_total": total,
        "rows_matched": matched,
        "rows_picked": picked,
        "rows_shown": len(rows),
        "hidden": hidden,
        "sampling": f"extremes {len(rows)}/{picked}" if sampled else "none",
    }


def describe_slice(part: Slice, rows: npt.NDArray[np.intp], *, matched: int, hidden: int) -> HistoryResult:
    """Return the rows that are shown, and how many there are."""
    cells = [_spelled(column.cells(rows)) for column in part.columns.values()]
    return describe_rows(
        [STEP, *part.columns],
        [list(row) for row in zip(part.steps[rows].tolist(), *cells, strict=True)],
        total=part.rows_total,
        matched=matched,
        picked=len(part.steps),
        hidden=hidden,
    )


def _spelled(cells: list[Any]) -> list[Any]:
    return [spell(cell) if isinstance(cell, (float, dict, list)) else cell for cell in cells]
