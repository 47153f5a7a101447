"""The folders of very many runs: each is made when it is used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import overload

from pull_logs.runs import RunPath
from pull_logs.snapshot.format.names import changed_segments, project_folders, run_folder
from pull_logs.snapshot.format.runs.paths import RunPaths


class RunFolders(Sequence[str]):
    """The folder of each run of a bundle, in path order.

    Args:
        paths: The runs.
        parents: The folder of each project.
        segments: The segments of the runs whose id is not their segment.
    """

    def __init__(
        self, paths: RunPaths, parents: Mapping[tuple[str, str], str], segments: Mapping[RunPath, str]
    ) -> None:
        self._paths, self._parents, self._segments = paths, parents, segments

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return list(map(self.of, self._paths[index]))
        return self.of(self._paths[index])

    def __iter__(self) -> Iterator[str]:
        for project, ids in self._paths.by_project():
            parent = self._parents[project]
            for run_id in ids:
                segment = self._segments.get(RunPath(*project, run_id), run_id) if self._segments else run_id
                yield run_folder(parent, segment)

    def of(self, path: RunPath) -> str:
        """Return the folder of a run, which is one of these."""
        segment = self._segments.get(path, path.run_id) if self._segments else path.run_id
        return run_folder(self._parents[path[:2]], segment)


def run_folders(paths: RunPaths) -> RunFolders:
    """Return the folder of each run, as `member_folders` does.

    Raises:
        DataError: A part of a path is empty, or two paths would have the same folder.
    """
    parents = project_folders(project for project, _ in paths.by_project())
    segments: dict[RunPath, str] = {}
    for project, ids in paths.by_project():
        changed = changed_segments(set(ids))
        segments |= {RunPath(*project, run_id): segment for run_id, segment in changed.items()}
    return RunFolders(paths, parents, segments)
