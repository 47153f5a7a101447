"""The files in local run folders: those in `files/` that a selection matches, copied to a scratch folder."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from pull_logs.snapshot import FileSelection
from pull_logs.sources.local_files import CopiedFiles, copy_local_files, walk_files
from pull_logs.sources.wandb_folders.segments import Segment

FOLDER = "files"
"""The folder in a run folder that has what the run logged."""

_LINK = "symbolic links are copied with --follow-links"


def copy_files(
    segments: Sequence[Segment],
    selection: FileSelection,
    scratch: Path,
    *,
    pointed: Collection[str] = (),
    follow_links: bool = False,
) -> CopiedFiles:
    """Copy the selected files of a run; of two files of one name, that of the later segment is taken.

    Links are left out by default: `wandb.save` makes links to files elsewhere.

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
        for entry in walk_files(segment.log.file.parent / FOLDER)
        if selection.matches(entry.name) or entry.name in pointed
    }
    return copy_local_files(found.values(), selection, scratch, link_reason=_LINK, follow_links=follow_links)
