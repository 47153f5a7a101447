"""A logged table becomes Parquet: the cells are those that were logged, each column with a type that fits."""

from __future__ import annotations

import io
import json
import math
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.errors import DataError
from pull_logs.rows.canonical import canon_text, canonical_text
from pull_logs.snapshot.format import LoggedTable, arrow_table, encode_logged_table, join_tables, parse_table
from pull_logs.snapshot.format.media import table_folders, table_member
from pull_logs.snapshot.format.media import tables as table_files
from pull_logs.snapshot.format.names import folder_of_table, is_member_name, run_of_member

integers = st.one_of(
    st.integers(-9, 9), st.integers(-(2**70), 2**70), st.sampled_from([2**53 + 1, 2**63 - 1])
)
scalars = st.one_of(st.none(), st.booleans(), integers, st.floats(), st.text(max_size=6))
cells = st.one_of(
    scalars,
    st.recursive(
        scalars,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=2)
        ),
        max_leaves=6,
    ),
)
columns_of_one_kind = st.sampled_from(
    [
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(),
        st.text(max_size=6),
        st.lists(st.integers(0, 9)),
    ]
).flatmap(lambda kind: st.lists(st.none() | kind, min_size=4, max_size=4))
columns = st.one_of(st.lists(cells, min_size=4, max_size=4), columns_of_one_kind)


def read_back(table: LoggedTable) -> pa.Table:
    return pq.read_table(io.BytesIO(encode_logged_table(arrow_table(table))))


def described(data: bytes) -> list[dict[str, Any]]:
    found = pq.read_metadata(io.BytesIO(data)).metadata[b"wandb_table"]
    entries: list[dict[str, Any]] = json.loads(found)["columns"]
    return entries


def plain(cell: Any) -> Any:
    """A cell as it is compared: NaN equals NaN, lone surrogates are replaced, and kinds differ."""
    if isinstance(cell, float) and math.isnan(cell):
        return "NaN", float
    if isinstance(cell, list):
        return [plain(one) for one in cell]
    return (canon_text(cell) if isinstance(cell, str) else cell), type(cell)


@given(st.lists(columns, min_size=1, max_size=3), st.lists(st.text(max_size=3), min_size=3, max_size=3))
def test_each_cell_is_the_one_that_was_logged(drawn: list[list[Any]], names: list[str]) -> None:
    names = names[: len(drawn)]
    rows = [list(row) for row in zip(*drawn, strict=True)]
    table = parse_table(json.dumps({"columns": names, "data": rows}).encode(), name="t")
    data = encode_logged_table(arrow_table(table))
    assert data == encode_logged_table(arrow_table(table))
    found = pq.read_table(io.BytesIO(data))
    assert len(set(found.column_names)) == len(names)
    for at, entry in enumerate(described(data)):
        assert (entry["name"], entry.get("logged", entry["name"])) == (
            found.column_names[at],
            canon_text(names[at]),
        )
        kept, logged = found.column(at), table.cells(at)
        if entry.get("json"):
            texts = [None if cell is None else canon_text(canonical_text(cell)) for cell in logged]
            assert kept.to_pylist() == texts
            assert all(json.loads(text) is not None for text in texts if text is not None)
            continue
        if pa.types.is_floating(kept.type):
            logged = [None if cell is None else float(cell) for cell in logged]
            assert all(
                cell is None or math.isnan(cell) or cell == one
                for cell, one in zip(logged, table.cells(at), strict=True)
            )
        assert [plain(cell) for cell in kept.to_pylist()] == [plain(cell) for cell in logged]


TYPES = [
    ([1, 2, None], "int64"),
    ([2**63 - 1, -(2**63)], "int64"),
    ([1, 2.5], "double"),
    ([1.0, float("inf"), None], "double"),
    ([2**53 + 1, 0.5], "json"),
    ([2**63], "json"),
    ([True, None], "bool"),
    ([True, 1], "json"),
    (["a", None], "string"),
    (["a", 1], "json"),
    ([{"_type": "image-file", "path": "a.png"}, None], "json"),
    ([[1], None, []], "list<element: int64>"),
    ([[["a"]], [None, []]], "list<element: list<element: string>>"),
    ([[], []], "json"),
    ([[1, "a"]], "json"),
    ([None, None], "null"),
]


