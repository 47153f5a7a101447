"""Cutting a value keeps its form: a record in a list has all its keys, or is not there."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from pull_logs.cli.render.cutting import clip, longest

RECORDS = st.lists(
    st.fixed_dictionaries({"value": st.text(max_size=30) | st.integers(), "runs": st.integers()})
)


@given(RECORDS, st.integers(0, 300))
@example([{"value": "x", "runs": 1}] * 10, 30)
@example([{"value": "", "runs": 0}] * 2, 28)
def test_a_record_of_a_list_has_all_its_keys(records: list[dict[str, Any]], chars: int) -> None:
    kept = clip(records, chars)
    assert len(kept) <= len(records)
    assert all(record.keys() == {"value", "runs"} for record in kept)
    if len(json.dumps(records)) <= chars:
        assert kept == records


@given(st.recursive(st.text() | st.integers(), lambda inner: st.lists(inner, max_size=4)), st.integers(0, 60))
def test_a_cut_value_is_no_longer_than_it_may_be(value: Any, chars: int) -> None:
    assert longest(clip(value, chars)) <= max(chars, len("…"), len("[]"))
