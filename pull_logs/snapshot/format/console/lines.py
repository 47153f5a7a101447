"""One line of a console log, and its JSON text.

See docs/bundle-format.md, "Console logs".
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from pull_logs.errors import DataError
from pull_logs.rows.canonical import canon_text

MAX_NUMBER = 2**53
"""Lines are numbered below this, so that every reader of JSON has the number exactly."""

_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
"""Sorted keys, no spaces: for text and numbers below 2^53 that is the canonical JSON of rows."""

_TEXTS = ("label", "level", "timestamp")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleLine:
    """A line that a run printed.

    Attributes:
        number: Its index in the console log of the run, from 0.
        text: The text, without the line feed; untrusted.
        timestamp: When it was printed, in UTC, as W&B reports it (`2026-11-23T10:00:00.250000`); None if
            that is unknown.
        level: `error` for a line of stderr, else usually empty.
        label: The process that printed it, where several log to one run; usually empty.
    """

    number: int
    text: str
    timestamp: str | None = None
    level: str = ""
    label: str = ""


def encode_line(line: ConsoleLine) -> bytes:
    """Return a line as canonical JSON, with a line feed.

    Raises:
        DataError: Its number is out of range.
    """
    if not 0 <= line.number < MAX_NUMBER:
        raise DataError(f"a console line has the number {line.number}")
    members: dict[str, str | int] = {"line": canon_text(line.text), "number": line.number}
    for name in _TEXTS:
        if value := getattr(line, name):
            members[name] = canon_text(value)
    return orjson.dumps(members, option=_OPTIONS)


def decode_line(data: bytes) -> ConsoleLine:
    """Return the line with this JSON text: the inverse of `encode_line`.

    Raises:
        DataError: It is not the text of a line.
    """
    try:
        members = orjson.loads(data)
        line = ConsoleLine(
            number=members.pop("number"),
            text=members.pop("line"),
            timestamp=members.pop("timestamp", None),
            level=members.pop("level", ""),
            label=members.pop("label", ""),
        )
        if type(line.number) is int and encode_line(line) == data:
            return line
    except (ValueError, TypeError, AttributeError, KeyError, DataError):
        pass
    raise DataError(f"{data[:80]!r} is not a console line")
