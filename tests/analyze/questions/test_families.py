"""Laws and examples of families: names that differ only in numbers."""

from __future__ import annotations

import random
import re
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.analyze.questions.families import (
    LEAST_MEMBERS,
    families_by_member,
    find_families,
    opened,
    without_members,
)

TEXTS = st.sampled_from(["", "/", "layers.", ".norm", "_", "a{", "}", "é", "x"])
NUMERALS = st.one_of(st.integers(0, 12).map(str), st.sampled_from(["00", "01", "007", "08", "10", "1" * 12]))
NAMES = st.lists(st.one_of(TEXTS, NUMERALS), max_size=7).map("".join)


def expand(pattern: str) -> list[str]:
    """Every name that a pattern stands for, read from docs/output.md alone."""
    parts = re.split(r"\{([^{}]*)\}", pattern)
    choices = []
    for index, part in enumerate(parts):
        if index % 2 == 0:
            choices.append([part])
            continue
        numbers = []
        for item in part.split(","):
            first, *rest = item.split("..")
            last, step = rest[0] if rest else first, int(rest[1]) if len(rest) > 1 else 1
            numbers += [str(n).zfill(len(first)) for n in range(int(first), int(last) + 1, step)]
        choices.append(numbers)
    return ["".join(chosen) for chosen in product(*choices)]


@st.composite
def grids(draw: st.DrawFn) -> list[str]:
    """Names with up to three numbers, of which some combinations may be left out."""
    texts = draw(st.lists(st.sampled_from(["a", "b.", "/c", "-"]), min_size=2, max_size=4))
    numbers = [draw(st.lists(NUMERALS, min_size=1, max_size=7, unique=True)) for _ in texts[1:]]
    names = [
        texts[0] + "".join(number + text for number, text in zip(chosen, texts[1:], strict=True))
        for chosen in product(*numbers)
    ]
    kept = draw(st.lists(st.booleans(), min_size=len(names), max_size=len(names)))
    return [name for name, keep in zip(names, kept, strict=True) if keep or draw(st.booleans())]


@given(st.one_of(grids(), st.lists(NAMES, max_size=40)), st.lists(NAMES, max_size=5), st.randoms())
def test_no_name_is_lost_or_added_and_the_order_does_not_matter(
    names: list[str], others: list[str], rng: random.Random
) -> None:
    names = list(dict.fromkeys([*names, *others]))
    families = find_families(names)
    members = [name for family in families for name in family.members]
    assert sorted([*members, *without_members(names)]) == sorted(names)
    assert all(len(family.members) >= LEAST_MEMBERS for family in families)
    shuffled = names.copy()
    rng.shuffle(shuffled)
    assert find_families(shuffled) == families


@given(st.one_of(grids(), st.lists(NAMES, max_size=40)))
def test_a_pattern_gives_back_its_members(names: list[str]) -> None:
    for family in find_families(names):
        assert expand(family.pattern) == list(family.members)


@given(grids())
def test_a_pattern_selects_its_members_and_no_other_name(names: list[str]) -> None:
    for family in find_families(names):
        search = re.compile(opened(family.pattern.replace(".norm", r"\.norm"))).fullmatch
        assert {name for name in names if search(name)} == set(family.members)


@pytest.mark.parametrize(
    ("names", "patterns"),
    [
        ([f"combined/ngram_{n}" for n in range(1, 513)], ["combined/ngram_{1..512}"]),
        (
            [f"layers.{n}.{part}" for n in range(48) for part in ("attn.norm", "mlp.norm")],
            ["layers.{0..47}.attn.norm", "layers.{0..47}.mlp.norm"],
        ),
        ([f"l{a}/e{b}" for a in range(12) for b in (0, 8, 16, 24)], ["l{0..11}/e{0..24..8}"]),
        ([f"top{a}/l{b}" for a in (1, 5) for b in range(3)], ["top{1..5..4}/l{0..2}"]),
        ([f"ngram_{2**n}" for n in range(7)], ["ngram_{1,2,4,8,16,32,64}"]),
        ([f"shard{n:02d}" for n in range(8, 101)], ["shard{08..100}"]),
        ([*(f"w{n}" for n in range(5, 10)), *(f"w0{n}" for n in range(1, 6))], ["w{01..05}", "w{5..9}"]),
        ([f"pass@{n}" for n in (1, 5, 10, 100)], []),
        ([f"a{{{n}}}" for n in range(9)], []),
        (["loss", "val/loss", "acc1", "acc5"], []),
    ],
)
def test_what_is_a_family(names: list[str], patterns: list[str]) -> None:
    assert [family.pattern for family in find_families(names)] == patterns


def test_combinations_that_are_missing_make_several_families() -> None:
    names = [f"l{a}.h{b}" for a in range(6) for b in range(6) if (a, b) != (5, 5)]
    assert [family.pattern for family in find_families(names)] == ["l5.h{0..4}", "l{0..4}.h{0..5}"]


def test_a_name_knows_its_family() -> None:
    found = families_by_member([*(f"x{n}" for n in range(5)), "y"])
    assert {name: family.pattern for name, family in found.items()} == {f"x{n}": "x{0..4}" for n in range(5)}


@pytest.mark.parametrize(
    ("regex", "expected"),
    [
        ("a{3}b{2,4}c{5,}", "a{3}b{2,4}c{5,}"),
        ("x{08..10}", "x(?<![0-9])(?:08|09|10)(?![0-9])"),
        ("x{1,5,7}$", "x(?<![0-9])(?:1|5|7)(?![0-9])$"),
        ("x{5..1}", "x{5..1}"),
    ],
)
def test_only_the_braces_of_patterns_are_opened(regex: str, expected: str) -> None:
    assert opened(regex) == expected
