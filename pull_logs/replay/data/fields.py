"""The fields of a run that a filter or an order can name.

W&B accepts camel case and snake case (`createdAt`, `created_at`), and dotted paths into the config and the
summary. See docs/protocol.md, "Filters and orders".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from pull_logs.errors import UsageError
from pull_logs.run_fields import RUN_FIELDS
from pull_logs.runs import RunInfo
from pull_logs.snapshot import Run

Facts = Run | RunInfo
"""The record of a run; a `Run` of a bundle parses a document only when it is read."""

FieldReader = Callable[[Facts], Any]


class Missing:
    """The type of `MISSING`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = Missing()
"""The value of a field that a run does not have; null is a different value."""


def parse_time(value: object) -> datetime | None:
    """Parse a time in ISO 8601, in UTC unless it has an offset; None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _duration(info: Facts) -> float | int | None:
    """Return the run time in seconds: as last logged, else from creation to last heartbeat."""
    internal = info.summary.get("_wandb")
    nested = internal.get("runtime") if isinstance(internal, Mapping) else None
    for seconds in (nested, info.summary.get("_runtime")):
        if isinstance(seconds, (int, float)):
            return seconds
    created, beat = parse_time(info.created_at), parse_time(info.heartbeat_at)
    return (beat - created).total_seconds() if created and beat else None


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


_COLUMNS: Final[Mapping[str, FieldReader]] = {
    **{_plain(name): field.reader for field in RUN_FIELDS for name in field.server_names},
    "tags": lambda info: list(info.tags),
    "host": lambda info: info.metadata.get("host"),  # the machine; `RunInfo.host` is the API's
    "duration": _duration,
}
_TIMES: Final = frozenset(
    _plain(name) for field in RUN_FIELDS if field.kind == "time" for name in field.server_names
)


def field_reader(name: str) -> FieldReader:
    """Return a function that reads the field `name` of a run, or gives `MISSING` where the run has none.

    Raises:
        UsageError: Runs have no field of that name.
    """
    section, _, steps = name.partition(".")
    if section == "config" and steps:
        return lambda info: _config(info.config, steps)
    if _plain(section) == "summarymetrics" and steps:
        return lambda info: _member(info.summary, steps)
    column = _COLUMNS.get(_plain(name))
    if column is None:
        raise UsageError(
            f"runs have no field {name!r}",
            hint="write config.<key>, summary_metrics.<key>, displayName, state, createdAt, tags, group, "
            "jobType, sweep, username, host, duration or name",
        )
    return lambda info: _absent_if_null(column(info))


def is_time(name: str) -> bool:
    """Return whether the field `name` holds a time."""
    return _plain(name) in _TIMES


def _absent_if_null(value: Any) -> Any:
    return MISSING if value is None else value


def _config(config: Mapping[str, Any], steps: str) -> Any:
    """Return the config value at a dotted path.

    W&B stores a value as `{"value": ...}`, so both `lr` and `lr.value` name it, and both `opt.lr` and
    `opt.value.lr` name a member of it.
    """
    if (key := steps.removesuffix(".value")) != steps and key in config:
        return config[key]
    if steps in config:
        return config[steps]
    for head, rest in _splits(steps):
        if head in config:
            if rest == "value":
                return config[head]
            for tail in (rest, rest.removeprefix("value.")):
                found = _member(config[head], tail)
                if found is not MISSING:
                    return found
    return MISSING


def _member(value: object, steps: str) -> Any:
    """Return the member at a dotted path; a key that contains dots wins over nesting."""
    if not isinstance(value, Mapping):
        return MISSING
    if steps in value:
        return value[steps]
    for head, rest in _splits(steps):
        found = _member(value.get(head), rest)
        if found is not MISSING:
            return found
    return MISSING


def _splits(steps: str) -> Iterator[tuple[str, str]]:
    parts = steps.split(".")
    for count in range(1, len(parts)):
        yield ".".join(parts[:count]), ".".join(parts[count:])
