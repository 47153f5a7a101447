"""The runs of a project in a bundle set, with which a pull of the changes compares what W&B has now.

The catalog of the set is the only record of what was archived. Of a run, its member is read too: the facts
that the catalog does not have, and the last rows of one that goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from pull_logs.errors import UsageError
from pull_logs.fetch.api import Settings
from pull_logs.fetch.options import PullOptions
from pull_logs.runs import RunPath
from pull_logs.suggestions import counted

if TYPE_CHECKING:
    from pull_logs.snapshot import Bundle, BundleSet, Run


class ArchivedRuns:
    """The runs of a project in a set.

    Args:
        opened: A version of the set; None before the first one.
        entity: The entity of the project.
        project: Its name.
        selects: Returns whether a run is one of those that are pulled.

    Attributes:
        paths: The selected runs that were downloaded from W&B, imported ones excepted.
    """

    def __init__(
        self,
        opened: BundleSet | None,
        *,
        entity: str,
        project: str,
        selects: Callable[[RunPath], bool] = lambda _path: True,
    ) -> None:
        self._opened = opened
        self._rows: dict[RunPath, int] = {}
        if opened is not None:
            rows = opened.catalog.rows_of_project(entity, project)
            self._rows = {path: row for row in rows if selects(path := opened.catalog.path_at(row))}
            hosts = {path: opened.catalog.value("host", row) for path, row in self._rows.items()}
            self.paths = frozenset(path for path, host in hosts.items() if host is not None)
        else:
            self.paths = frozenset[RunPath]()

    def find(self, path: RunPath) -> Run | None:
        """Return a run; None if the set does not have it."""
        row = self._rows.get(path)
        if row is None or self._opened is None:
            return None
        return next(self._opened.runs_at([row]))

    def has_system_metrics(self) -> bool:
        """Return whether any of the runs has system metrics, which an update must not lose.

        Raises:
            BundleDamagedError: A member is damaged.
        """
        return any(
            bundle[str(path)].system_rows_hash is not None
            for bundle, paths in self._members()
            for path in paths
        )

    def check(self, options: PullOptions, settings: Settings) -> None:
        """Make sure that the runs may be brought up to date.

        Raises:
            UsageError: They are those of another host, have more metrics than are pulled, or something was
                removed from them.
            BundleDamagedError: A member is damaged.
        """
        for bundle, paths in self._members():
            runs = f"{counted(len(paths), 'run')} of this project"
            if bundle.redacted:
                raise UsageError(
                    f"something was removed from {runs} in the set, and an update would add it again",
                    hint="archive the project into another set",
                )
            if options.metrics and bundle.kept_metrics != options.metrics:
                kept = bundle.kept_metrics
                has = "all metrics" if kept is None else f"the metrics that match {kept!r}"
                raise UsageError(
                    f"the set has {has} of {runs}, and an update would leave those that match"
                    f" {options.metrics!r}",
                    hint="omit --metrics, or archive into another set",
                )
            others = [host for path in paths if settings.is_other_host(host := bundle[str(path)].host)]
            if others:
                raise UsageError(
                    f"the set has {counted(len(others), 'run')} of this project from {others[0]}, and the"
                    f" runs of {settings.host} are other ones",
                    hint="archive into another set",
                )

    def _members(self) -> Iterator[tuple[Bundle, list[RunPath]]]:
        """Iterate over the open members that have the runs, and the runs in each."""
        if self._opened is None:
            return
        found: dict[tuple[str, str], list[RunPath]] = {}
        catalog = self._opened.catalog
        for path, row in self._rows.items():
            member = catalog.value("member", row), catalog.value("bundle_id", row)
            found.setdefault(member, []).append(path)
        for (name, bundle_id), paths in sorted(found.items()):
            yield self._opened.member(name, bundle_id), paths
