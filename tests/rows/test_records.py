"""The JSON of a config or a summary is read into the canonical record, in one pass or in two."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rowkit import KEYS, values

from pull_logs.errors import DataError
from pull_logs.rows.canonical import MAX_VALUE_DEPTH, canon_record, parse_json, parse_record, same

records = st.dictionaries(st.sampled_from(KEYS), values, max_size=6)


@given(records)
def test_reading_a_record_is_reading_json_and_making_it_canonical(record: dict[str, Any]) -> None:
    for text in (json.dumps(record), json.dumps(record, ensure_ascii=False)):
        assert same(parse_record(text), canon_record(parse_json(text)))


@pytest.mark.parametrize(
    "text", ['{"a": 1.0, "b": -0.0, "c": 1e300}', '{"n": NaN, "m": [Infinity]}', "[1.5]", '"x"']
)
def test_numbers_are_canonical_and_other_json_is_its_value(text: str) -> None:
    expected = {"a": 1, "b": 0, "c": 1e300} if text.startswith('{"a"') else parse_json(text)
    assert same(parse_record(text), expected)


def test_a_record_nested_too_deep_and_what_is_not_json_are_refused() -> None:
    def nested(depth: int) -> str:
        return '{"a":' * depth + "1" + "}" * depth

    assert same(parse_record(nested(MAX_VALUE_DEPTH)), canon_record(parse_json(nested(MAX_VALUE_DEPTH))))
    with pytest.raises(DataError, match=r"^a value is nested deeper than 200 levels$"):
        parse_record(nested(MAX_VALUE_DEPTH + 1))
    for text in ('{"a": }', '{"a": "\\u12"}'):
        with pytest.raises(DataError, match=r"^not JSON: "):
            parse_record(text)
