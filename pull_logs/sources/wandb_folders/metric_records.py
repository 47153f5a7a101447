"""The metric definitions of a run, in the form in which W&B stores them in the run's config.

A log has a `MetricRecord` for each call of `define_metric`. W&B's server receives all of them together, in
the config as `_wandb.m`; `pull_logs.analyze.statistics.metric_definitions` describes the fields of that list.

A later definition adds to an earlier one of the same name, unless it overwrites it. The SDK lists them in no
particular order; here they are in the order in which they were defined.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    """The definition of one metric or glob; options and summary have the numbers of the set fields."""

    step: str = ""
    options: frozenset[int] = frozenset()
    summary: frozenset[int] = frozenset()
    goal: int = 0

    def with_record(self, record: Metric) -> _Definition:
        options = self.options | (_numbers(record.options) - {DEFINED_OPTION})
        summary = self.summary
        if record.HasField("summary"):
            # The latest definition decides whether there is no summary; the other fields add up.
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
    """The metric definitions of one run, from the records read so far."""

    _named: dict[str, _Definition] = field(default_factory=dict)
    _globs: dict[str, _Definition] = field(default_factory=dict)

    def take(self, record: Metric) -> None:
        """Apply the next definition; a record that names no metric defines none."""
        known, key = (self._named, record.name) if record.name else (self._globs, record.glob_name)
        if key:
            overwrite = record._control.overwrite  # noqa: SLF001 - the name of the protobuf field
            former = _Definition() if overwrite else known.get(key, _Definition())
            known[key] = former.with_record(record)

    def encoded(self) -> list[dict[str, Any]]:
        """Return the list for a config's `_wandb.m`; empty if nothing was defined."""
        entries = _Entries(self._named)
        for name in self._named:
            entries.add(name)
        for glob, definition in self._globs.items():
            entries.add_glob(glob, definition)
        return entries.encoded


class _Entries:
    """The list of definitions as W&B encodes it.

    Attributes:
        encoded: The entries so far.
    """

    def __init__(self, definitions: Mapping[str, _Definition]) -> None:
        self.encoded: list[dict[str, Any]] = []
        self._definitions = definitions
        self._indices: dict[str, int] = {}

    def add(self, name: str) -> int:
        """Add a metric, followed by its step metric, and return its index, counted from 1."""
        waiting: list[dict[str, Any]] = []
        first = name
        while name:
            known = name in self._indices
            definition = self._definitions.get(name, _Definition())
            if not known:
                self.encoded.append(_entry(NAME_FIELD, name, definition))
                self._indices[name] = len(self.encoded)
            for entry in waiting:
                entry[STEP_INDEX_FIELD] = self._indices[name]
            if known:
                break
            waiting, name = [self.encoded[-1]], definition.step
        return self._indices[first]

    def add_glob(self, glob: str, definition: _Definition) -> None:
        """Add a glob and its step metric."""
        entry = _entry(GLOB_FIELD, glob, definition)
        self.encoded.append(entry)
        if definition.step:
            entry[STEP_INDEX_FIELD] = self.add(definition.step)


def _entry(key: str, name: str, definition: _Definition) -> dict[str, Any]:
    entry: dict[str, Any] = {
        key: name,
        OPTIONS_FIELD: sorted(definition.options),
        SUMMARY_FIELD: sorted(definition.summary),
    }
    return {**entry, GOAL_FIELD: definition.goal} if definition.goal else entry
