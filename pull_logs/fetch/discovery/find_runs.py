"""Which runs there are: whole projects, sweeps, and runs by name, in as few requests as the server takes.

A listing brings everything that can ride along, many runs to a page; the page shrinks
where the server is too slow for it and grows again while it is quick. Named runs are asked
for many to a query. What a server refuses is remembered in `Lessons`, and the SDK's own
queries are used instead.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pull_logs.errors import (
    AccessError,
    DataError,
    ProjectNotFoundError,
    PullLogsError,
    RunNotFoundError,
    ServerError,
    SignInError,
)
from pull_logs.fetch.api import (
    Client,
    HeavyRequestError,
    KeyRefusedError,
    Query,
    RejectedQueryError,
    UnreachableError,
    default_entity,
    list_runs,
    named_runs,
    one_run,
)
from pull_logs.fetch.concurrency import for_each
from pull_logs.fetch.discovery.found import Found, Lessons, Missed
from pull_logs.fetch.discovery.run_node import read_node
from pull_logs.fetch.selection import Selection, split_path
from pull_logs.runs import RunPath

Emit = Callable[[Found | Missed], Awaitable[None]]

RUNS_IN_A_QUERY = 20
FIRST_PAGE = 50
"""Runs in the first page, as many as the SDK asks for."""

LARGEST_PAGE = 200
"""Runs in a page at most; what the server itself allows is not documented."""

_QUICK = 2.0
"""Seconds under which a page is quick, so that the next may be larger."""

_WORKERS = 4
_HEAVY_ATTEMPTS = 2


@dataclass(slots=True)
class _Page:
    """Runs to ask for at a time."""

    size: int = FIRST_PAGE
    ceiling: int = LARGEST_PAGE

    def shrink(self) -> None:
        self.size = self.ceiling = max(1, self.size // 2)

    def grow(self) -> None:
        self.size = min(self.ceiling, 2 * self.size)


@dataclass(frozen=True, slots=True)
class _Listing:
    entity: str
    project: str
    filters: Mapping[str, Any]
    what: str


class Discovery:
    """Finds the runs of one selection and hands each to `emit`, once.

    Attributes:
        named: The full path of each run that was named, in order, once they are known.
    """

    def __init__(self, client: Client, selection: Selection, *, lessons: Lessons, emit: Emit) -> None:
        """Find runs.

        Args:
            client: Whom to ask.
            selection: What to find.
            lessons: What the server is known not to do.
            emit: Takes each run; waits while there is no room for more.
        """
        self._client = client
        self._selection = selection
        self._lessons = lessons
        self._emit = emit
        self._seen: set[RunPath] = set()
        self.named: list[RunPath] = []

    async def run(self) -> None:
        """Find them all.

        Raises:
            UsageError: Something is named incompletely, or is on another host.
            ProjectNotFoundError: A project that was asked for as a whole is not there.
            RunNotFoundError: A sweep has no runs.
            AccessError: The server could not be asked.
        """
        paths, listings = await self._resolve()
        meter = self._client.meter
        if paths:
            meter.runs_total = (meter.runs_total or 0) + len(paths)
            await for_each(self._in_batches(paths), self._name, workers=_WORKERS)
        await for_each(listings, self._list, workers=_WORKERS)

    async def _resolve(self) -> tuple[list[RunPath], list[_Listing]]:
        settings = self._client.settings
        chosen = self._selection
        for reference in chosen.runs:
            settings.check_reference(reference)
        entity = settings.entity
        if entity is None and _lacks_entity(chosen):
            entity = await self._default_entity()
        self.named = [
            reference.complete(entity=entity, project=settings.project) for reference in chosen.runs
        ]
        prefilter = dict(chosen.filter.prefilter) if chosen.filter else {}
        listings = []
        for text in dict.fromkeys(chosen.projects):
            owner, project = split_path(text, form="entity/project", defaults=(entity, None))
            listings.append(_Listing(owner, project, prefilter, f"project {owner}/{project}"))
        for text in dict.fromkeys(chosen.sweeps):
            defaults = (entity, settings.project, None)
            owner, project, sweep = split_path(text, form="entity/project/sweep_id", defaults=defaults)
            terms = [{"sweep": sweep}, *([prefilter] if prefilter else [])]
            listings.append(_Listing(owner, project, {"$and": terms}, f"sweep {owner}/{project}/{sweep}"))
        return list(dict.fromkeys(self.named)), listings

    async def _default_entity(self) -> str | None:
        answer = await self._client.query(default_entity())
        viewer = answer.data.get("viewer")
        entity = viewer.get("entity") if isinstance(viewer, Mapping) else None
        return entity if isinstance(entity, str) and entity else None

    async def _hand_on(self, found: Found) -> None:
        if found.path in self._seen:
            return
        self._seen.add(found.path)
        kept = self._selection.filter
        if kept is not None and not kept.holds(found.info):
            if self._client.meter.runs_total is not None:
                self._client.meter.runs_total -= 1
            return
        await self._emit(found)

    async def _miss(self, path: RunPath, error: PullLogsError) -> None:
        if path not in self._seen:
            self._seen.add(path)
            await self._emit(Missed(path, error))

    # Named runs

    def _in_batches(self, paths: Sequence[RunPath]) -> Iterator[list[RunPath]]:
        by_project: dict[tuple[str, str], list[RunPath]] = {}
        for path in paths:
            by_project.setdefault((path.entity, path.project), []).append(path)
        for group in by_project.values():
            for start in range(0, len(group), RUNS_IN_A_QUERY):
                yield group[start : start + RUNS_IN_A_QUERY]

    async def _name(self, paths: list[RunPath]) -> None:
        """Find runs of one project by name, together where the server takes it, else one by one."""
        again = paths
        if self._lessons.batches:
            try:
                again = await self._name_together(paths)
            except RejectedQueryError:
                self._lessons.batches = False
            except HeavyRequestError:
                half = len(paths) // 2
                if half:
                    await self._name(paths[:half])
                    await self._name(paths[half:])
                    return
            except (KeyRefusedError, UnreachableError):
                raise
            except SignInError as exc:
                for path in paths:
                    await self._miss(path, exc)
                return
        await for_each(again, self._name_alone, workers=_WORKERS)

    async def _name_together(self, paths: list[RunPath]) -> list[RunPath]:
        """Ask for runs in one query; those whose part of the answer failed are returned."""
        entity, project = paths[0].entity, paths[0].project
        query = named_runs(entity, project, [path.run_id for path in paths], exports=True)
        answer = await self._client.query(query, partial=True, heavy_attempts=_HEAVY_ATTEMPTS)
        found = answer.data.get("project")
        blamed = _blamed(answer.errors, depth=1)
        if blamed is None:
            return paths
        again = []
        for number, path in enumerate(paths):
            node = found.get(f"r{number}") if isinstance(found, Mapping) else None
            if f"r{number}" in blamed:
                again.append(path)
            else:
                await self._take(path, node, in_project=isinstance(found, Mapping))
        return again

    async def _name_alone(self, path: RunPath) -> None:
        """Ask for one run as the SDK does; its exports are asked for later."""
        try:
            answer = await self._client.query(one_run(path.entity, path.project, path.run_id))
        except (KeyRefusedError, UnreachableError):
            raise
        except AccessError as exc:
            await self._miss(path, exc)
            return
        project = answer.data.get("project")
        node = project.get("run") if isinstance(project, Mapping) else None
        await self._take(path, node, in_project=isinstance(project, Mapping))

    async def _take(self, path: RunPath, node: object, *, in_project: bool) -> None:
        if not isinstance(node, Mapping):
            await self._miss(path, _not_found(path, in_project=in_project))
            return
        try:
            found = self._read(node, path.entity, path.project)
        except DataError as exc:
            await self._miss(path, exc)
        else:
            await self._hand_on(found)

    def _read(self, node: Mapping[str, Any], entity: str, project: str) -> Found:
        return read_node(
            node,
            entity=entity,
            project=project,
            host=self._client.settings.host,
            now=self._client.clock.now(),
        )

    # Listings

    async def _list(self, listing: _Listing) -> None:
        page, cursor, listed = _Page(), None, 0
        while True:
            began = self._client.clock.now()
            connection, blamed = await self._ask_page(listing, page, cursor)
            edges = [edge for edge in connection.get("edges") or () if isinstance(edge, Mapping)]
            if listed == 0:
                self._expect(connection.get("runCount"))
            if self._client.clock.now() - began < _QUICK:
                page.grow()
            for number, edge in enumerate(edges):
                await self._take_edge(edge, listing, failed=number in blamed)
            listed += len(edges)
            info = connection.get("pageInfo")
            following = edges[-1].get("cursor") if edges else None
            if not isinstance(info, Mapping) or not info.get("hasNextPage"):
                break
            if following is None or following == cursor:
                raise ServerError(f"{self._client.host} lists {listing.what} without a way to go on")
            cursor = following
        if listed == 0 and listing.what.startswith("sweep"):
            raise RunNotFoundError(
                f"{listing.what} has no runs, or is not there", hint="check the sweep's id"
            )

    def _expect(self, count: object) -> None:
        if isinstance(count, int):
            self._client.meter.runs_total = (self._client.meter.runs_total or 0) + count

    async def _take_edge(self, edge: Mapping[str, Any], listing: _Listing, *, failed: bool) -> None:
        node = edge.get("node")
        if not isinstance(node, Mapping) or not isinstance(node.get("name"), str):
            raise ServerError(f"{self._client.host} lists {listing.what} with a run that it does not show")
        path = RunPath(listing.entity, listing.project, node["name"])
        if failed and path not in self._seen:
            await self._name_alone(path)
        elif path not in self._seen:
            await self._take(path, node, in_project=True)

    async def _ask_page(
        self, listing: _Listing, page: _Page, cursor: str | None
    ) -> tuple[Mapping[str, Any], frozenset[object]]:
        """One page, as large as the server manages, and the places in it that failed."""
        while True:
            query = self._page_query(listing, page, cursor)
            try:
                answer = await self._client.query(
                    query, partial=True, heavy_attempts=_HEAVY_ATTEMPTS if page.size > 1 else None
                )
            except HeavyRequestError:
                page.shrink()
                continue
            except RejectedQueryError:
                if not self._give_way(listing, page):
                    raise
                continue
            project = answer.data.get("project")
            if project is None and not answer.errors:
                raise _project_not_found(listing.entity, listing.project)
            runs = project.get("runs") if isinstance(project, Mapping) else None
            blamed = _blamed(answer.errors, depth=3)
            if isinstance(project, Mapping) and isinstance(runs, Mapping) and blamed is not None:
                return {**runs, "runCount": project.get("runCount")}, blamed
            if page.size == 1:
                raise ServerError(f"{self._client.host} cannot list {listing.what}")
            page.shrink()

    def _page_query(self, listing: _Listing, page: _Page, cursor: str | None) -> Query:
        filters = listing.filters if self._lessons.prefilter else _without_prefilter(listing)
        return list_runs(
            entity=listing.entity,
            project=listing.project,
            filters=json.dumps(filters),
            cursor=cursor,
            page=page.size,
            exports=self._lessons.exports_ride_along,
        )

    def _give_way(self, listing: _Listing, page: _Page) -> bool:
        """Do without something that a listing need not have; False when there is nothing left."""
        if page.size > FIRST_PAGE:
            page.size = page.ceiling = FIRST_PAGE
        elif self._lessons.exports_ride_along:
            self._lessons.exports_ride_along = False
        elif self._lessons.prefilter and listing.filters != _without_prefilter(listing):
            self._lessons.prefilter = False
        else:
            return False
        return True


def _lacks_entity(selection: Selection) -> bool:
    return (
        any(reference.entity is None for reference in selection.runs)
        or any("/" not in text.strip("/") for text in selection.projects)
        or any(text.strip("/").count("/") < 2 for text in selection.sweeps)
    )


def _without_prefilter(listing: _Listing) -> Mapping[str, Any]:
    terms = listing.filters.get("$and")
    return {"$and": terms[:1]} if listing.what.startswith("sweep") and isinstance(terms, list) else {}


def _blamed(errors: Sequence[Any], *, depth: int) -> frozenset[object] | None:
    """What the errors beside data are about: the item at `depth` of each one's path; None if one has no such place."""
    found = set()
    for error in errors:
        path = error.get("path") if isinstance(error, Mapping) else None
        if not isinstance(path, list) or len(path) <= depth:
            return None
        found.add(path[depth])
    return frozenset(found)


def _project_not_found(entity: str, project: str) -> ProjectNotFoundError:
    return ProjectNotFoundError(
        f"project {f'{entity}/{project}'!r} is not there, or not to be seen with this key",
        hint="check the spelling, and whose key it is",
    )


def _not_found(path: RunPath, *, in_project: bool) -> RunNotFoundError | ProjectNotFoundError:
    if not in_project:
        return _project_not_found(path.entity, path.project)
    return RunNotFoundError(
        f"run {str(path)!r} is not there",
        hint=f"`pull-logs overview -p {path.project_path}` lists the project's runs",
    )
