"""A run in the spool: its complete history, from exported files and live windows, compared with the promise.

**When is a run complete?** Three things are compared with what the server reported in the
answer that named the files (`Promise`): the last step that arrived with
`historyKeys.lastStep`; the lines that arrived, counted by `ReceivedLines`, with
`historyLineCount`; and the steps listed as live with those that arrived. A file that could
not be downloaded makes a run incomplete too. Lines are counted before rows of one step are
merged, because the server counts lines too. What was not promised is not compared.

Where something is missing after the files and the listed live rows, it is requested again
among the live rows: first the steps after the last one that arrived, then all steps. Rows
that were logged after the plan was made are not requested: they wait for a refresh.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from pull_logs.errors import BundleDamagedError
from pull_logs.fetch.context import PullContext
from pull_logs.fetch.decoding import metric_filter
from pull_logs.fetch.discovery import FoundRun, Steps
from pull_logs.fetch.history.changes import NotAppendableError
from pull_logs.fetch.history.exported import ShardReader
from pull_logs.fetch.history.live import LiveReader
from pull_logs.fetch.history.pieces import Pieces, RowProgress
from pull_logs.fetch.outcomes import FetchedRun
from pull_logs.fetch.windows import planned_stop, windows_of_span, windows_of_steps
from pull_logs.runs import LIVE_STATES, Coverage
from pull_logs.snapshot.write import NO_EXTRAS, RunExtras

if TYPE_CHECKING:
    import pyarrow as pa

    from pull_logs.fetch.history.extras import EarlierExtras
    from pull_logs.snapshot import Run

REREAD_ROWS = 200_000
"""The maximum number of lines of a finished run whose missing lines are searched among all live rows."""


async def fetch_run(context: PullContext, found: FoundRun, earlier: Run | None) -> FetchedRun:
    """Store a run in the spool.

    Args:
        context: What the download needs.
        found: The run in its current state.
        earlier: The run in an earlier bundle, pulled with the same choice of metrics and system metrics.

    Raises:
        RunNotFoundError: The run was deleted in the meantime.
        DataError: A row cannot be read or stored.
        AccessError: A request failed.
    """
    note, kept = "", None
    if earlier is not None:
        from pull_logs.fetch.history.extras import EarlierExtras
        from pull_logs.fetch.history.refresh import refresh_run

        try:
            return await refresh_run(context, found, earlier)
        except NotAppendableError as exc:
            note = str(exc)
        except BundleDamagedError:
            note = "the earlier bundle is damaged"
        kept = await context.in_thread(partial(EarlierExtras.of, earlier))
    coverage = await HistoryReader(context, found, earlier=kept).read()
    return FetchedRun(coverage=coverage, how="complete", new_rows=coverage.received_rows, note=note)


class HistoryReader:
    """Reads the history of one run and stores the run in the spool.

    Args:
        context: What the download needs.
        found: The run, and what was promised.
        earlier: What an earlier bundle has of the run besides its history, which is updated.
    """

    def __init__(
        self, context: PullContext, found: FoundRun, *, earlier: EarlierExtras | None = None
    ) -> None:
        self._context, self._found, self._earlier = context, found, earlier
        self._pieces = Pieces(
            context.spool, found.path, keep=metric_filter(context.metrics), budget=context.budget
        )
        self._received = self._pieces.received
        progress = RowProgress(self._pieces, context.client.meter)
        self._shards = ShardReader(context, found, self._pieces, arrived=progress.update)
        self._live = LiveReader(
            context, found.path, self._pieces, arrived=progress.update, page=found.live_page
        )
        self._live_steps: Steps | None = None
        self._live_unknown = True

    async def read(self) -> Coverage:
        """Read and store the run.

        Returns:
            What was promised and what arrived.

        Raises:
            RunNotFoundError: The run was deleted in the meantime.
            DataError: A row cannot be read or stored.
            AccessError: A request failed.
        """
        try:
            return await self._read()
        finally:
            self._pieces.release()

    async def _read(self) -> Coverage:
        recovered = self._context.spool.has_pages(self._found.path)
        if recovered:
            await self._context.in_thread(self._pieces.recover)
        exports = await self._shards.exports()
        live_steps = exports.live_steps
        self._live_steps = live_steps if live_steps is not None and len(live_steps) else None
        self._live_unknown = live_steps is None
        if exports.urls and self._live_steps is None:
            self._pieces.only_file = len(exports.urls) == 1 and not recovered
            await self._shards.read()
        else:
            async with anyio.create_task_group() as group:
                group.start_soon(self._shards.read)
                group.start_soon(self._read_listed)
        if self._shortfall():
            await self._search_missing()
        extras, coverage = await self._extras(self._coverage())
        await self._context.in_thread(partial(self._pieces.finish, self._found.info, coverage, extras))
        return coverage

    async def _extras(self, coverage: Coverage) -> tuple[RunExtras, Coverage]:
        """Read what the run has besides its history, and add what is missing of it to the coverage."""
        if self._context.only_histories and self._earlier is None:
            return NO_EXTRAS, coverage
        from pull_logs.fetch.history.extras import EarlierExtras, read_extras

        def rows() -> tuple[Iterable[pa.Table], Mapping[str, Any]]:
            return self._pieces.nested_batches(), self._found.info.summary

        earlier = self._earlier or EarlierExtras()
        return await read_extras(
            self._context, self._found.path, earlier=earlier, rows=rows, coverage=coverage
        )

    @property
    def _stop(self) -> int:
        """The step after the last one in the plan."""
        return planned_stop(self._found.promise, self._live_steps)

    async def _read_listed(self) -> None:
        """Read the live rows that the server listed, or all rows where it listed nothing."""
        if self._live_steps is not None:
            covered = tuple(self._pieces.windows_done)
            size = self._context.window_size
            await self._live.read(
                windows_of_steps(self._live_steps, stop=self._stop, covered=covered, size=size)
            )
        elif self._found.promise.any_rows and not (await self._shards.exports()).urls:
            await self._read_span(0, self._stop)

    async def _read_span(self, start: int, stop: int) -> None:
        covered = tuple(self._pieces.windows_done)
        rows = self._found.promise.rows
        if rows is not None and start > 0:
            rows = max(1, rows - self._received.count())
        await self._live.read(windows_of_span(start, stop, rows=rows, covered=covered))

    async def _search_missing(self) -> None:
        """Request what is missing among the live rows."""
        last, promised = self._received.last_step, self._found.promise.last_step
        if promised is not None and last is not None and last < promised:
            await self._read_span(last + 1, self._stop)
        if not self._shortfall():
            return
        active = self._found.info.state in LIVE_STATES
        doubtful = self._live_unknown or active or bool(self._shards.lost)
        capabilities = self._context.capabilities
        small = (self._found.promise.rows or 0) <= REREAD_ROWS
        if not doubtful and not (small and capabilities.rereads_help):
            return
        before = self._received.count()
        await self._read_span(0, self._stop)
        if not doubtful:
            capabilities.record_reread(found_rows=self._received.count() > before)

    def _shortfall(self) -> str:
        """Return what is missing, in one sentence; empty when the run is complete."""
        promise, last, lines = self._found.promise, self._received.last_step, self._received.count()
        all_lines = promise.rows is not None and lines >= promise.rows
        for shard, reason in () if all_lines else self._shards.lost.items():
            return f"exported file {shard.rpartition('/')[2]!r} could not be downloaded: {reason}"
        if short := promise.shortfall(rows=lines, last_step=last):
            return short
        missing = 0 if self._live_steps is None else self._received.missing(self._live_steps)
        return f"{missing} rows that W&B listed as live did not arrive" if missing else ""

    def _coverage(self) -> Coverage:
        reason = self._shortfall()
        return Coverage(
            promised_rows=self._found.promise.rows,
            promised_last_step=self._found.promise.last_step,
            received_rows=self._received.count(),
            received_last_step=self._received.last_step,
            complete=not reason,
            reason=reason,
        )
