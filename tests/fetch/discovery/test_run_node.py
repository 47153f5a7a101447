"""Runs are read from GraphQL whichever of its spellings they come in."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pull_logs.errors import DataError
from pull_logs.fetch.discovery.run_node import read_exports, read_node, utc_text
from pull_logs.fetch.discovery.run_plan import FoundRun, Promise


def read(**node: Any) -> FoundRun:
    return read_node({"name": "r1", **node}, entity="acme", project="nano", host="api.test", now=5.0)


def test_a_bare_run_is_named_by_its_id() -> None:
    found = read()
    assert (str(found.path), found.info.name, found.info.host) == ("acme/nano/r1", "r1", "api.test")
    assert (found.promise, found.exports) == (Promise(None, None), None)


def test_the_config_is_unwrapped_and_its_internal_keys_are_apart() -> None:
    text = (
        '{"lr":{"value":0.1,"desc":null},"plain":3,"n":{"value":null},'
        '"_wandb":{"value":{"m":[]}},"wandb_version":1}'
    )
    info = read(config=text).info
    assert info.config == {"lr": 0.1, "plain": 3, "n": None}
    assert info.config_internal == {"_wandb": {"m": []}, "wandb_version": 1}


@pytest.mark.parametrize("summary", ['{"a": {"b": "NaN"}, "c": 1.0}', {"a": {"b": "NaN"}, "c": 1.0}])
def test_the_summary_is_a_string_or_an_object(summary: object) -> None:
    found = read(summaryMetrics=summary).info.summary
    assert math.isnan(found["a"]["b"])
    assert type(found["c"]) is int


def test_control_characters_in_a_config_are_read() -> None:
    assert read(config='{"a": {"value": "x\ny"}}').info.config == {"a": "x\ny"}


def test_a_config_that_is_not_json_is_reported() -> None:
    with pytest.raises(DataError, match=r"^not JSON: "):
        read(config="{")


def test_a_run_without_a_name_is_reported() -> None:
    with pytest.raises(DataError, match=r"^W&B listed a run of acme/nano without a name$"):
        read_node({}, entity="acme", project="nano", host="h", now=0)


@pytest.mark.parametrize(
    ("keys", "last"),
    [
        ({"lastStep": 7}, 7),
        ({"lastStep": 7.0}, 7),
        ({"lastStep": -1}, None),
        ({"lastStep": "NaN"}, None),
        ('{"lastStep": Infinity}', None),
        ('{"lastStep": 7, "keys": {"loss": {"typeCounts": [{"count": NaN}]}}}', 7),
        ("[7]", None),
        ("{}", None),
        (None, None),
        ({}, None),
    ],
)
def test_the_last_step_is_read_defensively(keys: object, last: int | None) -> None:
    assert read(historyKeys=keys, historyLineCount=3).promise == Promise(3, last)


def test_files_are_known_by_their_path_and_live_steps_by_their_value() -> None:
    live = [{"_step": 5.0}, {"_step": 3}, {"_step": 5}, {}]
    exports = read_exports(
        {"parquetUrls": ["https://s/b/x?sig=1", "https://s/b/y?sig=2"], "liveData": live}, now=1.0
    )
    assert exports is not None
    assert dict(exports.urls) == {"s/b/x": "https://s/b/x?sig=1", "s/b/y": "https://s/b/y?sig=2"}
    assert exports.live_steps is not None
    assert exports.live_steps.tolist() == [3, 5]


@pytest.mark.parametrize("live", [None, "x", [{"_step": "?"}]])
def test_live_data_that_says_nothing_is_not_an_empty_list(live: object) -> None:
    exports = read_exports({"parquetUrls": None, "liveData": live}, now=0)
    assert exports is not None
    assert exports.live_steps is None


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-01-02T03:04:05", "2026-01-02T03:04:05Z"),
        ("2026-01-02T03:04:00Z", "2026-01-02T03:04:00Z"),
        ("2026-01-02T03:04:05.120000Z", "2026-01-02T03:04:05.12Z"),
        ("2026-01-02T03:04:05+02:00", "2026-01-02T01:04:05Z"),
        ("last week", "last week"),
        (None, None),
    ],
)
def test_times_are_utc_in_one_spelling(text: object, utc: str | None) -> None:
    assert utc_text(text) == utc
