"""The part of the runs that `--shard` selects."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pull_logs.fetch import PullOptions, RunFilter, Shard
    from pull_logs.runs import RunInfo


class ShardPart:
    """A part of the runs, and whether another part has any.

    Attributes:
        shard: Which part.
        run_filter: Keeps the runs of the part.
        elsewhere: Whether a run is in another part.
    """

    def __init__(self, shard: Shard, run_filter: RunFilter | None = None) -> None:
        self.shard = shard
        self.elsewhere = False
        self._all = run_filter
        self.run_filter = replace(shard.part_of(run_filter), holds=self._holds)

    def _holds(self, info: RunInfo) -> bool:
        selected = self._all is None or self._all.holds(info)
        here = self.shard.has(info.path)
        self.elsewhere = self.elsewhere or (selected and not here)
        return selected and here

    def share_of(self, options: PullOptions) -> PullOptions:
        """Return options with the part of the requests that this part of the runs may have."""
        count, rate = self.shard.count, options.requests_per_minute
        return replace(
            options,
            concurrency=max(1, options.concurrency // count),
            requests_per_minute=None if rate is None else rate / count,
        )
