"""A run that an earlier bundle has: only what is new of it is asked for.

**What tells that nothing is new?** If all that the server says of the run is what it said
then, the run is copied. If its facts changed and its heartbeat, line count and last step
did not, nobody logged to it since, and its rows are copied under the new facts.

**What tells that only rows were appended?** The live rows are asked for from a few rows
before the old end on (`OVERLAP`). They must repeat those rows; the last one alone may have
got more keys and a later time, because lines may be logged to a step that is there. The
lines that were kept and those that arrived must be as many as promised, and end where
promised. Whatever does not fit, the run is asked for whole, and the reason is told: what
comes out is what a pull without the earlier bundle would bring.

The files of a run that is copied are copied with it, and W&B is not asked about them, unless
files are wanted by pattern. Of any other run, those that the earlier bundle has are brought up
to date, beside those that are wanted.

An exported file does not tell its steps. So where the old end was exported meanwhile, the
history pages are tried, which may have exported rows too (read API facts, section 3.5);
where they have none the files are downloaded, and the server is not tried again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import zip_longest
from typing import Any

import numpy as np
import pyarrow as pa

from pull_logs.errors import BundleDamagedError
from pull_logs.fetch.context import Workshop
from pull_logs.fetch.discovery import Exports, Found, Steps
from pull_logs.fetch.files import read_files
from pull_logs.fetch.history.decode import clip
from pull_logs.fetch.history.exported import ShardReader
from pull_logs.fetch.history.live import LiveReader
from pull_logs.fetch.history.pieces import Pieces, keeper
from pull_logs.fetch.history.whole_run import HistoryReader, read_system
from pull_logs.fetch.reports import How
from pull_logs.fetch.windows import Window, windows_of_span, windows_of_steps
from pull_logs.rows.batches import batch_rows, steps_of
from pull_logs.rows.canonical import STEP, TIMESTAMP, same
from pull_logs.rows.merge import Lane, merge_batches
from pull_logs.runs import Coverage, RunInfo
from pull_logs.snapshot import Run
from pull_logs.snapshot.format import info_fields
from pull_logs.snapshot.read import RunFiles

OVERLAP = 8
"""Rows at the old end that are asked for again; a history that was rewritten before them differs in them too."""

WORTH_A_TRY = 5_000
"""Lines of an exported run from which asking for its end may cost less than downloading its files."""

_CLOCKS = frozenset({TIMESTAMP, "_runtime"})
_EXPORTED = "its earlier rows are in exported files, which come whole"


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """A run that is in the spool.

    Attributes:
        how: How it came there.
        new_rows: Lines that the earlier bundle does not have; all, without one.
        note: Why it came so, where there is something to tell.
    """

    coverage: Coverage
    how: How
    new_rows: int = 0
    note: str = ""


async def bring(shop: Workshop, found: Found, earlier: Run | None) -> Brought:
    """Put a run into the spool, by as little as needs to be asked.

    Args:
        shop: What reading needs.
        found: The run as it is now.
        earlier: The run as it was pulled earlier, with the same choice of metrics and system metrics.

    Raises:
        RunNotFoundError: The run was deleted meanwhile.
        DataError: A row cannot be read or kept.
        AccessError: The server could not be asked.
    """
    why = ""
    if earlier is not None:
        try:
            brought = await _Refresh(shop, found, earlier).read()
        except BundleDamagedError:
            brought = "the earlier bundle is damaged"
        if isinstance(brought, Brought):
            return brought
        why = brought
    files = None if earlier is None else await shop.in_thread(partial(_files_of, earlier))
    coverage = await HistoryReader(shop, found, earlier=files).read()
    return Brought(coverage=coverage, how="whole", new_rows=coverage.received_rows, note=why)


def _files_of(run: Run) -> RunFiles | None:
    """The files of a run of an earlier bundle; None where there are none, or they are damaged."""
    files = run.files
    try:
        for file in files.values():
            file.check()
    except BundleDamagedError:
        return None
    return files or None


def is_current(found: Found, info: RunInfo, coverage: Coverage) -> bool:
    """Whether a run that was pulled earlier is whole, and the server says of it what it said then."""
    return _same_promise(found, coverage) and info_fields(info) == info_fields(found.info)


def _same_promise(found: Found, coverage: Coverage) -> bool:
    promise = found.promise
    told = (coverage.promised_rows, coverage.promised_last_step)
    return coverage.complete and told == (promise.rows, promise.last_step)


def was_silent(found: Found, info: RunInfo, coverage: Coverage) -> bool:
    """Whether nothing can have been logged since a run was pulled, though its facts may have changed."""
    return (
        _same_promise(found, coverage)
        and found.promise.rows is not None
        and info.created_at == found.info.created_at
        and info.heartbeat_at is not None
        and info.heartbeat_at == found.info.heartbeat_at
    )


def why_whole(found: Found, info: RunInfo, coverage: Coverage, *, rows: int) -> str:
    """Why what was pulled earlier is no beginning of what the server promises now; empty if it may be.

    Args:
        found: The run as it is now.
        info: Its facts as they were.
        coverage: What had arrived.
        rows: Rows that it had when lines of one step were merged.
    """
    return next(_obstacles(found, info, coverage, rows), "")


def _obstacles(found: Found, info: RunInfo, coverage: Coverage, rows: int) -> Iterator[str]:
    promise, last = found.promise, coverage.received_last_step or 0
    if not coverage.complete:
        yield "it was not whole"
    if not rows:
        yield "it had no rows"
    if info.created_at != found.info.created_at:
        yield "another run has its name now"
    if not coverage.received_rows == coverage.promised_rows == rows:
        yield "lines of one step had been merged in it, and cannot be counted again"
    if promise.rows is None or promise.last_step is None:
        yield "W&B does not tell how many rows it has, or where they end"
    elif promise.rows < rows or promise.last_step < last:
        yield (
            f"history was rewritten: W&B has {promise.rows} rows up to step {promise.last_step},"
            f" and had {rows} up to step {last}"
        )


@dataclass(frozen=True, slots=True)
class _Held:
    """The end of a history that was pulled earlier.

    Attributes:
        steps: Its steps, ascending, each once.
        rows: Its last rows, canonical.
    """

    steps: Steps
    rows: list[dict[str, Any]]

    @classmethod
    def of(cls, run: Run) -> _Held:
        steps, last = [], None
        for batch in run.batches():
            steps.append(steps_of(batch))
            last = batch if batch.num_rows else last
        rows = [] if last is None else list(batch_rows(last.slice(max(0, last.num_rows - OVERLAP))))
        return cls(np.concatenate(steps), rows)

    @property
    def start(self) -> int:
        """The first step that is asked for again."""
        return int(self.rows[0][STEP])

    @property
    def last(self) -> int:
        """The last step."""
        return int(self.steps[-1])

    @property
    def before(self) -> int:
        """Rows that are not asked for."""
        return len(self.steps) - len(self.rows)


class _Refresh:
    """Brings one run up to date, or tells why it has to be asked for whole."""

    def __init__(self, shop: Workshop, found: Found, earlier: Run) -> None:
        self._shop = shop
        self._found = found
        self._promise = found.promise
        self._earlier = earlier
        keep = None if shop.keys is None else keeper(shop.keys.search)
        self._pieces = Pieces(shop.spool, found.path, keep=keep)
        self._exported = False
        self._reported = 0

    async def read(self) -> Brought | str:
        shop, found, earlier = self._shop, self._found, self._earlier
        info, coverage, rows = await shop.in_thread(lambda: (earlier.info, earlier.coverage, earlier.rows))
        if is_current(found, info, coverage):
            return await self._adopt(coverage)
        if was_silent(found, info, coverage):
            return await self._copy(coverage)
        why = why_whole(found, info, coverage, rows=rows)
        if why:
            return why
        held = await shop.in_thread(lambda: _Held.of(earlier))
        if not await shop.in_thread(lambda: self._recover(held)):
            return "an earlier attempt began to ask for all of it"
        why = await self._ask(held)
        if not why:
            tail = await shop.in_thread(lambda: self._check(held))
            if not isinstance(tail, str):
                return await self._store(held, tail)
            why = tail
        await shop.in_thread(lambda: shop.spool.discard(found.path))
        return why

    def _recover(self, held: _Held) -> bool:
        """Take over an earlier attempt at the same; False where it was another: asking for the whole run."""
        frames = self._shop.spool.frames(self._found.path)
        if any(frame.lane != Lane.LIVE for frame in frames):
            return False
        self._pieces.recover()
        return all(start >= held.start for start, _ in self._pieces.windows_done)

    async def _ask(self, held: _Held) -> str:
        """Ask for the rows from the overlap on; why that is of no use, if it is not."""
        shop, found = self._shop, self._found
        exports = await ShardReader(shop, found, self._pieces, arrived=self._report).exports()
        self._exported = bool(exports.urls) and _first_live(exports) > held.start
        why = self._why_not(held, exports)
        if not why:
            live = LiveReader(shop, found.path, self._pieces, arrived=self._report)
            await live.read(self._windows(held, exports))
        return why

    def _why_not(self, held: _Held, exports: Exports) -> str:
        promise = self._promise
        assert promise.rows is not None  # noqa: S101 - for the type checker: `why_whole` looked
        assert promise.last_step is not None  # noqa: S101 - as above
        listed = exports.live_steps
        if listed is not None and len(listed):
            old = listed[listed < held.start]
            kept = held.steps[: held.before]
            if not np.isin(old, kept).all() or not (exports.urls or len(old) == len(kept)):
                return f"history was rewritten: its steps before {held.start} differ"
            if listed[-1] > promise.last_step:
                return "W&B lists live rows behind the last step that it tells"
        if self._exported:
            new = promise.rows - len(held.steps)
            if promise.rows < WORTH_A_TRY or 2 * new > promise.rows or not self._shop.lessons.pages_exported:
                return _EXPORTED
        return ""

    def _windows(self, held: _Held, exports: Exports) -> Iterator[Window]:
        promise, covered = self._promise, tuple(self._pieces.windows_done)
        stop = (promise.last_step or 0) + 1
        listed = exports.live_steps if exports.live_steps is not None else held.steps[:0]
        listed = listed[listed >= held.start]
        first = int(listed[0]) if len(listed) else stop
        if held.start < first:
            rows = max(1, (promise.rows or 0) - held.before - len(listed))
            yield from windows_of_span(held.start, first, rows=rows, covered=covered)
        if len(listed):
            yield from windows_of_steps(listed, stop=stop, covered=covered, size=self._shop.size)

    def _check(self, held: _Held) -> list[pa.Table] | str:
        """The rows from the overlap on, merged; or why they do not continue what was kept."""
        tail = list(merge_batches(self._pieces.batches()))
        parts = (clip(batch, start=None, stop=held.last + 1) for batch in tail)
        overlap = [row for part in parts for row in batch_rows(part)]
        if self._exported and (not overlap or overlap[0][STEP] != held.start):
            self._shop.lessons.pages_exported = False
            return _EXPORTED
        differs = first_difference(held.rows, overlap)
        if differs is not None:
            return f"history was rewritten: step {differs} differs"
        tally, promise = self._pieces.tally, self._promise
        lines = held.before + tally.lines()
        if (lines, tally.last_step) != (promise.rows, promise.last_step):
            return (
                f"history was rewritten: {held.before} rows before step {held.start} and {tally.lines()} from"
                f" it on are not the {promise.rows} that W&B promised"
            )
        return tail

    async def _store(self, held: _Held, tail: list[pa.Table]) -> Brought:
        shop, earlier, start = self._shop, self._earlier, held.start
        new = (self._promise.rows or 0) - len(held.steps)
        repeated = [row for batch in tail for row in batch_rows(batch)] if not new else []
        alike = not new and same(held.rows, repeated)
        coverage = self._coverage()
        if alike and not shop.system:
            return await self._copy(coverage)
        files = await read_files(
            shop, self._found.path, earlier=await shop.in_thread(partial(_files_of, earlier))
        )
        coverage = files.judge(coverage)
        system = await read_system(shop, self._found.path) if shop.system else None

        def batches() -> Iterator[pa.Table]:
            yield from (clip(batch, start=None, stop=start) for batch in earlier.batches())
            yield from tail

        store = partial(
            shop.spool.store_merged,
            self._found.info,
            coverage,
            batches,
            system=system,
            files=files.sources,
        )
        await shop.in_thread(store)
        return Brought(coverage=coverage, how="copied" if alike else "appended", new_rows=new)

    async def _copy(self, coverage: Coverage) -> Brought:
        """Take the rows as they were, under the facts as they are."""
        coverage = replace(
            coverage, promised_rows=self._promise.rows, promised_last_step=self._promise.last_step
        )
        return await self._adopt(coverage, info=self._found.info, note="only its facts changed")

    async def _adopt(self, coverage: Coverage, *, info: RunInfo | None = None, note: str = "") -> Brought:
        """Take the run as it was, with the files that are wanted now."""
        shop, files = self._shop, None
        if shop.files is not None:
            kept = await shop.in_thread(partial(_files_of, self._earlier))
            gathered = await read_files(shop, self._found.path, earlier=kept)
            coverage, files = gathered.judge(coverage), gathered.sources
        adopt = partial(shop.spool.adopt, self._earlier, info=info, coverage=coverage, files=files)
        await shop.in_thread(adopt)
        return Brought(coverage=coverage, how="copied", note=note)

    def _coverage(self) -> Coverage:
        promise = self._promise
        return Coverage(
            promised_rows=promise.rows,
            promised_last_step=promise.last_step,
            received_rows=promise.rows or 0,
            received_last_step=promise.last_step,
        )

    def _report(self) -> None:
        rows, meter = self._pieces.rows, self._shop.client.meter
        meter.rows += rows - self._reported
        self._reported = rows
        meter.tell()


def _first_live(exports: Exports) -> float:
    listed = exports.live_steps
    return int(listed[0]) if listed is not None and len(listed) else float("inf")


def first_difference(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> int | None:
    """The first step at which rows do not continue the old ones; None if they do.

    Args:
        old: The last rows of a history as it was, canonical, in step order.
        new: The rows from the first of these steps to the last, as they are.
    """
    for number, (before, now) in enumerate(zip_longest(old, new)):
        if before is None or now is None:
            return int((before or now)[STEP])
        if not (_extends(before, now) if number == len(old) - 1 else same(before, now)):
            return int(min(before[STEP], now[STEP]))
    return None


def _extends(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether a row is the old one after more was logged to its step: more keys, and a later time."""
    return all(
        key in new and (same(value, new[key]) or (key in _CLOCKS and _is_later(new[key], value)))
        for key, value in old.items()
    )


def _is_later(new: object, old: object) -> bool:
    return isinstance(new, (int, float)) and isinstance(old, (int, float)) and new > old
