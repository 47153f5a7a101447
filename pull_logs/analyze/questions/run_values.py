"""The values of one run that expressions, groups and ranks can name: one row per run.

    config.KEY summary.KEY metadata.KEY   the leaves of its documents, by their flat keys
    state name tags created_at ...        the fields of `RUN_FIELDS` that are `filtered`
    duration                              how long it ran, in seconds
    rows last_step complete parts         what is known of its history, once it was downloaded

`tags` has the sorted tags, joined with commas; a list of them can be searched item by item.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from pull_logs.frames import JoinedTexts, RunLike, by_bundle, flatten, plain_key
from pull_logs.rows.canonical import canon_number, spell
from pull_logs.run_fields import RUN_FIELDS
from pull_logs.runs import RunInfo

METADATA = "metadata."
_CONFIG = "config."
_SUMMARY = "summary."

_FIELDS: Mapping[str, Callable[[object], Any]] = {
    field.name: field.reader for field in RUN_FIELDS if field.filtered
}

HISTORY_VALUES: Final[Mapping[str, Callable[[RunLike], Any]]] = {
    "rows": lambda run: run.rows,
    "last_step": lambda run: run.last_step,
    "complete": lambda run: run.complete,
    "parts": lambda run: 1 if run.parts is None else run.parts.count,
}
"""What is known of a run only once its history was downloaded, by name."""

DURATION = "duration"


def run_cells(run: RunInfo | RunLike, names: Collection[str] | None = None) -> dict[str, Any]:
    """Return the values of one run by name.

    Args:
        run: A run, or its record alone; a record has none of `HISTORY_VALUES`.
        names: The names wanted: its config and metadata are read if one of them needs them; None for all.
    """
    config, metadata = (
        getattr(run, document) if names is None or any(name.startswith(prefix) for name in names) else {}
        for document, prefix in (("config", _CONFIG), ("metadata", METADATA))
    )
    cells = {
        **{f"{_CONFIG}{key}": value for key, value in flatten(config).items()},
        **{f"{_SUMMARY}{key}": value for key, value in flatten(run.summary).items()},
        **{f"{METADATA}{key}": value for key, value in flatten(metadata).items()},
        **{name: read(run) for name, read in _FIELDS.items()},
        "tags": JoinedTexts(sorted(run.tags)),
        DURATION: duration_of(run),
    }
    if not isinstance(run, RunInfo):
        cells |= {name: read(run) for name, read in HISTORY_VALUES.items()}
    return cells


_MACHINE: Final = ("created_at", "heartbeat_at", "duration", "user", "commit")
"""The values beside `metadata.KEY` that say when and by whom a run was run."""


def run_metadata(run: RunLike) -> dict[str, Any]:
    """Return when, where and with what a run ran, by the names that expressions have for it.

    That is what W&B recorded of the machine, as far as the bundle was not redacted.
    """
    cells = run_cells(run)
    names = [*_MACHINE, *(name for name in cells if name.startswith(METADATA))]
    return {name: spell(cells[name]) for name in names if cells[name] is not None}


def duration_of(run: RunInfo | RunLike) -> int | float | None:
    """Return how many seconds a run took, as far as that is known.

    That is the `_runtime` of its summary, which goes on counting when a run is resumed; else the `runtime`
    that W&B keeps; else the time from its creation to its last heartbeat.
    """
    summary = run.summary
    wandb = summary.get("_wandb")
    for seconds in (
        summary.get("_runtime"),
        wandb.get("runtime") if isinstance(wandb, Mapping) else None,
        _between(run.created_at, run.heartbeat_at),
    ):
        if isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and seconds >= 0:
            number: int | float = canon_number(seconds)
            return number
    return None


def _between(start: str | None, end: str | None) -> float | None:
    try:
        moments = [datetime.fromisoformat(text) for text in (start, end) if text]
        return (moments[1] - moments[0]).total_seconds() if len(moments) == 2 else None
    except (ValueError, TypeError, OverflowError):
        return None


def run_scope(run: RunLike, names: Collection[str] | None = None) -> dict[str, Any]:
    """Return what an expression about one run can name: its values, and bare summary keys.

    A bare key has no backslashes before its own dots, like the column of the history, unless two keys have
    that spelling. A key wins over `duration` and `HISTORY_VALUES`, and a field of the run over a key.

    Args:
        run: The run.
        names: The names wanted; of others, some are left out. None for all.
    """
    cells = run_cells(run, names)
    keys = [name.removeprefix(_SUMMARY) for name in cells if name.startswith(_SUMMARY)]
    spellings = Counter(map(plain_key, keys))
    bare = {
        plain_key(key) if spellings[plain_key(key)] == 1 else key: value
        for key in keys
        if (value := cells[_SUMMARY + key]) is not None
    }
    for name in DERIVED & bare.keys():
        del cells[name]
    return {**bare, **cells}


def scope_names(runs: Sequence[RunLike]) -> dict[str, None]:
    """Return the names of `run_scope` in any of these runs, each once.

    Most runs of a sweep have the same keys, so that the names of one of them are those of all.
    """
    first: dict[object, int] = {}
    for positions in by_bundle(run.bundle_id for run in runs):
        for position in positions:
            run = runs[position]
            shape = tuple(map(_shape, (run.config, run.summary, run.metadata)))
            first[shape] = min(position, first.get(shape, position))
    return dict.fromkeys(name for position in sorted(first.values()) for name in run_scope(runs[position]))


def _shape(record: Mapping[str, Any]) -> object:
    """Return what the flat keys of a record depend on: its keys, how they are nested, and which are null."""
    return tuple(
        (key, _shape(value)) if isinstance(value, Mapping) and value else (key, value is None)
        for key, value in record.items()
    )


FIELDS: Final = frozenset(_FIELDS)
"""The fields of a run that expressions know; a metric of the same name does not hide them."""

DERIVED: Final = frozenset({DURATION, *HISTORY_VALUES})
"""The values that are not stored in a record; a metric of the same name hides them."""
