"""The artifacts of runs that a bundle gets."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pull_logs.snapshot.format import Relation


class ArtifactSelection(StrEnum):
    """The artifacts of each run that a bundle gets."""

    LOGGED = "logged"
    """Those that it logged, with their files."""

    USED = "used"
    """Those that it used, with their files."""

    ALL = "all"
    """Both, with their files."""

    REFERENCES = "references"
    """Both, without the bytes of their files: names, versions, metadata, lineage and entries."""

    @property
    def relations(self) -> tuple[Relation, ...]:
        """The relations of the artifacts."""
        if self is ArtifactSelection.LOGGED:
            return ("logged",)
        return ("used",) if self is ArtifactSelection.USED else ("logged", "used")

    @property
    def with_bytes(self) -> bool:
        """Whether the bytes of files are pulled."""
        return self is not ArtifactSelection.REFERENCES

    def includes(self, other: ArtifactSelection) -> bool:
        """Return whether all that another selection gives is in this one."""
        return (self.with_bytes or not other.with_bytes) and set(self.relations) >= set(other.relations)
