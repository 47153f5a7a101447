"""What a view keeps of the history of one run, and what its notes say of rows that are not shown."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pull_logs.analyze.answers.readings.indexed_endings import IndexedEndings
from pull_logs.analyze.answers.readings.run_statistics import RunStatistics
from pull_logs.analyze.answers.side_by_side import Ending
from pull_logs.analyze.questions import Checked
from pull_logs.analyze.results import ColumnResult, HistoryResult, StatisticsResult
from pull_logs.suggestions import counted, joined

_MOST_NAMED = 10
_FAMILIES_NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """What a view says about the history of one run.

    Attributes:
        history: The rows of the answer.
        schema: The columns.
        stats: The statistics.
        endings: How each metric ended.
        left_out: The columns that are not shown because they hold objects.
        lost_spikes: The number of rows with spikes that a sample lacks.
        checked: What broke each assertion; None without assertions.
    """

    history: HistoryResult | None = None
    schema: Sequence[ColumnResult] | None = None
    stats: dict[str, StatisticsResult] | RunStatistics | None = None
    endings: dict[str, Ending] | IndexedEndings | None = None
    left_out: tuple[str, ...] = ()
    lost_spikes: int = 0
    checked: Checked | None = None


def _without_spikes(count: int) -> str:
    return f" without {counted(count, 'spike')}" if count else ""


def notes_on_rows(views: Mapping[str, RunView], families: Collection[str]) -> Iterable[str]:
    """Say which rows and columns of histories are not shown."""
    histories = {run: view.history for run, view in views.items() if view.history is not None}
    sampled = [
        f"{run} {history['rows_shown']}/{history['rows_picked']}{_without_spikes(views[run].lost_spikes)}"
        for run, history in histories.items()
        if history["sampling"] != "none"
    ]
    if sampled:
        yield (
            "sampled (first, last, minimum, maximum and non-finite rows of every shown metric are kept): "
            f"{joined(sampled, most=_MOST_NAMED)}; --max-rows N takes more"
        )
    hidden = [f"{run} {history['hidden']}" for run, history in histories.items() if history["hidden"]]
    if hidden:
        yield (
            "rows hidden because every shown metric is missing in them: "
            f"{joined(hidden, most=_MOST_NAMED)}; --show-all shows them"
        )
    if families:
        yield (
            "columns left out because their names differ only in numbers: "
            f"{joined(sorted(families), most=_FAMILIES_NAMED)}; --select REGEX or --unfold shows them"
        )
    left_out = dict.fromkeys(name for view in views.values() for name in view.left_out)
    if left_out and histories:
        yield (
            f"columns left out because they hold objects or lists: {joined(left_out, most=_MOST_NAMED)}; "
            "--select shows them"
        )
