"""Files of a local folder as files of a run: copied to the scratch folder, and hashed there.

A file is copied before it is hashed, because a run that is still active goes on writing. Symbolic links are
left out and reported, unless they are to be followed: a folder from a stranger may have links to anything.
"""

from __future__ import annotations

import mimetypes
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pull_logs.errors import DataError
from pull_logs.snapshot import FileSelection
from pull_logs.snapshot.format import CHUNK, check_name, record_of
from pull_logs.sources.scratch_file import ScratchFile, chunks_of
from pull_logs.suggestions import counted, listed

LARGE = "larger than --max-file-size"
UNNAMEABLE = "no bundle can hold such a name"
_UNREADABLE = "not readable"

_TYPES = mimetypes.MimeTypes()
"""The media types that Python knows, whatever the machine adds to them."""

_MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class CopiedFiles:
    """The selected files of a run.

    Attributes:
        files: The files.
        notes: What was left out, one sentence each.
    """

    files: tuple[ScratchFile, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FolderEntry:
    """A file or a link in a folder: its name in the run, and its path."""

    name: str
    path: Path


def walk_files(top: Path) -> Iterator[FolderEntry]:
    """Yield the files and links below a folder; links to folders are not entered."""
    folders = [(top, "")] if top.is_dir() and not top.is_symlink() else []
    while folders:
        folder, prefix = folders.pop()
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append((Path(entry.path), f"{prefix}{entry.name}/"))
                elif entry.is_symlink() or entry.is_file(follow_symlinks=False):
                    yield FolderEntry(prefix + entry.name, Path(entry.path))


def copy_local_files(
    entries: Iterable[FolderEntry],
    selection: FileSelection,
    scratch: Path,
    *,
    link_reason: str,
    follow_links: bool = False,
) -> CopiedFiles:
    """Copy files, by name.

    Args:
        entries: The files.
        selection: Which sizes are copied.
        scratch: A new folder for the copies. It must outlive them.
        link_reason: Why links are left out.
        follow_links: Whether symbolic links to files are followed.

    Raises:
        OSError: A copy cannot be written.
    """
    left: dict[str, list[str]] = {reason: [] for reason in (link_reason, LARGE, UNNAMEABLE, _UNREADABLE)}
    copies: list[ScratchFile] = []
    for entry in sorted(entries, key=lambda entry: entry.name):
        reason = _why_left_out(entry, selection)
        if entry.path.is_symlink() and not follow_links:
            reason = link_reason
        if not reason:
            scratch.mkdir(exist_ok=True)
            copy = _copy(entry, scratch / f"{len(copies):06d}")
            copies += [] if copy is None else [copy]
            reason = _UNREADABLE if copy is None else ""
        if reason:
            left[reason].append(entry.name)
    return CopiedFiles(tuple(copies), left_out_notes(left))


def can_name(name: str) -> bool:
    """Return whether a file of a bundle can have a name."""
    try:
        name.encode()
        check_name(name)
    except (DataError, UnicodeEncodeError):
        return False
    return True


def _why_left_out(entry: FolderEntry, selection: FileSelection) -> str:
    """Return why a file is not copied; empty if it is."""
    try:
        status = entry.path.stat()
    except OSError:
        return _UNREADABLE
    if not stat.S_ISREG(status.st_mode):
        return _UNREADABLE
    if not selection.allows_size(status.st_size):
        return LARGE
    return "" if can_name(entry.name) else UNNAMEABLE


def _copy(entry: FolderEntry, target: Path) -> ScratchFile | None:
    """Copy a file; None if it cannot be read."""
    try:
        source = entry.path.open("rb")
    except OSError:
        return None
    with source:
        return copied_file(entry.name, iter(lambda: source.read(CHUNK), b""), target)


def copied_file(name: str, chunks: Iterable[bytes], target: Path) -> ScratchFile:
    """Write the bytes of a file to a new path, and return it with its hashes.

    Raises:
        OSError: It cannot be written.
    """
    with target.open("wb") as out:
        for chunk in chunks:
            out.write(chunk)
    mediatype, _ = _TYPES.guess_type(name)
    return ScratchFile(record_of(name, chunks_of(target), mediatype=mediatype), target)


def left_out_notes(left: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return the notes on files that were left out, by the reason."""
    return tuple(
        f"left out {counted(len(names), 'file')} ({reason}): {listed(names, most=_MOST_NAMED)}"
        for reason, names in left.items()
        if names
    )
