"""YAML that a stranger wrote, as JSON-like values; sizes and depths are bounded, and nothing in it is executed.

What comes out is what the SDK makes of the same text (`yaml.safe_load`), but for
dates and times, which JSON does not know: they are their text in ISO 8601.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from pull_logs.errors import DataError

MOST_TEXT = 256 * 2**10
"""Characters that are read at all."""

MOST_VALUES = 100_000
"""Values, counted where they stand: a few aliases can stand for any number of them."""

_DEEPEST = 100


def read_yaml(text: str, *, what: str) -> dict[str, Any]:
    """The mapping that a YAML text is.

    Args:
        text: The text.
        what: What it is, for errors: "a sweep's config".

    Raises:
        DataError: It is not YAML, no mapping, or too large.
    """
    import yaml

    if len(text) > MOST_TEXT:
        raise DataError(f"{what} has {len(text)} characters, and {MOST_TEXT} are the most")
    try:
        found = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        raise DataError(f"{what} is not YAML") from exc
    if not isinstance(found, Mapping):
        raise DataError(f"{what} is not a YAML mapping")
    plain: dict[str, Any] = _Plain(what).of(found)
    return plain


def write_yaml(value: Mapping[str, Any]) -> str:
    """JSON-like values as YAML that `read_yaml` gives back: ASCII, keys in order."""
    import yaml

    text: str = yaml.safe_dump(dict(value), sort_keys=True)
    return text


class _Plain:
    """JSON-like values out of YAML's, counted."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._values = 0

    def of(self, value: object, depth: int = 0) -> Any:
        self._values += 1
        if self._values > MOST_VALUES or depth > _DEEPEST:
            raise DataError(f"{self._what} has too many values, or they are nested too deeply")
        if isinstance(value, Mapping):
            return {_key(key): self.of(item, depth + 1) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.of(item, depth + 1) for item in value]
        if isinstance(value, set):
            return dict.fromkeys(map(_key, value))
        if isinstance(value, date):
            return value.isoformat()
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _key(key: object) -> str:
    """A key of a mapping as JSON has it."""
    if isinstance(key, bool) or key is None:
        return {True: "true", False: "false", None: "null"}[key]
    return key.isoformat() if isinstance(key, date) else str(key)
