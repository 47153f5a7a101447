"""The runs of a selection as the SDK lists them."""

from __future__ import annotations

from collections.abc import Collection

from pull_logs.errors import RunNotFoundError
from pull_logs.fetch.api import Client
from pull_logs.fetch.concurrency import for_each
from pull_logs.fetch.discovery import (
    Emit,
    Listing,
    RunCollector,
    no_such_run,
    project_not_found,
    resolve_targets,
)
from pull_logs.fetch.sdk.process import Line, SdkMissingError, SdkPool
from pull_logs.fetch.selection import Selection
from pull_logs.runs import RunPath

_WORKERS = 4


async def find_runs_with_sdk(
    pool: SdkPool,
    client: Client,
    selection: Selection,
    *,
    emit: Emit,
    known_sweeps: Collection[tuple[str, str, str]] = (),
) -> None:
    """Find the runs of a selection with the SDK, and pass each to `emit`, once.

    Args:
        pool: The processes of the SDK.
        client: Gives the settings, and counts the runs; it sends nothing.
        selection: The runs to find.
        emit: Receives each run; it waits while the receiver is busy.
        known_sweeps: The entity, the project and the id of sweeps that had runs; all of these may be deleted.

    Raises:
        UsageError: A name is incomplete, or a run is on another host.
        ProjectNotFoundError: A project to be listed does not exist.
        RunNotFoundError: A sweep that is not known has no runs.
        AccessError: The SDK could not list runs.
    """
    finder = _Finder(pool, client, RunCollector(client, selection.filter, emit), known_sweeps)
    targets = await resolve_targets(client.settings, selection, default_entity=finder.default_entity)
    paths = list(dict.fromkeys(targets.paths))
    if paths:
        client.meter.expect_runs(len(paths))
        await for_each(paths, finder.read_named, workers=_WORKERS)
    await for_each(targets.listings, finder.read_listing, workers=_WORKERS)


class _Finder:
    """Requests runs and passes them to a collector."""

    def __init__(
        self,
        pool: SdkPool,
        client: Client,
        collector: RunCollector,
        known_sweeps: Collection[tuple[str, str, str]],
    ) -> None:
        self._pool, self._client, self._collector = pool, client, collector
        self._known_sweeps = known_sweeps

    async def default_entity(self) -> str | None:
        async with self._pool.borrow() as process:
            entity = (await process.one("entity"))["entity"]
        return entity if isinstance(entity, str) and entity else None

    async def read_named(self, path: RunPath) -> None:
        try:
            async with self._pool.borrow() as process:
                node = (await process.one("facts", path=str(path)))["node"]
        except SdkMissingError:
            await self._collector.miss(path, no_such_run(path, project_exists=True))
        else:
            await self._collector.add(path, node, project_exists=True)

    async def read_listing(self, listing: Listing) -> None:
        """List the runs of a project or a sweep.

        The list is complete before its runs are passed on: whoever receives them may wait for a process.
        """
        nodes: list[Line] = []

        async def keep(line: Line) -> None:
            if "total" in line:
                self._client.meter.expect_runs(int(line["total"]))
                self._client.meter.notify()
            else:
                nodes.append(line["node"])

        project = f"{listing.entity}/{listing.project}"
        try:
            async with self._pool.borrow() as process:
                await process.each(
                    keep, "runs", project=project, filters=dict(listing.filters(prefilter=True))
                )
        except SdkMissingError as exc:
            raise project_not_found(listing.entity, listing.project, defaulted=listing.defaulted) from exc
        known = (listing.entity, listing.project, listing.sweep) in self._known_sweeps
        if not nodes and listing.sweep is not None and not known:
            raise RunNotFoundError(f"{listing} has no runs, or does not exist", hint="check the sweep's id")
        for node in nodes:
            path = RunPath(listing.entity, listing.project, str(node["name"]))
            await self._collector.add(path, node, project_exists=True)
