"""What runs defined about their metrics (`run.define_metric`), as W&B stores it in the config of a run.

The internal config has the definitions under `_wandb.m`: a list of `MetricRecord`s whose fields go by their
protobuf numbers (wandb 0.31.0, seen in what its SDK uploads):

    "1"  the name of the metric
    "2"  or the glob, whose only wildcard is a `*` at its end
    "4"  the name of the step metric
    "5"  or the position of the step metric in this list, from 1
    "6"  the numbers of the options that are set: 1 step_sync, 2 hidden, 3 defined by the run
    "7"  the numbers of the summaries to keep: 1 min, 2 max, 3 mean, 4 best, 5 last, 6 none, 7 copy, 8 first
    "8"  the goal: 1 minimize, 2 maximize; absent without one

A metric with a definition of its own takes nothing from globs. Of several globs the longest counts. W&B's own
metrics, whose names start with an underscore, match no glob.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pull_logs.analyze.statistics.metric_names import Direction

NAME_FIELD = "1"
GLOB_FIELD = "2"
STEP_NAME_FIELD = "4"
STEP_INDEX_FIELD = "5"
OPTIONS_FIELD = "6"
SUMMARY_FIELD = "7"
GOAL_FIELD = "8"

DEFINED_OPTION = 3
"""The option that says that the run itself defined the metric."""
NO_SUMMARY = 6
"""The summary that says that none is kept."""

_GOALS: Mapping[int, Direction] = {1: "min", 2: "max"}


@dataclass(frozen=True, slots=True)
class MetricDefinition:
    """What a run defined about one metric, or about all metrics that match a glob.

    Attributes:
        step_metric: The metric that it is plotted over, if any.
        goal: The better end, if it has one.
    """

    step_metric: str | None = None
    goal: Direction | None = None


@dataclass(frozen=True, slots=True)
class RunDefinitions:
    """The definitions of one run.

    Attributes:
        by_name: The definitions of single metrics.
        by_prefix: Those of globs, without their `*`, the longest first.
    """

    by_name: Mapping[str, MetricDefinition] = field(default_factory=dict)
    by_prefix: Mapping[str, MetricDefinition] = field(default_factory=dict)

    @classmethod
    def read(cls, config_internal: Mapping[str, Any]) -> RunDefinitions:
        """Read the definitions from a run's internal config; what does not have their form is ignored."""
        section = config_internal.get("_wandb")
        records = section.get("m") if isinstance(section, Mapping) else None
        if not isinstance(records, Sequence) or isinstance(records, str):
            return cls()
        by_name: dict[str, MetricDefinition] = {}
        by_glob: dict[str, MetricDefinition] = {}
        for record in records:
            if not isinstance(record, Mapping):
                continue
            if isinstance(name := record.get(NAME_FIELD), str):
                by_name[name] = _definition(record, records)
            elif isinstance(glob := record.get(GLOB_FIELD), str):
                by_glob[glob.removesuffix("*")] = _definition(record, records)
        longest_first = sorted(by_glob, key=len, reverse=True)
        return cls(by_name, {prefix: by_glob[prefix] for prefix in longest_first})

    def of(self, name: str) -> MetricDefinition | None:
        """Return the definition that holds for a metric."""
        if name in self.by_name or name.startswith("_"):
            return self.by_name.get(name)
        return next((found for prefix, found in self.by_prefix.items() if name.startswith(prefix)), None)

    def goal_of(self, name: str) -> Direction | None:
        """Return the better end that was defined for a metric."""
        found = self.of(name)
        return None if found is None else found.goal

    def step_metrics(self, names: Iterable[str]) -> dict[str, str]:
        """Return the step metric of each metric that has another one than itself.

        Args:
            names: The metrics that the run logged; those defined by name are looked at in any case.
        """
        found = {name: self.of(name) for name in (*self.by_name, *(names if self.by_prefix else ()))}
        return {
            name: definition.step_metric
            for name, definition in found.items()
            if definition is not None and definition.step_metric not in (None, name)
        }


def _definition(record: Mapping[Any, Any], records: Sequence[Any]) -> MetricDefinition:
    step, goal = (
        record.get(STEP_NAME_FIELD) or _name_at(records, record.get(STEP_INDEX_FIELD)),
        record.get(GOAL_FIELD),
    )
    return MetricDefinition(
        step_metric=step if isinstance(step, str) else None,
        goal=_GOALS.get(goal) if isinstance(goal, int) else None,
    )


def _name_at(records: Sequence[Any], index: object) -> object:
    """Return the name in the record at a 1-based index."""
    if not isinstance(index, int) or not 1 <= index <= len(records):
        return None
    record = records[index - 1]
    return record.get(NAME_FIELD) if isinstance(record, Mapping) else None
