r"""Nested records as flat ones, and back: `{"opt": {"lr": 1}}` is `{"opt.lr": 1}`.

The keys of nested levels are joined with `.`; a dot or a backslash that belongs to a key itself is escaped
with a backslash (`a\.b`), so that `unflatten(flatten(record)) == record`. A list is a value, and so is an
empty dict.

Users may leave out these backslashes where only one name fits (`PlainNames`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

_ESCAPABLE = re.compile(r"[\\.]")


def escape_key(key: str) -> str:
    """Return the key of one level with its own dots and backslashes escaped."""
    return _ESCAPABLE.sub(r"\\\g<0>", key) if "." in key or "\\" in key else key


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


def plain_key(flat: str) -> str:
    """Return a flat key without the backslashes that escape the dots of its keys."""
    return ".".join(split_path(flat)) if "\\" in flat else flat


class PlainNames:
    """Finds the names that a text may mean, with or without the backslashes before the dots of keys."""

    def __init__(self, names: Collection[str]) -> None:
        """Index names by their plain spelling.

        Args:
            names: Flat keys, with or without a prefix such as `config.`.
        """
        self._names = names if isinstance(names, AbstractSet) else frozenset(names)
        self._escaped: dict[str, list[str]] = {}
        for name in names:
            if "\\" in name:
                self._escaped.setdefault(plain_key(name), []).append(name)

    def meant_by(self, text: str) -> list[str]:
        """Return the names that a text may mean, the one of exactly that name first."""
        exact = [text] if text in self._names else []
        return [*exact, *sorted(name for name in self._escaped.get(text, ()) if name != text)]


def is_typed(value: object) -> bool:
    """Whether a value is one of W&B's own objects (histogram, image, table): a dict with a `_type`."""
    return isinstance(value, Mapping) and isinstance(value.get("_type"), str)


def flatten(record: Mapping[str, Any], *, keep_typed: bool = False, prefix: str = "") -> dict[str, Any]:
    """Return the leaves of a record by their flat keys, in the order of the record.

    Args:
        record: Nested mappings with text keys.
        keep_typed: Leave W&B's typed objects (histograms, images, tables) complete, as one value each.
        prefix: What each key starts with.
    """
    flat: dict[str, Any] = {}
    _collect(record, prefix, flat, keep_typed=keep_typed)
    return flat


def _collect(record: Mapping[str, Any], prefix: str, flat: dict[str, Any], *, keep_typed: bool) -> None:
    for key, value in record.items():
        here = prefix + escape_key(key) if prefix or "." in key or "\\" in key else key
        # `isinstance` is much slower for the abstract class alone.
        if value and isinstance(value, (dict, Mapping)) and not (keep_typed and is_typed(value)):
            _collect(value, f"{here}.", flat, keep_typed=keep_typed)
        else:
            flat[here] = value


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
