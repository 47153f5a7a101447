"""What to pull: runs by name, projects and sweeps, and the filter of runs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pull_logs.errors import UsageError, refuse_text
from pull_logs.runs import PageUrl, RunInfo, RunPath, RunReference


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """A filter that keeps some of the selected runs.

    Attributes:
        text: The filter as the user wrote it. It distinguishes one pull from another when a pull is resumed.
        holds: Returns whether a run is kept.
        prefilter: A Mongo-like filter with which the server may omit runs (docs/protocol.md, "Filters and
            orders"). It must hold for every run for which `holds` holds, and may hold for others.
    """

    text: str
    holds: Callable[[RunInfo], bool]
    prefilter: Mapping[str, Any] = field(default_factory=dict)


MOST_SHARDS = 10_000


@dataclass(frozen=True, slots=True)
class Shard:
    """A part of a selection: the runs whose paths hash to it.

    The parts are disjoint and depend on the paths alone, so that each can be pulled on another machine, and
    a run stays in its part when others are added.

    Attributes:
        number: Which part, from 1.
        count: How many parts there are.
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Parse `NUMBER/COUNT`.

        Raises:
            UsageError: It has another form, or there is no such part.
        """
        found = re.fullmatch(r"([1-9]\d{0,5})/([1-9]\d{0,5})", text.strip())
        if found is None or not int(found[1]) <= int(found[2]) <= MOST_SHARDS:
            raise UsageError(
                f"{text!r} is not a shard",
                hint=f"write it as 3/8, the third of eight; there can be {MOST_SHARDS}",
            )
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def has(self, path: RunPath) -> bool:
        """Return whether a run is in this part."""
        digest = hashlib.sha256(str(path).encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.number - 1

    def part_of(self, run_filter: RunFilter | None) -> RunFilter:
        """Return the filter that keeps the runs of this part for which another filter, if any, holds."""
        if run_filter is None:
            return RunFilter(text=f"shard {self}", holds=lambda info: self.has(info.path))
        kept = run_filter.holds
        return replace(
            run_filter,
            text=f"shard {self} of {run_filter.text}",
            holds=lambda info: self.has(info.path) and kept(info),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The runs to pull.

    Attributes:
        runs: Runs by name.
        projects: All runs of each `entity/project`, or `project` with a default entity, or its URL.
        sweeps: All runs of each `entity/project/sweep_id`, or less where there are defaults, or its URL.
        filter: Keeps some of the runs of projects and sweeps, and of `runs` too; None keeps all.

    Raises:
        UsageError: One string is given for several.
    """

    runs: tuple[RunReference, ...] = ()
    projects: tuple[str, ...] = ()
    sweeps: tuple[str, ...] = ()
    filter: RunFilter | None = None

    def __post_init__(self) -> None:
        refuse_text("projects", self.projects, "projects")
        refuse_text("sweeps", self.sweeps, "sweeps")

    def covers(self, info: RunInfo) -> bool:
        """Return whether a run is one of the selection, as far as its recorded facts show.

        Parts that the selection leaves to defaults fit any run, so that nothing needs to be requested.
        """
        path = info.path
        named = any(reference.matches(path) for reference in self.runs)
        listed = any(_fits(text, (path.entity, path.project)) for text in self.projects)
        swept = info.sweep is not None and any(
            _fits(text, (path.entity, path.project, info.sweep)) for text in self.sweeps
        )
        return (named or listed or swept) and (self.filter is None or self.filter.holds(info))

    def describe(self) -> dict[str, object]:
        """Return the selection as JSON, equal for equal selections."""
        return {
            "runs": sorted({str(reference) for reference in self.runs}),
            "projects": sorted(set(self.projects)),
            "sweeps": sorted(set(self.sweeps)),
            "filter": self.filter.text if self.filter else "",
        }


def _fits(text: str, parts: tuple[str, ...]) -> bool:
    """Return whether a path whose first parts may be missing is that of these parts."""
    given = tuple(plain_path(text).strip("/").split("/"))
    return given == parts[-len(given) :]


def plain_path(text: str) -> str:
    """Return the path of a project or a sweep that may be given as a URL.

    Raises:
        UsageError: It is a URL, and not that of a page of W&B.
    """
    return str(PageUrl.parse(text)) if "://" in text else text


def split_path(text: str, *, form: str, defaults: tuple[str | None, ...]) -> tuple[str, ...]:
    """Return the parts of a path whose first parts may be omitted where they have defaults.

    Args:
        text: The path: `a/b/c`, `b/c` or `c`.
        form: The expected form, for the error.
        defaults: The default of each part; None where it has none.

    Raises:
        UsageError: The path has another form, or a part without a default is missing.
    """
    parts = plain_path(text).strip("/").split("/")
    missing = len(defaults) - len(parts)
    if missing < 0 or not all(parts):
        raise UsageError(f"{text!r} is not of the form {form}")
    known = defaults[:missing]
    if not all(known):
        raise UsageError(
            f"{text!r} is not of the form {form}",
            hint=_missing_hint(form, missing),
        )
    return (*(part for part in known if part), *parts)


def _missing_hint(form: str, missing: int) -> str:
    """Return which parts of a path of that form have no default, and how to give them."""
    names = form.split("/")[:missing]
    variables = " and ".join(f"WANDB_{name.upper()}" for name in names)
    return f"it has no {' and no '.join(names)}: write {form}, or set {variables}"
