"""What a selection names: the full paths of runs, and the projects and sweeps to list."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pull_logs.fetch.api import Settings
from pull_logs.fetch.selection import Selection, plain_path, split_path
from pull_logs.runs import PageUrl, RunPath


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A project or a sweep whose runs are listed.

    Attributes:
        entity: The entity of the project.
        project: The name of the project.
        sweep: The id of the sweep; None for the complete project.
        prefilter: A filter with which the server may omit runs; empty for none.
        defaulted: Whether only the project was named, and the entity is the default.
    """

    entity: str
    project: str
    sweep: str | None = None
    prefilter: Mapping[str, Any]
    defaulted: bool = False

    def __str__(self) -> str:
        if self.sweep is None:
            return f"project {self.entity}/{self.project}"
        return f"sweep {self.entity}/{self.project}/{self.sweep}"

    def filters(self, *, prefilter: bool) -> Mapping[str, Any]:
        """Return the filter of the request, with or without the prefilter."""
        chosen = self.prefilter if prefilter else {}
        if self.sweep is None:
            return chosen
        return {"$and": [{"sweep": self.sweep}, *([chosen] if chosen else [])]}


@dataclass(frozen=True, slots=True)
class Targets:
    """What a selection names.

    Attributes:
        paths: The full path of each named run, in the order of the selection.
        listings: The projects and sweeps, each once.
    """

    paths: tuple[RunPath, ...]
    listings: tuple[Listing, ...]


async def resolve_targets(
    settings: Settings, selection: Selection, *, default_entity: Callable[[], Awaitable[str | None]]
) -> Targets:
    """Complete the names in a selection.

    Args:
        settings: The address of the API, and the defaults.
        selection: The selection.
        default_entity: Requests the default entity of the user, if it is needed.

    Raises:
        UsageError: A name is incomplete, or a run is on another host.
        AccessError: The default entity could not be requested.
    """
    for reference in selection.runs:
        settings.check_reference(reference)
    for text in (*selection.projects, *selection.sweeps):
        if "://" in text:
            settings.check_page(PageUrl.parse(text))
    entity, project = settings.entity, settings.project
    if entity is None and _lacks_entity(selection):
        entity = await default_entity()
    paths = tuple(reference.complete(entity=entity, project=project) for reference in selection.runs)
    prefilter = dict(selection.filter.prefilter) if selection.filter else {}
    listings = []
    for text in dict.fromkeys(selection.projects):
        owner, name = split_path(text, form="entity/project", defaults=(entity, None))
        defaulted = "/" not in plain_path(text).strip("/")
        listings.append(Listing(entity=owner, project=name, prefilter=prefilter, defaulted=defaulted))
    for text in dict.fromkeys(selection.sweeps):
        defaults = (entity, project, None)
        owner, name, sweep = split_path(text, form="entity/project/sweep_id", defaults=defaults)
        listings.append(Listing(entity=owner, project=name, sweep=sweep, prefilter=prefilter))
    return Targets(paths, tuple(listings))


def _lacks_entity(selection: Selection) -> bool:
    return (
        any(reference.entity is None for reference in selection.runs)
        or any("/" not in plain_path(text).strip("/") for text in selection.projects)
        or any(plain_path(text).strip("/").count("/") < 2 for text in selection.sweeps)
    )
