"""What changed in a run since it was pulled: nothing, only its facts, new rows at the end, or its history.

If everything that the server reports of the run is what it reported then, nothing changed. If the facts
changed and the heartbeat, line count and last step did not, no process logged to the run since.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import zip_longest
from typing import Any

from pull_logs.fetch.discovery import FoundRun
from pull_logs.rows.canonical import STEP, TIMESTAMP, same
from pull_logs.runs import Coverage, RunInfo
from pull_logs.snapshot.format import info_fields

_CLOCKS = frozenset({TIMESTAMP, "_runtime"})


class NotAppendableError(Exception):
    """New rows cannot be appended to an earlier history; the message is the reason."""


def is_current(found: FoundRun, info: RunInfo, coverage: Coverage) -> bool:
    """Return whether an earlier pull is complete and everything that the server reports is unchanged."""
    return _same_promise(found, coverage) and _facts(info) == _facts(found.info)


def _facts(info: RunInfo) -> dict[str, Any]:
    """Return what W&B reports of a run, whatever read it."""
    return info_fields(replace(info, via=None))


def _same_promise(found: FoundRun, coverage: Coverage) -> bool:
    promise = found.promise
    earlier = (coverage.promised_rows, coverage.promised_last_step)
    return coverage.complete and earlier == (promise.rows, promise.last_step)


def was_silent(found: FoundRun, info: RunInfo, coverage: Coverage) -> bool:
    """Return whether nothing was logged since a run was pulled, although its facts may have changed."""
    return (
        _same_promise(found, coverage)
        and found.promise.rows is not None
        and info.created_at == found.info.created_at
        and info.heartbeat_at is not None
        and info.heartbeat_at == found.info.heartbeat_at
    )


def check_appendable(found: FoundRun, info: RunInfo, coverage: Coverage, *, rows: int) -> None:
    """Make sure that an earlier history may be the beginning of the current one.

    Args:
        found: The run in its current state.
        info: The facts of the earlier pull.
        coverage: What had arrived in the earlier pull.
        rows: The rows of the earlier pull after lines of one step were merged.

    Raises:
        NotAppendableError: It is not.
    """
    for reason in _obstacles(found, info, coverage, rows):
        raise NotAppendableError(reason)


def _obstacles(found: FoundRun, info: RunInfo, coverage: Coverage, rows: int) -> Iterator[str]:
    promise, last = found.promise, coverage.received_last_step or 0
    if not coverage.complete:
        yield "it was incomplete"
    if not rows:
        yield "it had no rows"
    if info.created_at != found.info.created_at:
        yield "another run has its name now"
    if not coverage.received_rows == coverage.promised_rows == rows:
        yield "it had several lines of one step, which were merged and cannot be counted again"
    if promise.rows is None or promise.last_step is None:
        yield "W&B does not report how many rows it has, or its last step"
    elif promise.rows < rows or promise.last_step < last:
        yield (
            f"history was rewritten: W&B has {promise.rows} rows up to step {promise.last_step},"
            f" and had {rows} up to step {last}"
        )


def first_difference(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> int | None:
    """Return the first step at which rows do not continue the old ones; None if they all do.

    Only the last of the old rows may have changed, by more keys and a later time, because lines may be
    logged to a step that exists.

    Args:
        old: The last rows of the earlier history, canonical, in step order.
        new: The current rows from the first of these steps to the last.
    """
    for number, (before, now) in enumerate(zip_longest(old, new)):
        if before is None or now is None:
            return int((before or now)[STEP])
        if not (_extends(before, now) if number == len(old) - 1 else same(before, now)):
            return int(min(before[STEP], now[STEP]))
    return None


def _extends(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Return whether a row is the old one after more was logged to its step: more keys, and a later time."""
    return all(
        key in new and (same(value, new[key]) or (key in _CLOCKS and _is_later(new[key], value)))
        for key, value in old.items()
    )


def _is_later(new: object, old: object) -> bool:
    return isinstance(new, (int, float)) and isinstance(old, (int, float)) and new > old
