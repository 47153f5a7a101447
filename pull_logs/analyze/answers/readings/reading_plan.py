"""What `compare` reads of the runs, settled over all of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from pull_logs.analyze.questions import Alignment, HistoryQuery, RunColumns
from pull_logs.analyze.statistics import Goal


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingPlan:
    """What to read of the runs.

    Attributes:
        alignment: The position at which to read the metrics.
        select: A regular expression that is searched for in the names of the metrics.
        goal: The metric that ranks the runs, in the spelling of the histories.
        option: The flag that named this metric, for messages.
        asserts: What must hold of every run and of all its rows.
        query: The rows that count, and the columns that are computed; None for the histories as they are.
        columns: The columns of runs.
        names: The only metrics to read, if there are any; instead of `select`.
        described: The names of those that are described as metrics are, and of the one that ranks the runs.
        narrowed: Whether only metrics that are named are shown.
    """

    alignment: Alignment
    select: str | None = None
    goal: Goal | None = None
    option: str = "--best"
    asserts: Sequence[str] = ()
    query: HistoryQuery | None = None
    columns: RunColumns = field(default_factory=lambda: RunColumns({}))
    names: Collection[str] = ()
    described: Sequence[str] = ()
    narrowed: bool = False

    @property
    def computed(self) -> tuple[str, ...]:
        """The names of the columns that are computed in every row."""
        return () if self.query is None else tuple(name for name, _ in self.query.evals)

    @property
    def ranks_runs(self) -> bool:
        """Whether a column of runs ranks them, and no metric."""
        return self.goal is not None and self.goal.metric in self.columns.expressions
