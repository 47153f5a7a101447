"""Families of names: names that differ only in numbers, such as `layers.0.norm` to `layers.47.norm`.

A family is written as one pattern, `layers.{0..47}.norm`, with the numbers of each position in braces:
stretches (`0..47`, `0..40..8` for every eighth) and single numbers, separated by commas. The members are all
combinations of the numbers of the positions, so a pattern says exactly which names it stands for. Names that
do not fill all combinations are written as several patterns, or stay as they are.

    members of all families and names left alone == the names given, each once
    the families do not depend on the order of the names
    the pattern alone gives back the members
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import TypeAlias

LEAST_MEMBERS = 5
"""The names that make a family at least; fewer are shown one by one."""

_MOST_POSITIONS = 8
"""The numbers in a name up to which it can belong to a family."""

_NUMBER = re.compile(r"(?<![0-9])([0-9]{1,9})(?![0-9])")
_STRETCH = re.compile(r"([0-9]{1,9})(?:\.\.([0-9]{1,9})(?:\.\.([0-9]{1,9}))?)?")
_BRACES = re.compile(r"\{([0-9]{1,9}(?:(?:,|\.\.)[0-9]{1,9})+)\}")

_Numerals: TypeAlias = Mapping[int, str]
"""The numbers at one position, each as it is written."""


@dataclass(frozen=True, slots=True)
class Family:
    """Names that differ only in numbers.

    Attributes:
        pattern: The pattern that stands for all of them.
        members: The names, in the order of their numbers.
    """

    pattern: str
    members: tuple[str, ...]


def find_families(names: Iterable[str]) -> list[Family]:
    """Return the families among names, in the order of their patterns; a name is in one of them at most."""
    shapes: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for name in sorted(set(names)):
        parts = _NUMBER.split(name)
        # A brace in a name would make its pattern ambiguous.
        if 1 < len(parts) <= 2 * _MOST_POSITIONS + 1 and "{" not in name and "}" not in name:
            shapes.setdefault(tuple(parts[::2]), []).append(tuple(parts[1::2]))
    found = [
        _family(texts, numerals)
        for texts, rows in shapes.items()
        if len(rows) >= LEAST_MEMBERS
        for numerals in _complete(rows)
    ]
    return sorted(found, key=lambda family: family.pattern)


def families_by_member(names: Iterable[str]) -> dict[str, Family]:
    """Return the family of each name that is in one."""
    return {name: family for family in find_families(names) for name in family.members}


def without_members(names: Sequence[str]) -> list[str]:
    """Return the names that are in no family, in their order."""
    folded = families_by_member(names)
    return [name for name in names if name not in folded]


def opened(regex: str) -> str:
    """Return a regular expression in which the braces of patterns match any of their numbers.

    A pattern that an answer shows can be given to `--select` as it is. Nothing else is changed: the counts of
    regular expressions (`{3}`, `{2,4}`) hold no `..` and at most one comma.
    """

    def alternatives(match: re.Match[str]) -> str:
        body = match[1]
        if ".." not in body and body.count(",") < 2:
            return match[0]
        numbers = "|".join(_written(body))
        return f"(?<![0-9])(?:{numbers})(?![0-9])" if numbers else match[0]

    return _BRACES.sub(alternatives, regex)


def _written(body: str) -> Iterator[str]:
    """Yield the numbers between two braces as they are written, at most `_MOST_NUMBERS` of them."""
    for item in body.split(","):
        match = _STRETCH.fullmatch(item)
        if match is None:
            continue
        first, last, step = match[1], int(match[2] or match[1]), int(match[3] or 1)
        numbers = range(int(first), last + 1, max(step, 1))
        yield from (str(number).zfill(len(first)) for number in numbers[:_MOST_NUMBERS])


_MOST_NUMBERS = 100_000
"""The numbers of one stretch that a pattern can be opened to."""


def _complete(rows: Sequence[tuple[str, ...]]) -> Iterator[list[_Numerals]]:
    """Yield sets of numerals by position all of whose combinations are among the rows, large ones only."""
    for part in _alike(rows):
        written = [dict.fromkeys(column) for column in zip(*part, strict=True)]
        spelled = [{int(numeral): numeral for numeral in column} for column in written]
        numbers = {tuple(map(int, row)) for row in part}
        for sets in _products(numbers):
            if prod(map(len, sets)) >= LEAST_MEMBERS:
                yield [
                    {number: names[number] for number in sorted(chosen)}
                    for names, chosen in zip(spelled, sets, strict=True)
                ]


def _alike(rows: Sequence[tuple[str, ...]]) -> Iterator[list[tuple[str, ...]]]:
    """Split rows so that the numbers of one position are written with as many zeros before them in each part.

    `8`, `9`, `10` and `08`, `09`, `10` are each written alike; `8` and `09` are not.
    """
    mixed = [not _is_consistent(column) for column in zip(*rows, strict=True)]
    parts: dict[tuple[int, ...], list[tuple[str, ...]]] = {}
    for row in rows:
        key = tuple(
            _padded_width(numeral) if is_mixed else 0 for numeral, is_mixed in zip(row, mixed, strict=True)
        )
        parts.setdefault(key, []).append(row)
    for _, part in sorted(parts.items()):
        yield part


def _is_consistent(column: Collection[str]) -> bool:
    widths = {_padded_width(numeral) for numeral in column} - {0}
    return not widths or (len(widths) == 1 and min(map(len, column)) >= max(widths))


def _padded_width(numeral: str) -> int:
    """Return the digits of a numeral with zeros before it, and 0 for any other."""
    return len(numeral) if len(numeral) > 1 and numeral[0] == "0" else 0


def _products(rows: Collection[tuple[int, ...]]) -> Iterator[tuple[frozenset[int], ...]]:
    """Split rows into parts that are all combinations of some numbers for each position."""
    if not next(iter(rows)):
        yield ()
        return
    rests: dict[int, set[tuple[int, ...]]] = {}
    for first, *rest in rows:
        rests.setdefault(first, set()).add(tuple(rest))
    firsts: dict[frozenset[tuple[int, ...]], set[int]] = {}
    for first, rest_rows in rests.items():
        firsts.setdefault(frozenset(rest_rows), set()).add(first)
    for shared, numbers in sorted(firsts.items(), key=lambda item: min(item[1])):
        for sets in _products(shared):
            yield (frozenset(numbers), *sets)


def _family(texts: Sequence[str], numerals: Sequence[_Numerals]) -> Family:
    positions = [
        next(iter(spelled.values())) if len(spelled) == 1 else f"{{{_stretches(spelled)}}}"
        for spelled in numerals
    ]
    return Family(
        pattern=_joined(texts, positions),
        members=tuple(_joined(texts, chosen) for chosen in product(*(one.values() for one in numerals))),
    )


def _joined(texts: Sequence[str], between: Sequence[str]) -> str:
    return texts[0] + "".join(part + text for part, text in zip(between, texts[1:], strict=True))


def _stretches(spelled: _Numerals) -> str:
    """Return ascending numbers as stretches with an even distance, and single ones between them."""
    numbers = list(spelled)
    parts = []
    start = 0
    while start < len(numbers):
        stop = start + 1
        step = numbers[stop] - numbers[start] if stop < len(numbers) else 1
        while stop < len(numbers) and numbers[stop] - numbers[stop - 1] == step:
            stop += 1
        # Two numbers alone are a stretch too, so that braces never look like the count of an expression.
        if stop - start < 3 and len(numbers) != 2:
            parts.append(spelled[numbers[start]])
            start += 1
            continue
        ends = f"{spelled[numbers[start]]}..{spelled[numbers[stop - 1]]}"
        parts.append(ends if step == 1 else f"{ends}..{step}")
        start = stop
    return ",".join(parts)
