"""The schemas of many runs are joined by column to what joining the entries of each run gives."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import pyarrow as pa
import pytest
from checkout import RECORDED
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.analyze import View, answer, arrange
from pull_logs.analyze.answers import join_columns
from pull_logs.analyze.answers.indexed import IndexedSchema, join_indexed
from pull_logs.analyze.questions import Subject
from pull_logs.frames import IndexEntry, MetricFacts
from pull_logs.rows.canonical import canon_number
from pull_logs.runs import RunPath
from pull_logs.snapshot import open_bundle
from pull_logs.snapshot.format import MetricsTable, MetricsWriter, load_metrics_table


def facts_of(found: dict[str, Any]) -> MetricFacts:
    return MetricFacts(**found)


def table_of(paths: Sequence[RunPath], runs: Sequence[Sequence[MetricFacts]]) -> MetricsTable:
    """Return the index of these runs."""
    sink = io.BytesIO()
    writer = MetricsWriter(sink)
    for path, facts in zip(paths, runs, strict=True):
        writer.add(path, facts)
    writer.close()
    data = sink.getvalue()
    footer = data[-8 - int.from_bytes(data[-8:-4], "little") :]
    return load_metrics_table(
        pa.BufferReader(data), footer, paths=paths, rows=sum(map(len, runs)), path="a.wandb.zip"
    )


def facts_by_name(index: MetricsTable, number: int) -> dict[str, MetricFacts]:
    return {facts.name: facts for facts in index.facts(number, brief=True)}


def named(metrics: dict[str, MetricFacts]) -> dict[str, MetricFacts]:
    return {name: found._replace(name=name) for name, found in metrics.items()}


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
        f"run{number}": IndexedSchema(partial(named, metrics), [*metrics], rows + number)
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


@given(st.lists(st.dictionaries(st.sampled_from("abc"), facts, min_size=1), min_size=1, max_size=6))
def test_columns_of_an_index_are_joined_as_the_facts_of_each_run(
    several: list[dict[str, MetricFacts]],
) -> None:
    paths = [RunPath("e", "p", f"run{number}") for number in range(len(several))]
    index = table_of(paths, [[*named(metrics).values()] for metrics in several])
    schemas = [
        {
            f"run{number}": IndexedSchema(
                partial(facts_by_name, index, number),
                [*metrics],
                number,
                IndexEntry(index, number) if by_column else None,
            )
            for number, metrics in enumerate(several)
        }
        for by_column in (True, False)
    ]
    assert repr(join_indexed(schemas[0])) == repr(join_indexed(schemas[1]))


def test_only_numbers_that_are_not_doubles_need_the_facts_of_each_run() -> None:
    path = RunPath("e", "p", "run")
    plain = MetricFacts(name="a", type="string", cells=1, first_step=0, last_step=0, first="x", last="x")
    found = []
    for facts in (plain, plain._replace(min=2**53 + 1), plain._replace(interval=math.nan)):
        read: list[int] = []
        index = table_of([path], [[facts]])

        def facts_read(index: MetricsTable = index, read: list[int] = read) -> dict[str, MetricFacts]:
            read.append(0)
            return facts_by_name(index, 0)

        join_indexed({"run": IndexedSchema(facts_read, ["a"], 1, IndexEntry(index, 0))})
        found.append(len(read))
    assert found == [0, 1, 1]


def test_a_run_that_is_there_twice_counts_twice() -> None:
    facts = MetricFacts(name="a", type="int", cells=3, first_step=0, last_step=5)
    index = table_of([RunPath("e", "p", "run")], [[facts]])
    twice = {
        label: IndexedSchema(partial(facts_by_name, index, 0), ["a"], 4, IndexEntry(index, 0))
        for label in ("run", "run#2")
    }
    joined = join_indexed(twice)
    assert joined is not None
    entry, labels = joined["a"]
    assert (entry["count"], entry["missing"], labels) == (6, 2, frozenset({"run", "run#2"}))


def test_schemas_that_are_not_all_those_of_an_index_are_joined_by_their_entries() -> None:
    assert join_indexed({"a": IndexedSchema(dict, [], 0), "b": []}) is None


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
