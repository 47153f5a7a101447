from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.frames.flatten import flatten, is_typed, join_path, split_path, unflatten

KEYS = st.text(alphabet=st.sampled_from(list("ab.\\_ /é\n")), max_size=4)
LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2)
RECORDS: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.dictionaries(KEYS, LEAVES, max_size=3),
    lambda inner: st.dictionaries(KEYS, LEAVES | inner, max_size=3),
    max_leaves=12,
)


@given(RECORDS)
def test_flattening_can_be_undone(record: dict[str, Any]) -> None:
    assert unflatten(flatten(record)) == record


@given(RECORDS)
def test_flattening_that_keeps_typed_objects_can_be_undone(record: dict[str, Any]) -> None:
    record["seen"] = {"_type": "histogram", "bins": [1]}
    assert unflatten(flatten(record, keep_typed=True)) == record


@given(st.lists(KEYS, min_size=1, max_size=4))
def test_a_path_is_its_flat_key_split(path: list[str]) -> None:
    assert split_path(join_path(path)) == tuple(path)


@given(RECORDS)
def test_no_flat_value_is_a_filled_dict(record: dict[str, Any]) -> None:
    assert all(not isinstance(value, dict) or not value for value in flatten(record).values())


def test_a_literal_dot_is_not_nesting() -> None:
    assert flatten({"a": {"b": 1}, "a.b": 2}) == {"a.b": 1, "a\\.b": 2}


def test_a_typed_object_is_one_value_where_asked() -> None:
    record = {"grads": {"_type": "histogram", "bins": [0, 1]}}
    assert flatten(record) == {"grads._type": "histogram", "grads.bins": [0, 1]}
    assert flatten(record, keep_typed=True) == record


@pytest.mark.parametrize(("value", "typed"), [({"_type": "x"}, True), ({"_type": 1}, False), ([], False)])
def test_a_typed_object_has_a_type_in_words(value: object, *, typed: bool) -> None:
    assert is_typed(value) is typed
