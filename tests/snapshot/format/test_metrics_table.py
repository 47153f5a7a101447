"""The index of metrics: what is written is read, and only an index of these runs is accepted."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rowkit import canonical, nasty_rows

from pull_logs.errors import BundleDamagedError
from pull_logs.frames import FactsBuilder, MetricFacts, facts_from_text, facts_text
from pull_logs.rows.batches import batch_from_rows
from pull_logs.rows.canonical import spell
from pull_logs.runs import RunPath
from pull_logs.snapshot.format import metrics_table
from pull_logs.snapshot.format.metrics import columns
from pull_logs.snapshot.format.metrics_table import (
    SCHEMA,
    MetricsTable,
    MetricsWriter,
    load_metrics_table,
)

histories = st.lists(nasty_rows, min_size=1, max_size=4)


def facts_of(rows: list[dict[str, Any]]) -> tuple[MetricFacts, ...]:
    builder = FactsBuilder()
    builder.add(batch_from_rows(canonical(rows)))
    return builder.facts()


def paths_of(count: int) -> list[RunPath]:
    return [RunPath("acme", "nano", f"r{number}") for number in range(count)]


def encoded(runs: list[tuple[MetricFacts, ...]]) -> bytes:
    sink = io.BytesIO()
    writer = MetricsWriter(sink)
    for path, facts in zip(paths_of(len(runs)), runs, strict=True):
        writer.add(path, facts)
    writer.close()
    return sink.getvalue()


def opened(data: bytes, *, runs: int, rows: int | None = None) -> MetricsTable:
    footer = data[-8 - int.from_bytes(data[-8:-4], "little") :]
    found = pq.read_metadata(io.BytesIO(data)).num_rows if rows is None else rows
    return load_metrics_table(
        pa.BufferReader(data), footer, paths=paths_of(runs), rows=found, path="a.wandb.zip"
    )


def plain(facts: MetricFacts) -> list[Any]:
    return [(type(value), spell(value)) for value in facts]


@given(nasty_rows)
def test_facts_are_read_as_they_were_written_with_a_run(rows: list[dict[str, Any]]) -> None:
    facts = facts_of(rows)
    assert list(map(plain, facts_from_text(facts_text(facts)))) == list(map(plain, facts))


@given(histories, st.sampled_from([1, 3, 7, 10_000]))
def test_facts_are_read_as_they_were_written_in_groups_of_any_size(
    runs: list[list[dict[str, Any]]], group: int
) -> None:
    facts = [facts_of(rows) for rows in runs]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics_table, "GROUP_ROWS", group)
        table = opened(encoded(facts), runs=len(runs))
    for index in reversed(range(len(runs))):
        assert list(map(plain, table.facts(index))) == list(map(plain, facts[index]))


@given(histories, st.data())
def test_the_facts_about_some_columns_are_those_of_all_with_these_names(
    runs: list[list[dict[str, Any]]], data: st.DataObject
) -> None:
    facts = [facts_of(rows) for rows in runs]
    known = sorted({one.name for found in facts for one in found} | {"unknown"})
    names = data.draw(st.frozensets(st.sampled_from(known)))
    table = opened(encoded(facts), runs=len(runs))
    for index, found in enumerate(facts):
        expected = [plain(one) for one in found if one.name in names]
        assert list(map(plain, table.facts(index, names))) == expected


def test_the_same_facts_give_the_same_bytes() -> None:
    facts = [facts_of([{"_step": 0, "loss": 1.5, "note": "x"}])]
    assert encoded(facts) == encoded(facts)


ONE = [facts_of([{"_step": 0, "loss": 1.5}])]


def changed(change: dict[str, pa.Array]) -> bytes:
    """The index of one run with other columns."""
    table = pq.read_table(io.BytesIO(encoded(ONE)))
    for name, array in change.items():
        table = table.set_column(table.schema.get_field_index(name), SCHEMA.field(name), array)
    sink = io.BytesIO()
    pq.write_table(table, sink, store_schema=False)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("data", "runs", "rows", "reason"),
    [
        (
            encoded(ONE * 2),
            1,
            None,
            "cannot be read: its run 'acme/nano/r1' is not the next one of the table of runs",
        ),
        (encoded(ONE), 2, None, "cannot be read: it has 1 runs of 2"),
        (encoded(ONE), 1, 3, "cannot be read: it has 2 rows and the manifest 3"),
        (
            changed({"run_id": pa.array(["r0", "r1"])}),
            1,
            None,
            "cannot be read: its run 'acme/nano/r1' is not the next one of the table of runs",
        ),
    ],
)
def test_an_index_of_other_runs_is_damaged(data: bytes, runs: int, rows: int | None, reason: str) -> None:
    with pytest.raises(BundleDamagedError) as caught:
        opened(data, runs=runs, rows=rows)
    assert caught.value.message == f"'a.wandb.zip' is damaged: metrics.parquet {reason}"


def test_a_table_with_other_columns_is_damaged() -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"metric": ["loss"]}), sink)
    with pytest.raises(BundleDamagedError) as caught:
        opened(sink.getvalue(), runs=1)
    assert caught.value.message == (
        "'a.wandb.zip' is damaged: metrics.parquet cannot be read: it has other columns"
    )


def test_a_rest_that_is_not_an_object_is_damaged() -> None:
    table = opened(changed({"rest": pa.array([None, "[1]"])}), runs=1)
    with pytest.raises(BundleDamagedError):
        table.facts(0)


def test_texts_that_expand_too_far_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "MAX_TEXT", 10)
    with pytest.raises(BundleDamagedError) as caught:
        opened(encoded(ONE), runs=1).facts(0)
    assert caught.value.message == (
        "'a.wandb.zip' is damaged: metrics.parquet cannot be read: its text takes more than 10 bytes"
    )
