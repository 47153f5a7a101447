"""What W&B reports of a run, and which parts of that could not be requested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pull_logs.rows.canonical import parse_json

if TYPE_CHECKING:
    from pull_logs.fetch.discovery import FoundRun
    from pull_logs.fetch.files import ListedFile
    from pull_logs.snapshot.format import ArtifactRecord, Relation

Part = Literal["files", "console", "system", "logged artifacts", "used artifacts"]
"""The parts of a run that are asked for besides its facts and its history."""


@dataclass(frozen=True, slots=True)
class RemoteFiles:
    """The files of a run as W&B lists them.

    Attributes:
        files: The files by name.
        unreadable: How many entries have no name, or one that another entry has too.
    """

    files: Mapping[str, ListedFile]
    unreadable: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteRun:
    """What W&B has of a run.

    Attributes:
        found: Its facts, and what its history is promised to hold.
        key_counts: The number of values of each metric, nested names joined with dots; empty where W&B does
            not report it.
        files: Its files; None if they could not be listed.
        console_lines: The number of lines of its console log; None if it is not reported.
        system: Whether it has system metrics; None if that is not known.
        logged_artifacts: The number of artifacts that it logged; None if it is not reported.
        used_artifacts: The number of artifacts that it used; None if it is not reported.
        artifacts: The artifacts that it logged and used, as far as they were listed.
        unasked: Why a part could not be requested, by part.
    """

    found: FoundRun
    key_counts: Mapping[str, int] = field(default_factory=dict)
    files: RemoteFiles | None = None
    console_lines: int | None = None
    system: bool | None = None
    logged_artifacts: int | None = None
    used_artifacts: int | None = None
    artifacts: Mapping[Relation, Sequence[ArtifactRecord]] = field(default_factory=dict)
    unasked: Mapping[Part, str] = field(default_factory=dict)


def count_of(value: object) -> int | None:
    """Return a count in an answer; None where it is missing or not one."""
    return value if type(value) is int and value >= 0 else None


def total_count(connection: object) -> int | None:
    """Return the `totalCount` of a connection; None where it is missing."""
    return count_of(connection.get("totalCount")) if isinstance(connection, Mapping) else None


def key_counts(history_keys: object) -> dict[str, int]:
    """Return the number of values of each metric in `historyKeys` (docs/protocol.md, "A single run").

    Raises:
        DataError: It is text that is not JSON.
    """
    if isinstance(history_keys, str):
        history_keys = parse_json(history_keys) if history_keys.strip() else None
    keys = history_keys.get("keys") if isinstance(history_keys, Mapping) else None
    found: dict[str, int] = {}
    for name, entry in keys.items() if isinstance(keys, Mapping) else ():
        types = entry.get("typeCounts") if isinstance(entry, Mapping) else None
        counts = [item.get("count") for item in types or () if isinstance(item, Mapping)]
        found[name] = sum(count for count in counts if type(count) is int and count > 0)
    return found
