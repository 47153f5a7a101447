"""What a pull would download and need, without pulling.

The time is estimated from the requests for the estimate: each request of the pull takes as long as a
page of the listing, with as many at a time as the limit begins with. Rows and runs take the time
that they took in measurements on two cores. Unknown and therefore not included are the load of
the server and the bandwidth.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pull_logs.fetch.api import Capabilities, Client, Settings, load_settings
from pull_logs.fetch.concurrency import flat_errors, run_async
from pull_logs.fetch.discovery import FoundRun, MissedRun, find_runs
from pull_logs.fetch.files import list_files
from pull_logs.fetch.options import PullOptions
from pull_logs.fetch.outcomes import FileCounts
from pull_logs.fetch.progress import ProgressHook
from pull_logs.fetch.reports import PullEstimate
from pull_logs.fetch.selection import Selection
from pull_logs.fetch.windows import EXACT
from pull_logs.runs import RunPath
from pull_logs.snapshot import FileSelection

if TYPE_CHECKING:
    import httpx

_ROWS_PER_SECOND = 100_000
_RUNS_PER_SECOND = 250
_CONCURRENT_REQUESTS = 8


async def estimate_pull(
    selection: Selection,
    *,
    options: PullOptions | None = None,
    settings: Settings | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    progress: ProgressHook | None = None,
) -> PullEstimate:
    """Estimate what the pull of a selection would download and need.

    Args:
        selection: The runs.
        options: The options of the pull; the selected files of the runs are listed for the estimate.
        settings: The address of the API and the credentials; found as the SDK finds them if None.
        transport: Replaces the network.
        progress: Receives the progress of the estimate.

    Raises:
        ProjectNotFoundError: A project does not exist.
        AccessError: A request failed.
    """
    options = options or PullOptions()
    with flat_errors():
        async with Client(
            settings or load_settings(),
            transport=transport,
            concurrency=options.concurrency,
            policy=options.policy,
            progress=progress,
        ) as client:
            estimator = _Estimator(client, options)
            await find_runs(client, selection, capabilities=Capabilities(), emit=estimator.add)
            return estimator.estimate()


def estimate_pull_sync(
    selection: Selection,
    *,
    options: PullOptions | None = None,
    settings: Settings | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    progress: ProgressHook | None = None,
) -> PullEstimate:
    """Estimate as `estimate_pull` does, for synchronous callers."""
    return run_async(
        partial(
            estimate_pull,
            selection,
            options=options,
            settings=settings,
            transport=transport,
            progress=progress,
        )
    )


class _Estimator:
    """Counts what the pull of each run would download."""

    def __init__(self, client: Client, options: PullOptions) -> None:
        self._client = client
        self._options = options
        selection = options.file_selection
        self._files = None if selection is None else _FileEstimator(client, selection)
        self._missing: list[tuple[RunPath, str]] = []
        self._runs = 0
        self._rows = 0
        self._exported_files = 0
        self._live_rows = 0
        self._windows = 0

    async def add(self, item: FoundRun | MissedRun) -> None:
        """Count a run."""
        if isinstance(item, MissedRun):
            self._missing.append((item.path, item.error.message))
            return
        self._runs += 1
        self._rows += item.promise.rows or 0
        if self._files is not None:
            await self._files.add(item.path)
        if item.exports is None:
            self._windows += 1
            return
        self._exported_files += len(item.exports.urls)
        live = 0 if item.exports.live_steps is None else len(item.exports.live_steps)
        if not live and not item.exports.urls:
            live = item.promise.rows or 0
        self._live_rows += live
        self._windows += -(-live // EXACT)

    def estimate(self) -> PullEstimate:
        """Return the estimate."""
        files, meter, concurrency = self._files, self._client.meter, self._options.concurrency
        further = self._exported_files + self._windows
        further += self._runs * (self._options.system + self._options.console)
        selection = self._options.artifact_selection
        further += self._runs * (0 if selection is None else len(selection.relations))
        further += files.files if files else 0
        listing = meter.seconds
        waiting = further * listing / max(1, meter.requests) / min(_CONCURRENT_REQUESTS, concurrency)
        processing = self._rows / _ROWS_PER_SECOND + self._runs / _RUNS_PER_SECOND
        return PullEstimate(
            runs=self._runs,
            missing=tuple(self._missing),
            rows=self._rows,
            files=self._exported_files,
            live_rows=self._live_rows,
            requests=meter.requests + further,
            listing_seconds=listing,
            seconds=listing + max(waiting, processing),
            run_files=files.files if files else None,
            run_file_bytes=files.bytes if files else 0,
            notes=files.notes() if files else (),
        )


class _FileEstimator:
    """Counts the selected files of runs.

    Attributes:
        files: The number of files to download.
        bytes: Their size.
    """

    def __init__(self, client: Client, selection: FileSelection) -> None:
        self._client = client
        self._selection = selection
        self._counts = FileCounts()
        self.files = 0
        self.bytes = 0

    async def add(self, path: RunPath) -> None:
        """List and count the selected files of a run."""
        selection, matched = self._selection, False
        async for listed in list_files(self._client, path, names=selection.literal_names()):
            if not selection.matches(listed.name):
                continue
            matched = True
            if not selection.allows_size(listed.size):
                self._counts.omit(path, listed.name, listed.size or 0)
                continue
            self.files += 1
            self.bytes += listed.size or 0
        self._counts.add_run(matched=matched)

    def notes(self) -> tuple[str, ...]:
        """Return remarks about the files."""
        return tuple(self._counts.notes(self._selection))
