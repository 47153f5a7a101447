"""Finding W&B's logs in run folders and in folders above them, at any depth.

    wandb/offline-run-20261123_103448-3fk2a/run-3fk2a.wandb
    wandb/run-20261123_103448-3fk2a/run-3fk2a.wandb
    wandb/latest-run -> one of them
    outputs/2026-11-23/10-34-48/wandb/run-20261123_103448-3fk2a/run-3fk2a.wandb

Each start of a run, a resume included, has its own folder, named by the local time and the run id. See
docs/protocol.md, "Local run logs". A folder is searched to its end, even below a run folder, because the
SDK writes to any folder it is given. Symbolic links are followed after the real folders, and a folder or log
that was reached before, through `latest-run` or through another argument, counts once. What looks like a run
and is left out is reported.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pull_logs.errors import FileMissingError
from pull_logs.suggestions import nearest_file
from pull_logs.system_errors import from_system_error

_RUN_FOLDER = re.compile(r"(?:offline-)?run-(\d{8}_\d{6})-.+", re.DOTALL)
_OLD_RUN_FOLDER = re.compile(r"(?:dry)?run-\d{8}_\d{6}-.+", re.DOTALL)
_OLD_HISTORY = "wandb-history.jsonl"
"""The history that SDKs before 0.10 kept in the run folder, instead of a log."""

_LATEST_RUN = "latest-run"
_HINT = "name a run folder (offline-run-DATE-ID, run-DATE-ID), a folder above one, or a log of another kind"


@dataclass(frozen=True, slots=True)
class FoundLogs:
    """The logs of some folders.

    Attributes:
        files: The logs, sorted by the names of their folders, which begin with the time of the start.
        notes: How many logs were found below a folder if they are spread over several, and what looks like
            a run and was left out; one sentence each.
    """

    files: tuple[Path, ...]
    notes: tuple[str, ...]


def find_logs(paths: Sequence[Path]) -> FoundLogs:
    """Find the logs in run folders and in folders above them; a log may be given itself.

    Raises:
        FileMissingError: A path does not exist, or there is no run in it.
    """
    files: set[Path] = set()
    notes: list[str] = []
    for path in paths:
        if not path.exists():
            raise FileMissingError(f"no file or folder {str(path)!r}", hint=nearest_file(path))
        try:
            found = _logs_in(path)
        except OSError as exc:
            raise from_system_error(exc, path=path, action="read") from exc
        if not found.files:
            raise FileMissingError(
                f"no W&B run in {str(path)!r}",
                hint="; ".join([*found.notes, _HINT]),
            )
        files.update(found.files)
        notes += found.notes
    return FoundLogs(tuple(sorted(files, key=start_order)), tuple(dict.fromkeys(notes)))


def has_logs(path: Path) -> bool:
    """Return whether there is a log at or below a path.

    Raises:
        OSError: The path cannot be read.
    """
    return bool(_logs_in(path).files)


def start_order(file: Path, started_at: str | None = None) -> tuple[str, int, str]:
    """Return a sort key that puts the logs of one run in the order in which they were started.

    Args:
        file: The log.
        started_at: The time of the start in the log, in UTC. Without it, the time in the name of the folder
            is used, which is in the local time of its machine and has only seconds: W&B gives the second
            folder of the same second the suffix `-1`.
    """
    match = _RUN_FOLDER.fullmatch(file.parent.name)
    if started_at is None and match is not None:
        day, time = match[1].split("_")
        started_at = f"{day[:4]}-{day[4:6]}-{day[6:]}T{time[:2]}:{time[2:4]}:{time[4:]}"
    return (started_at or "").removesuffix("Z"), len(file.parent.name), str(file)


def _logs_in(path: Path) -> FoundLogs:
    if path.is_file():
        return FoundLogs((path.resolve(),) if path.suffix == ".wandb" else (), ())
    files: set[Path] = set()
    parents: set[Path] = set()
    walk = _Walk()
    for folder in walk.walk(path):
        name = folder.path.resolve().name
        if folder.logs:
            files.update(folder.logs)
            parents.add(folder.path.parent)
        elif folder.has_old_history and _OLD_RUN_FOLDER.fullmatch(name):
            walk.notes.append(
                f"{str(folder.path)!r} holds no log (run-ID.wandb), because an SDK before 0.10 wrote it, "
                "and was left out"
            )
        elif _RUN_FOLDER.fullmatch(name):
            walk.notes.append(f"{str(folder.path)!r} holds no log (run-ID.wandb) and was left out")
    count = [f"{len(files)} logs in {len(parents)} folders below {str(path)!r}"] if len(parents) > 1 else []
    return FoundLogs(tuple(files), (*count, *walk.notes))


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder that was searched.

    Attributes:
        path: The folder, as it was reached.
        logs: The logs in it, with links resolved.
        has_old_history: Whether it has the history of an SDK that wrote no logs.
    """

    path: Path
    logs: tuple[Path, ...]
    has_old_history: bool


@dataclass(slots=True)
class _Walk:
    """A search of a folder, which visits each folder below it once.

    Attributes:
        notes: The folders that could not be read and the links that lead to nothing, one sentence each.
    """

    notes: list[str] = field(default_factory=list)
    _seen: set[tuple[int, int]] = field(default_factory=set)
    _inner: list[Path] = field(default_factory=list)
    _links: list[Path] = field(default_factory=list)

    def walk(self, top: Path) -> Iterator[_Folder]:
        """Yield a folder and all folders below it, real ones before those that symbolic links lead to.

        Raises:
            OSError: `top` cannot be read. A folder below it that cannot be read becomes a note.
        """
        self._inner.append(top)
        while self._inner or self._links:
            path = self._inner.pop() if self._inner else self._links.pop(0)
            try:
                folder = self._visit(path)
            except OSError as exc:
                if path is top:
                    raise
                self.notes.append(f"{str(path)!r} cannot be read ({exc.strerror or exc}) and was left out")
                continue
            if folder is not None:
                yield folder

    def _visit(self, path: Path) -> _Folder | None:
        """Read a folder and queue the folders in it; None if it was visited before."""
        status = path.stat()
        identity = (status.st_dev, status.st_ino)
        if identity in self._seen:
            return None
        self._seen.add(identity)
        with os.scandir(path) as found:
            entries = sorted(found, key=lambda entry: entry.name, reverse=True)
        logs = []
        for entry in entries:
            inner = path / entry.name
            if entry.is_dir():
                (self._links if entry.is_symlink() else self._inner).append(inner)
            elif inner.suffix == ".wandb" and entry.is_file():
                logs.append(inner.resolve())
            elif entry.is_symlink() and not inner.exists() and _may_lead_to_a_run(inner):
                self.notes.append(f"{str(inner)!r} is a link to nothing and was left out")
        old = any(entry.name == _OLD_HISTORY for entry in entries)
        return _Folder(path, tuple(sorted(logs)), old)


def _may_lead_to_a_run(link: Path) -> bool:
    return link.suffix == ".wandb" or link.name == _LATEST_RUN or bool(_RUN_FOLDER.fullmatch(link.name))
