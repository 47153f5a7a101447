"""Untrusted YAML as JSON-like values; size and depth are bounded, and nothing in it is executed.

The values are those of the SDK (`yaml.safe_load`), except for dates and times, which JSON lacks: they become
ISO 8601 text.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from pull_logs.errors import DataError

MOST_TEXT = 256 * 2**10
"""Most characters of a text."""

MOST_VALUES = 100_000
"""Most values, those of each alias counted again: a few aliases can represent any number of them."""

_MAX_YAML_DEPTH = 100


def read_yaml(text: str, *, what: str) -> dict[str, Any]:
    """Read a YAML mapping.

    Args:
        text: The text.
        what: What it is, for errors: "a sweep's config".

    Raises:
        DataError: It is not YAML, not a mapping, or too large.
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
    """Write JSON-like values as YAML that `read_yaml` reads back: ASCII, keys in order."""
    import yaml

    text: str = yaml.safe_dump(dict(value), sort_keys=True)
    return text


class _Plain:
    """Converts YAML values to JSON-like ones, and counts them."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._values = 0

    def of(self, value: object, depth: int = 0) -> Any:
        self._values += 1
        if self._values > MOST_VALUES or depth > _MAX_YAML_DEPTH:
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
    """Return a key of a mapping as JSON text has it."""
    if isinstance(key, bool) or key is None:
        return {True: "true", False: "false", None: "null"}[key]
    return key.isoformat() if isinstance(key, date) else str(key)
