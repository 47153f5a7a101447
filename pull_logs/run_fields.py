"""The fields of a run, and what each part of the package needs to know of them.

`RUN_FIELDS` is the only list of them. The table of runs, content ids, differences, audits, run
expressions, groups and the replayed filters each select from it, so that a field that is added to
`RunInfo` is added here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class RunField:
    """One field of a run.

    Attributes:
        name: Its name in expressions, in `runs.parquet` and in the content id.
        kind: `text`; `time`, an ISO 8601 time as text; `tags`, a list of texts; `document`, a JSON object; or
            `parts`, which expressions know as their number.
        required: Whether every run has it.
        attribute: The attribute of a `RunInfo` that holds it, dotted; its name where this is empty.
        graphql: The field of W&B's GraphQL type `Run`; empty where that has none.
        server_names: Its names in W&B's filters and orders, the usual one first.
        prefiltered: Whether W&B's server compares its text as this package does, so that it can check a
            condition on it.
        filtered: Whether run expressions (`--filter`) know it by its name.
        grouped: Whether runs can be grouped by it.
        identified: Whether it is part of the content id and of the differences between bundles. Config and
            summary are too, each as a document of its own.
        repetitive: Whether many runs share a value, so that its column is encoded with a dictionary.
        optional: Whether the table of runs has its column only if one of the runs has it.
        scrubbed: How audits search its texts: as `text`, as `machine` if they describe the machine and its
            user, or not at all (None).
    """

    name: str
    kind: Literal["text", "time", "tags", "document", "parts"] = "text"
    required: bool = False
    attribute: str = ""
    graphql: str = ""
    server_names: tuple[str, ...] = ()
    prefiltered: bool = False
    filtered: bool = False
    grouped: bool = False
    identified: bool = False
    repetitive: bool = False
    optional: bool = False
    scrubbed: Literal["text", "machine"] | None = None

    @property
    def reader(self) -> Callable[[object], Any]:
        """A function that reads it from a `RunInfo`, or from a `Run` of a bundle."""
        if self.kind == "parts":
            return _count_parts
        return attrgetter(self.attribute or self.name)


def _count_parts(run: Any) -> int | None:
    count: int | None = None if run.parts is None else run.parts.count
    return count


RUN_FIELDS: Final = (
    RunField(name="host", repetitive=True),
    RunField(
        name="entity",
        required=True,
        attribute="path.entity",
        server_names=("entity",),
        filtered=True,
        grouped=True,
        repetitive=True,
    ),
    RunField(
        name="project",
        required=True,
        attribute="path.project",
        server_names=("project",),
        filtered=True,
        grouped=True,
        repetitive=True,
    ),
    RunField(
        name="run_id",
        required=True,
        attribute="path.run_id",
        graphql="name",
        server_names=("name",),
        prefiltered=True,
        filtered=True,
    ),
    RunField(
        name="name",
        required=True,
        graphql="displayName",
        server_names=("displayName",),
        prefiltered=True,
        filtered=True,
        grouped=True,
        identified=True,
        scrubbed="text",
    ),
    RunField(
        name="state",
        required=True,
        graphql="state",
        server_names=("state",),
        prefiltered=True,
        filtered=True,
        grouped=True,
        identified=True,
        repetitive=True,
    ),
    RunField(
        name="tags",
        kind="tags",
        graphql="tags",
        server_names=("tags",),
        filtered=True,
        grouped=True,
        identified=True,
        scrubbed="text",
    ),
    RunField(
        name="group",
        graphql="group",
        server_names=("group",),
        prefiltered=True,
        filtered=True,
        grouped=True,
        identified=True,
        repetitive=True,
        scrubbed="text",
    ),
    RunField(
        name="job_type",
        graphql="jobType",
        server_names=("jobType",),
        prefiltered=True,
        filtered=True,
        grouped=True,
        identified=True,
        repetitive=True,
        scrubbed="text",
    ),
    RunField(
        name="sweep",
        graphql="sweepName",
        server_names=("sweep", "sweepName"),
        prefiltered=True,
        filtered=True,
        grouped=True,
        identified=True,
        repetitive=True,
    ),
    RunField(
        name="notes",
        graphql="notes",
        server_names=("notes",),
        filtered=True,
        identified=True,
        scrubbed="text",
    ),
    RunField(
        name="user",
        graphql="user",
        server_names=("username", "user"),
        prefiltered=True,
        filtered=True,
        grouped=True,
        repetitive=True,
        scrubbed="machine",
    ),
    RunField(name="commit", graphql="commit", server_names=("commit",), filtered=True, grouped=True),
    RunField(
        name="created_at",
        kind="time",
        graphql="createdAt",
        server_names=("createdAt",),
        filtered=True,
        identified=True,
    ),
    RunField(
        name="heartbeat_at",
        kind="time",
        graphql="heartbeatAt",
        server_names=("heartbeatAt", "updatedAt"),
        filtered=True,
    ),
    RunField(name="config", kind="document", required=True, graphql="config", scrubbed="text"),
    RunField(name="config_internal", kind="document", required=True, scrubbed="machine"),
    RunField(name="summary", kind="document", required=True, graphql="summaryMetrics", scrubbed="text"),
    RunField(name="system_summary", kind="document", required=True, graphql="systemMetrics", scrubbed="text"),
    RunField(name="metadata", kind="document", required=True, scrubbed="machine"),
    RunField(name="sweep_config", kind="document", repetitive=True, optional=True, scrubbed="text"),
    RunField(name="last_seen", filtered=True, repetitive=True, optional=True),
    RunField(name="parts", kind="parts", filtered=True, optional=True),
    RunField(name="via", repetitive=True, optional=True),
)
"""Every field of `RunInfo`, in the order of the columns of `runs.parquet`."""
