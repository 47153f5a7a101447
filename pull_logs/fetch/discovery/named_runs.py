"""Runs by name: many in one query where the server accepts that, otherwise one query per run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pull_logs.errors import AccessError, SignInError
from pull_logs.fetch.api import (
    Capabilities,
    Client,
    HeavyRequestError,
    RejectedQueryError,
    affects_all_runs,
    failed_items,
    named_runs,
    one_run,
)
from pull_logs.fetch.concurrency import for_each
from pull_logs.fetch.discovery.collector import RunCollector
from pull_logs.runs import RunPath

_RUNS_IN_A_QUERY = 20

_WORKERS = 4
_HEAVY_ATTEMPTS = 2


class NamedRunReader:
    """Requests runs by name.

    Args:
        client: Sends the queries.
        capabilities: What the server supports.
        collector: Receives the runs.
    """

    def __init__(self, client: Client, capabilities: Capabilities, collector: RunCollector) -> None:
        self._client = client
        self._capabilities = capabilities
        self._collector = collector

    async def read(self, paths: Sequence[RunPath]) -> None:
        """Request runs of any projects.

        Raises:
            AccessError: The key was refused, or the API cannot be reached.
        """
        await for_each(project_batches(paths, most=_RUNS_IN_A_QUERY), self._read_batch, workers=_WORKERS)

    async def _read_batch(self, paths: list[RunPath]) -> None:
        """Request runs of one project, together where the server accepts that."""
        remaining = paths
        if self._capabilities.several_runs:
            try:
                remaining = await self._read_together(paths)
            except RejectedQueryError:
                self._capabilities.several_runs = False
            except HeavyRequestError:
                half = len(paths) // 2
                if half:
                    await self._read_batch(paths[:half])
                    await self._read_batch(paths[half:])
                    return
            except SignInError as exc:
                if affects_all_runs(exc, api_host=self._client.host):
                    raise
                for path in paths:
                    await self._collector.miss(path, exc)
                return
        await for_each(remaining, self.read_one, workers=_WORKERS)

    async def _read_together(self, paths: list[RunPath]) -> list[RunPath]:
        """Request runs in one query, and return those whose part of the answer failed."""
        entity, project = paths[0].entity, paths[0].project
        query = named_runs(entity, project, [path.run_id for path in paths], exports=True)
        answer = await self._client.query(query, partial=True, heavy_attempts=_HEAVY_ATTEMPTS)
        found = answer.data.get("project")
        failed = failed_items(answer.errors, depth=1)
        if failed is None:
            return paths
        remaining = []
        for number, path in enumerate(paths):
            node = found.get(f"r{number}") if isinstance(found, Mapping) else None
            if f"r{number}" in failed:
                remaining.append(path)
            else:
                await self._collector.add(path, node, project_exists=isinstance(found, Mapping))
        return remaining

    async def read_one(self, path: RunPath) -> None:
        """Request one run with the query of the SDK; its exports are requested later.

        Raises:
            AccessError: The key was refused, or the API cannot be reached.
        """
        try:
            answer = await self._client.query(one_run(path.entity, path.project, path.run_id))
        except AccessError as exc:
            if affects_all_runs(exc, api_host=self._client.host):
                raise
            await self._collector.miss(path, exc)
            return
        project = answer.data.get("project")
        node = project.get("run") if isinstance(project, Mapping) else None
        await self._collector.add(path, node, project_exists=isinstance(project, Mapping))


def project_batches(paths: Sequence[RunPath], *, most: int) -> Iterator[list[RunPath]]:
    """Yield runs in batches of one project each, with at most `most` runs."""
    by_project: dict[tuple[str, str], list[RunPath]] = {}
    for path in paths:
        by_project.setdefault((path.entity, path.project), []).append(path)
    for group in by_project.values():
        for start in range(0, len(group), most):
            yield group[start : start + most]
