"""W&B's filters and orders over runs: a MongoDB query in JSON, and `+created_at`.

A filter is compiled once into a predicate. As in MongoDB, a condition on a list holds if it holds for one of
its elements, a missing field equals null and matches no comparison, and values of different types never
compare. The operators are those that W&B documents (docs/protocol.md, "Filters and orders"). `$regex` uses
RE2, which matches in linear time.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from pull_logs.errors import DataError, UsageError
from pull_logs.replay.data.fields import MISSING, Facts, field_reader, is_time, parse_time
from pull_logs.rows.canonical import canon_value, parse_json, same
from pull_logs.rows.patterns import MAX_PATTERN, TextPattern

Predicate = Callable[[Facts], bool]
Order = tuple[tuple[str, bool], ...]

DEFAULT_ORDER = "+created_at"
MAX_DEPTH = 32

_Run = TypeVar("_Run", bound=Facts)
_Test = Callable[[Any], bool]
_NEGATIONS = {"$ne": "$eq", "$nin": "$in"}
_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}


def compile_filter(filters: str | Mapping[str, Any] | None) -> Predicate:
    """Compile a filter into a predicate; without a filter, every run passes.

    Raises:
        UsageError: The filter is not a JSON object, or names an unknown field or operator.
    """
    if filters is None or filters == "":
        return lambda _: True
    try:
        document = parse_json(filters) if isinstance(filters, str) else filters
    except DataError as exc:
        raise UsageError(f"a filter is {exc.message}") from exc
    if document is None:
        return lambda _: True
    return _document(document, depth=0)


def compile_order(order: str | None) -> Order:
    """Return the fields to sort by, each with whether it ascends.

    An order names one or several fields: `-summary_metrics.acc,+created_at`.

    Raises:
        UsageError: The order names an unknown field.
    """
    parts = re.split(r",(?=[+-])", order or DEFAULT_ORDER)
    keys = tuple((part.lstrip("+-"), not part.startswith("-")) for part in parts if part)
    for name, _ in keys:
        field_reader(name)
    return keys


def sort_runs(infos: Sequence[_Run], order: Order) -> list[_Run]:
    """Sort runs; those without a field come last, and ties are ordered by run path."""
    ordered = sorted(infos, key=lambda info: info.path)
    for name, ascending in reversed(order):
        read = field_reader(name)
        times = is_time(name)
        keyed = [(info, _rank(read(info), times=times)) for info in ordered]
        present = [pair for pair in keyed if pair[1] is not None]
        present.sort(key=lambda pair: pair[1] or (), reverse=not ascending)
        ordered = [info for info, _ in present] + [info for info, rank in keyed if rank is None]
    return ordered


def _rank(value: Any, *, times: bool) -> tuple[int, Any] | None:
    """Return a sort key: numbers before text before other values; None for a missing value."""
    if times and (time := parse_time(value)) is not None:
        return (0, time.timestamp())
    if isinstance(value, str):
        return (1, value)
    if isinstance(value, (bool, int, float)):
        return None if value != value else (0, value)
    return None if value is MISSING or value is None else (2, repr(value))


def _document(document: Any, *, depth: int) -> Predicate:
    if not isinstance(document, Mapping):
        raise UsageError(f"a filter is {document!r}, not an object")
    tests = [_clause(key, value, depth=depth) for key, value in document.items()]
    return lambda info: all(test(info) for test in tests)


def _clause(key: str, value: Any, *, depth: int) -> Predicate:
    if key in ("$and", "$or", "$nor"):
        parts = [_document(part, depth=_deeper(depth)) for part in _list_of(key, value)]
        if key == "$and":
            return lambda info: all(part(info) for part in parts)
        if key == "$or":
            return lambda info: any(part(info) for part in parts)
        return lambda info: not any(part(info) for part in parts)
    if key.startswith("$"):
        raise UsageError(f"{key!r} is not an operator of W&B's filters")
    read, test = field_reader(key), _condition(value, times=is_time(key), depth=depth)
    return lambda info: test(read(info))


def _condition(value: Any, *, times: bool, depth: int) -> _Test:
    if not isinstance(value, Mapping) or not any(name.startswith("$") for name in value):
        return _operator("$eq", value, times=times, depth=depth)
    tests = [_operator(name, operand, times=times, depth=depth) for name, operand in value.items()]
    return lambda found: all(test(found) for test in tests)


def _operator(name: str, operand: Any, *, times: bool, depth: int) -> _Test:
    if name == "$not" or name in _NEGATIONS:
        if name == "$not":
            inner = _condition(operand, times=times, depth=_deeper(depth))
        else:
            inner = _operator(_NEGATIONS[name], operand, times=times, depth=depth)
        return lambda found: not inner(found)
    if name == "$exists":
        return lambda found: (found is not MISSING) == bool(operand)
    if name == "$regex":
        return _any_of(_regex(operand))
    if name == "$in":
        equals = [_equals(item, times=times) for item in _list_of(name, operand)]
        return lambda found: any(test(found) for test in equals)
    if name == "$eq":
        return _equals(operand, times=times)
    return _any_of(_comparison(name, operand, times=times))


def _deeper(depth: int) -> int:
    if depth >= MAX_DEPTH:
        raise UsageError(f"a filter is nested deeper than {MAX_DEPTH} levels")
    return depth + 1


def _list_of(name: str, operand: Any) -> list[Any]:
    if not isinstance(operand, list):
        raise UsageError(f"{name} in a filter has {operand!r}, not a list")
    return operand


def _any_of(test: _Test) -> _Test:
    return lambda found: any(map(test, found)) if isinstance(found, list) else test(found)


def _equals(operand: Any, *, times: bool) -> _Test:
    wanted = _comparable(operand, times=times)
    if wanted is None:
        return lambda found: found is MISSING or found is None

    def equal(found: Any) -> bool:
        if found is MISSING:
            return False
        value = _comparable(found, times=times)
        return same(value, wanted) or (isinstance(value, list) and any(same(item, wanted) for item in value))

    return equal


def _comparable(value: Any, *, times: bool) -> Any:
    """Return a value in canonical form, or as a datetime in a field of times."""
    return (parse_time(value) if times else None) or canon_value(value)


def _comparison(name: str, operand: Any, *, times: bool) -> _Test:
    compare = _COMPARISONS.get(name)
    if compare is None:
        raise UsageError(f"{name!r} is not an operator of W&B's filters")
    limit = _comparable(operand, times=times)
    kind = _kind(limit)

    def holds(found: Any) -> bool:
        if found is MISSING or kind is None:
            return False
        value = _comparable(found, times=times)
        return _kind(value) is kind and compare(value, limit)

    return holds


def _kind(value: object) -> type | None:
    """Return the type of values that a value can be compared with; None if it has no order."""
    if isinstance(value, bool):
        return bool
    if isinstance(value, (int, float)):
        return float
    return type(value) if value is not None and not isinstance(value, (dict, list)) else None


def _regex(pattern: Any) -> _Test:
    if not isinstance(pattern, str) or len(pattern) > MAX_PATTERN:
        raise UsageError(f"$regex in a filter must be a string of at most {MAX_PATTERN} characters")
    try:
        search = TextPattern(pattern).search
    except ValueError as exc:
        raise UsageError(
            f"{pattern!r} in a filter is not a valid regular expression", hint="RE2 syntax: no look-arounds"
        ) from exc
    return lambda found: isinstance(found, str) and search(found)
