"""Passes on each run that discovery finds, once, unless the filter of the selection omits it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from pull_logs.errors import DataError, ProjectNotFoundError, PullLogsError, RunNotFoundError
from pull_logs.fetch.api import Client
from pull_logs.fetch.discovery.run_node import read_node
from pull_logs.fetch.discovery.run_plan import FoundRun, MissedRun
from pull_logs.fetch.selection import RunFilter
from pull_logs.runs import RunPath

Emit = Callable[[FoundRun | MissedRun], Awaitable[None]]


class RunCollector:
    """Reads the runs in answers and passes each on, once.

    Args:
        client: Gives the host and the time of the runs.
        run_filter: Keeps some of the runs; None keeps all.
        emit: Receives each run; it waits while the receiver is busy.
    """

    def __init__(self, client: Client, run_filter: RunFilter | None, emit: Emit) -> None:
        self._client = client
        self._filter = run_filter
        self._emit = emit
        self._seen: set[RunPath] = set()

    def __contains__(self, path: RunPath) -> bool:
        """Whether the run was passed on or omitted already."""
        return path in self._seen

    async def add(self, path: RunPath, node: object, *, project_exists: bool) -> None:
        """Pass on a run.

        Args:
            path: The path under which it was requested.
            node: The GraphQL object; anything but an object means that the run does not exist.
            project_exists: Whether its project exists.
        """
        if not isinstance(node, Mapping):
            await self.miss(path, no_such_run(path, project_exists=project_exists))
            return
        try:
            found = read_node(
                node,
                entity=path.entity,
                project=path.project,
                host=self._client.settings.host,
                now=self._client.clock.now(),
            )
        except DataError as exc:
            await self.miss(path, exc)
        else:
            await self._pass_on(found)

    async def _pass_on(self, found: FoundRun) -> None:
        if found.path in self._seen:
            return
        self._seen.add(found.path)
        if self._filter is not None and not self._filter.holds(found.info):
            if self._client.meter.runs_total is not None:
                self._client.meter.runs_total -= 1
            return
        await self._emit(found)

    async def miss(self, path: RunPath, error: PullLogsError) -> None:
        """Pass on that a run could not be found."""
        if path not in self._seen:
            self._seen.add(path)
            await self._emit(MissedRun(path, error))


def project_not_found(entity: str, project: str, *, defaulted: bool = False) -> ProjectNotFoundError:
    """Return the error for a project that the server does not show.

    Args:
        entity: The entity.
        project: The project.
        defaulted: Whether only the project was named, so that the name may be that of an entity.
    """
    hint = "check the spelling, and which account the key belongs to"
    if defaulted:
        hint = f"{project!r} names no entity and was looked for in {entity!r}: write ENTITY/PROJECT"
    return ProjectNotFoundError(
        f"project {f'{entity}/{project}'!r} does not exist, or this key has no access to it",
        hint=hint,
    )


def no_such_run(path: RunPath, *, project_exists: bool) -> RunNotFoundError | ProjectNotFoundError:
    """Return the error for a run that the server does not show, or whose project it does not show."""
    if not project_exists:
        return project_not_found(path.entity, path.project)
    return RunNotFoundError(
        f"run {str(path)!r} does not exist",
        hint=f"`pull-logs overview -p {path.project_path}` lists the project's runs",
    )
