"""Which keys of configs and summaries have columns of their own in a catalog.

Of each flat key the catalog counts the runs that have it, by the kind of its value. The keys that most runs
have get a typed column, so that a filter reads that column and no JSON. The choice depends on the runs alone,
not on the order in which they came.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeAlias

from pull_logs.frames import flatten
from pull_logs.snapshot.format import document_from_text

LeafKind: TypeAlias = Literal["number", "text", "bool", "other"]

KINDS: tuple[LeafKind, ...] = ("number", "text", "bool", "other")

MAX_TYPED = 64
"""The most keys that have a column of their own."""

MAX_KEYS = 20_000
"""With more keys than this, no key has a column of its own."""

_MAX_NAME = 200
"""The longest key that has a column of its own."""

Counts: TypeAlias = dict[str, list[int]]
"""The number of runs that have a key, by key and in the order of `KINDS`."""

Leaves: TypeAlias = dict[str, Any]
"""The values of a run by `config.KEY` and `summary.KEY`."""


def leaves_of(config: str, summary: str) -> Leaves:
    """Return the values of the JSON of a config and a summary by their flat keys.

    Raises:
        DataError: One is not a JSON object.
    """
    leaves = {f"config.{key}": value for key, value in flatten(document_from_text(config)).items()}
    return leaves | {f"summary.{key}": value for key, value in flatten(document_from_text(summary)).items()}


def kind_of(value: object) -> LeafKind:
    """Return the kind of a value; an integer that no double holds is none of a column's kinds."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, float) or (isinstance(value, int) and _is_double(value)):
        return "number"
    return "text" if isinstance(value, str) else "other"


def _is_double(value: int) -> bool:
    try:
        return float(value) == value
    except OverflowError:
        return False


def count_leaves(counts: Counts, leaves: Leaves, change: Literal[1, -1]) -> None:
    """Add the keys of a run to counts, or take them out."""
    for key, value in leaves.items():
        found = counts.setdefault(key, [0] * len(KINDS))
        found[KINDS.index(kind_of(value))] += change
        if not any(found):
            del counts[key]


def typed_keys(counts: Mapping[str, list[int]]) -> dict[str, LeafKind]:
    """Return the keys that have a column of their own, in the order of the columns, and their kinds.

    That is the kind that most of the runs have; the other runs have nothing in the column.
    """
    if len(counts) > MAX_KEYS:
        return {}
    found = [(-max(count[:3]), key) for key, count in counts.items() if max(count[:3]) and _is_plain(key)]
    chosen = sorted(key for _, key in sorted(found)[:MAX_TYPED])
    return {key: KINDS[counts[key].index(max(counts[key][:3]))] for key in chosen}


def _is_plain(key: str) -> bool:
    return len(key) <= _MAX_NAME and key.isprintable()


def exact_keys(counts: Mapping[str, list[int]]) -> Iterator[str]:
    """Iterate over the keys whose column has the value of every run that has the key."""
    for key in typed_keys(counts):
        count = counts[key]
        if sum(count) == max(count[:3]):
            yield key
