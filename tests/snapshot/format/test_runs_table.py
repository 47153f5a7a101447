from __future__ import annotations

import io
import random
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bundlekit import run_info
from hypothesis import given, settings
from hypothesis import strategies as st

from pull_logs.errors import BundleDamagedError, DataError
from pull_logs.rows.canonical import canon_record, canon_text, same
from pull_logs.runs import Coverage, RunInfo, RunParts, RunPath, RunPoint
from pull_logs.snapshot.format import runs_table
from pull_logs.snapshot.format.run_record import DOCUMENTS, OPTIONAL, SCHEMA, info_fields, info_from_fields
from pull_logs.snapshot.format.runs import plain_columns
from pull_logs.snapshot.format.runs_table import RunRow, RunTable, encode_runs, load_runs_table

texts = st.text(st.characters(exclude_categories=()), max_size=8)
leaves = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | texts | st.just("NaN")
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
)
documents = st.dictionaries(texts, values, max_size=4)
steps = st.none() | st.integers(-(2**63), 2**63 - 1)
optional = st.none() | texts


TEXTS = ("group", "job_type", "sweep", "notes", "user", "commit", "created_at", "heartbeat_at", "host")


points = st.builds(RunPoint, st.sampled_from(["resumed", "rewound", "forked", "later"]), steps, optional)


@st.composite
def infos(draw: st.DrawFn) -> RunInfo:
    facts: dict[str, Any] = {name: draw(optional) for name in TEXTS}
    facts |= {name: draw(documents) for name in DOCUMENTS}
    facts["sweep_config"] = draw(st.none() | documents)
    facts["last_seen"] = draw(st.none() | st.sampled_from(["2026-11-23", ""]))
    facts["parts"] = draw(st.none() | st.builds(RunParts, steps, st.lists(points, max_size=3).map(tuple)))
    path = RunPath(draw(texts), draw(texts), draw(texts))
    tags = tuple(draw(st.lists(texts, max_size=3)))
    return RunInfo(path=path, name=draw(texts), state=draw(texts), tags=tags, **facts)


coverages = st.builds(
    Coverage,
    promised_rows=st.none() | st.integers(0, 2**62),
    promised_last_step=steps,
    received_rows=st.integers(0, 2**62),
    received_last_step=steps,
    complete=st.booleans(),
    reason=st.text(max_size=9),
)
run_rows = st.builds(
    RunRow, info=infos(), coverage=coverages, rows=st.integers(0, 2**62), first_step=steps, last_step=steps
)


def opened(rows: list[RunRow]) -> RunTable:
    return load_runs_table(encoded(rows), rows=len(rows), path="b.zip")


def encoded(rows: list[RunRow]) -> bytes:
    optional = [name for name in OPTIONAL if any(getattr(row.info, name) is not None for row in rows)]
    return encode_runs(rows, optional=optional)


def plain_row(number: int, **facts: Any) -> RunRow:
    info = run_info(f"acme/nano/r{number:05}", **facts)
    return RunRow(info=info, coverage=Coverage(), rows=number, first_step=0, last_step=number)


@settings(max_examples=60)
@given(run_rows)
def test_a_row_is_read_back_as_the_canonical_form_of_what_was_written(row: RunRow) -> None:
    back = opened([row]).row(0)
    assert (back.coverage, back.rows, back.first_step, back.last_step) == (
        row.coverage,
        row.rows,
        row.first_step,
        row.last_step,
    )
    given_info, info = row.info, back.info
    for name in ("name", "state", *TEXTS):
        text = getattr(given_info, name)
        assert getattr(info, name) == (None if text is None else canon_text(text))
    assert info.tags == tuple(map(canon_text, given_info.tags))
    for name in DOCUMENTS:
        assert same(getattr(info, name), canon_record(getattr(given_info, name)))
    swept = given_info.sweep_config
    assert (info.sweep_config is None) is (swept is None)
    assert swept is None or same(info.sweep_config, canon_record(swept))
    assert info.last_seen == given_info.last_seen
    kept = [
        None if parts is None else canon_record(parts.as_object()) for parts in (info.parts, given_info.parts)
    ]
    assert kept[0] == kept[1]


@settings(max_examples=60)
@given(run_rows)
def test_reading_what_was_read_changes_nothing_more(row: RunRow) -> None:
    once = opened([row]).row(0)
    assert encoded([once]) == encoded([row])
    assert repr(info_from_fields(info_fields(row.info))) == repr(once.info)


def test_rows_are_in_groups_of_256_and_each_is_found() -> None:
    rows = [plain_row(number, config={"n": number}) for number in range(600)]
    data = encode_runs(rows)
    metadata = pq.ParquetFile(pa.BufferReader(data)).metadata
    assert [metadata.row_group(number).num_rows for number in range(3)] == [256, 256, 88]
    table = load_runs_table(data, rows=600, path="b.zip")
    assert [table.document("config", number) for number in (0, 255, 256, 599)] == [
        {"n": 0},
        {"n": 255},
        {"n": 256},
        {"n": 599},
    ]
    assert table.column("rows") == list(range(600))
    assert [row.rows for row in table.rows()] == list(range(600))


@pytest.mark.parametrize("most", [0, 600])
def test_the_plain_values_of_very_many_runs_are_read_by_row_group(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plain_columns, "_MOST_COMPLETE", most)
    rows = [plain_row(number, group=f"g{number % 300}", tags=(f"t{number}",)) for number in range(600)]
    table = load_runs_table(encode_runs(rows), rows=600, path="b.zip")
    order = random.Random(0).sample(range(600), 600)
    assert [table.value("group", number) for number in order] == [f"g{number % 300}" for number in order]
    assert [table.value("tags", number) for number in order] == [[f"t{number}"] for number in order]
    assert [table.value("last_seen", number) for number in order] == [None] * 600
    assert len(table.cells["group"]) == len(table.cells["last_seen"]) == 600


