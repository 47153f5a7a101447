"""Rows of a tracker that logs a dictionary at a time, as merged batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

_AT_ONCE = 8192


def merged_batches(rows: Iterable[Mapping[str, Any]]) -> Iterator[pa.Table]:
    """Return raw rows as batches in step order, one row per step.

    Of several values of a key in rows that follow each other with one step, the last is kept. Of rows of one
    step that are apart, as of a run that was started again, the one with the greater `_timestamp` decides.

    Raises:
        DataError: A row has no valid `_step`, or a value that is not JSON-like.
    """
    from pull_logs.rows.batches import batch_from_rows
    from pull_logs.rows.merge import Lane, LanedBatch, merge_batches

    taken = _one_per_step(rows)
    batches = []
    while part := list(islice(taken, _AT_ONCE)):
        batches.append(LanedBatch(Lane.LIVE, batch_from_rows(part)))
    return merge_batches(batches)


def _one_per_step(rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield rows, those that follow each other with one step as one."""
    held: dict[str, Any] | None = None
    for row in rows:
        if held is not None and held.get("_step") == row.get("_step"):
            held |= {name: value for name, value in row.items() if value is not None}
            continue
        if held is not None:
            yield held
        held = dict(row)
    if held is not None:
        yield held


def with_runtime(rows: Iterable[dict[str, Any]], started: float | None) -> Iterator[dict[str, Any]]:
    """Yield rows with `_runtime`, where they have a `_timestamp`."""
    for row in rows:
        time = row.get("_timestamp")
        if started is None or not isinstance(time, (int, float)):
            yield row
        else:
            yield {**row, "_runtime": max(time - started, 0.0)}
