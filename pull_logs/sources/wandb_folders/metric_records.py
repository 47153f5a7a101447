"""The metrics that a run defined, in the shape in which W&B keeps them in the run's config.

A log has a `MetricRecord` for each call of `define_metric`; W&B's server gets all of them together, in the
config as `_wandb.m`: a list of `MetricRecord`s whose fields go by their protobuf numbers. As W&B's SDK makes
that list (0.31.0, seen in what it uploads):

    "1"  the name of the metric, or "2" the glob, whose only wildcard is a `*` at its end
    "5"  the place of its step metric in the list, from 1; a step metric that was not defined itself has an entry
    "6"  the numbers of the options that are set: 1 step_sync, 2 hidden, 3 defined by the run
    "7"  the numbers of the summaries it keeps: 1 min, 2 max, 3 mean, 4 best, 5 last, 6 none, 7 copy, 8 first
    "8"  its goal: 1 minimize, 2 maximize; absent without one

A later definition adds to a former one of the same name, unless it overwrites it. The SDK lists them in no
particular order; here they stand in the order in which they were defined.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from pull_logs.sources.wandb_folders.log_messages import Flags, Metric

_DEFINED = 3
_NONE = 6


@dataclass(frozen=True, slots=True)
class _Definition:
    """What is known of one metric or glob; the numbers are those of the set fields."""

    step: str = ""
    options: frozenset[int] = frozenset()
    summary: frozenset[int] = frozenset()
    goal: int = 0

    def with_record(self, record: Metric) -> _Definition:
        options = self.options | (_numbers(record.options) - {_DEFINED})
        summary = self.summary
        if record.HasField("summary"):
            # Whether there is to be none is what the latest definition says; all others add up.
            summary = (summary - {_NONE}) | _numbers(record.summary)
        return replace(
            self,
            step=record.step_metric or self.step,
            options=options | {_DEFINED} if record.name else options,
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
            overwrite = record._control.overwrite  # noqa: SLF001 - the name of the protobuf field
            former = _Definition() if overwrite else known.get(key, _Definition())
            known[key] = former.with_record(record)

    def encoded(self) -> list[dict[str, Any]]:
        """The list of a config's `_wandb.m`; empty if nothing was defined."""
        entries: list[dict[str, Any]] = []
        places: dict[str, int] = {}
        for name in self._named:
            self._add(name, entries, places)
        for glob, definition in self._globs.items():
            entry = _entry("2", glob, definition)
            entries.append(entry)
            if definition.step:
                entry["5"] = self._add(definition.step, entries, places)
        return entries

    def _add(self, name: str, entries: list[dict[str, Any]], places: dict[str, int]) -> int:
        """Add a metric, and behind it those that it goes by; gives its place, from 1."""
        waiting: list[dict[str, Any]] = []
        asked = name
        while name:
            known = name in places
            if not known:
                entries.append(_entry("1", name, self._named.get(name, _Definition())))
                places[name] = len(entries)
            for entry in waiting:
                entry["5"] = places[name]
            if known:
                break
            waiting, name = [entries[-1]], self._named.get(name, _Definition()).step
        return places[asked]


def _entry(key: str, name: str, definition: _Definition) -> dict[str, Any]:
    entry: dict[str, Any] = {key: name, "6": sorted(definition.options), "7": sorted(definition.summary)}
    return {**entry, "8": definition.goal} if definition.goal else entry
