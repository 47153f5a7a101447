r"""Text of runs made harmless for a terminal, a log and a reader that takes lines for headings.

Names, notes, keys and values come from strangers. Whatever could break a line,
move a cursor, turn the direction of writing or hide is written as a JSON escape
(`\n`, `\u202e`), in text and in JSON alike.
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
    "\ud800-\udfff"  # lone surrogates, which no encoder takes
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
    """A sentence on one line: what is unsafe is escaped, all else is as it was."""
    return _UNSAFE.sub(_escaped, text)


def json_text(value: Any) -> str:
    """Compact strict JSON on one line, with what is unsafe in its strings escaped.

    Raises:
        ValueError: A number in it is not finite.
    """
    return inline(json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")))


def json_lines(value: Any) -> str:
    """Indented strict JSON, with what is unsafe in its strings escaped.

    Raises:
        ValueError: A number in it is not finite.
    """
    lines = json.dumps(value, allow_nan=False, ensure_ascii=False, indent=2).split("\n")
    return "\n".join(map(inline, lines))


def escape(text: str) -> str:
    """A name: itself where it is one harmless word, else a JSON string.

    A word has no space, comma, equals sign, quote or backslash, does not start with a bracket or `#`, and is
    not what a value without quotes looks like (`null`, `NaN`).
    """
    if _WORD.fullmatch(text) and not _UNSAFE.search(text) and text not in _VALUES:
        return text
    return json_text(text)
