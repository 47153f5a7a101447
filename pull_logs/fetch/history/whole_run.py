"""One run, whole: its history out of exported files, live windows, and a count of what was promised.

**When is a run complete?** Three things are compared with what the server said in the
answer that named the files (`Promise`): the last step that arrived with
`historyKeys.lastStep`; the lines that arrived, each counted once however often and
whichever way it came (`Tally`), with `historyLineCount`; and the steps listed as live
with those that arrived. A file that could not be had is a reason by itself. Lines are
counted before rows of one step are merged, because the server counts lines too. What was
not promised is not compared.

Where something is missing after the files and the listed live rows, it is asked for once
more among the live rows: first the steps behind the last one that arrived, then all. What
was logged after the plan was made is not asked for: it waits for a refresh.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import anyio
import pyarrow as pa

from pull_logs.fetch.api import system_events
from pull_logs.fetch.context import Workshop
from pull_logs.fetch.discovery import Found, Steps
from pull_logs.fetch.files import read_files
from pull_logs.fetch.history.decode import parse_rows
from pull_logs.fetch.history.exported import ShardReader
from pull_logs.fetch.history.live import LiveReader
from pull_logs.fetch.history.pieces import Pieces, keeper
from pull_logs.fetch.windows import LAST_STEP, windows_of_span, windows_of_steps
from pull_logs.rows.batches import system_batch_from_rows
from pull_logs.runs import LIVE_STATES, Coverage, RunPath
from pull_logs.snapshot import RunFile

SYSTEM_SAMPLES, MOST_SYSTEM_SAMPLES = 10_000, 1_000_000
"""Rows of system metrics to ask for at first, and at last; there is no way to ask for them in pages."""

REREAD_ROWS = 200_000
"""Lines of a finished run up to which missing ones are looked for among all live rows."""

FUTILE_REREADS = 3
"""Finished runs in a row for which that was in vain, after which it is no longer tried."""


class HistoryReader:
    """Reads the history of one run and stores the run in the spool.

    Args:
        shop: What reading needs.
        found: The run, and what was promised of it.
        earlier: Its files in an earlier bundle, which are brought up to date.
    """

    def __init__(self, shop: Workshop, found: Found, *, earlier: Mapping[str, RunFile] | None = None) -> None:
        self._shop = shop
        self._earlier = earlier
        self._found = found
        keep = None if shop.keys is None else keeper(shop.keys.search)
        self._pieces = Pieces(shop.spool, found.path, keep=keep)
        self._tally = self._pieces.tally
        self._shards = ShardReader(shop, found, self._pieces, arrived=self._report)
        self._live = LiveReader(shop, found.path, self._pieces, arrived=self._report)
        self._reported = 0
        self._live_steps: Steps | None = None
        self._live_unknown = True

    async def read(self) -> Coverage:
        """Read it all.

        Returns:
            What was promised and what arrived.

        Raises:
            RunNotFoundError: The run was deleted meanwhile.
            DataError: A row cannot be read or kept.
            AccessError: The server could not be asked.
        """
        await self._shop.in_thread(self._pieces.recover)
        live_steps = (await self._shards.exports()).live_steps
        self._live_steps = live_steps if live_steps is not None and len(live_steps) else None
        self._live_unknown = live_steps is None
        async with anyio.create_task_group() as group:
            group.start_soon(self._shards.read)
            group.start_soon(self._read_listed)
        if self._shortfall():
            await self._look_again()
        coverage = self._coverage()
        system = await read_system(self._shop, self._found.path) if self._shop.system else None
        files = await read_files(self._shop, self._found.path, earlier=self._earlier)
        coverage = files.judge(coverage)
        finish = partial(self._pieces.finish, self._found.info, coverage, system=system, files=files.sources)
        await self._shop.in_thread(finish)
        return coverage

    def _report(self) -> None:
        rows, meter = self._pieces.rows, self._shop.client.meter
        meter.rows += rows - self._reported
        self._reported = rows
        meter.tell()

    @property
    def _stop(self) -> int:
        """The step after the last one that the plan knows of."""
        last = self._found.promise.last_step
        ends = [int(self._live_steps[-1])] if self._live_steps is not None else []
        ends += [last] if last is not None else []
        return max(ends) + 1 if ends else LAST_STEP

    async def _read_listed(self) -> None:
        """Read the live rows that the server listed, or all where it listed nothing at all."""
        if self._live_steps is not None:
            covered = tuple(self._pieces.windows_done)
            await self._live.read(
                windows_of_steps(self._live_steps, stop=self._stop, covered=covered, size=self._shop.size)
            )
        elif self._found.promise.something and not (await self._shards.exports()).urls:
            await self._read_span(0, self._stop)

    async def _read_span(self, start: int, stop: int) -> None:
        covered = tuple(self._pieces.windows_done)
        rows = self._found.promise.rows
        if rows is not None and start > 0:
            rows = max(1, rows - self._tally.lines())
        await self._live.read(windows_of_span(start, stop, rows=rows, covered=covered))

    async def _look_again(self) -> None:
        """Ask the live rows for what is missing."""
        last, promised = self._tally.last_step, self._found.promise.last_step
        if promised is not None and last is not None and last < promised:
            await self._read_span(last + 1, self._stop)
        if not self._shortfall():
            return
        active = self._found.info.state in LIVE_STATES
        doubtful = self._live_unknown or active or bool(self._shards.lost)
        lessons = self._shop.lessons
        small = (self._found.promise.rows or 0) <= REREAD_ROWS
        if not doubtful and not (small and lessons.futile_rereads < FUTILE_REREADS):
            return
        before = self._tally.lines()
        await self._read_span(0, self._stop)
        if not doubtful:
            lessons.futile_rereads = 0 if self._tally.lines() > before else lessons.futile_rereads + 1

    def _shortfall(self) -> str:
        """What is missing, in one sentence; empty when nothing is."""
        promise, last, lines = self._found.promise, self._tally.last_step, self._tally.lines()
        all_lines = promise.rows is not None and lines >= promise.rows
        for shard, reason in () if all_lines else self._shards.lost.items():
            return f"exported file {shard.rpartition('/')[2]!r} could not be had: {reason}"
        if promise.last_step is not None and (last is None or last < promise.last_step):
            arrived = "none arrived" if last is None else f"they end at step {last}"
            return f"W&B promised rows up to step {promise.last_step} and {arrived}"
        if promise.rows is not None and not all_lines:
            return f"W&B promised {promise.rows} rows and {lines} arrived"
        missing = 0 if self._live_steps is None else self._tally.missing(self._live_steps)
        return f"{missing} rows that W&B listed as live did not arrive" if missing else ""

    def _coverage(self) -> Coverage:
        reason = self._shortfall()
        return Coverage(
            promised_rows=self._found.promise.rows,
            promised_last_step=self._found.promise.last_step,
            received_rows=self._tally.lines(),
            received_last_step=self._tally.last_step,
            complete=not reason,
            reason=reason,
        )


async def read_system(shop: Workshop, path: RunPath) -> pa.Table:
    """The system metrics of a run, as one system batch; asked for again where they may have been sampled.

    Raises:
        RunNotFoundError: The run was deleted meanwhile.
        DataError: A row cannot be read.
        AccessError: The server could not be asked.
    """
    samples = SYSTEM_SAMPLES
    while True:
        query = system_events(path.entity, path.project, path.run_id, samples=samples)
        events = (await shop.ask_run(query, path)).get("events") or ()
        if len(events) < samples or samples >= MOST_SYSTEM_SAMPLES:
            break
        samples *= 10
    return await shop.in_thread(lambda: system_batch_from_rows(parse_rows(list(events))))
