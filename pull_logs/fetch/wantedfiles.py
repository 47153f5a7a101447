"""Which files of runs are wanted, and a count of what became of that wish."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from pull_logs.errors import UsageError
from pull_logs.runs import RunPath

_WILD = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class WantedFiles:
    """Which files of each run are wanted.

    Attributes:
        globs: Patterns, of which one must match the whole name; `*` matches slashes as well, case counts.
        most_bytes: The largest file that is wanted; None for any.
    """

    globs: tuple[str, ...]
    most_bytes: int | None = None

    def __post_init__(self) -> None:
        if not all(self.globs):
            raise UsageError("a pattern for files is empty", hint="'*' is every file")
        if self.most_bytes is not None and self.most_bytes < 0:
            raise UsageError(f"the largest file is {self.most_bytes} bytes, less than none")

    def matches(self, name: str) -> bool:
        """Whether a file of that name is wanted."""
        return any(fnmatchcase(name, glob) for glob in self.globs)

    def names(self) -> tuple[str, ...] | None:
        """The names that are wanted, where the patterns are names all of them; else None."""
        return None if any(map(_WILD.search, self.globs)) else self.globs

    def describe(self) -> dict[str, Any]:
        """It as JSON, equal for equal wishes."""
        return {"globs": sorted(set(self.globs)), "most_bytes": self.most_bytes}


@dataclass(slots=True)
class FileTally:
    """What became of the files of all runs of a pull.

    Attributes:
        asked: Runs whose files were asked for by pattern.
        without: Those of them of which no file matched.
        left_out: Files larger than was wanted, with run, name and size.
    """

    asked: int = 0
    without: int = 0
    left_out: list[tuple[RunPath, str, int]] = field(default_factory=list)

    def notes(self, wanted: WantedFiles) -> list[str]:
        """What there is to tell, a sentence each."""
        told = []
        if self.without:
            patterns = " or ".join(map(repr, wanted.globs))
            told.append(f"{self.without} of {self.asked} runs have no file that matches {patterns}")
        if self.left_out:
            path, name, size = min(self.left_out)
            total = sum(size for _, _, size in self.left_out)
            told.append(
                f"{len(self.left_out)} files of more than {wanted.most_bytes} bytes were left out, {total} bytes"
                f" together; the first, {name!r} of {path}, has {size}"
            )
        return told