def test_a_table_without_runs_is_a_table() -> None:
    assert list(opened([]).paths) == []


def test_documents_are_given_out_as_dicts_of_the_caller_s_own() -> None:
    table = opened([plain_row(1, config={"a": {"b": 1}})])
    table.document("config", 0)["a"]["b"] = 2
    assert table.document("config", 0) == {"a": {"b": 1}}


def test_the_columns_are_those_of_the_documentation() -> None:
    assert " ".join(SCHEMA.names) == (
        "host entity project run_id name state tags group job_type sweep notes user commit created_at"
        " heartbeat_at rows first_step last_step promised_rows promised_last_step received_rows"
        " received_last_step complete incomplete_reason"
        " config config_internal summary system_summary metadata"
    )


def test_the_configs_of_sweeps_are_a_last_column_where_there_are_some() -> None:
    rows = [plain_row(number) for number in range(300)]
    without = pq.read_schema(pa.BufferReader(encoded(rows)))
    rows[280] = plain_row(280, sweep="s1", sweep_config={"method": "grid", "none": None})
    swept = load_runs_table(encoded(rows), rows=300, path="b.zip")
    assert pq.read_schema(pa.BufferReader(encoded(rows))).names == [*without.names, "sweep_config"]
    assert [swept.sweep_config(number) for number in (0, 279, 280)] == [
        None,
        None,
        {"method": "grid", "none": None},
    ]
    assert [row.info.sweep_config is not None for row in swept.rows()].index(True) == 280
    assert opened(rows[:10]).sweep_config(3) is None


def test_a_config_that_is_not_json_names_its_run() -> None:
    with pytest.raises(DataError) as caught:
        encode_runs([plain_row(1, config={"f": print})])
    assert str(caught.value) == (
        "the config of run 'acme/nano/r00001' cannot be kept: "
        "a value of type builtin_function_or_method is not JSON"
    )


def test_a_step_beyond_64_bits_names_its_run() -> None:
    with pytest.raises(DataError, match=r"^a run near 'acme/nano/r00001' cannot be kept: "):
        encode_runs(
            [RunRow(info=plain_row(1).info, coverage=Coverage(), rows=1, first_step=2**63, last_step=0)]
        )


def refusal(data: bytes, rows: int) -> str:
    with pytest.raises(BundleDamagedError) as caught:
        load_runs_table(data, rows=rows, path="b.zip")
    assert caught.value.member == "runs.parquet"
    return caught.value.message


def other_table(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, store_schema=False, write_page_checksum=True, **options)
    return sink.getvalue()


def test_a_table_that_is_not_ours_is_refused() -> None:
    data = encode_runs([plain_row(number) for number in range(3)])
    table = pq.read_table(pa.BufferReader(data)).cast(SCHEMA)
    assert refusal(data, 2) == "'b.zip' is damaged: runs.parquet has 3 runs and the manifest 2"
    assert refusal(other_table(table.drop_columns(["tags"])), 3) == (
        "'b.zip' is damaged: runs.parquet has other columns than a bundle's"
    )
    assert refusal(other_table(table, row_group_size=2), 3) == (
        "'b.zip' is damaged: runs.parquet is not in groups of 256 runs"
    )
    assert refusal(other_table(table.take([1, 0, 2])), 3) == (
        "'b.zip' is damaged: runs.parquet is not in path order"
    )
    assert refusal(b"", 3).startswith("'b.zip' is damaged: runs.parquet cannot be read: ")
    assert refusal(data[:-1], 3).startswith("'b.zip' is damaged: runs.parquet cannot be read: ")


def test_a_few_bytes_that_expand_to_much_text_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs_table, "decoded_text_limit", lambda size: 10_000)
    notes = encode_runs([plain_row(number, notes="x" * 500) for number in range(50)])
    tags = encode_runs([plain_row(number, tags=("x" * 500,)) for number in range(50)])
    for data in (notes, tags):
        found = refusal(data, 50)
        assert found.startswith("'b.zip' is damaged: runs.parquet cannot be read: its text would take ")
        assert int(found.split(" take ")[1].split(" ")[0]) >= 50 * 500
        assert found.endswith(" bytes of memory, and 10000 are the most")


def test_a_document_that_is_no_object_is_said_to_be_damaged() -> None:
    data = encode_runs([plain_row(1)])
    table = pq.read_table(pa.BufferReader(data)).cast(SCHEMA)
    index = SCHEMA.get_field_index("summary")
    forged = load_runs_table(
        other_table(table.set_column(index, SCHEMA.field(index), [["[1]"]])), rows=1, path="b.zip"
    )
    with pytest.raises(BundleDamagedError) as caught:
        forged.document("summary", 0)
    assert str(caught.value) == (
        "'b.zip' is damaged: runs.parquet holds a summary that cannot be read: "
        "a document of a run is not a JSON object"
    )
    with pytest.raises(BundleDamagedError):
        forged.row(0)


def test_a_table_that_a_stranger_broke_is_read_or_refused_and_nothing_else() -> None:
    """Its hash may be right: an attacker can also write the manifest."""
    data, chance = encode_runs([plain_row(number, tags=("a",)) for number in range(3)]), random.Random(8)
    footer = 8 + int.from_bytes(data[-8:-4], "little")
    for first in (len(data) - footer, 0):
        for _ in range(100):
            index = chance.randrange(first, len(data))
            broken = data[:index] + bytes([data[index] ^ chance.randrange(1, 256)]) + data[index + 1 :]
            with suppress(BundleDamagedError):
                assert len(list(load_runs_table(broken, rows=3, path="b.zip").rows())) == 3
