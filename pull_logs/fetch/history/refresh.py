"""A run that an earlier bundle has in the spool, with as few requests as possible.

An unchanged run is copied, and one of which only the facts changed is copied with the new facts (`changes`).
Of any other run only the end is requested first, from a few rows before the old end on (`OVERLAP`). The
answer must repeat these rows. The rows that were kept and those that arrived must be as many as promised,
and end where promised. Where something does not fit, the run is downloaded completely and the reason is
reported, so that the result is always that of a pull without the earlier bundle.

The files and the console log of a copied run are copied too, and W&B is not asked for them unless files are
selected by pattern, or console logs that the earlier bundle has not. Of any other run, those of the earlier
bundle are updated along with the selected ones.

The steps in an exported file are not known before it is downloaded. Where the old end was exported in the
meantime, the history pages are tried, because some servers have exported rows in them (docs/protocol.md,
"History"). Where they do not, the files are downloaded, and the pages are not tried again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from pull_logs.fetch.artifacts import artifacts_to_read, read_artifacts
from pull_logs.fetch.context import PullContext
from pull_logs.fetch.decoding import clip, metric_filter
from pull_logs.fetch.discovery import ExportedHistory, FoundRun, Steps
from pull_logs.fetch.files import read_console, read_files
from pull_logs.fetch.history.changes import (
    NotAppendableError,
    check_appendable,
    first_difference,
    is_current,
    was_silent,
)
from pull_logs.fetch.history.exported import ShardReader
from pull_logs.fetch.history.extras import (
    EarlierExtras,
    read_extras,
    usable_artifacts,
    usable_files,
)
from pull_logs.fetch.history.live import LiveReader
from pull_logs.fetch.history.pieces import Pieces, RowProgress
from pull_logs.fetch.outcomes import FetchedRun
from pull_logs.fetch.windows import Window, windows_of_span, windows_of_steps
from pull_logs.rows.batches import batch_rows, steps_of
from pull_logs.rows.canonical import STEP, same
from pull_logs.rows.merge import Lane, merge_batches
from pull_logs.runs import Coverage, RunInfo
from pull_logs.snapshot import Run

OVERLAP = 8
"""Rows at the old end that are requested again; they differ if the history before them was rewritten."""

LONG_HISTORY = 5_000
"""Lines of an exported run from which requesting its end may be cheaper than downloading its files."""

_EXPORTED = "its earlier rows are in exported files, which can only be downloaded completely"


async def refresh_run(context: PullContext, found: FoundRun, earlier: Run) -> FetchedRun:
    """Store a run that an earlier bundle has in the spool.

    Args:
        context: What the download needs.
        found: The run in its current state.
        earlier: The run in the earlier bundle, pulled with the same choice of metrics and system metrics.

    Raises:
        NotAppendableError: It must be downloaded completely.
        BundleDamagedError: The earlier bundle is damaged.
        RunNotFoundError: The run was deleted in the meantime.
        DataError: A row cannot be read or stored.
        AccessError: A request failed.
    """
    return await _Refresh(context, found, earlier).read()


@dataclass(frozen=True, slots=True)
class _EarlierHistory:
    """The steps and the last rows of a history that was pulled earlier.

    Attributes:
        steps: The steps, ascending, each once.
        rows: The last rows, canonical.
    """

    steps: Steps
    rows: list[dict[str, Any]]

    @classmethod
    def of(cls, run: Run) -> _EarlierHistory:
        steps, last = [], None
        for batch in run.batches():
            steps.append(steps_of(batch))
            last = batch if batch.num_rows else last
        rows = [] if last is None else list(batch_rows(last.slice(max(0, last.num_rows - OVERLAP))))
        return cls(np.concatenate(steps), rows)

    @property
    def start(self) -> int:
        """The first step that is requested again."""
        return int(self.rows[0][STEP])

    @property
    def last(self) -> int:
        """The last step."""
        return int(self.steps[-1])

    @property
    def kept(self) -> Steps:
        """The steps that are not requested again."""
        return self.steps[: len(self.steps) - len(self.rows)]


class _Refresh:
    """Updates one run of an earlier bundle."""

    def __init__(self, context: PullContext, found: FoundRun, earlier: Run) -> None:
        self._context = context
        self._found = found
        self._promised_rows = found.promise.rows or 0
        self._promised_last = found.promise.last_step or 0
        self._earlier = earlier
        self._pieces = Pieces(
            context.spool, found.path, keep=metric_filter(context.metrics), budget=context.budget
        )
        self._progress = RowProgress(self._pieces, context.client.meter)
        self._exported = False

    async def read(self) -> FetchedRun:
        """Store the run.

        Raises:
            NotAppendableError: It must be downloaded completely.
            BundleDamagedError: The earlier bundle is damaged.
            AccessError: A request failed.
        """
        context, earlier = self._context, self._earlier
        info, coverage, rows = await context.in_thread(lambda: (earlier.info, earlier.coverage, earlier.rows))
        # Rows that are kept are still those that the SDK read.
        found = self._found = replace(self._found, info=replace(self._found.info, via=info.via))
        if is_current(found, info, coverage):
            return await self._adopt(coverage)
        if was_silent(found, info, coverage):
            return await self._copy(coverage)
        check_appendable(found, info, coverage, rows=rows)
        history = await context.in_thread(lambda: _EarlierHistory.of(earlier))
        await context.in_thread(lambda: self._recover(history))
        try:
            await self._request_end(history)
            end = await context.in_thread(lambda: self._checked_end(history))
        except NotAppendableError:
            await context.in_thread(lambda: context.spool.discard_pages(found.path))
            raise
        return await self._store(history, end)

    def _recover(self, history: _EarlierHistory) -> None:
        """Load the pieces of an earlier attempt at the same refresh."""
        frames = self._context.spool.frames(self._found.path)
        same_refresh = all(frame.lane == Lane.LIVE for frame in frames)
        if same_refresh:
            self._pieces.recover()
            same_refresh = all(start >= history.start for start, _ in self._pieces.windows_done)
        if not same_refresh:
            raise NotAppendableError("an earlier attempt began to download it completely")

    async def _request_end(self, history: _EarlierHistory) -> None:
        """Request the rows from the overlap on."""
        context, found, arrived = self._context, self._found, self._progress.update
        exports = await ShardReader(context, found, self._pieces, arrived=arrived).exports()
        self._exported = bool(exports.urls) and exports.first_live_step > history.start
        self._check_exports(history, exports)
        live = LiveReader(context, found.path, self._pieces, arrived=arrived)
        await live.read(self._windows(history, exports))

    def _check_exports(self, history: _EarlierHistory, exports: ExportedHistory) -> None:
        """Make sure that the listed steps fit the earlier history, and that the end is worth a request."""
        listed = exports.live_steps
        if listed is not None and len(listed):
            old, kept = listed[listed < history.start], history.kept
            if not np.isin(old, kept).all() or not (exports.urls or len(old) == len(kept)):
                raise NotAppendableError(f"history was rewritten: its steps before {history.start} differ")
            if listed[-1] > self._promised_last:
                raise NotAppendableError("W&B lists live rows after the last step that it reports")
        if self._exported:
            rows, new = self._promised_rows, self._promised_rows - len(history.steps)
            pages_may_help = self._context.capabilities.exported_rows_in_pages
            if rows < LONG_HISTORY or 2 * new > rows or not pages_may_help:
                raise NotAppendableError(_EXPORTED)

    def _windows(self, history: _EarlierHistory, exports: ExportedHistory) -> Iterator[Window]:
        covered, stop = tuple(self._pieces.windows_done), self._promised_last + 1
        listed = exports.live_steps if exports.live_steps is not None else history.steps[:0]
        listed = listed[listed >= history.start]
        first = int(listed[0]) if len(listed) else stop
        if history.start < first:
            rows = max(1, self._promised_rows - len(history.kept) - len(listed))
            yield from windows_of_span(history.start, first, rows=rows, covered=covered)
        if len(listed):
            size = self._context.window_size
            yield from windows_of_steps(listed, stop=stop, covered=covered, size=size)

    def _checked_end(self, history: _EarlierHistory) -> list[pa.Table]:
        """Return the merged rows from the overlap on, which must continue the earlier history."""
        end = list(merge_batches(self._pieces.batches()))
        parts = (clip(batch, start=None, stop=history.last + 1) for batch in end)
        overlap = [row for part in parts for row in batch_rows(part)]
        if self._exported and (not overlap or overlap[0][STEP] != history.start):
            self._context.capabilities.exported_rows_in_pages = False
            raise NotAppendableError(_EXPORTED)
        step = first_difference(history.rows, overlap)
        if step is not None:
            raise NotAppendableError(f"history was rewritten: step {step} differs")
        received, promise = self._pieces.received, self._found.promise
        kept, new = len(history.kept), received.count()
        if (kept + new, received.last_step) != (promise.rows, promise.last_step):
            raise NotAppendableError(
                f"history was rewritten: W&B promised {promise.rows} rows, and there are {kept} before"
                f" step {history.start} and {new} from it on"
            )
        return end

    async def _store(self, history: _EarlierHistory, end: list[pa.Table]) -> FetchedRun:
        context, earlier, start = self._context, self._earlier, history.start
        new = self._promised_rows - len(history.steps)
        repeated = [row for batch in end for row in batch_rows(batch)] if not new else []
        unchanged = not new and same(history.rows, repeated)
        coverage = self._coverage()
        if unchanged and not context.system:
            return await self._copy(coverage)
        kept = await context.in_thread(partial(EarlierExtras.of, earlier))

        def rows() -> tuple[Iterable[pa.Table], Mapping[str, Any]]:
            return chain(earlier.batches(columns=()), end), self._found.info.summary

        extras, coverage = await read_extras(
            context, self._found.path, earlier=kept, rows=rows, coverage=coverage
        )

        def batches() -> Iterator[pa.Table]:
            yield from (clip(batch, start=None, stop=start) for batch in earlier.batches())
            yield from end

        store = partial(context.spool.store_merged, self._found.info, coverage, batches, extras)
        await context.in_thread(store)
        return FetchedRun(coverage=coverage, how="copied" if unchanged else "appended", new_rows=new)

    async def _copy(self, coverage: Coverage) -> FetchedRun:
        """Copy the rows, with the current facts."""
        promise = self._found.promise
        coverage = replace(coverage, promised_rows=promise.rows, promised_last_step=promise.last_step)
        return await self._adopt(coverage, info=self._found.info, note="only its facts changed")

    async def _adopt(self, coverage: Coverage, *, info: RunInfo | None = None, note: str = "") -> FetchedRun:
        """Copy the run, with the files that are selected now."""
        context, files, console, artifacts = self._context, None, None, None
        if context.files is not None:
            kept = await context.in_thread(partial(usable_files, self._earlier))
            fetched = await read_files(context, self._found.path, earlier=kept, rows=self._earlier_rows)
            coverage, files = fetched.apply_to(coverage), fetched.sources
        if context.console and self._earlier.console is None:
            fetched_console = await read_console(context, self._found.path)
            coverage, console = fetched_console.apply_to(coverage), fetched_console.source
        path = self._found.path
        selection = await artifacts_to_read(context, path, self._earlier.artifacts)
        if selection is not None:
            held = await context.in_thread(partial(usable_artifacts, self._earlier))
            fetched_artifacts = await read_artifacts(
                context, path, earlier=held, rows=self._earlier_rows, selection=selection
            )
            note = note or "only its artifacts changed"
            coverage, artifacts = fetched_artifacts.apply_to(coverage), fetched_artifacts.source
        return await context.copy(
            self._earlier,
            info=info,
            coverage=coverage,
            files=files,
            console=console,
            artifacts=artifacts,
            note=note,
        )

    def _earlier_rows(self) -> tuple[Iterable[pa.Table], Mapping[str, Any]]:
        return self._earlier.batches(columns=()), self._found.info.summary

    def _coverage(self) -> Coverage:
        promise = self._found.promise
        return Coverage(
            promised_rows=promise.rows,
            promised_last_step=promise.last_step,
            received_rows=promise.rows or 0,
            received_last_step=promise.last_step,
        )
