"""What every tracker's package gives: the runs at a location, each read into facts, rows and files.

A tracker is a package of `pull_logs.sources` with an object of the form `Tracker`. It recognizes its own
locations by their content, finds the runs there, and reads each of them into a scratch folder. The paths of
runs do not depend on the machine: see docs/other-trackers.md, "Names of the runs".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pull_logs.runs import RunPath

if TYPE_CHECKING:
    from pull_logs.snapshot import BundleRun, FileSelection

DEFAULT_ENTITY = "local"
"""The entity of runs whose tracker has none."""

_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f/\\#?%:]")
_MOST_ID = 100


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How runs are read.

    Attributes:
        entity: The entity of all runs; None uses `local`.
        project: The project of all runs; None uses the one of the tracker.
        files: The files of the runs to copy; None copies none.
    """

    entity: str | None = None
    project: str | None = None
    files: FileSelection | None = None

    def path(self, project: str, run_id: str) -> RunPath:
        """Return the path of a run, with the parts that no run path can hold replaced."""
        return RunPath(
            self.entity or DEFAULT_ENTITY,
            self.project or path_part(project) or "uncategorized",
            path_part(run_id) or "run",
        )


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """A run of a tracker, read into a scratch folder.

    Attributes:
        run: The run.
        notes: What was damaged, repeated, renamed or left out, one sentence each.
    """

    run: BundleRun
    notes: tuple[str, ...] = ()


class FoundRun(Protocol):
    """A run that a tracker found, not yet read."""

    def read(self, scratch: Path, options: ReadOptions) -> TrackedRun:
        """Read it.

        Args:
            scratch: A new folder for its rows and files. It must outlive the run.
            options: How to read it.

        Raises:
            DamageError: Nothing of the run can be read.
            DataError: It has a value that no run can hold.
        """


class Tracker(Protocol):
    """A kind of source."""

    @property
    def name(self) -> str:
        """The name of the kind, for `--from` and for messages."""

    def recognizes(self, location: str) -> bool:
        """Return whether a location has runs of this kind, by its content.

        Raises:
            OSError: It cannot be read.
        """

    def find(self, location: str) -> Sequence[FoundRun]:
        """Return the runs at a location, in a stable order.

        Raises:
            NotFoundError: There is none.
            DamageError: The location is damaged.
        """


@dataclass(frozen=True, slots=True)
class Origin:
    """The source of a run, which is kept in its metadata under `tracker`.

    Attributes:
        tracker: The kind of the source.
        version: The version of its format or program; None if it names none.
        run: The name or id that the source gives the run.
        facts: More that the source says about the run, and that no field of a run holds.
    """

    tracker: str
    version: str | None
    run: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    def as_metadata(self) -> dict[str, Any]:
        """Return the metadata of the run."""
        known = {"name": self.tracker, "version": self.version, "run": self.run}
        return {"tracker": {key: value for key, value in {**self.facts, **known}.items() if value}}


def path_part(text: str) -> str:
    """Return a text as a part of a run path: `~` for what no path can hold, and a hash if it is too long."""
    part = _FORBIDDEN.sub("~", text)
    if part in (".", ".."):
        return part.replace(".", "~")
    if len(part) > _MOST_ID:
        return f"{part[:_MOST_ID]}~{sha256(text.encode(errors='replace')).hexdigest()[:8]}"
    return part


def state_of_torn(*, torn: bool) -> str:
    """Return the state of a run whose source records none: it ended, or its log breaks off."""
    return "crashed" if torn else "finished"
