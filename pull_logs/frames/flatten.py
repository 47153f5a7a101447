r"""Nested records as flat ones, and back: `{"opt": {"lr": 1}}` is `{"opt.lr": 1}`.

The keys of nested levels are joined with `.`; a dot or a backslash that belongs to a key itself is escaped
with a backslash (`a\.b`), so that `unflatten(flatten(record)) == record`. A list is a value, and so is an
empty dict.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

_ESCAPABLE = re.compile(r"[\\.]")


def escape_key(key: str) -> str:
    """Return the key of one level with its own dots and backslashes escaped."""
    return _ESCAPABLE.sub(r"\\\g<0>", key)


def join_path(path: Sequence[str]) -> str:
    """Return the flat key for the keys that lead to a value."""
    return ".".join(map(escape_key, path))


def split_path(flat: str) -> tuple[str, ...]:
    """Return the keys that lead to the value of a flat key; the inverse of `join_path`."""
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
    """Return the leaves of a record by their flat keys, in the order of the record.

    Args:
        record: Nested mappings with text keys.
        keep_typed: Leave W&B's typed objects (histograms, images, tables) complete, as one value each.
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
    """Return the nested record of flat keys; the inverse of `flatten`."""
    record: dict[str, Any] = {}
    for key, value in flat.items():
        *parents, last = split_path(key)
        level = record
        for parent in parents:
            level = level.setdefault(parent, {})
        level[last] = value
    return record
