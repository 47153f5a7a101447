"""The facts about one column of a history: its type, its counts, its first and last values, its extremes.

`column_facts` reads them from a column in memory. `FactsBuilder` reads them from a history batch by batch,
in bounded memory, with the same result however its rows are divided. Numbers are ordered by their exact
values; of equal ones the first counts.
"""

from __future__ import annotations

import hashlib
import marshal
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from pull_logs.frames.column import Column
from pull_logs.frames.from_arrow import Steps
from pull_logs.frames.vector import Array, Floats, Mask
from pull_logs.rows.canonical import canon_number, canon_record, canonical_text, parse_json

MAX_TEXT = 200
"""Most characters of a text that is kept as a first or a last cell."""


class MetricFacts(NamedTuple):
    """What a column of one run contains, over all rows of the run. Values are canonical.

    Of the first and the last cell, a number, a bool and a text of at most `MAX_TEXT` characters are kept; for
    another cell the value is None. It is a tuple because an index has one for each metric of each run, and a
    tuple is made in a tenth of the time of a dataclass.

    Attributes:
        name: The name of the column.
        type: `int`, `number`, `bool`, `string`, `list`, `histogram`, ..., `mixed`, or `empty`.
        cells: The number of cells that are present.
        numbers: How many of them are numbers; a bool is not one.
        nonfinite: How many numbers are NaN or infinite.
        first_step: The step of the first cell; None without cells.
        last_step: The step of the last cell.
        interval: The median distance between the steps of neighbouring cells; None for fewer than two cells.
        first: The first cell, if it is of a kind that is kept.
        last: The last cell, likewise.
        last_number: The last number, finite or not; None without numbers.
        last_number_step: Its step.
        last_finite: The last finite number; None without finite numbers.
        min: The least finite number; None without finite numbers.
        min_step: The first step that has it.
        max: The greatest finite number; None without finite numbers.
        max_step: The first step that has it.
    """

    name: str = ""
    type: str = "empty"
    cells: int = 0
    numbers: int = 0
    nonfinite: int = 0
    first_step: int | None = None
    last_step: int | None = None
    interval: int | float | None = None
    first: Any = None
    last: Any = None
    last_number: int | float | None = None
    last_number_step: int | None = None
    last_finite: int | float | None = None
    min: int | float | None = None
    min_step: int | None = None
    max: int | float | None = None
    max_step: int | None = None


def column_facts(name: str, column: Column, steps: Steps) -> MetricFacts:
    """Return the facts about a column.

    Args:
        name: The name of the column.
        column: Its cells.
        steps: The step of each cell, ascending.
    """
    interval = logging_interval(steps[column.vector.present])
    return describe_cells(column, steps)._replace(name=name, interval=interval)


def describe_cells(column: Column, steps: Steps) -> MetricFacts:
    """Return the facts about a column, but not its name and the distances between its cells."""
    present = np.flatnonzero(column.vector.present)
    if not len(present):
        return MetricFacts()
    values, numeric = column.numbers()
    finite = numeric & np.isfinite(values)
    low, high = extremes(column)
    rows = {"first": int(present[0]), "last": int(present[-1])}
    rows |= {
        name: row
        for name, row in (
            ("last_number", _last(numeric)),
            ("last_finite", _last(finite)),
            ("min", low),
            ("max", high),
        )
        if row is not None
    }
    cells = dict(zip(rows, column.cells(np.array(list(rows.values()), np.intp)), strict=True))
    step = {name: int(steps[row]) for name, row in rows.items()}
    return MetricFacts(
        type=column_type(column),
        cells=len(present),
        numbers=int(np.count_nonzero(numeric)),
        nonfinite=int(np.count_nonzero(numeric) - np.count_nonzero(finite)),
        first_step=step["first"],
        last_step=step["last"],
        first=kept_cell(cells["first"]),
        last=kept_cell(cells["last"]),
        last_number=cells.get("last_number"),
        last_number_step=step.get("last_number"),
        last_finite=cells.get("last_finite"),
        min=cells.get("min"),
        min_step=step.get("min"),
        max=cells.get("max"),
        max_step=step.get("max"),
    )


def kept_cell(cell: Any) -> Any:
    """Return a cell as the facts keep it: a number, a bool or a short text; else None."""
    if isinstance(cell, str):
        return cell if len(cell) <= MAX_TEXT else None
    return cell if isinstance(cell, (bool, int, float)) else None


def _last(mask: Mask) -> int | None:
    """Return the last row where a mask is true."""
    if not mask.any():
        return None
    return len(mask) - 1 - int(mask[::-1].argmax())


def column_type(column: Column) -> str:
    """Return `int` for a column of integers only, else `Column.type`."""
    if column.type != "number":
        return column.type
    return "int" if _only_integers(column) else "number"


def _only_integers(column: Column) -> bool:
    values = column.vector.values[column.vector.present]
    if values.dtype == np.int64:
        return True
    return bool(np.all(np.isfinite(values) & (values == np.floor(values))))


