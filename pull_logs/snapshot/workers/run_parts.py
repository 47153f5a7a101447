"""A map over the runs of bundles in parts, for workers that have them open or open bundles themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeAlias, TypeVar

from pull_logs.executors import Engine
from pull_logs.snapshot.format import is_url
from pull_logs.snapshot.read import Run
from pull_logs.snapshot.workers.location import BundleLocation, located

_MOST_RUNS = 100
"""The most runs of a part."""

_MOST_ROWS = 1_000_000
"""A part takes a second or two, so that little is lost where one is stopped."""

_PARTS_PER_WORKER = 16
"""Parts that each worker has at least where they are not sent, so that all workers end together."""

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

RunItem: TypeAlias = tuple[Run, Any]
"""A run, and what else a function needs to know about it, which can be pickled."""


def map_runs_in_parts(
    function: Callable[[Sequence[RunItem]], ResultT], items: Sequence[RunItem], engine: Engine
) -> Iterator[ResultT]:
    """Iterate over what a function returns of each part, in the order of the runs.

    Args:
        function: Takes some runs; it can be pickled unless the engine shares the memory of this process.
        items: The runs.
        engine: Where it is called.

    Raises:
        PullLogsError: As the function, for the first part that it raises an error for; or a worker failed.
    """
    if engine.shares_memory or (engine.copies and not any(is_url(run.bundle_location) for run, _ in items)):
        return engine.map_open(function, _parts(items, most_runs(len(items), engine)))
    return engine.map(_open_part, (_Part.of(function, part) for part in _parts(items)))


def _parts(items: Sequence[RunItem], most: int | None = None) -> Iterator[list[RunItem]]:
    return divide_runs(
        items, bundle=lambda item: item[0].bundle_location, rows=lambda item: item[0].rows, most=most
    )


def divide_runs(
    items: Iterable[ItemT],
    *,
    bundle: Callable[[ItemT], str | None],
    rows: Callable[[ItemT], int],
    most: int | None = None,
) -> Iterator[list[ItemT]]:
    """Divide runs into parts: neighbours of one bundle, not too many and without too many rows.

    Args:
        items: The runs, in whatever they are wrapped.
        bundle: Returns where a run is stored.
        rows: Returns how many rows it has.
        most: The most runs of a part; as many as a worker is sent if None.
    """
    most = _MOST_RUNS if most is None else most
    for _, members in groupby(items, key=bundle):
        part: list[ItemT] = []
        total = 0
        for item in members:
            if part and (len(part) >= most or total + rows(item) > _MOST_ROWS):
                yield part
                part, total = [], 0
            part.append(item)
            total += rows(item)
        if part:
            yield part


def most_runs(runs: int, engine: Engine) -> int:
    """Return the most runs of a part that is not sent to a worker."""
    return max(1, min(_MOST_RUNS, runs // (_PARTS_PER_WORKER * engine.workers)))


@dataclass(frozen=True, slots=True)
class _Part:
    """Some runs of a bundle, for a worker that opens it.

    Attributes:
        function: What to do with the runs.
        bundle: The bundle.
        items: The path of each run, and what else the function needs.
    """

    function: Callable[[Sequence[RunItem]], Any]
    bundle: BundleLocation
    items: tuple[tuple[str, Any], ...]

    @classmethod
    def of(cls, function: Callable[[Sequence[RunItem]], Any], part: Sequence[RunItem]) -> _Part:
        """Return a part of open runs."""
        return cls(
            function, BundleLocation.of(part[0][0]), tuple((str(run.path), more) for run, more in part)
        )


def _open_part(part: _Part) -> Any:
    """Open the runs of a part and call the function: what a worker does."""
    with located(part.bundle) as bundle:
        return part.function([(bundle[path], more) for path, more in part.items])
