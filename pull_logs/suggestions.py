"""Names near one that was not found, and short lists of names, for messages."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from heapq import nsmallest
from itertools import islice
from pathlib import Path

MOST_NAMES = 5
"""Names that a message lists at most."""

_COMPARED = 200
"""Characters of a name that are compared, so that a very long one costs no more than the others."""

_LAST_PART = 0.9
"""How much it counts that the last parts are alike: `acc` may be meant as `val/acc`."""

_SWAPPED = 0.95
"""How alike two names are that differ in two neighbouring letters; the usual measure misses short ones."""


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.4, most: int = MOST_NAMES) -> list[str]:
    """Return the known names most like `name`, the nearest first; case is ignored.

    Args:
        name: The name that was not found.
        known: The names that exist.
        cutoff: The similarity, from 0 to 1, below which a name is not near.
        most: How many names to return at most.
    """
    complete, last = _likeness(name, cutoff), _likeness(_last_part(name), cutoff)
    scored = [(max(complete(other), _LAST_PART * last(_last_part(other))), other) for other in known]
    best = nsmallest(most, ((-score, other) for score, other in scored if score >= cutoff))
    return [other for _, other in best]


def _last_part(name: str) -> str:
    return re.split("[/.]", name)[-1]


def _swapped(one: str, other: str) -> bool:
    """Return whether two neighbouring letters of a name are swapped in another."""
    differ = [index for index, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]]
    if len(one) != len(other) or len(differ) != 2 or differ[1] != differ[0] + 1:
        return False
    first, second = differ
    return one[first] == other[second] and one[second] == other[first]


def _likeness(name: str, cutoff: float) -> Callable[[str], float]:
    """Return a function that gives how much another name is like this one, and 0 below the cutoff."""
    from difflib import SequenceMatcher  # only where a name was not found

    compared = name[:_COMPARED].lower()
    matcher = SequenceMatcher(None, b=compared)

    def ratio(other: str) -> float:
        other = other[:_COMPARED].lower()
        if _swapped(compared, other):
            return _SWAPPED
        matcher.set_seq1(other)
        if matcher.real_quick_ratio() < cutoff or matcher.quick_ratio() < cutoff:
            return 0.0
        return matcher.ratio()

    return ratio


def did_you_mean(
    name: str, known: Iterable[str], *, otherwise: str = "", cutoff: float = 0.4, most: int = MOST_NAMES
) -> str:
    """Return the hint of an error about an unknown name: the nearest names, else `otherwise`."""
    near = nearest(name, known, cutoff=cutoff, most=most)
    if not near:
        return otherwise
    return f"the nearest {'is' if len(near) == 1 else 'are'} {listed(near)}"


def nearest_file(path: Path) -> str:
    """Return the hint of an error about a path that does not exist: the most similar name in its folder."""
    try:
        names = {_stem(item.name): item.name for item in path.parent.iterdir()}
    except OSError:
        return ""
    near = nearest(_stem(path.name), names, cutoff=0.7, most=1)
    return f"the nearest is {names[near[0]]!r}" if near else ""


def _stem(name: str) -> str:
    """Return a name without its endings, which make all bundles alike."""
    return name.partition(".")[0] or name


def listed(names: Collection[str], *, most: int = MOST_NAMES) -> str:
    """Return quoted names for a message: all of them, or the first `most` and how many more there are."""
    return joined([repr(name) for name in names], most=most)


def joined(words: Collection[str], *, most: int = MOST_NAMES) -> str:
    """Return words for a message as they are: all of them, or `most` and how many more there are."""
    shown = ", ".join(islice(words, most))
    return shown if len(words) <= most else f"{shown} and {len(words) - most:,} more"


def shortened(text: str, *, most: int = 60) -> str:
    """Return a text for one line: itself, or its end after an ellipsis if it is too long."""
    return text if len(text) <= most else "…" + text[1 - most :]


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: `1 run`, `2 runs`, `12,000 rows`."""
    return f"{number:,} {numbered(number, noun, plural)}"


def incomplete_text(number: int, total: int) -> str:
    """Return how many of all runs are incomplete: `1 of 16 runs is incomplete`."""
    return f"{number:,} of {counted(total, 'run')} {numbered(number, 'is', 'are')} incomplete"


def numbered(number: int, noun: str, plural: str = "") -> str:
    """Return a noun, or what follows a number, as the number wants it: `run` after 1, else `runs`."""
    return noun if number == 1 else plural or f"{noun}s"