def logging_interval(logged: Steps) -> int | float | None:
    """Return the median of the differences between these ascending steps; None for fewer than two."""
    if len(logged) < 2:
        return None
    gaps = step_differences(logged)
    if gaps[0] == gaps[-1] and (gaps == gaps[0]).all():
        return _canonical(float(gaps[0]))
    return _canonical(float(middle(np.sort(gaps).astype(np.float64), 0.5)))


def _canonical(number: float) -> int | float:
    found: int | float = canon_number(number)
    return found


def step_differences(logged: Steps) -> Steps | Floats:
    """Return the differences between these ascending steps."""
    # The difference of two steps may exceed an int64; as doubles they only lose digits.
    exact = int(logged[-1]) - int(logged[0]) < 2**63
    differences: Steps | Floats = np.diff(logged) if exact else np.diff(logged.astype(np.float64))
    return differences


def middle(ordered: Floats, share: float) -> Floats:
    """Return the quantile of numbers, interpolated linearly between two neighbours.

    Args:
        ordered: At least one number, ascending along the last axis.
        share: The share of the numbers below it, from 0 to 1.

    Returns:
        One value for each row of the other axes.
    """
    length = ordered.shape[-1]
    position = share * (length - 1)
    before = int(position)
    return between(ordered[..., before], ordered[..., min(before + 1, length - 1)], position - before)


def between(low: Floats, high: Floats, part: float) -> Floats:
    """Return the number at a part of the way from `low` to `high`."""
    # From the nearer end, as numpy does: the result is between the two, and 1 gives exactly the greater.
    found: Floats = high - (high - low) * (1 - part) if part >= 0.5 else low + (high - low) * part
    return found


def extremes(column: Column) -> tuple[int | None, int | None]:
    """Return the first rows that have the least and the greatest finite number; None twice without any."""
    if column.vector.values.dtype == np.int64:
        exact, sound = column.vector.values, column.vector.present
    else:
        exact, numeric = column.numbers()
        sound = numeric & np.isfinite(exact)
    if len(sound) and np.count_nonzero(sound) == len(sound):
        low, high = int(np.argmin(exact)), int(np.argmax(exact))
    else:
        found = np.flatnonzero(sound)
        if not len(found):
            return None, None
        low, high = int(found[np.argmin(exact[found])]), int(found[np.argmax(exact[found])])
    if column.exact or column.vector.kind == "mixed":
        low, high = _exact_extremes(column, exact, sound, low, high)
    return low, high


def _exact_extremes(column: Column, values: Array, sound: Mask, low: int, high: int) -> tuple[int, int]:
    """Return the extremes among the integers that are nearest to the same double."""
    lows = np.flatnonzero(sound & (values == values[low])).tolist()
    highs = np.flatnonzero(sound & (values == values[high])).tolist()
    return min(lows, key=column.cell), max(highs, key=column.cell)


def merge_facts(before: MetricFacts, after: MetricFacts) -> MetricFacts:
    """Return the facts about the rows of `before` and the later rows of `after` together.

    The distances between cells are not known from the two: `interval` is None.
    """
    if not (before.cells and after.cells):
        return before if before.cells else after
    low, high = after, after
    if before.min is not None and (after.min is None or before.min <= after.min):
        low = before
    if before.max is not None and (after.max is None or before.max >= after.max):
        high = before
    numbered = after if after.numbers else before
    return MetricFacts(
        name=before.name,
        type=_merge_types(before.type, after.type),
        cells=before.cells + after.cells,
        numbers=before.numbers + after.numbers,
        nonfinite=before.nonfinite + after.nonfinite,
        first_step=before.first_step,
        last_step=after.last_step,
        first=before.first,
        last=after.last,
        last_number=numbered.last_number,
        last_number_step=numbered.last_number_step,
        last_finite=before.last_finite if after.last_finite is None else after.last_finite,
        min=low.min,
        min_step=low.min_step,
        max=high.max,
        max_step=high.max_step,
    )


def _merge_types(before: str, after: str) -> str:
    if before == after:
        return before
    return "number" if {before, after} == {"int", "number"} else "mixed"


def hash_of_facts(facts: Sequence[MetricFacts]) -> bytes:
    """Return a hash of facts, to compare those of one version of Python."""
    if any(one.nonfinite for one in facts):
        return hashlib.sha256(facts_text(facts).encode()).digest()  # the bits of two NaNs may differ
    # Version 2 does not depend on which objects are the same, and takes a tenth of the time of JSON.
    return hashlib.sha256(marshal.dumps([tuple(one) for one in facts], 2)).digest()


def facts_text(facts: Iterable[MetricFacts]) -> str:
    """Return facts as one line of JSON, to store them with a run before a bundle is made."""
    return canonical_text([list(one) for one in facts])


def facts_from_text(text: str) -> tuple[MetricFacts, ...]:
    """Return the facts in such a line.

    Raises:
        DataError: It is not one.
    """
    return tuple(
        # A metric may be called "NaN"; among the values, that text is the number.
        MetricFacts(name, kind, *canon_record({"": values})[""])
        for name, kind, *values in parse_json(text)
    )
