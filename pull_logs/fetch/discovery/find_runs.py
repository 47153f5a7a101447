"""The runs of a selection: complete projects, sweeps, and runs by name, with as few requests as possible.

What the server refuses is remembered in `Capabilities`, and the queries of the SDK are used instead.
"""

from __future__ import annotations

from collections.abc import Collection

from pull_logs.fetch.api import Capabilities, Client
from pull_logs.fetch.concurrency import for_each
from pull_logs.fetch.discovery.collector import Emit, RunCollector
from pull_logs.fetch.discovery.listings import ListingReader
from pull_logs.fetch.discovery.named_runs import NamedRunReader
from pull_logs.fetch.discovery.targets import resolve_targets
from pull_logs.fetch.selection import Selection
from pull_logs.runs import RunPath

_WORKERS = 4


async def find_runs(
    client: Client,
    selection: Selection,
    *,
    capabilities: Capabilities,
    emit: Emit,
    known_sweeps: Collection[tuple[str, str, str]] = (),
) -> tuple[RunPath, ...]:
    """Find the runs of a selection, and pass each to `emit`, once.

    Args:
        client: Sends the requests.
        selection: The runs to find.
        capabilities: What the server supports.
        emit: Receives each run; it waits while the receiver is busy.
        known_sweeps: The entity, the project and the id of sweeps that had runs; all of these may be deleted.

    Returns:
        The full path of each run that was named, in the order of the selection.

    Raises:
        UsageError: A name is incomplete, or a run is on another host.
        ProjectNotFoundError: A project to be listed does not exist.
        RunNotFoundError: A sweep that is not known has no runs.
        AccessError: A request failed.
    """
    targets = await resolve_targets(client.settings, selection, default_entity=client.default_entity)
    collector = RunCollector(client, selection.filter, emit)
    named = NamedRunReader(client, capabilities, collector)
    paths = list(dict.fromkeys(targets.paths))
    if paths:
        client.meter.expect_runs(len(paths))
        await named.read(paths)
    listings = ListingReader(client, capabilities, collector, named, known_sweeps=known_sweeps)
    await for_each(targets.listings, listings.read, workers=_WORKERS)
    return targets.paths
