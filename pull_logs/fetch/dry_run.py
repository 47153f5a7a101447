"""What a pull would take, asked without pulling.

How long it may take is an estimate from what asking showed: requests take as long as the
listing's pages did at the most, as many at a time as the limit starts with; rows and runs
take what they were seen to take on two cores. It leaves out what cannot be known
beforehand: how the server bears the load, and the bandwidth.
"""

from __future__ import annotations

from functools import partial

import httpx

from pull_logs.fetch.api import Client, Clock, RetryPolicy, Settings, load_settings
from pull_logs.fetch.concurrency import flat_errors, run_async
from pull_logs.fetch.discovery import Discovery, Found, Lessons, Missed
from pull_logs.fetch.files import list_files
from pull_logs.fetch.progress import Meter, ProgressHook
from pull_logs.fetch.reports import Survey
from pull_logs.fetch.selection import Selection
from pull_logs.fetch.wantedfiles import FileTally, WantedFiles
from pull_logs.fetch.windows import EXACT
from pull_logs.runs import RunPath

_ROWS_A_SECOND = 100_000
_RUNS_A_SECOND = 250
_AT_ONCE = 8


async def survey(
    selection: Selection,
    *,
    settings: Settings | None = None,
    concurrency: int = 32,
    system: bool = False,
    wanted: WantedFiles | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    progress: ProgressHook | None = None,
    policy: RetryPolicy | None = None,
) -> Survey:
    """Tell what pulling a selection would take.

    Args:
        selection: Which runs.
        settings: Which W&B, and as whom; found as the SDK finds them if None.
        concurrency: Most requests in flight.
        system: Whether system metrics would be pulled too: a request a run.
        wanted: Which files of the runs would be pulled too; those are listed now.
        transport: Replaces the network.
        progress: Told how it goes.
        policy: How long to go on asking.

    Raises:
        ProjectNotFoundError: A project that was asked for as a whole is not there.
        AccessError: W&B could not be asked.
    """
    clock = Clock()
    meter = Meter(now=clock.now, hook=progress)
    rows = files = live = windows = runs = 0
    missing: list[tuple[RunPath, str]] = []
    listing = None if wanted is None else _Listing(wanted)

    async def count(item: Found | Missed) -> None:
        nonlocal rows, files, live, windows, runs
        if isinstance(item, Missed):
            missing.append((item.path, item.error.message))
            return
        runs += 1
        rows += item.promise.rows or 0
        if listing is not None:
            await listing.add(client, item.path)
        if item.exports is None:
            windows += 1
            return
        files += len(item.exports.urls)
        here = 0 if item.exports.live_steps is None else len(item.exports.live_steps)
        if not here and not item.exports.urls:
            here = item.promise.rows or 0
        live += here
        windows += -(-here // EXACT)

    with flat_errors():
        async with Client(
            settings or load_settings(),
            transport=transport,
            concurrency=concurrency,
            policy=policy,
            clock=clock,
            meter=meter,
        ) as client:
            await Discovery(client, selection, lessons=Lessons(), emit=count).run()
    run_files = listing.files if listing else 0
    more = files + windows + runs * system + run_files
    waiting = more * meter.seconds / max(1, meter.requests) / min(_AT_ONCE, concurrency)
    return Survey(
        runs=runs,
        missing=tuple(missing),
        rows=rows,
        files=files,
        live_rows=live,
        requests=meter.requests + more,
        listing_seconds=meter.seconds,
        seconds=meter.seconds + max(waiting, rows / _ROWS_A_SECOND + runs / _RUNS_A_SECOND),
        run_files=None if listing is None else run_files,
        run_file_bytes=listing.bytes if listing else 0,
        notes=tuple(listing.tally.notes(listing.wanted)) if listing else (),
    )


class _Listing:
    """Counts the files that runs have and that are wanted."""

    def __init__(self, wanted: WantedFiles) -> None:
        self.wanted = wanted
        self.tally = FileTally()
        self.files = self.bytes = 0

    async def add(self, client: Client, path: RunPath) -> None:
        matched = 0
        async for listed in list_files(client, path, names=self.wanted.names()):
            if not self.wanted.matches(listed.name):
                continue
            matched += 1
            size = listed.size or 0
            if self.wanted.most_bytes is not None and size > self.wanted.most_bytes:
                self.tally.left_out.append((path, listed.name, size))
                continue
            self.files += 1
            self.bytes += size
        self.tally.asked += 1
        self.tally.without += not matched


def survey_sync(
    selection: Selection,
    *,
    settings: Settings | None = None,
    concurrency: int = 32,
    system: bool = False,
    wanted: WantedFiles | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    progress: ProgressHook | None = None,
) -> Survey:
    """`survey` for synchronous callers."""
    work = partial(
        survey,
        selection,
        settings=settings,
        concurrency=concurrency,
        system=system,
        wanted=wanted,
        transport=transport,
        progress=progress,
    )
    return run_async(work)
