"""The values of one run that runs are grouped by: its config, its metadata and its fields."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

from pull_logs.analyze.questions.run_values import METADATA
from pull_logs.frames import RunLike, flatten
from pull_logs.rows.canonical import canon_record
from pull_logs.run_fields import RUN_FIELDS
from pull_logs.runs import RunInfo

CONFIG = "config."

_READERS: Mapping[str, Callable[[object], Any]] = {
    field.name: field.reader for field in RUN_FIELDS if field.grouped
}

FIELDS = tuple(dict.fromkeys((*_READERS, "tags")))
"""The fields of a run, besides its config, that runs can be grouped by."""

Values = Mapping[str, Any]
"""The canonical values of a run, by `config.KEY`, `metadata.KEY` or the name of a field."""


def values_of(run: RunInfo | RunLike) -> dict[str, Any]:
    """Return the values that a run can be grouped by.

    Args:
        run: A run, of which only these values are parsed, or its record.
    """
    return {**{name: field_of(run, name) for name in FIELDS}, **document_values(run)}


def field_of(run: RunInfo | RunLike, name: str) -> Any:
    """Return the value of a field that runs can be grouped by."""
    return sorted(run.tags) if name == "tags" else _READERS[name](run)


def document_values(run: RunInfo | RunLike) -> dict[str, Any]:
    """Return the values of a run's metadata and config, by `metadata.KEY` and `config.KEY`."""
    return {**metadata_values(run), **config_values(run)}


def metadata_values(run: RunInfo | RunLike) -> dict[str, Any]:
    """Return the values of a run's metadata, by `metadata.KEY`."""
    return flatten(canon_record(run.metadata), prefix=METADATA)


def config_values(run: RunInfo | RunLike) -> dict[str, Any]:
    """Return the values of a run's config, by `config.KEY`."""
    return flatten(canon_record(run.config), prefix=CONFIG)


def identity(value: Any) -> Hashable:
    """Return a key that is equal exactly where the canonical values are the same."""
    kind = type(value)
    if kind is str or kind is int or kind is bool:  # most values
        return value, kind.__name__
    if isinstance(value, (list, dict)) or value != value:
        return json.dumps(value, sort_keys=True), "json"
    return value, kind.__name__


_ABSENT: Hashable = ("", "absent")


def identity_in(values: Values, name: str) -> Hashable:
    """Return the identity of a run's value, or that of an absent one."""
    return identity(values[name]) if name in values else _ABSENT


def differing_names(runs: Sequence[Values], names: Iterable[str]) -> list[str]:
    """Return those of the names whose values are not the same in all runs."""
    return [name for name in names if _differs(runs, name)]


def _differs(runs: Sequence[Values], name: str) -> bool:
    """Whether the value is not the same in all runs; mostly the first few show that it is not."""
    first = identity_in(runs[0], name) if runs else _ABSENT
    return any(identity_in(values, name) != first for values in runs)


def all_names(runs: Sequence[Values]) -> list[str]:
    """Return the names of all runs: fields first, then config keys, each in order."""
    return sorted(
        {name for values in runs for name in values}, key=lambda name: (name.startswith(CONFIG), name)
    )
