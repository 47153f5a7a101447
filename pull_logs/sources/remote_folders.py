"""Folders of runs on object storage: listed folder by folder, and the files of one kind downloaded.

Only files whose names are those of a kind are downloaded, into the scratch folder, under their own paths, so
that runs have the names that a local copy of the folder gives them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pull_logs.errors import FileMissingError, MachineLimitError, NetworkError, UsageError
from pull_logs.sources.tracked_runs import Tracker
from pull_logs.suggestions import counted

if TYPE_CHECKING:
    from pull_logs.snapshot.storage import StoredObject

MOST_LISTED = 100_000
"""The most objects and folders that are listed; beyond, the URL is probably not that of the runs."""

_AT_ONCE = 8
_MOST_PART = 255


class RemoteTracker(Tracker, Protocol):
    """A kind of source whose files are also read from object storage."""

    @property
    def beside(self) -> frozenset[str]:
        """The names of files that are read beside those of runs."""

    def reads(self, name: str) -> bool:
        """Return whether a file has a run of this kind, by its name."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file on object storage.

    Attributes:
        path: Its path there: the bucket and the key.
        size: Its size.
    """

    path: str
    size: int

    @property
    def name(self) -> str:
        """Its name."""
        return self.path.rpartition("/")[2]

    @property
    def parts(self) -> Sequence[str] | None:
        """The parts of its path; None if no local file can have it."""
        parts = self.path.split("/")
        ordinary = all(
            part not in ("", ".", "..") and len(os.fsencode(part)) <= _MOST_PART and "\0" not in part
            for part in parts
        )
        return parts if ordinary else None


@dataclass(frozen=True, slots=True)
class RemoteFolder:
    """A folder on object storage, or one file.

    Attributes:
        target: Where it is.
        files: The files at and below it, by path.
    """

    target: StoredObject
    files: Sequence[RemoteFile]

    @classmethod
    def open(cls, url: str, trackers: Sequence[RemoteTracker]) -> RemoteFolder:
        """List the files that some kinds of sources read.

        Raises:
            UsageError: There are too many objects, or a library is not installed.
            FileMissingError: There is nothing at the URL.
            SignInError: It may not be read.
            NetworkError: It cannot be reached.
        """
        from pull_logs.snapshot.format import shown_url
        from pull_logs.snapshot.storage import object_at

        target = object_at(url, shown=shown_url(url))
        with target.errors():
            files = [
                file
                for file in _listed(target)
                if any(tracker.reads(file.name) or file.name in tracker.beside for tracker in trackers)
            ]
        return cls(target, sorted(files, key=lambda file: file.path))

    def has(self, tracker: RemoteTracker) -> bool:
        """Return whether there are runs of a kind, by the names of the files."""
        return any(tracker.reads(file.name) for file in self.files)

    def download(self, tracker: RemoteTracker, folder: Path) -> tuple[Path, list[str]]:
        """Download the files of a kind into a new folder.

        Returns:
            The local path of the folder or file, and notes about what was left out.

        Raises:
            FileMissingError: There is none.
            NetworkError: A file cannot be read, or is not complete.
            MachineLimitError: The disk has no space for them.
        """
        if not self.has(tracker):
            raise FileMissingError(
                f"no file of {tracker.name} in {self.target.shown!r}", hint="check the URL, and its kind"
            )
        wanted = [file for file in self.files if tracker.reads(file.name) or file.name in tracker.beside]
        named = [(file, folder.joinpath(*file.parts)) for file in wanted if file.parts is not None]
        _check_space(self.target.shown, folder.parent, sum(file.size for file, _ in named))
        for start in range(0, len(named), _AT_ONCE):
            self._download(named[start : start + _AT_ONCE])
        lost = len(wanted) - len(named)
        notes = [f"{counted(lost, 'object')} of {self.target.shown!r} have names that no file can have"]
        return folder.joinpath(*self.target.path.rstrip("/").split("/")), notes if lost else []

    def _download(self, files: Sequence[tuple[RemoteFile, Path]]) -> None:
        for _, local in files:
            local.parent.mkdir(parents=True, exist_ok=True)
        with self.target.errors():
            self.target.system.get([file.path for file, _ in files], [str(local) for _, local in files])
        for file, local in files:
            arrived = local.stat().st_size
            if arrived < file.size:  # a log that is still written may have grown
                raise NetworkError(
                    f"{file.name!r} of {self.target.shown!r} has {file.size} bytes, and {arrived} arrived",
                    hint="run the same command again",
                )


def _listed(target: StoredObject) -> Iterator[RemoteFile]:
    """Yield all files at and below a path, one folder at a time.

    Raises:
        UsageError: There are too many.
    """
    system = target.system
    info = system.info(target.path)
    if info["type"] == "file":
        yield RemoteFile(_path_of(info), int(info["size"]))
        return
    folders, seen = [target.path], 0
    while folders:
        entries: list[dict[str, Any]] = system.ls(folders.pop(), detail=True)
        system.invalidate_cache()  # the listings of all folders would stay in memory
        seen += len(entries)
        if seen > MOST_LISTED:
            raise UsageError(
                f"there are more than {MOST_LISTED:,} objects in {target.shown!r}",
                hint="name a folder below it that has the runs",
            )
        for entry in entries:
            if entry["type"] == "directory":
                folders.append(_path_of(entry))
            elif not _path_of(entry).endswith("/"):  # the object that stands for a folder
                yield RemoteFile(_path_of(entry), int(entry["size"]))


def _path_of(info: dict[str, Any]) -> str:
    return str(info["name"])


def _check_space(shown: str, folder: Path, wanted: int) -> None:
    """Refuse to download more than there is space for.

    Raises:
        MachineLimitError: There is not enough.
    """
    free = shutil.disk_usage(folder).free
    if wanted > free:
        raise MachineLimitError(
            f"the files of {shown!r} have {wanted / 1e6:,.1f} MB, and the disk has {free / 1e6:,.1f} MB left",
            hint="free some space, or name a folder below",
        )
