"""Runs side by side: how their metrics ended, where their configs differ, how far their summaries are apart.

Every table is keyed by run labels. If the label of a run is not in an entry, the run has no such key; None
means that it has the key and the value is null. Values are compared with their kinds: `1` is neither `"1"`
nor `true`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np

from pull_logs.analyze.answers.indexed import RunValues
from pull_logs.analyze.questions import compile_pattern
from pull_logs.analyze.results import ConfigDifference, EndingResult, RecordComparison, SummaryDifference
from pull_logs.frames import Column, MetricFacts, Steps, extremes, flatten
from pull_logs.rows.canonical import canon_number, canon_record, same, spell

_UNCOMPARED = ("_timestamp", "_wandb")
"""Summary keys, by how they start, whose difference says nothing about the runs."""


class Ending(NamedTuple):
    """How a metric of one run ended, and its best and worst: None where there is no such value.

    It is a tuple because there is one for each metric of each run.

    Attributes:
        last: The last cell that is present.
        min: The least finite number; `min_step` is the first step that has it.
        max: The greatest finite number; `max_step` is the first step that has it.
        at_checkpoint: The last cell that is present at or before the checkpoint's step; metrics that are
            logged less often than checkpoints are saved have their last value then, not none.
        at_checkpoint_step: The step of that cell.
    """

    last: Any = None
    min: Any = None
    min_step: int | None = None
    max: Any = None
    max_step: int | None = None
    at_checkpoint: Any = None
    at_checkpoint_step: int | None = None


def ending(column: Column, steps: Steps, *, checkpoint_step: int | None) -> Ending:
    """Return how a metric ended in one run.

    Args:
        column: The metric.
        steps: The step of each of its rows, ascending.
        checkpoint_step: The step of the run's checkpoint, if it is known.
    """
    present = np.flatnonzero(column.vector.present)
    if not len(present):
        return Ending()
    low, high = extremes(column)
    until = 0 if checkpoint_step is None else int(np.searchsorted(steps, checkpoint_step, side="right"))
    before = present[: np.searchsorted(present, until)]
    rows = {
        "last": int(present[-1]),
        "min": low,
        "max": high,
        "at_checkpoint": int(before[-1]) if len(before) else None,
    }
    found = {name: row for name, row in rows.items() if row is not None}
    cells = dict(zip(found, column.cells(np.array(list(found.values()))), strict=True))
    stepped = {f"{name}_step": int(steps[row]) for name, row in found.items() if name != "last"}
    return Ending(**{name: spell(cell) for name, cell in cells.items()}, **stepped)


def indexed_ending(facts: MetricFacts) -> Ending | None:
    """Return what `ending` does, from the facts about a column; None where they do not have its last cell."""
    if facts.cells and facts.last is None:
        return None
    return Ending(spell(facts.last), spell(facts.min), facts.min_step, spell(facts.max), facts.max_step)


def compare_metrics(
    endings: Mapping[str, Mapping[str, Ending]], *, checkpoints: bool, on_request: bool = False
) -> list[EndingResult]:
    """Compare how metrics ended: an entry per metric.

    Args:
        endings: By run label, how each of its metrics ended; runs and metrics in the order to show.
        checkpoints: Whether to give the values at the checkpoints' steps.
        on_request: Let values be made when they are used.
    """
    names = dict.fromkeys(name for metrics in endings.values() for name in metrics)
    return [_compare_endings(name, endings, checkpoints=checkpoints, on_request=on_request) for name in names]


def _compare_endings(
    name: str, endings: Mapping[str, Mapping[str, Ending]], *, checkpoints: bool, on_request: bool
) -> EndingResult:
    def values(field: str) -> Mapping[str, Any]:
        found = RunValues(partial(_field_values, endings, name, field))
        return found if on_request else found.plain

    entry: EndingResult = {
        "name": name,
        "last": values("last"),
        "min": values("min"),
        "min_step": values("min_step"),
        "max": values("max"),
        "max_step": values("max_step"),
    }
    if checkpoints:
        entry["at_checkpoint"] = values("at_checkpoint")
        entry["at_checkpoint_step"] = values("at_checkpoint_step")
    return entry


def _field_values(endings: Mapping[str, Mapping[str, Ending]], name: str, field: str) -> dict[str, Any]:
    return {
        run: value
        for run, metrics in endings.items()
        if name in metrics and (value := getattr(metrics[name], field)) is not None
    }


FlatRecords: TypeAlias = Mapping[str, Mapping[str, Any]]
"""Configs or summaries by run label, canonical and with flat keys."""


class Recorded(Protocol):
    """A run with its config and its summary, such as a `Run` or a `RunInfo`."""

    @property
    def config(self) -> Mapping[str, Any]:
        """Its config."""

    @property
    def summary(self) -> Mapping[str, Any]:
        """Its summary."""


def compare_records(
    configs: FlatRecords, summaries: FlatRecords | None, *, select: str | None
) -> RecordComparison:
    """Compare the configs of runs, and their summaries.

    Args:
        configs: The config of each run, as `flat_configs` returns them.
        summaries: Likewise, the first run first; None where they are not compared.
        select: A regular expression that is searched for in the keys of the summaries.
    """
    differing = compare_configs(configs)
    return {
        "config_diff": differing,
        "config_same": len({key for config in configs.values() for key in config}) - len(differing),
        "summary_comparison": [] if summaries is None else compare_summaries(summaries, select=select),
    }


def flat_configs(runs: Mapping[str, Recorded]) -> dict[str, dict[str, Any]]:
    """Return the config of each run, canonical and with flat keys."""
    return {label: flatten(canon_record(run.config)) for label, run in runs.items()}


def flat_summaries(runs: Mapping[str, Recorded], *, select: str | None = None) -> dict[str, dict[str, Any]]:
    """Return the summary of each run, canonical and with flat keys; histograms and the like stay complete.

    Args:
        runs: The runs.
        select: A regular expression that is searched for in the keys; all are returned if None.
    """
    flat = ((label, flatten(canon_record(run.summary), keep_typed=True)) for label, run in runs.items())
    if select is None:
        return dict(flat)
    search = compile_pattern(select).search
    return {label: {key: record[key] for key in filter(search, record)} for label, record in flat}


def compare_configs(configs: Mapping[str, Mapping[str, Any]]) -> list[ConfigDifference]:
    """Return the keys whose values are not the same in all runs, in the order of their names.

    Args:
        configs: Flat canonical configs by run label.
    """
    return [
        {"key": key, "values": {run: spell(config[key]) for run, config in configs.items() if key in config}}
        for key in _all_keys(configs.values())
        if not _same_everywhere(key, list(configs.values()))
    ]


def _same_everywhere(key: str, configs: Sequence[Mapping[str, Any]]) -> bool:
    return all(key in config for config in configs) and all(
        same(config[key], configs[0][key]) for config in configs[1:]
    )


def compare_summaries(
    summaries: Mapping[str, Mapping[str, Any]], *, select: str | None = None
) -> list[SummaryDifference]:
    """Return the keys that hold a number in some run, with each other run's difference to the first run.

    Args:
        summaries: Flat canonical summaries by run label, the first run first.
        select: A regular expression that is searched for in the keys.
    """
    entries: list[SummaryDifference] = []
    pattern = compile_pattern(select or "")
    for key in filter(pattern.search, _all_keys(summaries.values())):
        if key.startswith(_UNCOMPARED):
            continue
        values = {run: summary[key] for run, summary in summaries.items() if key in summary}
        if not any(map(_is_number, values.values())):
            continue
        first = values.get(next(iter(summaries)))
        deltas = {
            run: spell(_difference(value, first))
            for run, value in list(values.items())[1:]
            if _is_number(value) and _is_number(first)
        }
        entries.append({"key": key, "values": {run: spell(v) for run, v in values.items()}, "delta": deltas})
    return entries


def _all_keys(records: Iterable[Mapping[str, Any]]) -> list[str]:
    return sorted({key for record in records for key in record})


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _difference(value: Any, first: Any) -> Any:
    try:
        return canon_number(value - first)
    except OverflowError:  # one is a whole number beyond all doubles, the other a fraction or an infinity
        if isinstance(value, float) and not math.isfinite(value):
            return value
        if isinstance(first, float) and not math.isfinite(first):
            return -first
        return int(value) - int(first)
