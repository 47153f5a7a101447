"""The files in local run folders: those in `files/` that a selection matches, copied to a scratch folder.

A file is copied before it is hashed, because a run that is still active goes on writing. Symbolic links are
left out and reported, unless they are to be followed: `wandb.save` makes links to files elsewhere, and a
folder from a stranger may have links to anything.
"""

from __future__ import annotations

import mimetypes
import os
import stat
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pull_logs.errors import DataError
from pull_logs.snapshot import FileSelection
from pull_logs.snapshot.format import CHUNK, check_name, record_of
from pull_logs.sources.scratch_file import ScratchFile, chunks_of
from pull_logs.sources.wandb_folders.segments import Segment
from pull_logs.suggestions import counted, listed

FOLDER = "files"
"""The folder in a run folder that has what the run logged."""

_TYPES = mimetypes.MimeTypes()
"""The media types that Python knows, whatever the machine adds to them."""

_MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class LocalFiles:
    """The selected files of a run.

    Attributes:
        files: The files.
        notes: What was left out, one sentence each.
    """

    files: tuple[ScratchFile, ...] = ()
    notes: tuple[str, ...] = ()


def copy_files(
    segments: Sequence[Segment],
    selection: FileSelection,
    scratch: Path,
    *,
    pointed: Collection[str] = (),
    follow_links: bool = False,
) -> LocalFiles:
    """Copy the selected files of a run; of two files of one name, that of the later segment is taken.

    Args:
        segments: The segments of the run, in order.
        selection: The files to copy.
        scratch: A new folder for the copies. It must outlive them.
        pointed: The names of more files to copy: those of selected media.
        follow_links: Whether symbolic links to files are followed.

    Raises:
        OSError: A copy cannot be written.
    """
    found = {
        entry.name: entry
        for segment in segments
        for entry in _walk(segment.log.file.parent / FOLDER)
        if selection.matches(entry.name) or entry.name in pointed
    }
    left: dict[str, list[str]] = {reason: [] for reason in _REASONS}
    copies: list[ScratchFile] = []
    for entry in sorted(found.values(), key=lambda entry: entry.name):
        reason = _why_left_out(entry, selection, follow_links=follow_links)
        if not reason:
            scratch.mkdir(exist_ok=True)
            copy = _copy(entry, scratch / f"{len(copies):06d}")
            copies += [] if copy is None else [copy]
            reason = _UNREADABLE if copy is None else ""
        if reason:
            left[reason].append(entry.name)
    notes = [_note(names, reason) for reason, names in left.items() if names]
    return LocalFiles(tuple(copies), tuple(notes))


_LINK = "symbolic links are copied with --follow-links"
_LARGE = "larger than --max-file-size"
_NAME = "no bundle can hold such a name"
_UNREADABLE = "not readable"
_REASONS = (_LINK, _LARGE, _NAME, _UNREADABLE)
"""Why files are left out."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """A file or a link in a run folder: its name in the run, and its path."""

    name: str
    path: Path


def _walk(top: Path) -> Iterator[_Entry]:
    """Yield the files and links below a folder; links to folders are not entered."""
    folders = [(top, "")] if top.is_dir() and not top.is_symlink() else []
    while folders:
        folder, prefix = folders.pop()
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append((Path(entry.path), f"{prefix}{entry.name}/"))
                elif entry.is_symlink() or entry.is_file(follow_symlinks=False):
                    yield _Entry(prefix + entry.name, Path(entry.path))


def _why_left_out(entry: _Entry, selection: FileSelection, *, follow_links: bool) -> str:
    """Return why a file is not copied; empty if it is."""
    if entry.path.is_symlink() and not follow_links:
        return _LINK
    try:
        status = entry.path.stat()
        if not stat.S_ISREG(status.st_mode):
            return _UNREADABLE
        if not selection.allows_size(status.st_size):
            return _LARGE
        entry.name.encode()
        check_name(entry.name)
    except OSError:
        return _UNREADABLE
    except (DataError, UnicodeEncodeError):
        return _NAME
    return ""


def _copy(entry: _Entry, target: Path) -> ScratchFile | None:
    """Copy a file; None if it cannot be read."""
    try:
        source = entry.path.open("rb")
    except OSError:
        return None
    with source, target.open("wb") as out:
        while chunk := source.read(CHUNK):
            out.write(chunk)
    mediatype, _ = _TYPES.guess_type(entry.name)
    return ScratchFile(record_of(entry.name, chunks_of(target), mediatype=mediatype), target)


def _note(names: Sequence[str], reason: str) -> str:
    return f"left out {counted(len(names), 'file')} ({reason}): {listed(names, most=_MOST_NAMED)}"
