"""The types of the JSON objects of commands are what the shipped schemas say, member by member."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints, is_typeddict

import pytest

from pull_logs.cli.sections.audit import AuditResult
from pull_logs.cli.sections.data import Sql
from pull_logs.cli.sections.diff import Diff
from pull_logs.cli.sections.info import Info
from pull_logs.cli.sections.logs import Logs
from pull_logs.cli.sections.media.listing import Media
from pull_logs.cli.sections.proofs import Reconciliation
from pull_logs.cli.sections.sets import SetAnswer
from pull_logs.cli.sections.verify import Verification

TYPES = {
    "info": Info,
    "verify": Verification,
    "audit": AuditResult,
    "diff": Diff,
    "logs": Logs,
    "reconcile": Reconciliation,
    "sql": Sql,
    "media": Media,
    "set": SetAnswer,
}
NAMES = {str: "string", int: "integer", bool: "boolean", Any: "any"}

Schema = Mapping[str, Any]


def schema(command: str) -> Schema:
    found: Schema = json.loads((files("pull_logs") / "data" / "schemas" / f"{command}.json").read_text())
    return found


def form_of_type(type_: Any) -> Any:
    """The members, items and names of a type; a pair with "null" where it may be None."""
    origin, arguments = get_origin(type_), get_args(type_)
    if is_typeddict(type_):
        return {name: form_of_type(hint) for name, hint in get_type_hints(type_).items()}
    if origin in (Union, UnionType):
        (other,) = [argument for argument in arguments if argument is not NoneType]
        return ("null", form_of_type(other))
    if origin in (list, tuple):
        return [form_of_type(arguments[0])]
    return {"*": form_of_type(arguments[1])} if origin is dict else NAMES[type_]


def form_of_schema(node: Schema, root: Schema) -> Any:
    """The same of a schema."""
    if "$ref" in node:
        return form_of_schema(root["$defs"][node["$ref"].rpartition("/")[2]], root)
    parts = node.get("anyOf") or node.get("oneOf")
    if isinstance(node.get("type"), list):
        parts = [{**node, "type": name} for name in node["type"]]
    if parts:
        (other,) = [part for part in parts if part.get("type") != "null"]
        return ("null", form_of_schema(other, root))
    if "properties" in node:
        assert set(node["required"]) == node["properties"].keys()
        return {name: form_of_schema(member, root) for name, member in node["properties"].items()}
    if "items" in node:
        return [form_of_schema(node["items"], root)]
    if isinstance(node.get("additionalProperties"), dict):
        return {"*": form_of_schema(node["additionalProperties"], root)}
    return "string" if node.keys() & {"const", "enum"} else node.get("type", "any")


@pytest.mark.parametrize("command", TYPES)
def test_a_result_has_the_members_of_its_schema(command: str) -> None:
    root = schema(command)
    assert form_of_type(TYPES[command]) == form_of_schema(root, root)


def test_the_form_of_a_result_names_its_members_and_what_may_be_null() -> None:
    form = form_of_type(Info)
    assert form["metrics"] == ("null", "string")
    assert form["redacted"] == {"*": "integer"}
    assert form["runs"][0]["files"] == [
        {"name": "string", "bytes": "integer", "sha256": "string", "md5": "string"}
    ]
