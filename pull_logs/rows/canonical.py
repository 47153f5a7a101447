"""The canonical form of a row: the same for equal rows, whichever source they came from.

A raw row is a dict of JSON-like values as a Parquet shard, a live page, a local log or another bundle
delivers it. `canon_row` returns its canonical form; two raw rows are equal if and only if their canonical
forms are, kinds compared (`same`). `canon_record` does the same for configs and summaries, where null is a
value and is kept.

Canonical JSON text is strict JSON: members sorted by code point, no spaces, only the required escapes, floats
as Python's `repr` writes them, and NaN and the infinities as the strings "NaN", "Infinity" and "-Infinity".
These strings and the floats have the same canonical form, so nothing is lost.

See docs/concepts/rows.md, "Canonical rows".
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from pull_logs.errors import DataError

STEP = "_step"
TIMESTAMP = "_timestamp"

INT_MIN, INT_LIMIT = -(2**63), 2**63
MAX_VALUE_DEPTH = 200
"""Greatest nesting of a value; W&B's own interface flattens far earlier."""

_NONFINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_SURROGATE = re.compile("[\ud800-\udfff]")


def canon_number(value: float) -> int | float:
    """Return the canonical number: an int if integral in [-2^63, 2^63), else a double, else an exact int."""
    if isinstance(value, int):
        if INT_MIN <= value < INT_LIMIT:
            return int(value)
        try:
            double = float(value)
        except OverflowError:
            return value
        return double if int(double) == value else value
    if value.is_integer() and INT_MIN <= value < INT_LIMIT:
        return int(value)
    return math.nan if value != value else float(value)


def canon_text(value: str) -> str:
    """Return text with each lone surrogate replaced by U+FFFD, otherwise unchanged."""
    return value if value.isascii() else _SURROGATE.sub("\ufffd", value)


def _canon(value: Any, *, keep_null: bool, depth: int) -> Any:
    """Return the canonical value; None for null and, in rows, for a dict that has no members left."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _NONFINITE[value] if value in _NONFINITE else canon_text(value)
    if isinstance(value, (int, float)):
        return canon_number(value)
    if depth >= MAX_VALUE_DEPTH:
        raise DataError(f"a value is nested deeper than {MAX_VALUE_DEPTH} levels")
    # `isinstance` is much slower for the abstract class alone.
    if isinstance(value, (dict, Mapping)):
        members = {}
        for key, item in value.items():
            inner = item if _is_plain(item) else _canon(item, keep_null=keep_null, depth=depth + 1)
            if inner is not None or keep_null:
                members[key if type(key) is str and key.isascii() else canon_text(str(key))] = inner
        return members if members or keep_null else None
    if isinstance(value, (list, Sequence)) and not isinstance(value, (bytes, bytearray)):
        return [_canon(item, keep_null=keep_null, depth=depth + 1) for item in value]
    raise DataError(f"a value of type {type(value).__name__} is not JSON")


def _is_plain(value: Any) -> bool:
    """Return whether a value is one of those that are canonical already, as most are."""
    kind = type(value)
    if kind is float:
        return value == value and not value.is_integer()
    if kind is str:
        return value.isascii() and value not in _NONFINITE
    return kind is bool or (kind is int and INT_MIN <= value < INT_LIMIT)


def canon_value(value: Any) -> Any:
    """Return the canonical form of one cell of a row; None where the cell is absent.

    Raises:
        DataError: The value is not JSON-like, or nested too deep.
    """
    return _canon(value, keep_null=False, depth=0)


def canon_members(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return the canonical form of a row's members; `_step` is not required (system metrics have none).

    Raises:
        DataError: A value is not JSON-like, or nested too deep.
    """
    return _canon(raw, keep_null=False, depth=0) or {}


def canon_step(value: Any) -> int:
    """Return a step: an integral number in [-2^63, 2^63), given in any numeric type.

    Raises:
        DataError: It is not such a number.
    """
    step = canon_value(value)
    if isinstance(step, int) and not isinstance(step, bool) and INT_MIN <= step < INT_LIMIT:
        return step
    raise DataError(f"a row's _step is {value!r}, not a whole number of 64 bits")


def canon_row(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return the canonical form of a raw row, with `_step` as an int.

    Raises:
        DataError: `_step` is absent or not a whole number, or a value is not JSON-like.
    """
    row = canon_members(raw)
    row[STEP] = canon_step(row.get(STEP))
    return row


def canon_record(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return the canonical form of a config or a summary: as of a row, but nulls and empty dicts are kept.

    Raises:
        DataError: A value is not JSON-like, or nested too deep.
    """
    record = _canon(raw, keep_null=True, depth=0)
    assert isinstance(record, dict)  # noqa: S101 - for the type checker: a mapping gives a dict
    return record


def spell(value: Any) -> Any:
    """Return a canonical value for strict JSON: NaN and the infinities, at every depth, as their strings."""
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        if value != value:
            return "NaN"
        return "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: spell(item) for key, item in value.items()}
    if isinstance(value, list):
        return [spell(item) for item in value]
    return value


def canonical_text(value: Any) -> str:
    """Return the canonical JSON of a canonical value."""
    try:
        return _ENCODER.encode(value)
    except ValueError:
        return _ENCODER.encode(spell(value))


_ENCODER = json.JSONEncoder(allow_nan=False, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
_LENIENT = json.JSONDecoder(strict=False)


def framed(data: bytes) -> bytes:
    """Return bytes after their length, a little-endian u64, so that hashed parts cannot run together."""
    return struct.pack("<Q", len(data)) + data


def parse_json(text: str | bytes) -> Any:
    """Read JSON as W&B writes it: bare NaN tokens, control characters and big integers included.

    Raises:
        DataError: The text is not JSON.
    """
    try:
        return _LENIENT.decode(text) if isinstance(text, str) else json.loads(text, strict=False)
    except (ValueError, RecursionError) as exc:
        raise DataError(f"not JSON: {exc}") from exc


_LONG_INTEGER = re.compile(r"\d{19}")


def parse_record(text: str) -> Any:
    """Return what `canon_record` makes of the JSON of a record; of other JSON, its value.

    Most records need no second pass: their numbers are canonical as soon as they are read.

    Raises:
        DataError: The text is not JSON, or nested too deep.
    """
    nested = text.count("{") + text.count("[")
    special = '"NaN"' in text or 'Infinity"' in text or "\\u" in text or not text.isascii()
    if special or nested > MAX_VALUE_DEPTH or _LONG_INTEGER.search(text):
        value = parse_json(text)
        return canon_record(value) if isinstance(value, dict) else value
    try:
        value = orjson.loads(text)
    except (
        orjson.JSONDecodeError
    ):  # strict: control characters, bare NaN and numbers beyond a double are none
        value = parse_json(text)
    _canonicalize_floats(value)
    return value if type(value) is not float else canon_number(value)


def _canonicalize_floats(value: Any) -> None:
    """Replace the floats in a fresh value, at every depth, by their canonical numbers."""
    if type(value) is dict:
        items: Iterable[tuple[Any, Any]] = value.items()
    elif type(value) is list:
        items = enumerate(value)
    else:
        return
    for key, item in items:
        kind = type(item)
        if kind is float:
            if item.is_integer() or item != item:
                value[key] = canon_number(item)
        elif kind is dict or kind is list:
            _canonicalize_floats(item)


def same(left: Any, right: Any) -> bool:
    """Return whether two canonical values are the same, kinds compared: `1` is not `True`, NaN is NaN."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(item, right[key]) for key, item in left.items())
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right) or (left != left and right != right)
