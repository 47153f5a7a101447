"""Artifacts of MLflow's runs as files of runs: copied from a local folder, or downloaded from a server.

A store names the location of the artifacts of each run. In a store from a stranger it may be any path, so
only a folder that MLflow itself names in this way is read: `RUN_ID/artifacts`. It is looked for beside the
store first, which may have been moved or copied.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import Protocol
from urllib.parse import unquote, urlsplit

from pull_logs.errors import ServerError
from pull_logs.snapshot import FileSelection
from pull_logs.sources.local_files import (
    LARGE,
    UNNAMEABLE,
    CopiedFiles,
    can_name,
    copied_file,
    copy_local_files,
    left_out_notes,
    walk_files,
)
from pull_logs.sources.mlflow.stores import Artifact, StoredRun
from pull_logs.sources.scratch_file import ScratchFile

MOST_ARTIFACTS = 100_000
"""The most artifacts of a run that are listed."""

_FOLDER = "artifacts"
_BESIDE = ("mlruns", "mlartifacts", ".")
"""Where MLflow puts the artifacts of a store, from the folder of the store on."""

_LINK = "symbolic links are not followed"
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
_ELSEWHERE = re.compile(rf"(?!file:){_URL.pattern}")
"""The start of a location that is not a local path."""


class ArtifactServer(Protocol):
    """A server that gives the artifacts of runs."""

    def list_artifacts(self, run_id: str) -> Iterator[Artifact]:
        """Yield the artifacts of a run.

        Raises:
            ServerError: The server answered with an error.
        """

    def open_artifact(self, run_id: str, path: str) -> AbstractContextManager[Iterator[bytes]]:
        """Open one, to read its bytes a part at a time.

        Raises:
            ServerError: The server answered with an error.
        """


def local_artifacts(run: StoredRun, beside: Path, selection: FileSelection, scratch: Path) -> CopiedFiles:
    """Copy the selected artifacts of a run from a local folder.

    Args:
        run: The run.
        beside: The folder of the store.
        selection: The files to copy.
        scratch: A new folder for the copies.

    Raises:
        OSError: A copy cannot be written.
    """
    folder = next((folder for folder in _folders(run, beside) if _is_folder(folder)), None)
    if folder is None:
        shown = _shown(run.artifacts)
        return CopiedFiles(notes=(f"no artifacts were found: there is no local folder {shown!r}",))
    chosen = [entry for entry in walk_files(folder) if selection.matches(entry.name)]
    return copy_local_files(chosen, selection, scratch, link_reason=_LINK)


def _folders(run: StoredRun, beside: Path) -> Iterator[Path]:
    """Yield the folders that the artifacts of a run may be in."""
    path = _path_of(run.artifacts)
    parts = PurePosixPath(path).parts
    if ".." in parts or parts[-2:] != (run.run_id, _FOLDER):
        return
    for name in _BESIDE:
        # The folders of the experiment, of the run, and of its artifacts.
        yield beside.joinpath(name, *[part for part in parts[-3:] if part != "/"])
    if not _ELSEWHERE.match(run.artifacts):
        yield Path(path) if path.startswith("/") else beside / path


def _path_of(location: str) -> str:
    """Return the path of a location; empty if it is not a valid URL."""
    try:
        return unquote(urlsplit(location).path) if _URL.match(location) else location
    except ValueError:
        return ""


def _is_folder(folder: Path) -> bool:
    try:
        return folder.is_dir() and not folder.is_symlink()
    except (OSError, ValueError):
        return False


def _shown(location: str) -> str:
    """Return the part of a location that may be shown: not the folders of a user, and no key."""
    if _ELSEWHERE.match(location) and "://" in location:
        return f"{location.partition('://')[0]}://..."
    return "/".join(["...", *PurePosixPath(_path_of(location)).parts[-3:]])


def is_below(path: str, folder: str) -> bool:
    """Return whether the path of an artifact is an ordinary one, below a folder."""
    parts = path.split("/")
    return path.startswith(f"{folder}/" if folder else "") and not {"", ".", ".."}.intersection(parts)


def served_artifacts(
    run: StoredRun, server: ArtifactServer, selection: FileSelection, scratch: Path
) -> CopiedFiles:
    """Download the selected artifacts of a run from a server.

    Raises:
        NetworkError: The server cannot be reached, or an answer breaks off.
        OSError: A file cannot be written.
    """
    left: dict[str, list[str]] = {LARGE: [], UNNAMEABLE: []}
    files: dict[str, ScratchFile] = {}
    notes: list[str] = []
    try:
        for artifact in server.list_artifacts(run.run_id):
            if artifact.path in files or not selection.matches(artifact.path):
                continue
            if not (can_name(artifact.path) and is_below(artifact.path, "")):
                left[UNNAMEABLE].append(artifact.path)
            elif not selection.allows_size(artifact.size):
                left[LARGE].append(artifact.path)
            else:
                scratch.mkdir(exist_ok=True)
                target = scratch / f"{len(files):06d}"
                try:
                    with server.open_artifact(run.run_id, artifact.path) as chunks:
                        files[artifact.path] = copied_file(artifact.path, chunks, target)
                except ServerError as exc:
                    left.setdefault(exc.message, []).append(artifact.path)
    except ServerError as exc:
        notes.append(f"the list of artifacts is not complete: {exc.message}")
    return CopiedFiles(tuple(files.values()), (*notes, *left_out_notes(left)))
