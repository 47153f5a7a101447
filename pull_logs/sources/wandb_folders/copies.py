"""Copies of logs: the same log in several folders, an older state of it, or one that was damaged.

A log is known by its run id, the time of its start and its bytes, not by its path. W&B only appends to a log,
so an older copy is a prefix of a later one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pull_logs.sources.wandb_folders.segments import Segment

_COMPARED_AT_ONCE = 1 << 20


def without_copies(segments: Sequence[Segment]) -> tuple[list[Segment], list[str]]:
    """Return the segments of a run without copies of others, and a note about each that was left out.

    Args:
        segments: The segments of one run, in order of time.
    """
    kept: list[Segment] = []
    notes: list[str] = []
    for segment in sorted(segments, key=lambda segment: -segment.log.file.stat().st_size):
        original = next((other for other in kept if _adds_nothing(segment, other)), None)
        if original is None:
            kept.append(segment)
            continue
        size, full = segment.log.file.stat().st_size, original.log.file.stat().st_size
        kind = "a copy" if size == full else f"an older or damaged copy ({size} of {full} bytes)"
        notes.append(f"{segment.log.file.parent}: {kind} of {original.log.file.parent}, and was left out")
    numbers = {id(segment) for segment in kept}
    return [segment for segment in segments if id(segment) in numbers], notes


def is_copy(segment: Segment, other: Segment) -> bool:
    """Return whether two segments of one run are the same start of it."""
    started, other_started = segment.log.started_at, other.log.started_at
    if started is None or other_started is None:
        return segment.folder == other.folder
    return started == other_started


def _adds_nothing(segment: Segment, other: Segment) -> bool:
    """Return whether a log that is not larger than another has nothing that the other has not."""
    if not is_copy(segment, other):
        return False
    if _is_prefix(segment.log.file, other.log.file):
        return True
    return bool(segment.log.reason) and not other.log.reason and segment.log.rows <= other.log.rows


def _is_prefix(file: Path, longer: Path) -> bool:
    with file.open("rb") as ours, longer.open("rb") as theirs:
        while part := ours.read(_COMPARED_AT_ONCE):
            if theirs.read(len(part)) != part:
                return False
    return True
