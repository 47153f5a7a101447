"""The system metrics of a run, which W&B samples where a run has more rows than were requested."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import pyarrow as pa

from pull_logs.fetch.api import system_events
from pull_logs.fetch.context import PullContext
from pull_logs.fetch.decoding import parse_rows
from pull_logs.rows.batches import system_batch_from_rows
from pull_logs.runs import Coverage, RunPath

SYSTEM_SAMPLES, MOST_SYSTEM_SAMPLES = 10_000, 1_000_000
"""Rows of system metrics in the first request, and at most; they cannot be requested in pages."""


@dataclass(frozen=True, slots=True)
class FetchedSystem:
    """The system metrics of a run that arrived.

    Attributes:
        table: Their rows; None where they were not requested.
        reason: Why they are not complete; empty if they are.
    """

    table: pa.Table | None = None
    reason: str = ""

    def apply_to(self, coverage: Coverage) -> Coverage:
        """Return the coverage of a run, which is incomplete if its system metrics are a sample."""
        if not self.reason or not coverage.complete:
            return coverage
        return replace(coverage, complete=False, reason=self.reason)


def is_last_request(rows: int, *, samples: int) -> bool:
    """Return whether no more rows are requested: these are all, or the most that are requested.

    Args:
        rows: The rows that arrived.
        samples: The rows that were requested.
    """
    return rows < samples or samples >= MOST_SYSTEM_SAMPLES


def sampled_reason(rows: int, *, samples: int) -> str:
    """Return why the system metrics of a run are not complete; empty if they are.

    Args:
        rows: The rows that arrived.
        samples: The rows that were requested last.
    """
    if rows < samples:
        return ""
    return f"the system metrics may be a sample: {rows:,} rows arrived, the most that are requested"


async def read_system(context: PullContext, path: RunPath) -> FetchedSystem:
    """Request the system metrics of a run, again with more rows where they may have been sampled.

    Nothing is requested unless they are selected.

    Raises:
        RunNotFoundError: The run was deleted in the meantime.
        DataError: A row cannot be read.
        AccessError: A request failed.
    """
    if not context.system:
        return FetchedSystem()
    samples = SYSTEM_SAMPLES
    while True:
        query = system_events(path.entity, path.project, path.run_id, samples=samples)
        events = list((await context.query_run(query, path)).get("events") or ())
        if is_last_request(len(events), samples=samples):
            break
        samples *= 10
    table = await context.in_thread(partial(_table, events))
    return FetchedSystem(table, sampled_reason(len(events), samples=samples))


def _table(events: list[str]) -> pa.Table:
    return system_batch_from_rows(parse_rows(events))
