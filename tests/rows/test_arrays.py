"""Arrow's buffers as numpy arrays agree with pyarrow's own conversions, however an array is sliced."""

from __future__ import annotations

import ast
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from checkout import ROOT
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.errors import DataError
from pull_logs.rows import arrays
from pull_logs.rows.arrays import (
    decoded,
    decoded_size,
    doubles_of,
    framed_texts,
    null_rows,
    present_rows,
    same_cells,
    truths,
)

_TEXTS = st.lists(st.none() | st.sampled_from(["", "a", "é", "long" * 9]) | st.text(max_size=3), max_size=20)
_CELLS = {
    pa.float64(): st.none() | st.floats(),
    pa.int64(): st.none() | st.integers(-3, 3),
    pa.bool_(): st.none() | st.booleans(),
    pa.string(): st.none() | st.text(max_size=2),
}


@given(st.lists(st.none() | st.booleans(), max_size=40), st.integers(0, 40))
def test_bools_are_read_bit_by_bit(cells: list[bool | None], start: int) -> None:
    array = pa.array(cells, pa.bool_()).slice(start)
    pairs = zip(present_rows(array).tolist(), truths(array).tolist(), strict=True)
    assert [truth if there else None for there, truth in pairs] == cells[start:]
    assert null_rows(array).tolist() == [cell is None for cell in cells[start:]]


@given(st.lists(st.none() | st.floats(), max_size=20), st.integers(0, 20))
def test_a_null_double_is_nan(cells: list[float | None], start: int) -> None:
    array = pa.array(cells, pa.float64()).slice(start)
    expected = [math.nan if cell is None else cell for cell in cells[start:]]
    np.testing.assert_array_equal(doubles_of(array), expected)


@given(st.data(), st.sampled_from(list(_CELLS)))
def test_cells_are_the_same_where_their_values_are(data: st.DataObject, kind: Any) -> None:
    size = data.draw(st.integers(0, 12))
    cells = st.lists(_CELLS[kind], min_size=size, max_size=size)
    left, right = pa.array(data.draw(cells), kind), pa.array(data.draw(cells), kind)
    expected = [
        here == there or (here is not None and there is not None and here != here and there != there)
        for here, there in zip(left.to_pylist(), right.to_pylist(), strict=True)
    ]
    assert same_cells(left, right).tolist() == expected
    assert same_cells(left, left).all()


@given(_TEXTS, st.integers(0, 20))
def test_a_text_follows_its_length(cells: list[str | None], start: int) -> None:
    array = pa.array(cells, pa.string()).slice(start)
    encoded = [cell.encode() for cell in cells[start:] if cell is not None]
    assert b"".join(map(bytes, framed_texts(array))) == b"".join(
        len(text).to_bytes(8, "little") + text for text in encoded
    )


@given(_TEXTS, st.integers(0, 20))
def test_a_dictionary_is_measured_and_decoded(cells: list[str | None], start: int) -> None:
    array = pa.array(cells, pa.string()).dictionary_encode().slice(start)
    plain = decoded(array)
    plain.validate(full=True)
    assert plain.type == pa.string()
    assert plain.to_pylist() == cells[start:]
    assert decoded_size(array) == sum(len(cell.encode()) for cell in cells[start:] if cell is not None)


@given(st.lists(st.none() | st.lists(st.text(max_size=3), max_size=4), max_size=9), st.integers(0, 9))
def test_lists_of_a_dictionary_are_decoded(cells: list[Any], start: int) -> None:
    lists = pa.array(cells, pa.list_(pa.string()))
    packed = pa.ListArray.from_arrays(lists.offsets, lists.values.dictionary_encode(), mask=lists.is_null())
    plain = decoded(packed.slice(start))
    plain.validate(full=True)
    assert plain.to_pylist() == cells[start:]


def test_many_cells_are_decoded_as_few_are(monkeypatch: pytest.MonkeyPatch) -> None:
    array = pa.array(["a", None, "b", "a"]).dictionary_encode()
    few = decoded(array)
    monkeypatch.setattr(arrays, "_FEW_CELLS", 3)
    assert decoded(array).equals(few)


@pytest.mark.parametrize("index", [-1, 1])
def test_an_index_without_a_text_is_refused(index: int) -> None:
    indices = pa.array([0, index], pa.int32())
    array = pa.DictionaryArray.from_arrays(indices, pa.array(["a"]), safe=False)
    with pytest.raises(DataError, match=r"^a cell has an index that its dictionary does not have$"):
        decoded_size(array)


CONVERSIONS = frozenset({"from_dlpack", "frombuffer", "from_buffers", "buffers", "to_numpy"})
CONVERTING = ("pull_logs/rows", "pull_logs/snapshot/format", "pull_logs/snapshot/read")


def _uses_arrow(module: ast.Module) -> bool:
    """Whether a module imports pyarrow when it runs, and not for the type checker alone."""
    checked = [
        node for node in module.body if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
    ]
    typing = {id(inner) for node in checked for inner in ast.walk(node)}
    imports = (
        node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.walk(module)
        if isinstance(node, (ast.Import, ast.ImportFrom)) and id(node) not in typing
    )
    return any((name or "").split(".")[0] == "pyarrow" for name in imports)


def test_arrow_and_numpy_meet_in_one_module() -> None:
    parsed = {
        path.relative_to(ROOT).as_posix(): ast.parse(path.read_text())
        for folder in CONVERTING
        for path in (ROOT / folder).glob("*.py")
    }
    converting = {
        name
        for name, module in parsed.items()
        for node in ast.walk(module)
        if isinstance(node, ast.Attribute) and node.attr in CONVERSIONS and _uses_arrow(module)
    }
    assert converting == {"pull_logs/rows/arrays.py"}
