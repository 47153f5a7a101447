"""Which projects and runs the open bundles hold together.

Only run paths are read at the start; a run's record is read when somebody asks
for the run or lists its project.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from pull_logs.replay.filters import compile_filter, compile_order, sort_runs
from pull_logs.runs import RunInfo, RunPath
from pull_logs.snapshot.bundle import Bundle, Run

_LOG = logging.getLogger("pull_logs.replay")

ProjectKey = tuple[str, str]


class Catalog:
    """The runs of several bundles by entity and project; the first bundle that holds a run serves it."""

    def __init__(self, bundles: Sequence[Bundle], *, entity: str | None = None) -> None:
        self._runs: dict[RunPath, Run] = {}
        self._projects: dict[ProjectKey, list[RunPath]] = {}
        for bundle in bundles:
            for run in bundle.runs():
                self._add(run)
        self.entity = entity or next((path.entity for path in self._runs), "local")
        # Listings are paged: the pages of one listing come from one sorted list, and its order is not that of
        # the records in the bundle.
        self._listed = lru_cache(maxsize=16)(self._list)
        self._info = lru_cache(maxsize=4096)(lambda path: self._runs[path].info)

    def _add(self, run: Run) -> None:
        path = run.path
        if path in self._runs:
            _LOG.warning("run %r is in several bundles; the first of them serves it", str(path))
            return
        self._runs[path] = run
        self._projects.setdefault((path.entity, path.project), []).append(path)

    @property
    def entities(self) -> tuple[str, ...]:
        """All entities, the default one first."""
        return tuple(dict.fromkeys((self.entity, *(entity for entity, _ in self._projects))))

    def projects(self, entity: str | None) -> list[ProjectKey]:
        """The projects of an entity (the default one for None), by name."""
        return sorted(key for key in self._projects if key[0] == (entity or self.entity))

    def project(self, entity: str | None, name: str | None) -> ProjectKey | None:
        """A project by its entity (the default one for None) and name; None, and a log line, for a miss."""
        key = (entity or self.entity, name or "")
        if key in self._projects:
            return key
        _LOG.warning("no project %r in the bundle", "/".join(key))
        return None

    def run(self, project: ProjectKey, run_id: str) -> Run | None:
        """A run by its id; None, and a log line, for a miss."""
        path = RunPath(*project, run_id)
        run = self.find(path)
        if run is None:
            _LOG.warning("no run %r in the bundle", str(path))
        return run

    def find(self, path: RunPath) -> Run | None:
        """A run by its path."""
        return self._runs.get(path)

    def info(self, path: RunPath) -> RunInfo:
        """The record of a run that is there."""
        return self._info(path)

    def infos(self, project: ProjectKey) -> Iterator[RunInfo]:
        """The records of a project's runs, by path."""
        return map(self.info, sorted(self._projects[project]))

    def listed(self, project: ProjectKey, filters: str | None, order: str | None) -> tuple[RunPath, ...]:
        """The paths of the runs that a filter keeps, in order.

        Raises:
            UsageError: The filter or the order says nothing.
        """
        return self._listed(project, filters, order)

    def _list(self, project: ProjectKey, filters: str | None, order: str | None) -> tuple[RunPath, ...]:
        keep, sorting = compile_filter(filters), compile_order(order)
        kept = [info for info in self.infos(project) if keep(info)]
        return tuple(info.path for info in sort_runs(kept, sorting))

    def sweeps(self, project: ProjectKey) -> Mapping[str, list[RunInfo]]:
        """The sweeps that runs of a project belong to, by id, each with its runs."""
        found: dict[str, list[RunInfo]] = {}
        for info in self.infos(project):
            if info.sweep:
                found.setdefault(info.sweep, []).append(info)
        return dict(sorted(found.items()))
