"""Values that every package uses: run paths, run records, coverage."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Final, Literal, NamedTuple, TypedDict
from urllib.parse import unquote, urlsplit

from pull_logs.errors import DataError, UsageError

STATES = frozenset(
    {"running", "finished", "crashed", "failed", "killed", "preempting", "preempted", "pending"}
)
"""The states of a run in W&B. See docs/protocol.md, "A single run"."""

LIVE_STATES = frozenset({"running", "pending", "preempting"})
"""The states in which a run may still log rows."""

_PAGES: Final[Mapping[str, Literal["run", "sweep"]]] = {"runs": "run", "sweeps": "sweep"}
"""The third part of the path of a page about a run or a sweep."""

_LETTER = re.compile(r"([A-Z])([1-9][0-9]{0,5})?")
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f/\\#?%:]")


class RunPath(NamedTuple):
    """The unique path of a run, `entity/project/run_id`, by which runs are ordered.

    W&B's API calls the run id `name`; the display name is `RunInfo.name` and need not be unique.
    """

    entity: str
    project: str
    run_id: str

    def __str__(self) -> str:
        return f"{self.entity}/{self.project}/{self.run_id}"

    @classmethod
    def written(cls, text: str) -> Iterator[RunPath]:
        """Iterate over the paths that a text is the form of: several where a part may have a slash."""
        parts = text.split("/")
        for first, second in combinations(range(1, len(parts)), 2):
            yield cls("/".join(parts[:first]), "/".join(parts[first:second]), "/".join(parts[second:]))

    @property
    def project_path(self) -> str:
        """`entity/project`."""
        return f"{self.entity}/{self.project}"


def label_runs(paths: Sequence[RunPath]) -> list[str]:
    """Return the names of runs in one answer, which is about no others: their paths without what all share.

    The name is the run id where all runs are of one project, `project/run_id` where they are of one entity,
    else the path. A path that is there several times, from different sources, is numbered from the second one
    on (`run_id#2`); no run id has a `#`.
    """
    projects = {path[:2] for path in paths}
    parts = 1 + (len(projects) > 1) + (len({entity for entity, _ in projects}) > 1)
    if len(set(paths)) == len(paths):
        return [path.run_id if parts == 1 else "/".join(path[-parts:]) for path in paths]
    labels, seen = [], Counter[RunPath]()
    for path in paths:
        seen[path] += 1
        number = f"#{seen[path]}" if seen[path] > 1 else ""
        labels.append("/".join(path[-parts:]) + number)
    return labels


def position_of_letter(text: str) -> int | None:
    """Return the position, from 0, that a letter names: A to Z, then A1 to Z1; None for any other text.

    Answers named runs by such letters before they named them by their ids.
    """
    match = _LETTER.fullmatch(text)
    return None if match is None else ord(match[1]) - ord("A") + 26 * int(match[2] or 0)


@dataclass(frozen=True, slots=True)
class RunReference:
    """A run as a user wrote it: all parts but the run id may be missing.

    Attributes:
        run_id: The run id.
        project: The project, if it is given.
        entity: The entity, if it is given.
        host: The host of a run URL; None for a path.
    """

    run_id: str
    project: str | None = None
    entity: str | None = None
    host: str | None = None

    @classmethod
    def parse(cls, text: str) -> RunReference:
        """Parse `entity/project/run_id`, `project/run_id`, `run_id` or the URL of a run.

        Raises:
            UsageError: The text has none of these forms.
        """
        if "://" in text:
            return _parse_url(text)
        parts = text.strip("/").split("/")
        if len(parts) == 4 and parts[2] == "runs":
            parts.pop(2)
        if not 1 <= len(parts) <= 3 or any(not part or _FORBIDDEN.search(part) for part in parts):
            raise UsageError(
                f"{text!r} is not a run path",
                hint="write entity/project/run_id, project/run_id, run_id or the URL of the run",
            )
        run_id, project, entity = ([*reversed(parts), None, None])[:3]
        assert run_id is not None  # noqa: S101 - for the type checker: parts is never empty here
        return cls(run_id=run_id, project=project, entity=entity)

    def __str__(self) -> str:
        return "/".join(part for part in (self.entity, self.project, self.run_id) if part)

    def complete(self, *, entity: str | None, project: str | None) -> RunPath:
        """Return the full path, with defaults for missing parts.

        Raises:
            UsageError: A part is missing and has no default.
        """
        entity, project = self.entity or entity, self.project or project
        if not project:
            raise UsageError(
                f"run {str(self)!r} has no project", hint="write entity/project/run_id or set WANDB_PROJECT"
            )
        if not entity:
            raise UsageError(
                f"run {str(self)!r} has no entity", hint="write entity/project/run_id or set WANDB_ENTITY"
            )
        return RunPath(entity, project, self.run_id)

    def matches(self, path: RunPath) -> bool:
        """Return whether the given parts are those of `path`."""
        return (
            self.run_id == path.run_id
            and self.project in (None, path.project)
            and self.entity in (None, path.entity)
        )


def _parse_url(text: str) -> RunReference:
    page = PageUrl.parse(text)
    if page.kind != "run":
        raise UsageError(
            f"{text!r} is the URL of a {page.kind}, not of a run",
            hint="a run's URL looks like https://wandb.ai/entity/project/runs/run_id",
        )
    return RunReference(run_id=page.name, project=page.project, entity=page.entity, host=page.host)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageUrl:
    """The URL of a page of W&B about a run, a sweep or a project.

    Attributes:
        kind: What the page is about.
        entity: The entity.
        project: The project.
        name: The run id or the sweep id; empty for a project.
        host: The host, with its port if it has one.
    """

    kind: Literal["run", "sweep", "project"]
    entity: str
    project: str
    name: str
    host: str

    @classmethod
    def parse(cls, text: str) -> PageUrl:
        """Parse the URL of a page; what follows the run, the sweep or the project in it is ignored.

        Raises:
            UsageError: It is not the URL of such a page.
        """
        try:
            url = urlsplit(text)
        except ValueError:
            url = urlsplit("")
        parts = [unquote(part) for part in url.path.strip("/").split("/")]
        host = (url.hostname or "") if url.scheme in ("http", "https") else ""
        forge = host.endswith("forge.coreweave.com") or (
            parts[3:4] in (["runs"], ["sweeps"]) and len(parts) > 4
        )
        if parts[0] == "wandb" and forge and parts[2:3] not in (["runs"], ["sweeps"]):
            # A Forge host serves its pages below /wandb (`wandb.sdk.lib.urls`).
            parts.pop(0)
        kind: Literal["run", "sweep", "project"] = "project"
        if len(parts) > 3:
            kind = _PAGES.get(parts[2], kind)
        used = parts[:2] if kind == "project" else [*parts[:2], parts[3]]
        if not host or len(parts) < 2 or any(not part or _FORBIDDEN.search(part) for part in used):
            raise UsageError(
                f"{text!r} is not the URL of a run, a sweep or a project",
                hint="such a URL looks like https://wandb.ai/entity/project/runs/run_id",
            )
        name = "" if kind == "project" else used[2]
        return cls(kind=kind, entity=used[0], project=used[1], name=name, host=url.netloc)

    def __str__(self) -> str:
        return "/".join(part for part in (self.entity, self.project, self.name) if part)


class PointObject(TypedDict):
    """The JSON object of a `RunPoint`."""

    kind: str
    step: int | None
    run: str | None


class PartsObject(TypedDict):
    """The JSON object of `RunParts`."""

    count: int | None
    points: list[PointObject]


@dataclass(frozen=True, slots=True)
class RunPoint:
    """A point where a run did not simply go on from its last row.

    Attributes:
        kind: `resumed`; `rewound`, of which the rows after a step were dropped; `forked` from another run;
            or `restarted`, which began with its first step again.
        step: The first step of a resumed or restarted part, the last step that a rewound or forked run kept;
            None if it is not known.
        run: The id of the run that it was forked from.
    """

    kind: str
    step: int | None = None
    run: str | None = None


@dataclass(frozen=True, slots=True)
class RunParts:
    """The parts that a run was logged in, as far as its source shows them.

    Attributes:
        count: How many times it was started; None if that is not known.
        points: The points between its parts, in order of time.
    """

    count: int | None = None
    points: tuple[RunPoint, ...] = ()

    @classmethod
    def from_config(cls, internal: Mapping[str, Any], run_id: str) -> RunParts | None:
        """Return what the internal config of a run shows; None if it shows nothing.

        The SDK writes the branch point of a fork or a rewind there, and whether it resumed the run, without
        the step. See docs/protocol.md, "A single run".
        """
        wandb = internal.get("_wandb")
        if not isinstance(wandb, Mapping):
            return None
        points = [point for point in (_branch(wandb.get("branch_point"), run_id), _resumed(wandb)) if point]
        return cls(None, tuple(points)) if points else None

    def as_object(self) -> PartsObject:
        """Return it as a JSON object."""
        points: list[PointObject] = [
            {"kind": point.kind, "step": point.step, "run": point.run} for point in self.points
        ]
        return {"count": self.count, "points": points}

    @classmethod
    def from_object(cls, value: Mapping[str, Any]) -> RunParts:
        """Return the parts in such an object.

        Raises:
            DataError: It is not one.
        """
        count, points = value.get("count"), value.get("points")
        if not (_is_step(count) and isinstance(points, list) and all(map(_is_point, points))):
            raise DataError("the parts of a run are not a count and a list of points")
        return cls(
            count, tuple(RunPoint(point["kind"], point.get("step"), point.get("run")) for point in points)
        )


_RESUMED = 5
"""The number of the feature `resumed` in the telemetry of the SDK (`_wandb.t.3`)."""


def _branch(recorded: object, run_id: str) -> RunPoint | None:
    if not isinstance(recorded, Mapping):
        return None
    parent, step = recorded.get("run_id"), recorded.get("step")
    if not isinstance(parent, str) or not parent or type(step) is not int:
        return None
    return RunPoint("rewound", step) if parent == run_id else RunPoint("forked", step, parent)


def _resumed(wandb: Mapping[str, Any]) -> RunPoint | None:
    telemetry = wandb.get("t")
    features = telemetry.get("3") if isinstance(telemetry, Mapping) else None
    return RunPoint("resumed") if isinstance(features, list) and _RESUMED in features else None


def _is_step(value: object) -> bool:
    return value is None or type(value) is int


def _is_point(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and isinstance(value.get("kind"), str)
        and _is_step(value.get("step"))
        and isinstance(value.get("run"), str | None)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """The record of a run, without its histories.

    `pull_logs.run_fields.RUN_FIELDS` describes how each field is used.

    Attributes:
        path: Its path.
        name: The display name; untrusted text, not unique.
        state: One of `STATES`.
        tags: Its tags.
        group: Its group.
        job_type: Its job type.
        sweep: The id of its sweep.
        notes: Its notes; untrusted text.
        user: The name of the user who logged it.
        commit: The commit of the code that logged it.
        created_at: The time of its creation in UTC, `2026-11-23T10:00:00Z`, with fractional seconds only if
            they are not zero.
        heartbeat_at: The time when it was last seen, in the same form.
        host: The host of the API that it was read from, `api.wandb.ai`; None for a local run folder.
        config: Its config, unwrapped (`{"lr": 0.1}`, never `{"lr": {"value": 0.1}}`), without internal keys.
        config_internal: The internal keys of its config (`_wandb`, `wandb_version`), also unwrapped.
        summary: Its summary, nested as logged, with floats for the strings "NaN" and "Infinity".
        system_summary: Its last system metrics.
        metadata: The content of its `wandb-metadata.json`.
        sweep_config: The config of its sweep; None without a sweep, and if it is unknown.
        last_seen: Of a run that W&B no longer has, the last day on which W&B saw it, `2026-11-23`: that of
            its last heartbeat, else of its creation; empty if neither is known. None for any other run.
        parts: The parts that it was logged in, where its source shows that there are more than one.
        via: What read it from W&B where that was not this package: `sdk 0.31.0`, the SDK of that version.
    """

    path: RunPath
    name: str
    state: str
    tags: tuple[str, ...] = ()
    group: str | None = None
    job_type: str | None = None
    sweep: str | None = None
    notes: str | None = None
    user: str | None = None
    commit: str | None = None
    created_at: str | None = None
    heartbeat_at: str | None = None
    host: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    config_internal: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    system_summary: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    sweep_config: Mapping[str, Any] | None = None
    last_seen: str | None = None
    parts: RunParts | None = None
    via: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """The rows that the source promised for a run's history, and the rows that arrived.

    Attributes:
        promised_rows: The rows that the source promised when the pull was planned; None if it promised none.
        promised_last_step: The last step that it promised; None if it promised none (or -1: no rows).
        received_rows: The rows that arrived, counted before rows of one step were merged.
        received_last_step: The last step that arrived; None without rows.
        complete: Whether everything that was promised arrived.
        reason: Why the history is incomplete, in one sentence; empty if it is complete.
    """

    promised_rows: int | None = None
    promised_last_step: int | None = None
    received_rows: int = 0
    received_last_step: int | None = None
    complete: bool = True
    reason: str = ""

    @property
    def from_server(self) -> bool:
        """Whether a server promised the rows; none did for a run that was imported from local folders."""
        return self.promised_rows is not None or self.promised_last_step is not None
