"""Names near one that was not found, and lists of names in messages."""

from __future__ import annotations

import ast
import re
from difflib import SequenceMatcher
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import pull_logs
from pull_logs.suggestions import MOST_NAMES, counted, did_you_mean, joined, listed, nearest, numbered

names = st.text("abcABC/._1", max_size=8)


def likeness(name: str, other: str) -> float:
    name, other = name.lower(), other.lower()
    swaps = {name[:at] + name[at + 1] + name[at] + name[at + 2 :] for at in range(len(name) - 1)} - {name}
    return 0.95 if other in swaps else SequenceMatcher(None, other, name).ratio()


@example("A1", ["1A"], 0.75)
@given(names, st.lists(names, max_size=12), st.floats(0, 1))
def test_the_nearest_are_those_most_alike(name: str, known: list[str], cutoff: float) -> None:
    def score(other: str) -> float:
        ends = [text.replace("/", ".").rpartition(".")[2] for text in (name, other)]
        return max(likeness(name, other), 0.9 * likeness(*ends))

    ranked = sorted((other for other in known if score(other) >= cutoff), key=lambda o: (-score(o), o))
    assert nearest(name, known, cutoff=cutoff) == ranked[:MOST_NAMES]


@pytest.mark.parametrize(
    ("name", "known", "found"),
    [
        ("val_loss", ["train/loss", "val/loss", "lr"], ["val/loss", "train/loss"]),
        ("acc", ["val/acc", "epoch"], ["val/acc"]),
        ("LOSS", ["loss", "lr"], ["loss"]),
        ("zzz", ["loss", "acc"], []),
        ("x" * 10_000, ["x" * 10_000], ["x" * 10_000]),
    ],
)
def test_a_misspelt_name_finds_the_one_that_was_meant(name: str, known: list[str], found: list[str]) -> None:
    assert nearest(name, known) == found


def test_a_hint_lists_what_is_near_or_says_otherwise() -> None:
    assert did_you_mean("los", ["loss", "acc"], otherwise="no metrics") == "the nearest is 'loss'"
    assert did_you_mean("los", ["loss", "loss2"]) == "the nearest are 'loss', 'loss2'"
    assert did_you_mean("zzz", ["loss"], otherwise="it has 'loss'") == "it has 'loss'"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, ""),
        (1, "'0'"),
        (5, "'0', '1', '2', '3', '4'"),
        (6, "'0', '1', '2', '3', '4' and 1 more"),
        (5000, "'0', '1', '2', '3', '4' and 4,995 more"),
    ],
)
def test_a_list_of_names_is_short_and_says_how_many_more(count: int, text: str) -> None:
    assert listed([str(number) for number in range(count)]) == text


def test_a_number_has_its_noun() -> None:
    assert [counted(number, "run") for number in (0, 1, 12_000)] == ["0 runs", "1 run", "12,000 runs"]
    assert counted(2, "entry", "entries") == "2 entries"
    assert [f"{number} {numbered(number, 'row')}" for number in (0, 1, 12_000)] == [
        "0 rows",
        "1 row",
        "12000 rows",
    ]
    assert numbered(1, "run was", "runs were") == "run was"


def test_no_message_counts_one_more_thing_as_several() -> None:
    wrong = [
        f"{path}:{node.lineno}"
        for path in sorted(Path(pull_logs.__file__).parent.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.JoinedStr)
        for before, after in pairwise(node.values)
        if isinstance(before, ast.FormattedValue)
        and isinstance(after, ast.Constant)
        and re.match(r" more [a-z]+s\b", str(after.value))
    ]
    assert not wrong, "use counted() or numbered()"


@given(st.lists(st.text(max_size=3), max_size=12), st.integers(1, 6))
def test_words_are_joined_as_they_are(words: list[str], most: int) -> None:
    more = len(words) - most
    assert joined(words, most=most) == ", ".join(words[:most]) + (f" and {more} more" if more > 0 else "")
    assert listed(words, most=most) == joined(list(map(repr, words)), most=most)
