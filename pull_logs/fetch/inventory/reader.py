"""Asks W&B for the inventories of runs: ten runs in one query, or with the SDK's own queries.

A server that does not accept the query for several runs is asked for each part of each run with the query
that the SDK sends. A part that it refuses then is recorded as not asked, with the reason.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from pull_logs.errors import AccessError, DataError, PullLogsError, RunNotFoundError, SignInError
from pull_logs.fetch.api import (
    Client,
    HeavyRequestError,
    Query,
    RejectedQueryError,
    affects_all_runs,
    console_page,
    count_artifacts,
    failed_items,
    one_run,
    run_files,
    run_inventories,
    system_events,
)
from pull_logs.fetch.artifacts import list_artifacts
from pull_logs.fetch.concurrency import for_each
from pull_logs.fetch.discovery import no_such_run, project_batches, read_node
from pull_logs.fetch.files import ListedFile, read_listed
from pull_logs.fetch.inventory.remote_run import (
    Part,
    RemoteFiles,
    RemoteRun,
    count_of,
    key_counts,
    total_count,
)
from pull_logs.runs import RunPath
from pull_logs.snapshot.format import ArtifactRecord, Relation

_RUNS_IN_A_QUERY = 10
FILES_IN_A_PAGE = 100

_WORKERS = 4
_HEAVY_ATTEMPTS = 2

Inventory = RemoteRun | PullLogsError
"""What W&B has of a run, or why that is not known; a `RunNotFoundError` if W&B does not have the run."""


async def read_inventories(
    client: Client, paths: Sequence[RunPath], *, with_artifacts: bool = False
) -> Mapping[RunPath, Inventory]:
    """Ask what W&B has of runs.

    Args:
        client: Sends the requests.
        paths: The runs, of any projects.
        with_artifacts: Whether to list the artifacts of the runs that have some, one request for those that
            a run logged and one for those that it used; otherwise they are only counted.

    Returns:
        For each run its inventory, or the reason why there is none.

    Raises:
        AccessError: The key was refused, or the API cannot be reached.
    """
    reader = _InventoryReader(client, with_artifacts=with_artifacts)
    client.meter.expect_runs(len(paths))
    await for_each(project_batches(paths, most=_RUNS_IN_A_QUERY), reader.read_batch, workers=_WORKERS)
    return reader.found


class _InventoryReader:
    """Asks for the inventories of runs.

    Attributes:
        found: The answers.
    """

    def __init__(self, client: Client, *, with_artifacts: bool) -> None:
        self._client, self._with_artifacts = client, with_artifacts
        self._together = True
        self.found: dict[RunPath, Inventory] = {}

    async def read_batch(self, paths: Sequence[RunPath]) -> None:
        """Ask for runs of one project, together where the server accepts that."""
        remaining = paths
        if self._together:
            try:
                remaining = await self._read_together(paths)
            except RejectedQueryError:
                self._together = False
            except HeavyRequestError:
                half = len(paths) // 2
                for part in (paths[:half], paths[half:]) if half else ():
                    await self.read_batch(part)
                if half:
                    return
            except SignInError as exc:
                if affects_all_runs(exc, api_host=self._client.host):
                    raise
        await for_each(remaining, self._read_one, workers=_WORKERS)

    async def _read_together(self, paths: Sequence[RunPath]) -> Sequence[RunPath]:
        """Ask for runs in one query, and return those whose part of the answer failed."""
        entity, project = paths[0].entity, paths[0].project
        run_ids = [path.run_id for path in paths]
        query = run_inventories(entity, project, run_ids, files=FILES_IN_A_PAGE)
        answer = await self._client.query(query, partial=True, heavy_attempts=_HEAVY_ATTEMPTS)
        failed = failed_items(answer.errors, depth=1)
        found = answer.data.get("project")
        if failed is None or not isinstance(found, Mapping):
            return paths
        remaining = []
        for number, path in enumerate(paths):
            if f"r{number}" in failed or f"r{number}" not in found:
                remaining.append(path)
            else:
                await self._record(path, found[f"r{number}"])
        return remaining

    async def _record(self, path: RunPath, node: object) -> None:
        """Record the answer about a run in the query for several."""
        if not isinstance(node, Mapping):
            self._finish(path, no_such_run(path, project_exists=True))
            return
        inventory = _Inventory(self._client, path)
        try:
            await inventory.add_files(node)
            inventory.add_counts(node)
            await self._list_artifacts(inventory)
            self._finish(path, inventory.of(node))
        except (AccessError, DataError, RunNotFoundError) as exc:
            if affects_all_runs(exc, api_host=self._client.host):
                raise
            self._finish(path, exc)

    async def _read_one(self, path: RunPath) -> None:
        """Ask for one run with the queries of the SDK."""
        client = self._client
        try:
            answer = await client.query(one_run(path.entity, path.project, path.run_id))
            project = answer.data.get("project")
            node = project.get("run") if isinstance(project, Mapping) else None
            if not isinstance(node, Mapping):
                raise no_such_run(path, project_exists=isinstance(project, Mapping))
            inventory = _Inventory(client, path)
            await inventory.ask()
            await self._list_artifacts(inventory)
            self._finish(path, inventory.of(node))
        except (AccessError, DataError, RunNotFoundError) as exc:
            if affects_all_runs(exc, api_host=client.host):
                raise
            self._finish(path, exc)
        except PullLogsError as exc:
            self._finish(path, exc)

    async def _list_artifacts(self, inventory: _Inventory) -> None:
        if self._with_artifacts:
            await inventory.list_artifacts()

    def _finish(self, path: RunPath, inventory: Inventory) -> None:
        self.found[path] = inventory
        self._client.meter.finish_run()


class _Inventory:
    """Collects the parts of one run."""

    def __init__(self, client: Client, path: RunPath) -> None:
        self._client, self._path = client, path
        self._files: RemoteFiles | None = None
        self._counts: dict[Part, int | None] = {}
        self._artifacts: dict[Relation, Sequence[ArtifactRecord]] = {}
        self._unasked: dict[Part, str] = {}

    def of(self, node: Mapping[str, Any]) -> RemoteRun:
        """Return the inventory with the facts of the run.

        Raises:
            DataError: The node does not describe a run, or another one.
        """
        path, settings = self._path, self._client.settings
        found = read_node(
            node,
            entity=path.entity,
            project=path.project,
            host=settings.host,
            now=self._client.clock.now(),
        )
        if found.path != path:
            raise DataError(f"W&B answered with run {found.path} for {path}")
        system = self._counts.get("system")
        return RemoteRun(
            found=found,
            key_counts=key_counts(node.get("historyKeys")),
            files=self._files,
            console_lines=self._counts.get("console"),
            system=None if system is None else system > 0,
            logged_artifacts=self._counts.get("logged artifacts"),
            used_artifacts=self._counts.get("used artifacts"),
            artifacts=self._artifacts,
            unasked=self._unasked,
        )

    def add_counts(self, node: Mapping[str, Any]) -> None:
        """Add the counts in the answer about several runs."""
        events = node.get("events")
        self._counts = {
            "console": count_of(node.get("logLineCount")),
            "system": len(events) if isinstance(events, list) else None,
            "logged artifacts": total_count(node.get("logged")),
            "used artifacts": total_count(node.get("used")),
        }

    async def ask(self) -> None:
        """Ask for every part with the query of the SDK; a refused part is recorded with the reason."""
        path = (self._path.entity, self._path.project, self._path.run_id)
        counts: Mapping[Part, tuple[Query, Callable[[Mapping[str, Any]], int | None]]] = {
            "console": (console_page(*path, cursor=None, page=1), _console_lines),
            "system": (system_events(*path, samples=1), _event_count),
            "logged artifacts": (count_artifacts(*path, used=False), _artifacts),
            "used artifacts": (count_artifacts(*path, used=True), _artifacts),
        }
        await self._try("files", self.add_files)
        for part, (query, count) in counts.items():

            async def ask(part: Part = part, query: Query = query, count: Any = count) -> None:
                self._counts[part] = count(await self._client.query_run(query, self._path))

            await self._try(part, ask)

    async def list_artifacts(self) -> None:
        """List the artifacts that the run logged and used, where their number is not zero."""
        relations: Mapping[Relation, Part] = {"logged": "logged artifacts", "used": "used artifacts"}
        for relation, part in relations.items():

            async def ask(relation: Relation = relation) -> None:
                self._artifacts[relation] = await list_artifacts(self._client, self._path, relation)

            if self._counts.get(part):
                await self._try(part, ask)

    async def _try(self, part: Part, ask: Callable[[], Awaitable[None]]) -> None:
        try:
            await ask()
        except (AccessError, DataError) as exc:
            if affects_all_runs(exc, api_host=self._client.host):
                raise
            self._unasked[part] = exc.message

    async def add_files(self, node: Mapping[str, Any] | None = None) -> None:
        """Add the files, beginning with the page in an answer; the other pages are requested."""
        found: dict[str, ListedFile] = {}
        unreadable, cursor = 0, None
        while True:
            run = await self._files_page(cursor) if node is None else node
            connection = run.get("files")
            if not isinstance(connection, Mapping):
                return
            edges = [edge for edge in connection.get("edges") or () if isinstance(edge, Mapping)]
            for edge in edges:
                listed = read_listed(edge.get("node"), base_url=self._client.settings.base_url)
                if listed is None or listed.name in found:
                    unreadable += 1
                else:
                    found[listed.name] = listed
            info = connection.get("pageInfo")
            if not isinstance(info, Mapping) or not info.get("hasNextPage"):
                break
            following = edges[-1].get("cursor") if edges else None
            if not isinstance(following, str) or following == cursor:
                unreadable += 1
                break
            cursor, node = following, None
        self._files = RemoteFiles(found, unreadable)

    async def _files_page(self, cursor: str | None) -> Mapping[str, Any]:
        path = self._path
        query = run_files(
            path.entity, path.project, path.run_id, names=(), cursor=cursor, page=FILES_IN_A_PAGE
        )
        return await self._client.query_run(query, path)


def _console_lines(run: Mapping[str, Any]) -> int | None:
    return count_of(run.get("logLineCount"))


def _event_count(run: Mapping[str, Any]) -> int | None:
    events = run.get("events")
    return len(events) if isinstance(events, list) else None


def _artifacts(run: Mapping[str, Any]) -> int | None:
    return total_count(run.get("artifacts"))
