"""The types of the answers are the shipped schemas: the same members, required alike."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from types import UnionType
from typing import Any, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

import pytest

from pull_logs.analyze import group_results, relation_results, result_values, results


def schema_of(command: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        (files("pull_logs") / "data" / "schemas" / f"{command}.json").read_text()
    )
    return found


def objects(kind: Any, schema: Any, root: Any, where: str) -> Iterator[tuple[str, Any, Any]]:
    """Each TypedDict within a type, with the part of the schema that describes it."""
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    if is_typeddict(kind):
        yield where, kind, schema
        for name, inner in get_type_hints(kind).items():
            if name in schema["properties"]:
                yield from objects(inner, schema["properties"][name], root, f"{where}.{name}")
    elif get_origin(kind) is list:
        yield from objects(get_args(kind)[0], schema["items"], root, f"{where}[]")
    elif get_origin(kind) is dict and isinstance(schema.get("additionalProperties"), dict):
        yield from objects(get_args(kind)[1], schema["additionalProperties"], root, f"{where}.*")


ANSWERS = {
    "show": results.ShowResult,
    "overview": results.OverviewResult,
    "compare": results.CompareResult,
}
OBJECTS = [
    found
    for command, kind in ANSWERS.items()
    for found in objects(kind, schema_of(command), schema_of(command), command)
]


def required(kind: Any) -> set[str]:
    """The keys that every object of a type has, whether its annotations are texts or not."""
    hints = get_type_hints(kind, include_extras=True)
    return {name for name in kind.__required_keys__ if get_origin(hints[name]) is not NotRequired}


@pytest.mark.parametrize(("where", "kind", "schema"), OBJECTS, ids=[where for where, _, _ in OBJECTS])
def test_a_type_has_the_members_of_its_schema(where: str, kind: Any, schema: Any) -> None:
    assert set(get_type_hints(kind)) == set(schema["properties"]), where
    assert required(kind) == set(schema["required"]), where
    assert schema["additionalProperties"] is False


JSON_TYPES = {"string": str, "integer": int, "number": float, "boolean": bool, "null": type(None)}


def plain_types(kind: Any) -> set[Any]:
    parts = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    return {float if part is int else part for part in parts}


@pytest.mark.parametrize(("where", "kind", "schema"), OBJECTS, ids=[where for where, _, _ in OBJECTS])
def test_plain_members_have_the_type_of_their_schema(where: str, kind: Any, schema: Any) -> None:
    for name, inner in get_type_hints(kind).items():
        described = schema["properties"][name].get("type")
        names = [described] if isinstance(described, str) else described or []
        if not names or not set(names) <= JSON_TYPES.keys() or "enum" in schema["properties"][name]:
            continue
        expected = {float if JSON_TYPES[found] is int else JSON_TYPES[found] for found in names}
        if inner != result_values.Number:
            assert plain_types(inner) >= expected, f"{where}.{name}"


def test_every_type_is_of_some_answer() -> None:
    used = {kind.__name__ for _, kind, _ in OBJECTS}
    parts = {
        name
        for module in (results, relation_results, group_results)
        for name, found in vars(module).items()
        if is_typeddict(found)
        and not name.endswith("Sections")
        and name not in ("RecordComparison", "CheckpointEnd", "CheckpointEndings", "CompareAnswer")
    }
    assert used == parts
