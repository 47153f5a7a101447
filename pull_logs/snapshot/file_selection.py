"""The files of runs that a bundle gets: those whose names match, up to a size."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from pull_logs.errors import UsageError

_WILDCARD = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class FileSelection:
    """The files of each run that a bundle gets.

    Attributes:
        globs: Patterns, of which one must match the complete name; `*` matches slashes too, and case counts.
        max_bytes: The size of the largest file to pull; None for any size.
    """

    globs: tuple[str, ...]
    max_bytes: int | None = None

    def __post_init__(self) -> None:
        if not all(self.globs):
            raise UsageError("a pattern for files is empty", hint="write '*' for every file")
        if self.max_bytes is not None and self.max_bytes < 0:
            raise UsageError(f"the largest file size is {self.max_bytes} bytes, which is negative")

    def matches(self, name: str) -> bool:
        """Return whether a file of that name is selected."""
        return any(fnmatchcase(name, glob) for glob in self.globs)

    def allows_size(self, size: int | None) -> bool:
        """Return whether a file of that size is selected; one of unknown size is."""
        return self.max_bytes is None or (size or 0) <= self.max_bytes

    def literal_names(self) -> tuple[str, ...] | None:
        """Return the names of the files if no pattern has a wildcard, otherwise None."""
        return None if any(map(_WILDCARD.search, self.globs)) else self.globs

    def describe(self) -> dict[str, Any]:
        """Return the selection as JSON, equal for equal selections."""
        return {"globs": sorted(set(self.globs)), "most_bytes": self.max_bytes}
