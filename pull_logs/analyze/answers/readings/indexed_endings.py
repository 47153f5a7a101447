"""How the metrics of runs ended, as indexes have it: made where it is used, not for every run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pull_logs.analyze.answers.indexed import Field, IndexedMetrics, RunValues
from pull_logs.analyze.answers.side_by_side import Ending, indexed_ending
from pull_logs.analyze.results import EndingResult
from pull_logs.frames import Frame


@dataclass(frozen=True, slots=True, eq=False)
class IndexedEndings:
    """How the metrics of one run ended, all of whose cells are finite numbers.

    Attributes:
        frame: Its history, which an index has.
        names: The metrics; those of thousands of runs are one sequence.
    """

    frame: Frame
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    @property
    def plain(self) -> dict[str, Ending]:
        """The endings by metric."""
        facts = self.frame.facts() or {}
        found = ((name, indexed_ending(facts[name])) for name in self.names)
        return {name: ending for name, ending in found if ending is not None}


def compare_indexed(endings: Mapping[str, IndexedEndings]) -> list[EndingResult] | None:
    """Return what `compare_metrics` does, with values that are made when they are used.

    Args:
        endings: By run label, how its metrics ended; runs in the order to show.

    Returns:
        None if an index lacks one of the runs.

    Raises:
        DamageError: An index is damaged.
    """
    groups = {id(one.names): frozenset(one.names) for one in endings.values()}
    names = dict.fromkeys(_each_name(endings.values()))
    table = IndexedMetrics.read([one.frame for one in endings.values()], frozenset(names))
    if table is None:
        return None
    labelled = [(label, groups[id(one.names)]) for label, one in endings.items()]
    return [_entry(name, table, labelled) for name in names]


def _each_name(endings: Iterable[IndexedEndings]) -> Iterator[str]:
    seen = set()
    for one in endings:
        if id(one.names) not in seen:
            seen.add(id(one.names))
            yield from one.names


def _entry(name: str, table: IndexedMetrics, runs: Sequence[tuple[str, frozenset[str]]]) -> EndingResult:
    def values(field: Field) -> RunValues:
        return RunValues(lambda: _values(name, table, runs, field))

    return {
        "name": name,
        "last": values("value"),
        "min": values("min"),
        "min_step": values("min_step"),
        "max": values("max"),
        "max_step": values("max_step"),
    }


def _values(
    name: str, table: IndexedMetrics, runs: Sequence[tuple[str, frozenset[str]]], field: Field
) -> dict[str, object]:
    if name not in table.names:  # no run has a cell
        return {}
    having = [(label, position) for position, (label, names) in enumerate(runs) if name in names]
    return RunValues.of(table.metric(name), having, field).plain
