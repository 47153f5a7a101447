r"""Makes text of runs harmless for terminals, logs and programs that look for headings.

Names, notes, keys and values are untrusted. Characters that could break a line, move a cursor, change the
direction of writing or be invisible are written as JSON escapes (`\n`, `\u202e`), in text and in JSON.
"""

from __future__ import annotations

import json
import re
from typing import Any

_UNSAFE = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # controls
    "\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb"  # zero width, bidi, separators
    "\ud800-\udfff"  # lone surrogates, which cannot be encoded
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"  # tags and variation selectors, which carry hidden text
    "]"
)
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}
_WORD = re.compile(r'[^\s"\\,=\[\](){}#<>\'`][^\s"\\,=]*')
_VALUES = frozenset({"null", "true", "false", "NaN", "Infinity", "-Infinity"})


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    if character in _SHORT:
        return _SHORT[character]
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))


def inline(text: str) -> str:
    """Return text on one line: unsafe characters are escaped, all others are unchanged."""
    return _UNSAFE.sub(_escaped, text)


def json_text(value: Any) -> str:
    """Return compact strict JSON on one line, with unsafe characters escaped.

    Raises:
        ValueError: A number in it is not finite.
    """
    return inline(json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")))


def json_lines(value: Any) -> str:
    """Return indented strict JSON, with unsafe characters escaped.

    Raises:
        ValueError: A number in it is not finite.
    """
    lines = json.dumps(value, allow_nan=False, ensure_ascii=False, indent=2).split("\n")
    return "\n".join(map(inline, lines))


def escape(text: str) -> str:
    """Return a name: unchanged if it is one harmless word, else as a JSON string.

    A word has no space, comma, equals sign, quote or backslash, does not start with a bracket or `#`, and is
    not what a value without quotes looks like (`null`, `NaN`).
    """
    if _WORD.fullmatch(text) and not _UNSAFE.search(text) and text not in _VALUES:
        return text
    return json_text(text)
