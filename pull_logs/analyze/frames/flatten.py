r"""Nested records as flat ones, and back: `{"opt": {"lr": 1}}` is `{"opt.lr": 1}`.

Keys of nesting levels are joined with `.`; a dot or a backslash that belongs to
a key itself is escaped with a backslash (`a\.b`), so that the way back is
exact: `unflatten(flatten(record)) == record`. Lists are values, not nesting,
and an empty dict is a value too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

_ESCAPABLE = re.compile(r"[\\.]")


def escape_key(key: str) -> str:
    """One level's key, with its own dots and backslashes escaped."""
    return _ESCAPABLE.sub(r"\\\g<0>", key)


def join_path(path: Sequence[str]) -> str:
    """The flat key of the keys that lead to a value."""
    return ".".join(map(escape_key, path))


def split_path(flat: str) -> tuple[str, ...]:
    """The keys that lead to the value of a flat key; the inverse of `join_path`."""
    path: list[str] = []
    piece: list[str] = []
    characters = iter(flat)
    for character in characters:
        if character == ".":
            path.append("".join(piece))
            piece = []
        else:
            piece.append(next(characters, "\\") if character == "\\" else character)
    return (*path, "".join(piece))


def is_typed(value: object) -> bool:
    """Whether a value is one of W&B's own objects (histogram, image, table): a dict with a `_type`."""
    return isinstance(value, Mapping) and isinstance(value.get("_type"), str)


def flatten(record: Mapping[str, Any], *, keep_typed: bool = False) -> dict[str, Any]:
    """The leaves of a record by their flat keys, in the record's own order.

    Args:
        record: Nested mappings with text keys.
        keep_typed: Leave W&B's typed objects (histograms, images, tables) whole, as one value each.
    """
    flat: dict[str, Any] = {}
    _collect(record, (), flat, keep_typed=keep_typed)
    return flat


def _collect(
    record: Mapping[str, Any], path: tuple[str, ...], flat: dict[str, Any], *, keep_typed: bool
) -> None:
    for key, value in record.items():
        here = (*path, key)
        if isinstance(value, Mapping) and value and not (keep_typed and is_typed(value)):
            _collect(value, here, flat, keep_typed=keep_typed)
        else:
            flat[join_path(here)] = value


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The nested record of flat keys; the inverse of `flatten`."""
    record: dict[str, Any] = {}
    for key, value in flat.items():
        *parents, last = split_path(key)
        place = record
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return record
