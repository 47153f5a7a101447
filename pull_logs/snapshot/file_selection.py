"""The files of runs that a bundle gets: those whose names match, up to a size."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from pull_logs.errors import UsageError

ALL_MEDIA = "*"
"""The pattern for all files that values point to."""

MEDIA_FILES = "media/*"
"""The pattern for the names of the files of media."""

_WILDCARD = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class FileSelection:
    """The files of each run that a bundle gets.

    Attributes:
        globs: Patterns, of which one must match the complete name; `*` matches slashes too, and case counts.
        media: Patterns for the files that rows and summaries point to, of which one must match the flat key
            of the value, the start of it up to a full stop, or the name of the file.
        max_bytes: The size of the largest file to pull; None for any size.
    """

    globs: tuple[str, ...]
    max_bytes: int | None = None
    media: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not all((*self.globs, *self.media)):
            raise UsageError("a pattern for files is empty", hint="write '*' for every file")
        if self.max_bytes is not None and self.max_bytes < 0:
            raise UsageError(f"the largest file size is {self.max_bytes} bytes, which is negative")

    def matches(self, name: str) -> bool:
        """Return whether a file of that name is selected, whether values point to it or not."""
        return any(fnmatchcase(name, glob) for glob in self.globs)

    @property
    def needs_rows(self) -> bool:
        """Whether files are selected by the keys of the values that point to them."""
        return any(glob != ALL_MEDIA for glob in self.media)

    def selects(self, key: str, name: str) -> bool:
        """Return whether the file that a value points to is selected.

        Args:
            key: The flat key of the value.
            name: The name of the file.
        """
        if self.matches(name):
            return True
        parts = key.split(".")
        starts = (".".join(parts[:count]) for count in range(1, len(parts) + 1))
        return any(fnmatchcase(text, glob) for text in (name, *starts) for glob in self.media)

    def allows_size(self, size: int | None) -> bool:
        """Return whether a file of that size is selected; one of unknown size is."""
        return self.max_bytes is None or (size or 0) <= self.max_bytes

    def literal_names(self) -> tuple[str, ...] | None:
        """Return the names of the files if no pattern has a wildcard, otherwise None."""
        return None if any(map(_WILDCARD.search, self.globs)) else self.globs

    def describe(self) -> dict[str, Any]:
        """Return the selection as JSON, equal for equal selections."""
        found = {"globs": sorted(set(self.globs)), "most_bytes": self.max_bytes}
        return found | ({"media": sorted(set(self.media))} if self.media else {})


def select_files(
    files: Sequence[str], max_bytes: int | None = None, *, media: Sequence[str] = ()
) -> FileSelection | None:
    """Return the selection of files by patterns for names, and for what values point to; None without any.

    Raises:
        UsageError: A pattern is empty, or the size is negative.
    """
    if not files and not media:
        return None
    globs = (*files, MEDIA_FILES) if ALL_MEDIA in media else tuple(files)
    return FileSelection(globs, max_bytes, tuple(media))
