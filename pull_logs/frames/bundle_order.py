"""The order in which runs are read: bundle by bundle.

Of the bundles of a set only a few are open at once, and in path order its runs may be in any of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from operator import eq
from typing import TypeVar

ResultT = TypeVar("ResultT")


def by_bundle(bundle_ids: Iterable[str]) -> list[list[int]]:
    """Return the positions of runs, bundle by bundle: the bundle of the first run first.

    Args:
        bundle_ids: The identity of the bundle of each run.
    """
    found: dict[str, list[int]] = {}
    for position, bundle_id in enumerate(bundle_ids):
        found.setdefault(bundle_id, []).append(position)
    return list(found.values())


def bundle_order(bundle_ids: Iterable[str]) -> Sequence[int]:
    """Return the positions of runs in the order in which they are read; a range if that is their own."""
    found = [position for positions in by_bundle(bundle_ids) for position in positions]
    as_given = range(len(found))
    return as_given if all(map(eq, found, as_given)) else found


def put_back(order: Sequence[int], found: Iterable[ResultT]) -> Iterator[ResultT]:
    """Iterate over results in the order of the runs.

    Args:
        order: The position of the run of each result.
        found: The results.
    """
    waiting: dict[int, ResultT] = {}
    due = 0
    for position, one in zip(order, found, strict=True):
        waiting[position] = one
        while due in waiting:
            yield waiting.pop(due)
            due += 1
