"""The rows hash and the content id: equal if and only if the content is."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from rowkit import KEYS, calm_rows, canonical, nasty_rows, same_rows, values

from pull_logs.rows import hashing
from pull_logs.rows.batches import RESIDUAL, BatchCells, batch_from_rows, take_apart
from pull_logs.rows.canonical import canon_members, canonical_text
from pull_logs.rows.hashing import PieceHasher, RowsHasher, rows_hash
from pull_logs.runs import RunInfo, RunPath
from pull_logs.snapshot.format.content_id import content_id


def residual_batch(rows: list[dict[str, Any]]) -> pa.Table:
    """Return the rows with every cell in the residual column."""
    rest = [canonical_text({key: row[key] for key in row if key != "_step"}) for row in rows]
    return pa.table(
        {
            "_step": pa.array([row["_step"] for row in rows], pa.int64()),
            RESIDUAL: pa.array([None if text == "{}" else text for text in rest], pa.string()),
        }
    )


@given(nasty_rows | calm_rows, st.lists(st.integers(0, 12), max_size=4))
def test_the_rows_hash_does_not_depend_on_cuts_or_layout(rows: list[dict[str, Any]], cuts: list[int]) -> None:
    expected = canonical(rows)
    expected_hash = rows_hash([batch_from_rows(expected)])
    bounds = [0, *sorted(min(cut, len(expected)) for cut in cuts), len(expected)]
    assert rows_hash(batch_from_rows(expected[start:end]) for start, end in pairwise(bounds)) == expected_hash
    assert rows_hash([residual_batch(expected)]) == expected_hash


@given(nasty_rows | calm_rows, st.lists(st.integers(0, 12), max_size=4), st.integers(0, 40))
def test_pieces_have_the_rows_hash_of_their_rows_in_whichever_thread_they_are_hashed(
    rows: list[dict[str, Any]], cuts: list[int], many: int
) -> None:
    expected = canonical(rows)
    bounds = [0, *sorted(min(cut, len(expected)) for cut in cuts), len(expected)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashing, "_MANY_CELLS", many)
        hasher = PieceHasher()
        for start, end in pairwise(bounds):
            hasher.add(take_apart(batch_from_rows(expected[start:end])))
        assert f"sha256:{hasher.hexdigest()}" == rows_hash([batch_from_rows(expected)])


def test_what_hashing_in_another_thread_raises_reaches_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: RowsHasher, cells: BatchCells) -> None:
        raise MemoryError

    monkeypatch.setattr(hashing, "_MANY_CELLS", 0)
    monkeypatch.setattr(RowsHasher, "update_cells", fail)
    hasher = PieceHasher()
    hasher.add(take_apart(batch_from_rows([{"_step": 0}])))
    with pytest.raises(MemoryError):
        hasher.hexdigest()


@given(nasty_rows, nasty_rows)
def test_different_rows_have_different_hashes(
    left: list[dict[str, Any]], right: list[dict[str, Any]]
) -> None:
    one, other = canonical(left), canonical(right)
    hashes = {rows_hash([batch_from_rows(rows)]) for rows in (one, other)}
    assert len(hashes) == (1 if same_rows(one, other) else 2)


@given(nasty_rows.filter(bool), st.integers(0, 11), st.sampled_from(KEYS), values)
def test_one_changed_cell_changes_the_hash(
    rows: list[dict[str, Any]], cut: int, key: str, value: object
) -> None:
    before = canonical(rows)
    row = before[cut % len(before)]
    after = [{**row, **canon_members({key: value})} if other is row else other for other in before]
    assume(not same_rows(before, after))
    assert rows_hash([batch_from_rows(before)]) != rows_hash([batch_from_rows(after)])


def test_the_rows_hash_is_what_its_definition_says() -> None:
    rows: list[dict[str, Any]] = [
        {"_step": 1, "x": 1.5, "y": "é", "z": True},
        {"_step": 4, "x": 2**53 + 1, "z": False},
        {"_step": 9, "x": float("nan"), "y": [1, None]},
    ]

    def sized(data: bytes) -> bytes:
        return struct.pack("<Q", len(data)) + data

    columns = [
        ("_step", bytes([7, 7, 7]), struct.pack("<3q", 1, 4, 9), b""),
        ("x", bytes([1, 2, 1]), struct.pack("<dQ", 1.5, 0x7FF8000000000000), sized(b"9007199254740993")),
        ("y", bytes([5, 0, 6]), b"", sized("é".encode()) + sized(b"[1,null]")),
        ("z", bytes([3, 4, 0]), b"", b""),
    ]
    expected_hash = hashlib.sha256(struct.pack("<Q", 3))
    for name, *streams in columns:
        expected_hash.update(sized(name.encode()))
        for stream in streams:
            expected_hash.update(hashlib.sha256(stream).digest())
    assert rows_hash([batch_from_rows(rows)]) == f"sha256:{expected_hash.hexdigest()}"
    assert (
        rows_hash([batch_from_rows(rows[:1]), batch_from_rows(rows[1:])])
        == f"sha256:{expected_hash.hexdigest()}"
    )


def test_no_rows_have_a_hash_of_their_own() -> None:
    empty = rows_hash([])
    assert rows_hash([batch_from_rows([])]) == empty
    assert rows_hash([batch_from_rows([{"_step": 0}])]) != empty


BASE = RunInfo(
    path=RunPath("acme", "nano", "a1"),
    name="first",
    state="finished",
    tags=("b", "a"),
    created_at="2026-11-23T10:00:00Z",
    config={"lr": 0.1, "empty": None},
    summary={"loss": float("nan")},
)
OTHER = replace(BASE, path=RunPath("acme", "nano", "a2"))


def test_the_content_id_does_not_depend_on_order_or_on_what_is_no_content() -> None:
    expected_hash = content_id([(BASE, "sha256:1"), (OTHER, "sha256:2")])
    assert content_id(iter([(OTHER, "sha256:2"), (BASE, "sha256:1")])) == expected_hash
    same = replace(
        BASE,
        tags=("a", "b"),
        config={"empty": None, "lr": 0.1},
        summary={"loss": "NaN"},
        host="api.wandb.ai",
        user="me",
        commit="c0ffee",
        heartbeat_at="2026-11-23T11:00:00Z",
        metadata={"os": "Linux"},
        system_summary={"cpu": 1},
        config_internal={"_wandb": {}},
    )
    assert content_id([(same, "sha256:1"), (OTHER, "sha256:2")]) == expected_hash


@pytest.mark.parametrize(
    "change",
    [
        {"path": RunPath("acme", "nano", "a3")},
        {"name": "second"},
        {"state": "failed"},
        {"tags": ("a",)},
        {"group": ""},
        {"job_type": "train"},
        {"notes": "n"},
        {"sweep": "s"},
        {"created_at": "2026-11-23T10:00:01Z"},
        {"config": {"lr": 0.1}},
        {"config": {"lr": True, "empty": None}},
        {"summary": {}},
    ],
)
def test_the_content_id_depends_on_the_runs(change: dict[str, Any]) -> None:
    assert content_id([(replace(BASE, **change), "sha256:1")]) != content_id([(BASE, "sha256:1")])


def test_the_content_id_depends_on_the_rows() -> None:
    assert content_id([(BASE, "sha256:1")]) != content_id([(BASE, "sha256:2")])
    assert content_id([]) != content_id([(BASE, "sha256:1")])
