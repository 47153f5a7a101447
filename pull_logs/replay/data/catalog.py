"""The projects and runs of several open bundles together.

Only run paths are read at the start. Listing a project reads the columns that its filter and its order
name; a config or a summary is parsed where one of them names it, or where an answer includes it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from pull_logs.replay import not_found
from pull_logs.replay.data.filters import compile_filter, compile_order, sort_runs
from pull_logs.runs import RunPath
from pull_logs.snapshot import Bundle, Run

_LOG = logging.getLogger("pull_logs.replay")

ProjectKey = tuple[str, str]


class Catalog:
    """The runs of several bundles by entity and project; the first bundle that holds a run serves it.

    Attributes:
        entity: The default entity.
        subject: The beginning of every message about something missing: `the bundle 'a.wandb.zip' has`.
    """

    def __init__(self, bundles: Sequence[Bundle], *, entity: str | None = None) -> None:
        self._runs: dict[RunPath, Run] = {}
        self._projects: dict[ProjectKey, list[RunPath]] = {}
        for bundle in bundles:
            for run in bundle.runs():
                self._add(run)
        self.entity = entity or next((path.entity for path in self._runs), "local")
        self.subject = not_found.of_bundles([str(bundle.path).rpartition("/")[2] for bundle in bundles])
        # The pages of one listing come from one sorted list; its order differs from that of the bundle.
        self._listed = lru_cache(maxsize=16)(self._list)

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

    def imported(self, project: ProjectKey | None = None) -> bool:
        """Return whether all runs of a project (of all, if it has none) were imported: no server has them."""
        paths = self._projects.get(project or ("", ""), ()) or self._runs
        runs = [self._runs[path] for path in paths]
        return bool(runs) and not any(run.coverage.from_server for run in runs)

    def projects(self, entity: str | None) -> list[ProjectKey]:
        """Return the projects of an entity (the default one for None), sorted by name.

        Raises:
            NotFoundError: The bundles hold no run of that entity.
        """
        owner = entity or self.entity
        if owner not in self.entities:
            raise not_found.entity_missing(
                owner, subject=self.subject, entities=self.entities, imported=self.imported()
            )
        return sorted(key for key in self._projects if key[0] == owner)

    def project(self, entity: str | None, name: str | None) -> ProjectKey:
        """Return a project by its entity (the default one for None) and name.

        Raises:
            ProjectNotFoundError: No bundle holds it.
        """
        key = (entity or self.entity, name or "")
        if key not in self._projects:
            known = map("/".join, self._projects)
            raise not_found.project_missing(
                *key, subject=self.subject, projects=known, imported=self.imported()
            )
        return key

    def run(self, project: ProjectKey, run_id: str) -> Run:
        """Return a run by its id.

        Raises:
            RunNotFoundError: No bundle holds it.
        """
        path = RunPath(*project, run_id)
        run = self.find(path)
        if run is None:
            paths = self._projects.get(project, [])
            named = next((other for other in paths if self._runs[other].name == run_id), None)
            raise not_found.run_missing(
                path, subject=self.subject, runs=paths, named=named, imported=self.imported(project)
            )
        return run

    def count(self, project: ProjectKey) -> int:
        """Return how many runs a project has; 0 for an unknown one."""
        return len(self._projects.get(project, ()))

    def find(self, path: RunPath) -> Run | None:
        """Return a run by its path; None if no bundle holds it."""
        return self._runs.get(path)

    def runs(self, project: ProjectKey) -> Iterator[Run]:
        """Iterate over the runs of a project, sorted by path."""
        return (self._runs[path] for path in sorted(self._projects[project]))

    def all_runs(self) -> Iterator[Run]:
        """Iterate over the runs of all projects, sorted by path."""
        return (self._runs[path] for path in sorted(self._runs))

    def listed(self, project: ProjectKey, filters: str | None, order: str | None) -> tuple[Run, ...]:
        """Return the runs that pass a filter, in order.

        Raises:
            UsageError: The filter or the order is not valid.
        """
        return self._listed(project, filters, order)

    def _list(self, project: ProjectKey, filters: str | None, order: str | None) -> tuple[Run, ...]:
        keep, sorting = compile_filter(filters), compile_order(order)
        kept = [run for run in self.runs(project) if keep(run)]
        return tuple(sort_runs(kept, sorting))

    def sweeps(self, project: ProjectKey) -> Mapping[str, list[Run]]:
        """Return the sweeps that runs of a project belong to, by id, each with its runs."""
        found: dict[str, list[Run]] = {}
        for run in self.runs(project):
            if run.sweep:
                found.setdefault(run.sweep, []).append(run)
        return dict(sorted(found.items()))

    def sweep(self, project: ProjectKey, name: str) -> list[Run]:
        """Return the runs of a sweep.

        Raises:
            NotFoundError: No bundle holds a run of it.
        """
        sweeps = self.sweeps(project)
        if name not in sweeps:
            raise not_found.sweep_missing(
                "/".join(project),
                name,
                subject=self.subject,
                sweeps=sweeps,
                imported=self.imported(project),
            )
        return sweeps[name]
