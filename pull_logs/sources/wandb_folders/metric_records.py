"""The metrics that a run defined, in the shape in which W&B keeps them in the run's config.

A log has a `MetricRecord` for each call of `define_metric`; W&B's server gets all of them together, in the
config as `_wandb.m`; `pull_logs.analyze.statistics.metric_definitions` describes the fields of that list.

A later definition adds to a former one of the same name, unless it overwrites it. The SDK lists them in no
particular order; here they stand in the order in which they were defined.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from pull_logs.analyze.statistics import (
    DEFINED_OPTION,
    GLOB_FIELD,
    GOAL_FIELD,
    NAME_FIELD,
    NO_SUMMARY,
    OPTIONS_FIELD,
    STEP_INDEX_FIELD,
    SUMMARY_FIELD,
)
from pull_logs.sources.wandb_folders.log_messages import Flags, Metric


@dataclass(frozen=True, slots=True)
class _Definition:
    """What is known of one metric or glob; the numbers are those of the set fields."""

    step: str = ""
    options: frozenset[int] = frozenset()
    summary: frozenset[int] = frozenset()
    goal: int = 0

    def with_record(self, record: Metric) -> _Definition:
        options = self.options | (_numbers(record.options) - {DEFINED_OPTION})
        summary = self.summary
        if record.HasField("summary"):
            # Whether there is to be none is what the latest definition says; all others add up.
            summary = (summary - {NO_SUMMARY}) | _numbers(record.summary)
        return replace(
            self,
            step=record.step_metric or self.step,
            options=options | {DEFINED_OPTION} if record.name else options,
            summary=summary,
            goal=record.goal or self.goal,
        )


def _numbers(flags: Flags) -> frozenset[int]:
    return frozenset(descriptor.number for descriptor, _ in flags.ListFields())


@dataclass(slots=True)
class MetricDefinitions:
    """The definitions of one run, as far as its records were read."""

    _named: dict[str, _Definition] = field(default_factory=dict)
    _globs: dict[str, _Definition] = field(default_factory=dict)

    def take(self, record: Metric) -> None:
        """Take over the next definition; one that names no metric defines none."""
        known, key = (self._named, record.name) if record.name else (self._globs, record.glob_name)
        if key:
            former = _Definition() if record.control.overwrite else known.get(key, _Definition())
            known[key] = former.with_record(record)

    def encoded(self) -> list[dict[str, Any]]:
        """The list of a config's `_wandb.m`; empty if nothing was defined."""
        entries: list[dict[str, Any]] = []
        places: dict[str, int] = {}
        for name in self._named:
            self._add(name, entries, places)
        for glob, definition in self._globs.items():
            entry = _entry(GLOB_FIELD, glob, definition)
            entries.append(entry)
            if definition.step:
                entry[STEP_INDEX_FIELD] = self._add(definition.step, entries, places)
        return entries

    def _add(self, name: str, entries: list[dict[str, Any]], places: dict[str, int]) -> int:
        """Add a metric, and behind it those that it goes by; gives its place, from 1."""
        waiting: list[dict[str, Any]] = []
        asked = name
        while name:
            known = name in places
            if not known:
                entries.append(_entry(NAME_FIELD, name, self._named.get(name, _Definition())))
                places[name] = len(entries)
            for entry in waiting:
                entry[STEP_INDEX_FIELD] = places[name]
            if known:
                break
            waiting, name = [entries[-1]], self._named.get(name, _Definition()).step
        return places[asked]


def _entry(key: str, name: str, definition: _Definition) -> dict[str, Any]:
    entry: dict[str, Any] = {
        key: name,
        OPTIONS_FIELD: sorted(definition.options),
        SUMMARY_FIELD: sorted(definition.summary),
    }
    return {**entry, GOAL_FIELD: definition.goal} if definition.goal else entry
