"""The runs of projects and sweeps, page by page.

A page has all fields of many runs. It shrinks where the server is too slow for it and grows again while
the server is quick.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pull_logs.errors import RunNotFoundError, ServerError
from pull_logs.fetch.api import (
    Capabilities,
    Client,
    HeavyRequestError,
    Query,
    RejectedQueryError,
    failed_items,
    list_runs,
)
from pull_logs.fetch.discovery.collector import RunCollector, project_not_found
from pull_logs.fetch.discovery.named_runs import NamedRunReader
from pull_logs.fetch.discovery.targets import Listing
from pull_logs.runs import RunPath

FIRST_PAGE = 50
"""The runs in the first page, as many as the SDK requests."""

LARGEST_PAGE = 200
"""The maximum number of runs in a page; the maximum of the server is not documented."""

_QUICK_SECONDS = 2.0
"""A page that arrives within this time is quick, so that the next one may be larger."""

_HEAVY_ATTEMPTS = 2


@dataclass(slots=True)
class _PageSize:
    """The number of runs to request in a page."""

    size: int = FIRST_PAGE
    ceiling: int = LARGEST_PAGE

    def shrink(self) -> None:
        self.size = self.ceiling = max(1, self.size // 2)

    def grow(self) -> None:
        self.size = min(self.ceiling, 2 * self.size)


@dataclass(frozen=True, slots=True)
class _Page:
    """One page of a listing.

    Attributes:
        edges: The edges, each with a run and its cursor.
        failed: The indexes of the edges whose run failed.
        run_count: The number of runs in the listing, if it is a number.
        next_cursor: The cursor of the next page; None on the last page.
        has_next: Whether there is a next page.
    """

    edges: list[Mapping[str, Any]]
    failed: frozenset[object]
    run_count: object
    next_cursor: str | None
    has_next: bool


class ListingReader:
    """Lists the runs of projects and sweeps.

    Args:
        client: Sends the queries.
        capabilities: What the server supports.
        collector: Receives the runs.
        named: Requests the runs that failed in a page.
        known_sweeps: The entity, the project and the id of sweeps that had runs; all of these may be deleted.
    """

    def __init__(
        self,
        client: Client,
        capabilities: Capabilities,
        collector: RunCollector,
        named: NamedRunReader,
        *,
        known_sweeps: Collection[tuple[str, str, str]] = (),
    ) -> None:
        self._client = client
        self._capabilities = capabilities
        self._collector = collector
        self._named = named
        self._known_sweeps = known_sweeps

    async def read(self, listing: Listing) -> None:
        """List the runs of a project or a sweep.

        Raises:
            ProjectNotFoundError: The project does not exist.
            RunNotFoundError: A sweep that is not known has no runs.
            AccessError: A request failed.
        """
        size, listed = _PageSize(), 0
        cursor: str | None = None
        while True:
            began = self._client.clock.now()
            page = await self._request_page(listing, size, cursor)
            if listed == 0 and isinstance(page.run_count, int):
                self._client.meter.expect_runs(page.run_count)
            if self._client.clock.now() - began < _QUICK_SECONDS:
                size.grow()
            for number, edge in enumerate(page.edges):
                await self._read_edge(edge, listing, failed=number in page.failed)
            listed += len(page.edges)
            if not page.has_next:
                break
            if page.next_cursor is None or page.next_cursor == cursor:
                raise ServerError(f"{self._client.host} lists {listing} without a cursor for the next page")
            cursor = page.next_cursor
        known = (listing.entity, listing.project, listing.sweep) in self._known_sweeps
        if listed == 0 and listing.sweep is not None and not known:
            raise RunNotFoundError(f"{listing} has no runs, or does not exist", hint="check the sweep's id")

    async def _read_edge(self, edge: Mapping[str, Any], listing: Listing, *, failed: bool) -> None:
        node = edge.get("node")
        if not isinstance(node, Mapping) or not isinstance(node.get("name"), str):
            raise ServerError(f"{self._client.host} lists {listing} with a run that has no name")
        path = RunPath(listing.entity, listing.project, node["name"])
        if path in self._collector:
            return
        if failed:
            await self._named.read_one(path)
        else:
            await self._collector.add(path, node, project_exists=True)

    async def _request_page(self, listing: Listing, size: _PageSize, cursor: str | None) -> _Page:
        """Request one page, as large as the server can send."""
        while True:
            try:
                answer = await self._client.query(
                    self._query(listing, size, cursor),
                    partial=True,
                    heavy_attempts=_HEAVY_ATTEMPTS if size.size > 1 else None,
                )
            except HeavyRequestError:
                size.shrink()
                continue
            except RejectedQueryError:
                if not self._simplify(listing, size):
                    raise
                continue
            project = answer.data.get("project")
            if project is None and not answer.errors:
                raise project_not_found(listing.entity, listing.project, defaulted=listing.defaulted)
            failed = failed_items(answer.errors, depth=3)
            if isinstance(project, Mapping) and failed is not None:
                runs = project.get("runs")
                if isinstance(runs, Mapping):
                    return _read_page(runs, failed, project.get("runCount"))
            if size.size == 1:
                raise ServerError(f"{self._client.host} cannot list {listing}")
            size.shrink()

    def _query(self, listing: Listing, size: _PageSize, cursor: str | None) -> Query:
        return list_runs(
            entity=listing.entity,
            project=listing.project,
            filters=json.dumps(listing.filters(prefilter=self._capabilities.prefilter)),
            cursor=cursor,
            page=size.size,
            exports=self._capabilities.exports_in_listings,
        )

    def _simplify(self, listing: Listing, size: _PageSize) -> bool:
        """Stop requesting something that a listing does not need; False when nothing is left."""
        if size.size > FIRST_PAGE:
            size.size = size.ceiling = FIRST_PAGE
        elif self._capabilities.exports_in_listings:
            self._capabilities.exports_in_listings = False
        elif self._capabilities.prefilter and listing.prefilter:
            self._capabilities.prefilter = False
        else:
            return False
        return True


def _read_page(runs: Mapping[str, Any], failed: frozenset[object], run_count: object) -> _Page:
    edges = [edge for edge in runs.get("edges") or () if isinstance(edge, Mapping)]
    info = runs.get("pageInfo")
    cursor = edges[-1].get("cursor") if edges else None
    return _Page(
        edges=edges,
        failed=failed,
        run_count=run_count,
        next_cursor=cursor if isinstance(cursor, str) else None,
        has_next=isinstance(info, Mapping) and bool(info.get("hasNextPage")),
    )
