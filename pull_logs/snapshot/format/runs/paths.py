"""The paths of very many runs, kept as columns: a path is made when it is used."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice, pairwise, repeat
from typing import overload

from pull_logs.runs import RunPath
from pull_logs.snapshot.format.packed import PackedTexts, TextsBuilder


class RunPaths(Sequence[RunPath]):
    """The paths of the runs of a bundle, ascending.

    Args:
        projects: Entity and project of the runs, ascending.
        starts: For each of these its first run.
        ids: The run id of each run.
    """

    def __init__(self, projects: Sequence[tuple[str, str]], starts: Sequence[int], ids: PackedTexts) -> None:
        self._projects, self._ids = projects, ids
        self._starts = [*starts, len(ids)]

    def __len__(self) -> int:
        return len(self._ids)

    @overload
    def __getitem__(self, index: int) -> RunPath: ...
    @overload
    def __getitem__(self, index: slice) -> list[RunPath]: ...
    def __getitem__(self, index: int | slice) -> RunPath | list[RunPath]:
        if isinstance(index, slice):
            return [self[number] for number in range(len(self))[index]]
        number = range(len(self))[index]
        project = self._projects[bisect_right(self._starts, number) - 1]
        return RunPath(*project, self._ids[number])

    def __iter__(self) -> Iterator[RunPath]:
        make = partial(tuple.__new__, RunPath)
        for (entity, project), ids in self.by_project():
            yield from map(make, zip(repeat(entity), repeat(project), ids))

    def by_project(self) -> Iterator[tuple[tuple[str, str], Iterator[str]]]:
        """Iterate over the projects, each with the ids of its runs, which are taken before the next."""
        ids = iter(self._ids)
        for project, (first, end) in zip(self._projects, pairwise(self._starts), strict=True):
            yield project, islice(ids, end - first)

    def __contains__(self, path: object) -> bool:
        return isinstance(path, RunPath) and self.find(path) is not None

    def find(self, path: RunPath) -> int | None:
        """Return the index of a path; None if it is not one of them."""
        number = bisect_left(self._projects, path[:2])
        if number == len(self._projects) or self._projects[number] != path[:2]:
            return None
        first, end = self._starts[number : number + 2]
        found = bisect_left(self._ids, path.run_id, first, end)
        return found if found < end and self._ids[found] == path.run_id else None


class PathsBuilder:
    """Collects the paths of runs.

    Attributes:
        in_order: Whether those that were added are ascending.
    """

    def __init__(self) -> None:
        self.in_order = True
        self._projects: list[tuple[str, str]] = []
        self._starts: list[int] = []
        self._ids = TextsBuilder()
        self._count = 0
        self._last: tuple[str, ...] = ()

    def add(self, keys: Iterable[tuple[str, str, str]]) -> None:
        """Add entity, project and run id of the next runs."""
        ids: list[str] = []
        for key in keys:
            self.in_order &= key > self._last
            if key[:2] != self._last[:2]:
                self._projects.append(key[:2])
                self._starts.append(self._count + len(ids))
            ids.append(key[2])
            self._last = key
        self._ids.extend(ids)
        self._count += len(ids)

    def paths(self) -> RunPaths:
        """Return the paths, which are in order."""
        return RunPaths(self._projects, self._starts, self._ids.texts())
