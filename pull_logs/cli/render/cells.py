"""Values as the text of a cell: numbers, names, values of configs, values with their step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from pull_logs.analyze import FAMILY
from pull_logs.cli.render.cutting import clip
from pull_logs.cli.render.escape import escape, json_text

_LONGEST_NAME = 120

_EXPONENTS = 1e16
"""The number from which on a float is shown with an exponent: not all of its digits are known."""

NONFINITE = frozenset({"NaN", "Infinity", "-Infinity"})
"""Numbers that are not finite, as answers have them."""


class _Absent:
    """The type of `ABSENT`."""


ABSENT = _Absent()
"""The value of a key that a run does not have, which is not the same as null."""


DIGITS = 6
"""The significant digits of a float, unless more distinguish it from another one."""


class Shown(float):
    """A number and the text that it is shown as.

    Attributes:
        text: The text.
    """

    __slots__ = ("text",)

    text: str

    def __new__(cls, value: float, text: str) -> Self:
        """Make a number that is shown as this text."""
        shown = super().__new__(cls, value)
        shown.text = text
        return shown


@dataclass(frozen=True, slots=True)
class At:
    """A value and the step it was logged at.

    Attributes:
        value: The value.
        step: The step; None where it is not shown.
    """

    value: Any
    step: Any = None


@dataclass(frozen=True, slots=True)
class Span:
    """The range of the values of a family.

    Attributes:
        low: The least of them.
        high: The greatest.
    """

    low: Any
    high: Any


def finite_number(value: Any) -> float | None:
    """Return the number of a cell as a float; None if it has none, or one that is not finite or is huge."""
    number = value.value if isinstance(value, At) else value
    if type(number) is int:
        return float(number) if abs(number) < 1 << 53 else None
    return number if isinstance(number, float) and math.isfinite(number) else None


def cell(value: Any) -> str:
    """Show a value: nothing for None, a float with six significant digits or all digits before the point."""
    if value is None or value is ABSENT:
        return ""
    if isinstance(value, Span):
        low, high = cell(value.low), cell(value.high)
        return low if low == high else f"{low}..{high}"
    if not isinstance(value, float):
        return exact(value)
    return value.text if isinstance(value, Shown) else short_float(value)


def short_float(value: float, digits: int = DIGITS) -> str:
    """Show a float with so many significant digits, or with all digits before the point."""
    text = f"{value:.{digits}g}"
    return f"{value:.0f}" if "e+" in text and abs(value) < _EXPONENTS else text


def exact(value: Any) -> str:
    """Show a value with all its digits."""
    if type(value) is int:
        return str(value)
    if isinstance(value, str):
        return value if value in NONFINITE else json_text(value)
    if isinstance(value, Span):
        return cell(value)
    if isinstance(value, Mapping) and isinstance(value.get("_type"), str):
        return _typed(value)
    return json_text(value)


def _typed(value: Mapping[str, Any]) -> str:
    """Show an object by its type; a family of values by the one that all have, or by the range of numbers."""
    if value["_type"] != FAMILY or "members" not in value:
        return f"<{escape(value['_type'])}>"
    if "value" in value:
        return exact(value["value"])
    return f"<{value['members']} values>" if value["min"] is None else cell(Span(value["min"], value["max"]))


def known(value: Any) -> str:
    """Show a value of a summary: null is distinct from a missing key."""
    return "null" if value is None else cell(value)


def known_exact(value: Any) -> str:
    """Show a value of a config with all its digits: null is distinct from a missing key."""
    if value is ABSENT:
        return ""
    if isinstance(value, Shown):
        return value.text
    return "null" if value is None else exact(value)


def at_cell(value: At) -> str:
    """Show a value and its step as `VALUE@STEP`; nothing if there is no value."""
    shown = cell(value.value)
    return shown if not shown or value.step is None else f"{shown}@{cell(value.step)}"


def name_cell(name: str | None) -> str:
    """Show a name: bare if it is one harmless word, else as a JSON string; nothing for None or no text."""
    return escape(name) if name else ""


def short_name_cell(name: str | None) -> str:
    """Show a name as `name_cell` does, shortened to 120 characters."""
    return name_cell(clip(name, _LONGEST_NAME))


def text_cell(text: str | None) -> str:
    """Show a sentence as a JSON string; nothing for None or no text."""
    return json_text(text) if text else ""


def yes_no(value: bool) -> str:  # noqa: FBT001 - the value of a cell
    """Show a truth value as a word."""
    return "yes" if value else "no"
