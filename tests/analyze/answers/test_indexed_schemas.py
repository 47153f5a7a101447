"""The schemas of many runs are joined by column to what joining the entries of each run gives."""

from __future__ import annotations

from typing import Any

import pytest
from checkout import RECORDED
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.analyze import View, answer, arrange
from pull_logs.analyze.answers import join_columns
from pull_logs.analyze.answers.indexed import IndexedSchema, join_indexed
from pull_logs.analyze.questions import Subject
from pull_logs.frames import MetricFacts
from pull_logs.rows.canonical import canon_number
from pull_logs.snapshot import open_bundle


def facts_of(found: dict[str, Any]) -> MetricFacts:
    return MetricFacts(**found)


integers, floats = st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False)
numbers = st.none() | (integers | floats).map(canon_number)
steps = st.none() | st.integers(-(2**63), 2**63 - 1)
facts = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["int", "number", "bool", "string", "mixed", "empty"]),
        "cells": st.integers(0, 2**48),
        "nonfinite": st.integers(0, 2**48),
        "first_step": steps,
        "last_step": steps,
        "interval": st.none() | st.integers(0, 18).map(lambda half: canon_number(half / 2)),
        "min": numbers,
        "max": numbers,
    }
).map(facts_of)
runs = st.lists(st.dictionaries(st.sampled_from("abc"), facts, max_size=3), min_size=1, max_size=6)


@given(runs, st.integers(0, 2**48))
def test_joining_by_column_is_joining_the_entries_of_each_run(
    several: list[dict[str, MetricFacts]], rows: int
) -> None:
    schemas = {
        f"run{number}": IndexedSchema(
            {name: found._replace(name=name) for name, found in metrics.items()}, [*metrics], rows + number
        )
        for number, metrics in enumerate(several)
    }
    joined = join_indexed(schemas)
    assert joined is not None
    assert joined.keys() == {name for metrics in several for name in metrics}
    for name, (entry, labels) in joined.items():
        having = {run: schema for run, schema in schemas.items() if name in schema.names}
        entries = [schema[schema.names.index(name)] for schema in having.values()]
        assert repr(entry) == repr(join_columns(name, entries))
        assert labels == having.keys()


def test_schemas_that_are_not_all_those_of_an_index_are_joined_by_their_entries() -> None:
    assert join_indexed({"a": IndexedSchema({}, [], 0), "b": []}) is None


@pytest.mark.parametrize("unfold", [False, True])
def test_entries_made_on_request_are_those_made_at_once(*, unfold: bool) -> None:
    with open_bundle(RECORDED) as bundle:
        subjects = [Subject(label=run.path.run_id, run=run) for run in bundle.runs()]
        lazy, plain = (
            arrange(answer(subjects, View(schema=True, on_request=on_request)), unfold=unfold)["schema"]
            for on_request in (True, False)
        )
    assert any(isinstance(schema, IndexedSchema) for schema in lazy.values())
    assert {run: list(schema) for run, schema in lazy.items()} == plain
