"""A run expression as a filter for W&B's server, as far as it certainly means the same there.

The server's filter is a prefilter: it may keep runs for which the expression does not hold, and must keep
every run for which it does. So only those parts are translated whose meaning there is known
(docs/protocol.md, "Filters and orders"), over the plain fields and the top-level keys of config and summary:

    name == "text", name == 0.1, name < 0.1, 0.1 < name < 1    numbers that both sides hold exactly
    name in ["a", "b"]
    name starts_with "cnn", contains, matches                 a pattern of plain characters, after `^` or not
    tags contains "baseline"                                   the server compares with each tag
    config.key is not missing, not (config.key is missing)
    config.flag                                                as a condition: the server compares with true
    created_at >= "2026-01-31"                                 a day: its text is ordered as the time is
    and, or, and not around and, or, not

Everything else is not sent. `!=` and `not in` are left out because the server matches lists by their
elements; `not` around a comparison, because it holds where the value is missing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final

from pull_logs.analyze.expressions import (
    And,
    Bool,
    ComparisonChain,
    IsMissing,
    Membership,
    Name,
    Negate,
    Node,
    Not,
    Number,
    Or,
    Search,
    String,
    is_number,
)
from pull_logs.run_fields import RUN_FIELDS

Document = dict[str, Any]

FIELDS: Final[Mapping[str, str]] = {
    field.name: field.server_names[0] for field in RUN_FIELDS if field.prefiltered
}
"""The fields of a run whose text the server compares in the same way, and their names there."""

_SERVER_NAMES: Final[Mapping[str, str]] = {
    field.name: field.server_names[0] for field in RUN_FIELDS if field.server_names
}
_CREATED_AT: Final = _SERVER_NAMES["created_at"]
_PLAIN = re.compile(r"\^?[A-Za-z0-9_ -]+")
"""The patterns that mean the same in every syntax of regular expressions."""
_OPERATORS: Final = {"==": "$eq", "<": "$lt", "<=": "$lte", ">": "$gt", ">=": "$gte"}
_MIRRORED: Final = {"==": "==", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_EXACT_BELOW: Final = 2.0**53
_PREFIXES: Final = ("config.", "summary.")
_DAY = re.compile(r"(?:19|20)[0-9]{2}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])")
_DAYS: Final = {"<": "$lt", "<=": "$lte", ">": "$gte", ">=": "$gte"}
"""`created_at > "2026-01-31"` holds on that day, since a time has a longer text than the day."""


def prefilter(node: Node) -> Document:
    """Return the Mongo-like document of a parsed run expression; empty if no part can be translated.

    Args:
        node: The tree as `parse` returns it, with unresolved names.
    """
    return _translate(node) or {}


def _translate(node: Node, *, denied: bool = False) -> Document | None:
    """Return the document for a condition; None if it cannot be translated.

    Args:
        node: A condition; `not` can be moved inwards, since it is either true or false.
        denied: Whether to translate the opposite.
    """
    match node:
        case Not():
            return _translate(node.operand, denied=not denied)
        case And() | Or():
            parts = [_translate(operand, denied=denied) for operand in node.operands]
            if isinstance(node, Or) is denied:
                return _joined("$and", [part for part in parts if part])
            return None if None in parts else _joined("$or", [part for part in parts if part])
        case IsMissing():
            return _asked(node.operand, {"$exists": True}) if node.negated is not denied else None
        case _:
            return None if denied else _atom(node)


def _atom(node: Node) -> Document | None:
    match node:
        case ComparisonChain():
            return _comparison(node)
        case Membership():
            return _membership(node)
        case Search():
            return _search(node)
        case Name():
            return _asked(node, {"$eq": True})
        case _:
            return None


def _asked(node: Node, condition: Document) -> Document | None:
    """Return the document for a condition on a value of the config or the summary."""
    field = _field(node)
    return None if field is None or field in FIELDS.values() else {field: condition}


def _joined(operator: str, documents: Sequence[Document]) -> Document | None:
    if len(documents) <= 1:
        return documents[0] if documents else None
    return {operator: list(documents)}


def _comparison(node: ComparisonChain) -> Document | None:
    """Translate a chain: it holds where each of its pairs does, so each pair that can be is translated."""
    asked: list[Document] = []
    left = node.first
    for operator, right in node.rest:
        pair = _pair(left, operator, right)
        if pair is None and operator in _MIRRORED:
            pair = _pair(right, _MIRRORED[operator], left)
        if pair is not None:
            asked.append(pair)
        left = right
    return _joined("$and", asked)


def _pair(left: Node, operator: str, right: Node) -> Document | None:
    if isinstance(left, Name) and left.text == "created_at":
        return _days(operator, right)
    field, value = _field(left), _literal(right)
    if field is None or value is None or operator not in _OPERATORS:
        return None
    if operator != "==" and not _is_quantity(value):
        return None
    if field in FIELDS.values() and not isinstance(value, str):
        return None
    return {field: {_OPERATORS[operator]: value}}


def _days(operator: str, right: Node) -> Document | None:
    """Translate a comparison with a day: times are compared as text, which is ordered as they are."""
    if isinstance(right, String) and operator in _DAYS and _is_day(right.value):
        return {_CREATED_AT: {_DAYS[operator]: right.value}}
    return None


def _is_day(text: str) -> bool:
    try:
        return bool(_DAY.fullmatch(text)) and bool(date.fromisoformat(text))
    except ValueError:
        return False


def _membership(node: Membership) -> Document | None:
    field = _field(node.operand)
    values = [_literal(item) for item in node.items]
    if node.negated or field is None or not values or None in values:
        return None
    if field in FIELDS.values() and not all(isinstance(value, str) for value in values):
        return None
    return {field: {"$in": values}}


def _search(node: Search) -> Document | None:
    """Translate what W&B documents: a tag among the tags, and `$regex` on the display name."""
    if node.negated or not isinstance(node.operand, Name) or not isinstance(node.item, String):
        return None
    field, text = node.operand.text, node.item.value
    if field == "tags":
        return {_SERVER_NAMES[field]: {"$in": [text]}} if node.word == "contains" else None
    pattern = f"^{text}" if node.word == "starts_with" else text
    plain = _PLAIN.fullmatch(pattern) and (node.word == "matches" or "^" not in text)
    return {_SERVER_NAMES[field]: {"$regex": pattern}} if field == "name" and plain else None


def _is_quantity(value: object) -> bool:
    return isinstance(value, float) and not isinstance(value, bool)


def _literal(node: Node) -> float | str | bool | None:
    match node:
        case Number() if node.value < _EXACT_BELOW:
            return node.value
        case Negate(operand=Number() as number) if number.value < _EXACT_BELOW:
            return -number.value
        case String() | Bool():
            return node.value
        case _:
            return None


def _field(node: Node) -> str | None:
    """Return the name of a column on the server, if its meaning is certain."""
    if not isinstance(node, Name):
        return None
    if node.text in FIELDS:
        return FIELDS[node.text]
    section, _, key = node.text.partition(".")
    if not key or "." in key or "\\" in key or not (node.quoted or _is_one_name(key)):
        return None
    if section == "config":
        return f"config.{key}.value"
    return f"summary_metrics.{key}" if section == "summary" else None


def _is_one_name(key: str) -> bool:
    """Whether the resolver cannot read any slash of a bare name as a division."""
    return not any(
        not piece or is_number(piece) or piece in FIELDS or piece.startswith(_PREFIXES)
        for piece in key.split("/")[1:]
    )
