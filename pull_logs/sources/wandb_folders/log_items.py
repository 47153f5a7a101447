"""The nested values of rows, configs and summaries, from the items of a log's records.

An item has a key, as a string or as the levels of a nested key (`["n", "a"]` for `{"n": {"a": 1}}`; a dot in
a key does not split it), and its value as JSON text, which may contain bare NaN and Infinity. See
docs/protocol.md, "Local run logs".
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Any

from pull_logs.errors import DataError
from pull_logs.rows.canonical import MAX_VALUE_DEPTH, parse_json
from pull_logs.sources.wandb_folders.log_messages import FlatItem, Item

Path = str | tuple[str, ...]
"""The path of a value: nearly always one level, which needs no tuple."""


def item_path(item: Item) -> Path:
    """Return the path of an item, from either form of its key."""
    levels = item.nested_key
    if len(levels) == 1:
        return levels[0]
    return tuple(levels) or item.key


def _levels(path: Path) -> tuple[str, ...]:
    return (path,) if isinstance(path, str) else path


def put(target: MutableMapping[str, Any], path: Sequence[str], value: Any) -> None:
    """Set the value at `path`; a value on the way that is not a dict is replaced by one."""
    inner: Any = target
    for key in path[:-1]:
        deeper = inner.get(key)
        if not isinstance(deeper, dict):
            deeper = inner[key] = {}
        inner = deeper
    inner[path[-1]] = value


def drop(target: MutableMapping[str, Any], path: Sequence[str]) -> None:
    """Remove the value at `path`, if there is one."""
    inner: Any = target
    for key in path[:-1]:
        inner = inner.get(key)
        if not isinstance(inner, dict):
            return
    inner.pop(path[-1], None)


def item_values(items: Sequence[Item]) -> tuple[dict[str, Any], int]:
    """Return the nested values of a record's items, and how many of the items could not be read."""
    values: dict[str, Any] = {}
    unread = 0
    for item, value in zip(items, _parse_all(items), strict=True):
        path = item.nested_key
        if value is _UNREAD or len(path) > MAX_VALUE_DEPTH:
            unread += 1
        elif len(path) > 1:
            put(values, path, value)
        else:
            values[path[0] if path else item.key] = value
    return values, unread


def flat_values(items: Sequence[FlatItem]) -> tuple[dict[str, Any], int]:
    """Return the values of items without nested keys, and how many of the items could not be read."""
    parsed = _parse_all(items)
    values = {item.key: value for item, value in zip(items, parsed, strict=True) if value is not _UNREAD}
    return values, sum(value is _UNREAD for value in parsed)


_UNREAD = object()


def _parse_all(items: Sequence[FlatItem]) -> Sequence[Any]:
    # Parsing a row at once takes a third of the time of parsing each value.
    texts = [item.value_json for item in items]
    try:
        values = parse_json(f"[{','.join(texts)}]")
    except DataError:
        values = ()
    return values if len(values) == len(texts) else [_parse(text) for text in texts]


def _parse(text: str) -> Any:
    try:
        return parse_json(text)
    except DataError:
        return _UNREAD


class ItemTree:
    """A config or a summary, to which updates and removals are applied in order.

    A summary is updated with every row and read once, so values stay text until then: only the last text of
    a path counts, and the texts are applied in the order of these last updates.

    Attributes:
        unread: The number of values that could not be read so far; final after `values`.
    """

    def __init__(self) -> None:
        self.unread = 0
        self._texts: dict[Path, str] = {}
        self._values: dict[str, Any] = {}

    def update(self, items: Sequence[Item]) -> None:
        """Set the value of each item."""
        texts = self._texts
        for item in items:
            path = item_path(item)
            texts.pop(path, None)
            texts[path] = item.value_json

    def remove(self, items: Sequence[Item]) -> None:
        """Remove the value of each item."""
        for item in items:
            self._settle()
            drop(self._values, _levels(item_path(item)))

    def values(self) -> dict[str, Any]:
        """Return the values after all changes."""
        self._settle()
        return self._values

    def _settle(self) -> None:
        for path, text in self._texts.items():
            value, levels = _parse(text), _levels(path)
            if value is _UNREAD or len(levels) > MAX_VALUE_DEPTH:
                self.unread += 1
            else:
                put(self._values, levels, value)
        self._texts.clear()
