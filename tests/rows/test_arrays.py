"""Arrow's buffers as numpy: the same as pyarrow says itself, however an array is cut and wherever it has nulls."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.errors import DataError
from pull_logs.rows import arrays as buffers
from pull_logs.rows.arrays import decoded_size, present_rows, truths, written_out

_TEXTS = st.lists(st.none() | st.sampled_from(["", "a", "é", "long" * 9]) | st.text(max_size=3), max_size=20)


@given(st.lists(st.none() | st.booleans(), max_size=40), st.integers(0, 40))
def test_bools_are_read_bit_by_bit(cells: list[bool | None], start: int) -> None:
    array = pa.array(cells, pa.bool_()).slice(start)
    told = zip(present_rows(array).tolist(), truths(array).tolist(), strict=True)
    assert [truth if there else None for there, truth in told] == cells[start:]


@given(_TEXTS, st.integers(0, 20))
def test_a_dictionary_is_measured_and_written_out(cells: list[str | None], start: int) -> None:
    array = pa.array(cells, pa.string()).dictionary_encode().slice(start)
    plain = written_out(array)
    plain.validate(full=True)
    assert plain.type == pa.string()
    assert plain.to_pylist() == cells[start:]
    assert decoded_size(array) == sum(len(cell.encode()) for cell in cells[start:] if cell is not None)


@given(st.lists(st.none() | st.lists(st.text(max_size=3), max_size=4), max_size=9), st.integers(0, 9))
def test_lists_of_a_dictionary_are_written_out(cells: list[Any], start: int) -> None:
    lists = pa.array(cells, pa.list_(pa.string()))
    packed = pa.ListArray.from_arrays(lists.offsets, lists.values.dictionary_encode(), mask=lists.is_null())
    plain = written_out(packed.slice(start))
    plain.validate(full=True)
    assert plain.to_pylist() == cells[start:]


def test_many_cells_are_written_out_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    array = pa.array(["a", None, "b", "a"]).dictionary_encode()
    few = written_out(array)
    monkeypatch.setattr(buffers, "_FEW", 3)
    assert written_out(array).equals(few)


@pytest.mark.parametrize("index", [-1, 1])
def test_a_cell_without_its_text_is_refused(index: int) -> None:
    indices = pa.array([0, index], pa.int32())
    array = pa.DictionaryArray.from_arrays(indices, pa.array(["a"]), safe=False)
    with pytest.raises(DataError, match="a cell stands for a text that its dictionary does not have"):
        decoded_size(array)
