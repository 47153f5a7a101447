"""The table of run fields: it is complete, and each consumer follows it."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from typing import Any

import pytest
from checkout import ROOT
from graphql import GraphQLObjectType

from pull_logs.analyze.questions.grouping import values_of
from pull_logs.analyze.questions.run_values import run_cells
from pull_logs.fetch.api.queries import one_run
from pull_logs.replay.data.fields import field_reader
from pull_logs.replay.graphql.schema import read_schema, snake_case
from pull_logs.run_fields import RUN_FIELDS, RunField
from pull_logs.runs import RunInfo, RunParts, RunPath, RunPoint
from pull_logs.snapshot import Run
from pull_logs.snapshot.format.content_id import content_id
from pull_logs.snapshot.format.run_record import SCHEMA
from pull_logs.snapshot.privacy.scrubber import Scrubber

INFO = RunInfo(path=RunPath("acme", "nano", "r1"), name="n", state="finished")
SECRET = "mail ada.lovelace@lab.test-corp.io"

by_name = pytest.mark.parametrize("field", RUN_FIELDS, ids=lambda field: field.name)


def names(**wanted: object) -> set[str]:
    return {
        field.name for field in RUN_FIELDS if all(getattr(field, key) == it for key, it in wanted.items())
    }


def info_with(field: RunField, text: str) -> RunInfo:
    """A run whose field holds this text."""
    if field.attribute:
        return replace(INFO, path=INFO.path._replace(**{field.attribute.removeprefix("path."): text}))
    values: dict[str, Any] = {
        "tags": (text,),
        "document": {"key": text},
        "parts": RunParts(2, (RunPoint("forked", 1, text),)),
    }
    return replace(INFO, **{field.name: values.get(field.kind, text)})


def test_the_table_has_every_field_of_a_run_once() -> None:
    table = [field.name for field in RUN_FIELDS]
    assert len(set(table)) == len(table)
    assert {"path" if field.attribute else field.name for field in RUN_FIELDS} == {
        field.name for field in fields(RunInfo)
    }


def test_the_table_of_runs_has_every_field_in_order() -> None:
    table = [field.name for field in RUN_FIELDS]
    assert [name for name in SCHEMA.names if name in table] == [
        name for name in table if name not in names(optional=True)
    ]


@by_name
def test_a_field_is_read_from_a_run(field: RunField) -> None:
    value = field.reader(info_with(field, "text"))
    assert value == {"tags": ("text",), "document": {"key": "text"}, "parts": 2}.get(field.kind, "text")
    assert hasattr(Run, "path" if field.attribute else field.name)
    assert not field.required or field.reader(INFO) is not None


@by_name
def test_the_content_id_covers_what_is_identified(field: RunField) -> None:
    changed = content_id([(info_with(field, "other"), "sha256:0")]) != content_id([(INFO, "sha256:0")])
    assert changed == (field.identified or bool(field.attribute) or field.name in ("config", "summary"))


@by_name
def test_a_secret_is_found_and_removed_where_texts_are_looked_at(field: RunField) -> None:
    info = info_with(field, SECRET)
    scrubber = Scrubber("acme/nano/r1")
    scrubbed = scrubber.info(info)
    assert bool(scrubber.findings) == bool(field.scrubbed)
    assert (scrubbed != info) == bool(field.scrubbed)


def test_expressions_and_groups_know_the_fields_of_the_table() -> None:
    assert set(run_cells(INFO)) == names(filtered=True) | {"duration"}
    assert set(values_of(INFO)) == names(grouped=True)


def test_a_group_is_by_a_field_that_expressions_know() -> None:
    assert names(grouped=True) <= names(filtered=True)
    assert names(prefiltered=True) <= names(filtered=True)
    assert all(field.server_names for field in RUN_FIELDS if field.prefiltered)


def test_w_and_b_is_asked_for_each_field_by_a_name_that_the_replay_answers() -> None:
    asked = re.findall(r"\w+", one_run("acme", "nano", "r1").text)
    schema = read_schema().type_map["Run"]
    assert isinstance(schema, GraphQLObjectType)
    for field in RUN_FIELDS:
        if field.graphql:
            assert field.graphql in asked
            assert field.graphql in schema.fields


def test_replayed_filters_know_the_names_that_w_and_b_gives_fields() -> None:
    for field in RUN_FIELDS:
        for name in field.server_names:
            expected = [*field.reader(info_with(field, "text"))] if field.kind == "tags" else "text"
            for spelling in (name, snake_case(name)):
                assert field_reader(spelling)(info_with(field, "text")) == expected


def test_the_page_on_expressions_lists_the_fields() -> None:
    page = (ROOT / "docs" / "expressions.md").read_text()
    listed = re.search(r"`(state name run_id [a-z_\s]+)`", page)
    assert listed is not None
    assert set(listed[1].split()) == names(filtered=True)


def test_the_page_on_the_format_lists_what_is_identified() -> None:
    page = (ROOT / "docs" / "bundle-format.md").read_text()
    listed = re.search(r"the canonical JSON of `\{([^}]*)\}`", page)
    assert listed is not None
    assert set(re.findall(r"\w+", listed[1])) == names(identified=True) | {"path"}
