"""The cache keeps within its bytes and makes each entry once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.replay.data.bounded_cache import BoundedCache
from pull_logs.replay.http.request_counts import MAX_NAMES, RequestCounts


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 40))))
def test_the_cache_gives_what_was_made_and_keeps_within_its_limit(asked: list[tuple[int, int]]) -> None:
    cache = BoundedCache[tuple[int, int], bytes](limit=60, size=len)
    for key in asked:
        assert cache.get(key, lambda size=key[1]: bytes(size)) == bytes(key[1])  # type: ignore[misc]
        assert cache.held <= 60


def test_the_least_recently_used_entry_goes_first() -> None:
    cache = BoundedCache[str, bytes](limit=2, size=len)
    made: list[str] = []

    def get(key: str) -> None:
        def make() -> bytes:
            made.append(key)
            return b"x"

        cache.get(key, make)

    for key in "abacab":
        get(key)
    assert made == ["a", "b", "c", "b"]


def test_an_entry_larger_than_the_limit_is_kept_alone() -> None:
    cache = BoundedCache[str, bytes](limit=2, size=len)
    cache.get("small", lambda: b"x")
    cache.get("large", lambda: b"large")
    assert cache.get("large", lambda: b"never made") == b"large"
    assert cache.held == 5


def test_an_entry_that_many_ask_for_is_made_once() -> None:
    cache = BoundedCache[str, bytes](limit=9, size=len)
    gate, made = threading.Barrier(8), []

    def make() -> bytes:
        made.append(threading.get_ident())
        return b"x"

    def ask(_: int) -> bytes:
        gate.wait(timeout=10)
        return cache.get("key", make)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == [b"x"] * 8
    assert len(made) == 1


def test_what_could_not_be_made_is_tried_again() -> None:
    cache = BoundedCache[str, bytes](limit=9, size=len)
    with pytest.raises(ZeroDivisionError):
        cache.get("key", lambda: bytes(1 // 0))
    assert cache.get("key", lambda: b"x") == b"x"


def test_only_so_many_operation_names_are_told_apart() -> None:
    counts = RequestCounts()
    for at in range(MAX_NAMES + 5):
        counts.add(f"name {at}")
    counts.add("name 0")
    assert (counts["name 0"], counts["(other)"], counts.total) == (2, 5, MAX_NAMES + 6)
    assert len(counts.as_dict()) == MAX_NAMES + 1
    counts.clear()
    assert counts.as_dict() == {}
