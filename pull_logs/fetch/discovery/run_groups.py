"""Groups the small live runs that discovery finds, so that their rows can be requested together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from pull_logs.fetch.api import Capabilities
from pull_logs.fetch.discovery.run_plan import FoundRun, MissedRun

SMALL_HISTORY = 200
"""The most rows of a run whose rows are requested together with those of others."""

Item = MissedRun | tuple[FoundRun, ...]
"""A run that could not be found, or runs to download: one, or several small live ones of a project."""


class RunGroups:
    """Passes runs on as they are found, small live ones in groups of one project.

    Args:
        capabilities: The number of runs in a group.
        emit: Receives the items; it waits while the receiver is busy.
    """

    def __init__(self, capabilities: Capabilities, emit: Callable[[Item], Awaitable[None]]) -> None:
        self._capabilities = capabilities
        self._emit = emit
        self._waiting: dict[str, list[FoundRun]] = {}

    async def add(self, item: FoundRun | MissedRun) -> None:
        """Pass on a run, or keep it until its group is complete."""
        if isinstance(item, MissedRun):
            await self._emit(item)
            return
        most = self._capabilities.histories_in_a_query
        if most < 2 or not _is_small_and_live(item):
            await self._emit((item,))
            return
        group = self._waiting.setdefault(item.path.project_path, [])
        group.append(item)
        if len(group) >= most:
            await self._emit(tuple(self._waiting.pop(item.path.project_path)))

    async def flush(self) -> None:
        """Pass on the groups that are not complete."""
        while self._waiting:
            _, group = self._waiting.popitem()
            await self._emit(tuple(group))


def _is_small_and_live(run: FoundRun) -> bool:
    """Return whether all rows of a run are live, and few."""
    exports = run.exports
    return (
        exports is not None
        and not exports.urls
        and exports.live_steps is not None
        and 0 < len(exports.live_steps) <= SMALL_HISTORY
    )
