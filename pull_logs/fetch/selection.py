"""What to pull: runs by name, whole projects, sweeps, and which of their runs to keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pull_logs.errors import UsageError
from pull_logs.runs import RunInfo, RunReference


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Which of the selected runs are kept.

    Attributes:
        text: The filter as its author wrote it; it tells one pull from another when a pull is resumed.
        holds: Whether a run is kept.
        prefilter: A Mongo-like filter that the server may use to leave runs out beforehand (read API
            facts, section 3.3). It must hold for every run that `holds` holds for, and may for others.
    """

    text: str
    holds: Callable[[RunInfo], bool]
    prefilter: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What to pull.

    Attributes:
        runs: Runs by name.
        projects: `entity/project`, or `project` with a default entity: all runs there.
        sweeps: `entity/project/sweep_id`, or with less where there are defaults: all runs there.
        filter: Which runs of projects and sweeps to keep, and of `runs` as well.
    """

    runs: tuple[RunReference, ...] = ()
    projects: tuple[str, ...] = ()
    sweeps: tuple[str, ...] = ()
    filter: RunFilter | None = None

    def describe(self) -> dict[str, object]:
        """The selection as JSON, equal for equal selections."""
        return {
            "runs": sorted({str(reference) for reference in self.runs}),
            "projects": sorted(set(self.projects)),
            "sweeps": sorted(set(self.sweeps)),
            "filter": self.filter.text if self.filter else "",
        }


def split_path(text: str, *, form: str, defaults: tuple[str | None, ...]) -> tuple[str, ...]:
    """The parts of a path, whose first parts may be left out where there are defaults for them.

    Args:
        text: `a/b/c`, `b/c` or `c`.
        form: What it should look like, for the error; its slashes tell the number of parts.
        defaults: For each part, what it is when left out.

    Raises:
        UsageError: It has another form, or a part without a default is missing.
    """
    parts = text.strip("/").split("/")
    missing = len(defaults) - len(parts)
    if missing < 0 or not all(parts):
        raise UsageError(f"{text!r} is not of the form {form}")
    known = defaults[:missing]
    if not all(known):
        raise UsageError(
            f"{text!r} is not of the form {form}", hint="set WANDB_ENTITY and WANDB_PROJECT, or write it out"
        )
    return (*(part for part in known if part), *parts)
