"""Values of runs as columns are those of the runs one by one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.analyze.questions import Grouping, ValueColumns, all_names, identity_in, values_of
from pull_logs.analyze.questions.grouping.values import metadata_values
from pull_logs.errors import NotFoundError, UsageError
from pull_logs.rows.canonical import same
from pull_logs.runs import RunInfo, RunPath

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.sampled_from([1.0, 0.5, float("nan"), float("inf"), "1", "NaN", "é", [1], [True], {}, {"b": 1}]),
)
CONFIGS = st.lists(st.dictionaries(st.sampled_from(["a", "b.c", "seed"]), VALUES), max_size=6)
TEXTS = st.sampled_from(["x", "y"])


@st.composite
def runs(draw: st.DrawFn) -> list[RunInfo]:
    return [
        RunInfo(
            path=RunPath("acme", "nano", f"r{number}"),
            name=draw(TEXTS),
            state=draw(TEXTS),
            tags=tuple(draw(st.lists(TEXTS, max_size=2))),
            config=config,
            metadata=draw(st.dictionaries(TEXTS, VALUES, max_size=1)),
        )
        for number, config in enumerate(draw(CONFIGS))
    ]


@given(runs())
def test_columns_of_runs_and_of_their_values_have_the_values_of_each_run(infos: list[RunInfo]) -> None:
    records = [values_of(info) for info in infos]
    for columns in (ValueColumns.of(records), ValueColumns.of_runs(infos)):
        assert len(columns) == len(records)
        assert columns.names == all_names(records)
        for name in (*all_names(records), "config.absent"):
            check_column(columns, name, records)
        configs = columns.configs(range(len(records)))
        assert [{f"config.{key}" for key in config} for config in configs] == [
            {name for name in record if name.startswith("config.")} for record in records
        ]


def check_column(columns: ValueColumns, name: str, records: list[dict[str, Any]]) -> None:
    identities = [identity_in(record, name) for record in records]
    codes = list(columns.codes(name))
    assert [[left == right for right in codes] for left in codes] == [
        [left == right for right in identities] for left in identities
    ]
    for index, record in enumerate(records):
        assert columns.has(name, index) is (name in record)
        assert same(columns.value(name, index), record.get(name))


@given(
    runs(), st.sampled_from(["a", "config.a", "all-but:seed", "state", "metadata.x", "x", "`metadata.x`", ""])
)
def test_groups_are_those_of_the_values_of_each_run(infos: list[RunInfo], word: str) -> None:
    found = []
    for columns in (ValueColumns.of_runs(infos), ValueColumns.of([values_of(info) for info in infos])):
        try:
            found.append(repr(Grouping.settle(columns, [word])))
        except (NotFoundError, UsageError) as exc:
            found.append(str(exc))
    assert found[0] == found[1]


def test_metadata_is_parsed_only_where_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[RunInfo] = []

    def seen(info: RunInfo) -> dict[str, Any]:
        parsed.append(info)
        return metadata_values(info)

    monkeypatch.setattr("pull_logs.analyze.questions.grouping.value_columns.metadata_values", seen)
    info = RunInfo(
        path=RunPath("acme", "nano", "r"), name="r", state="x", config={"lr": 1}, metadata={"gpu": "A"}
    )
    for word, most in (("lr", 0), ("state", 0), ("metadata.gpu", 1)):
        parsed.clear()
        Grouping.settle(ValueColumns.of_runs([info]), [word])
        assert len(parsed) == most
