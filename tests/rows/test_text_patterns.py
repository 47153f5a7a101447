"""Patterns match as RE2 does, in time that grows with the text and not with the ways to match it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.rows.patterns import MAX_PATTERN, TextPattern

PIECES = st.sampled_from(["a", "b", ".", "[^a]", "(a|b)", "a*", "b+", "^", "(?:ab)?"])


@given(st.lists(PIECES, max_size=6).map("".join), st.lists(st.text("abc é", max_size=8), max_size=4))
def test_a_pattern_is_found_where_python_finds_it(pattern: str, texts: list[str]) -> None:
    expected = [re.search(pattern, text) is not None for text in texts]
    compiled = TextPattern(pattern)
    assert compiled.search_all(texts) == expected
    assert [compiled.search(text) for text in texts] == expected


def test_a_pattern_that_makes_python_backtrack_is_answered_for_a_megabyte() -> None:
    pattern = TextPattern("(a+)+$")
    assert not pattern.search("a" * 2**20 + "b")
    assert pattern.search("b" * 2**20 + "a")


@pytest.mark.parametrize("pattern", ["(", "a(?=b)", r"(a)\1", "[b-a]", "(?<!a)b", "((a{1000}){1000}){1000}"])
def test_what_needs_backtracking_or_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"^is not a valid regular expression .RE2.: ."):
        TextPattern(pattern)


def test_a_long_pattern_is_refused_and_half_a_surrogate_pair_in_a_text_is_only_replaced() -> None:
    with pytest.raises(ValueError, match=r"^has 1001 characters, and 1000 are the most$"):
        TextPattern("a" * (MAX_PATTERN + 1))
    assert TextPattern("^a.b$").search("a\ud800b")
    with pytest.raises(ValueError, match=r"not a valid regular expression .RE2.: it is not valid Unicode"):
        TextPattern("\ud800")
