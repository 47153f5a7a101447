"""What became of logged rows, against edits that are known and against an oracle of dicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rowkit import calm_rows, canonical, nasty_rows

from pull_logs.errors import DataError
from pull_logs.proof import KINDS, LoggedRows, OverwrittenCell, RowRange, trace_rows
from pull_logs.rows.batches import batch_from_rows
from pull_logs.rows.canonical import same

Row = dict[str, Any]
Rows = list[Row]


def batches(rows: Sequence[Row], size: int = 3) -> Callable[[], list[pa.Table]]:
    cuts = [*range(0, len(rows), size), len(rows)]
    return lambda: [batch_from_rows(rows[start:end]) for start, end in pairwise(cuts)]


def trace(logged: Sequence[Row], stored: Sequence[Row]) -> LoggedRows:
    return trace_rows(batches(logged), batches(stored, 4))


def flat(found: LoggedRows, history: Sequence[int], stored: Sequence[int]) -> dict[str, Any]:
    """The steps of each kind, and of moved rows the new ones; that every range is as it says is checked."""
    kinds: dict[str, Any] = {kind: [] for kind in KINDS}
    for part in found.ranges:
        steps = stored if part.kind == "extra" else history
        inside = [step for step in steps if part.first <= step <= part.last]
        assert (inside[0], inside[-1], len(inside)) == (part.first, part.last, part.rows)
        if part.kind == "moved":
            assert part.shift
            kinds["moved"] += [(step, step + part.shift) for step in inside]
        else:
            assert part.shift is None
            kinds[part.kind] += inside
    return kinds


class Edit(NamedTuple):
    """What happens to a row on its way."""

    kind: Literal["kept", "dropped", "altered", "lost a key", "shifted"]
    by: int = 0


edits = st.one_of(
    st.sampled_from([Edit("kept"), Edit("kept"), Edit("dropped"), Edit("altered"), Edit("lost a key")]),
    st.integers(1, 4).map(lambda by: Edit("shifted", by)),
)


@given(
    st.lists(st.integers(1, 3), max_size=25),
    st.data(),
    st.sets(st.integers(0, 8), max_size=3),
)
def test_rows_that_were_dropped_altered_or_shifted_are_reported_and_no_others(
    gaps: list[int], data: st.DataObject, foreign: set[int]
) -> None:
    # Steps are multiples of ten: a row is shifted to a step that no other row has.
    steps = [10 * sum(gaps[: index + 1]) for index in range(len(gaps))]
    logged: Rows = [{"_step": step, "loss": float(step), "lr": 0.5} for step in steps]
    expected: dict[str, Any] = {kind: [] for kind in KINDS}
    cells: list[OverwrittenCell] = []
    stored: Rows = [{"_step": -1 - step, "loss": -1.0 - step} for step in foreign]
    expected["extra"] = sorted(row["_step"] for row in stored)
    for row in logged:
        step, edit = row["_step"], data.draw(edits)
        if edit.kind == "kept":
            stored.append(row)
        elif edit.kind == "altered":
            stored.append(row | {"loss": step + 0.5})
            expected["overwritten"].append(step)
            cells.append(OverwrittenCell(step=step, key="loss", logged=step, stored=step + 0.5))
        elif edit.kind == "lost a key":
            stored.append({"_step": step, "loss": row["loss"]})
            expected["overwritten"].append(step)
            cells.append(OverwrittenCell(step=step, key="lr", logged=0.5, stored=None))
        elif edit.kind == "shifted":
            stored.append(row | {"_step": step + edit.by})
            expected["moved"].append((step, step + edit.by))
        else:
            expected["missing"].append(step)
    stored.sort(key=lambda row: row["_step"])
    found = trace(logged, stored)
    assert flat(found, steps, [row["_step"] for row in stored]) == expected
    assert found.cells == tuple(cells)
    assert sum(found.keys.values()) == len(cells)
    assert (found.logged, found.stored) == (len(logged), len(stored))
    assert {kind: found.count(kind) for kind in KINDS} == {kind: len(expected[kind]) for kind in KINDS}


def oracle(logged: Rows, stored: Rows) -> dict[str, Any]:
    here, there = ({row["_step"]: row for row in rows} for rows in (logged, stored))

    def values(row: Row) -> Row:
        return {key: value for key, value in row.items() if key != "_step"}

    gone = [step for step in here if step not in there or not same(here[step], there[step])]
    new = [step for step in there if step not in here or not same(here[step], there[step])]
    moved: dict[int, int] = {}
    for step in gone:
        free = (to for to in new if to not in moved.values() and same(values(here[step]), values(there[to])))
        if (target := next(free, None)) is not None:
            moved[step] = target
    left = [step for step in gone if step not in moved]
    overwritten = [step for step in left if step in there]
    targets = {*moved.values(), *overwritten}
    return {
        "missing": [step for step in left if step not in there],
        "overwritten": overwritten,
        "moved": sorted(moved.items()),
        "extra": [step for step in new if step not in targets],
    }


few_rows = st.dictionaries(
    st.integers(0, 12), st.dictionaries(st.sampled_from("ab"), st.integers(0, 1), max_size=2)
).map(lambda rows: [{"_step": step, **rows[step]} for step in sorted(rows)])


@given(*[(few_rows | calm_rows | nasty_rows).map(canonical) for _ in "ab"])
def test_any_two_histories_are_traced_as_by_the_oracle(logged: Rows, stored: Rows) -> None:
    found = trace(logged, stored)
    steps, others = ([row["_step"] for row in rows] for rows in (logged, stored))
    assert flat(found, steps, others) == oracle(logged, stored)
    assert list(found.ranges) == sorted(found.ranges, key=lambda part: (KINDS.index(part.kind), part.first))
    here, there = ({row["_step"]: row for row in rows} for rows in (logged, stored))
    for cell in found.cells:
        assert same(here[cell.step].get(cell.key), cell.logged)
        assert same(there[cell.step].get(cell.key), cell.stored)


@given((few_rows | calm_rows | nasty_rows).map(canonical))
def test_a_history_compared_with_itself_has_no_differences(rows: Rows) -> None:
    assert trace(rows, rows) == LoggedRows(logged=len(rows), stored=len(rows), keys={})


def test_rows_that_a_restart_wrote_over_the_old_ones() -> None:
    first = [{"_step": step, "loss": 9 - step} for step in range(4)]
    second = [{"_step": 4 + step, "loss": 5.5 - step} for step in range(2)]
    stored = [{**row, "_step": row["_step"] - 4} for row in second] + first[2:]
    found = trace(first + second, stored)
    assert found.ranges == (
        RowRange(kind="overwritten", first=0, last=1, rows=2),
        RowRange(kind="moved", first=4, last=5, rows=2, shift=-4),
    )
    assert found.keys == {"loss": 2}
    assert found.cells == (
        OverwrittenCell(step=0, key="loss", logged=9, stored=5.5),
        OverwrittenCell(step=1, key="loss", logged=8, stored=4.5),
    )


def test_the_first_cells_are_kept_and_the_others_counted() -> None:
    logged = [{"_step": step, "a": step, "b": step} for step in range(120)]
    found = trace(logged, [{**row, "a": -1, "b": -1} for row in logged])
    assert found.ranges == (RowRange(kind="overwritten", first=0, last=119, rows=120),)
    assert found.keys == {"a": 120, "b": 120}
    assert [(cell.step, cell.key) for cell in found.cells] == [
        (step, key) for step in range(50) for key in "ab"
    ]


def test_steps_at_the_ends_of_64_bits_move_too() -> None:
    found = trace([{"_step": -(2**63), "a": 1}], [{"_step": 2**63 - 1, "a": 1}])
    assert found.ranges == (RowRange(kind="moved", first=-(2**63), last=-(2**63), rows=1, shift=2**64 - 1),)


def test_steps_out_of_order_are_refused() -> None:
    table = pa.concat_tables([batch_from_rows([{"_step": 3}]), batch_from_rows([{"_step": 1}])])
    with pytest.raises(DataError, match=r"^its steps do not ascend$"):
        trace_rows(lambda: [table], lambda: ())