@pytest.mark.parametrize(("logged", "expected"), TYPES)
def test_a_column_has_the_narrowest_type_that_is_exact(logged: list[Any], expected: str) -> None:
    data = encode_logged_table(arrow_table(LoggedTable(("c",), [[cell] for cell in logged])))
    (entry,) = described(data)
    (field,) = pq.read_table(io.BytesIO(data)).schema
    assert ("json" if entry.get("json") else str(field.type)) == expected


def typed(kind: Any, *cells: Any) -> LoggedTable:
    types = {"params": {"type_map": {"c": kind}}, "wb_type": "typedDict"}
    value = {"columns": ["c"], "data": [[cell] for cell in cells], "column_types": types}
    return parse_table(json.dumps(value).encode(), name="t")


def optional(name: str) -> Any:
    return {"wb_type": "union", "params": {"allowed_types": [{"wb_type": "none"}, {"wb_type": name}]}}


@pytest.mark.parametrize("kind", [{"wb_type": "timestamp"}, optional("timestamp")])
def test_times_are_times_where_the_table_says_so(kind: Any) -> None:
    found = read_back(typed(kind, 1704164645678, None)).column("c")
    assert found.type == pa.timestamp("ms", tz="UTC")
    assert found.to_pylist() == [datetime(2024, 1, 2, 3, 4, 5, 678000, UTC), None]


@pytest.mark.parametrize(
    ("kind", "cell"), [(optional("number"), 5), (optional("timestamp"), 2**60), (optional("timestamp"), "x")]
)
def test_a_type_that_does_not_fit_the_cells_changes_nothing(kind: Any, cell: Any) -> None:
    found = read_back(typed(kind, cell)).column("c")
    assert found.to_pylist() == [cell]
    assert not pa.types.is_timestamp(found.type)


def test_the_types_of_w_and_b_are_in_the_metadata() -> None:
    (entry,) = described(encode_logged_table(arrow_table(typed(optional("number"), 1))))
    assert entry == {"name": "c", "type": optional("number")}
    (entry,) = described(encode_logged_table(arrow_table(typed({"wb_type": "x" * 20_000}, 1))))
    assert entry == {"name": "c"}


@pytest.mark.parametrize(
    "value",
    [
        "[1]",
        "{}",
        '{"columns": 1, "data": []}',
        '{"columns": ["a"], "data": [[]]}',
        '{"columns": [], "data": [1]}',
        "x",
    ],
)
def test_what_is_not_a_table_is_refused(value: str) -> None:
    with pytest.raises(DataError):
        parse_table(value.encode(), name="t")


def test_a_table_of_no_columns_or_too_many_and_a_cell_too_deep(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_back(LoggedTable((), [[], []])).num_columns == 0
    monkeypatch.setattr(table_files, "MAX_COLUMNS", 2)
    with pytest.raises(DataError, match=r"^a table has 3 columns, more than 2$"):
        arrow_table(LoggedTable(("a", "b", "c"), []))
    deep: Any = "x"
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(DataError, match=r"^a cell of a table is nested too deep$"):
        arrow_table(LoggedTable(("a",), [[deep]]))


def test_a_table_in_an_artifact_gets_nan_from_the_file_of_the_run() -> None:
    nan = float("nan")
    plain = LoggedTable(("a", "b"), [[nan, "Image"], [1.5, "Image"], [None, None]])
    full = LoggedTable(("a", "b"), [[None, {"path": "x"}], [1.5, {"path": "y"}], [None, None]], {"a": 1})
    joined = join_tables(plain, full)
    assert joined.types == {"a": 1}
    assert math.isnan(joined.rows[0][0])
    assert [joined.rows[0][1], *joined.rows[1:]] == [{"path": "x"}, [1.5, {"path": "y"}], [None, None]]
    assert join_tables(LoggedTable(("a",), []), full) is full


@given(
    st.sets(st.text(min_size=1, max_size=40), max_size=5),
    st.integers(-3, 2**62),
    st.none() | st.integers(0, 9),
)
def test_the_member_of_a_table_is_in_the_folder_of_its_run(
    keys: set[str], step: int, index: int | None
) -> None:
    folder = "runs/entity=E/project=P/run=R"
    members = {table_member(one, step, index) for one in table_folders(folder, keys).values()}
    assert len({member.lower() for member in members}) == len(keys)
    for member in (
        *members,
        *(table_member(one, None, None) for one in table_folders(folder, keys).values()),
    ):
        assert is_member_name(member)
        assert (folder_of_table(member), run_of_member(member)) == (folder, "E/P/R")
        assert ".." not in member.split("/")
