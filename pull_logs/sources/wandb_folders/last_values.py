"""The last value of each metric of a log, and the summary of a run that has several logs.

Most values of a summary are the last values of metrics. Where a run has several logs, such a value comes from
the row with the greatest step, as in the merged history, so that the summary and the history agree. Other
values (maxima, values that the user set) come from the latest log that has them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pull_logs.errors import DataError
from pull_logs.rows.canonical import STEP, TIMESTAMP, canon_record, canonical_text, same

DERIVED = "derived"
"""The member of a summary's `_wandb` that lists the values that were derived from the history."""

INTERNAL = "_wandb"


@dataclass(frozen=True, slots=True)
class LastValue:
    """The last value of a metric.

    Attributes:
        step: The step of its row.
        time: The `_timestamp` of its row; negative infinity without one.
        value: The canonical value.
    """

    step: int
    time: float
    value: Any

    def rank(self, offset: int) -> tuple[int, float, bytes]:
        """Return a sort key in the order of the merge: step, time, canonical text."""
        return self.step + offset, self.time, canonical_text(self.value).encode()


class LastRows:
    """The last row of each metric, from the rows so far."""

    def __init__(self) -> None:
        self._rows: dict[str, Mapping[str, Any]] = {}

    def take(self, row: Mapping[str, Any]) -> None:
        """Add the next row; a value of null is missing."""
        present = row if None not in row.values() else [key for key in row if row[key] is not None]
        self._rows.update(dict.fromkeys(present, row))

    def values(self) -> dict[str, LastValue]:
        """Return the last value of each metric; one that no history can hold is missing."""
        found = {}
        for key, row in self._rows.items():
            try:
                value = canon_record({key: row[key]})
            except DataError:
                continue
            if key in value:
                found[key] = LastValue(row[STEP], row_time(row) or -math.inf, value[key])
        return found


def row_time(row: Mapping[str, Any]) -> float | None:
    """Return the `_timestamp` of a row, if it is a finite number."""
    stamp = row.get(TIMESTAMP)
    if isinstance(stamp, (int, float)) and not isinstance(stamp, bool) and math.isfinite(stamp):
        return stamp
    return None


@dataclass(frozen=True, slots=True)
class SummaryPart:
    """The summary of one log.

    Attributes:
        summary: Its values.
        logged: The last value of each metric in the log.
        kept: The last value of each metric in the rows that are kept; `logged` if all are.
        derived: The keys whose values come from the history, because no summary was written.
        offset: The number that is added to its steps.
        inherited: Whether it is the log of a parent run.
    """

    summary: Mapping[str, Any]
    logged: Mapping[str, LastValue]
    kept: Mapping[str, LastValue]
    derived: frozenset[str]
    offset: int
    inherited: bool


def merge_summaries(parts: Iterable[SummaryPart]) -> dict[str, Any]:
    """Return the summary of a run from those of its logs, in order of time."""
    merged: dict[str, Any] = {}
    ranks: dict[str, tuple[int, float, bytes]] = {}
    derived: set[str] = set()
    for part in parts:
        for key, value in part.summary.items():
            last = part.logged.get(key)
            if last is None:
                if part.inherited:
                    continue  # Values that the parent set for itself.
            elif same(value, last.value):
                last = part.kept.get(key)
                if last is None or (key in ranks and last.rank(part.offset) < ranks[key]):
                    continue
                value = last.value  # noqa: PLW2901
            elif part.kept is not part.logged:
                continue  # A maximum, say, over rows of which some were cut.
            merged[key] = value + part.offset if key == STEP and isinstance(value, int) else value
            derived = derived | {key} if key in part.derived else derived - {key}
            ranks.pop(key, None)
            if last is not None and same(value, last.value):
                ranks[key] = last.rank(part.offset)
    if derived:
        internal = merged.get(INTERNAL)
        merged[INTERNAL] = {**(internal if isinstance(internal, Mapping) else {}), DERIVED: sorted(derived)}
    return merged
