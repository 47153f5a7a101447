"""Runs that no other run improves on in every respect."""

from __future__ import annotations

from collections.abc import Sequence

Point = tuple[float, ...]


def pareto_front(points: Sequence[Point]) -> list[int]:
    """Return the indices of the points that no other dominates, in the order of their values.

    A point dominates another if none of its numbers is greater and one is less. Equal points do not dominate
    each other.

    Args:
        points: Finite numbers, of each of which less is better.
    """
    front: list[int] = []
    kept: list[Point] = []
    for index in sorted(range(len(points)), key=lambda index: points[index]):
        # A point is dominated only by points before it in this order, and by one of the front if by any.
        point = points[index]
        if not any(_dominates(other, point) for other in kept):
            front.append(index)
            kept.append(point)
    return front


def _dominates(one: Point, other: Point) -> bool:
    return one != other and all(left <= right for left, right in zip(one, other, strict=True))
