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
        self._bundles: dict[RunPath, Bundle] = {}
        self._projects: dict[ProjectKey, list[RunPath]] = {}
        for bundle in bundles:
            for text in bundle.run_paths:
                self._add(RunPath(*text.split("/")), bundle)
        self.entity = entity or next((path.entity for path in self._bundles), "local")
        # Listings are paged: the pages of one listing come from one sorted list.
        self._listed = lru_cache(maxsize=16)(self._list)

    def _add(self, path: RunPath, bundle: Bundle) -> None:
        if path in self._bundles:
            _LOG.warning("run %s is in several bundles; the first of them serves it", path)
            return
        self._bundles[path] = bundle
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
        _LOG.warning("no project %s/%s in the bundle", *key)
        return None

    def run(self, project: ProjectKey, run_id: str) -> Run | None:
        """A run by its id; None, and a log line, for a miss."""
        path = RunPath(*project, run_id)
        run = self.find(path)
        if run is None:
            _LOG.warning("no run %s in the bundle", path)
        return run

    def find(self, path: RunPath) -> Run | None:
        """A run by its path."""
        bundle = self._bundles.get(path)
        return None if bundle is None else bundle[str(path)]

    def runs(self, project: ProjectKey) -> Iterator[Run]:
        """The runs of a project, by path."""
        for path in sorted(self._projects[project]):
            yield self._bundles[path][str(path)]

    def listed(self, project: ProjectKey, filters: str | None, order: str | None) -> tuple[RunPath, ...]:
        """The paths of the runs that a filter keeps, in order.

        Raises:
            UsageError: The filter or the order says nothing.
        """
        return self._listed(project, filters, order)

    def _list(self, project: ProjectKey, filters: str | None, order: str | None) -> tuple[RunPath, ...]:
        keep, sorting = compile_filter(filters), compile_order(order)
        infos: list[RunInfo] = [run.info for run in self.runs(project)]
        return tuple(info.path for info in sort_runs([info for info in infos if keep(info)], sorting))

    def sweeps(self, project: ProjectKey) -> Mapping[str, list[RunInfo]]:
        """The sweeps that runs of a project belong to, by id, each with its runs."""
        found: dict[str, list[RunInfo]] = {}
        for run in self.runs(project):
            if run.info.sweep:
                found.setdefault(run.info.sweep, []).append(run.info)
        return dict(sorted(found.items()))
