"""The options of a pull."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pull_logs.errors import UsageError, refuse_text
from pull_logs.fetch.api import RetryPolicy
from pull_logs.runs import RunPath
from pull_logs.snapshot import ArtifactSelection, FileSelection, select_files
from pull_logs.suggestions import listed

MOST_CONCURRENCY = 256

WAYS = ("auto", "graphql", "sdk")
"""What reads from W&B."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PullOptions:
    """What a pull includes and how it proceeds.

    Attributes:
        metrics: A regular expression; only metrics whose name it matches anywhere are kept, and `_timestamp`.
        system: Whether system metrics are pulled too.
        console: Whether console logs are pulled too.
        artifacts: The artifacts to pull too: `logged`, `used`, `all`, or `references` for those that the runs
            logged and used without the bytes of their files. None for no artifacts.
        kept_artifacts: If `artifacts` is None, the artifacts to pull of runs that changed or are new, so that
            `previous` keeps what it has; those of unchanged runs are only listed.
        files: Patterns of names, for example `*.log`; the run files that match one are pulled too.
        media: Patterns of flat keys and of names, for example `pred` or `val.*`; the files of media that rows
            and summaries point to are pulled too, where one matches. `*` stands for all media.
        kept_media: Further such patterns, so that `previous` keeps being complete in the media that it has.
        max_file_size: The size in bytes of the largest file to pull; larger ones are omitted and reported.
        concurrency: The maximum number of requests in flight, for GraphQL and storage each.
        requests_per_minute: The most requests to the API in a minute, evenly spaced; None for no limit but
            those that the server reports. Downloads from storage are not counted.
        strict: Whether an incomplete or missing run is an error, raised after the others are sealed.
        fresh: Whether to discard what an earlier call left in the spool.
        force: Whether to replace a file that is not a bundle, or a bundle of another selection.
        previous: A bundle pulled with the same `metrics` and `system`. Its unchanged runs are copied, only
            new rows of the others are requested, and runs that W&B no longer has are kept.
        reuse: Whether unchanged parts of `previous` are copied; otherwise it only provides the runs that W&B
            no longer has, or that cannot be downloaded.
        untouched: Runs of `previous` that are copied as they are, without a request, unless selected.
        prune: Whether runs of `previous` that W&B no longer has are dropped.
        processes: The maximum number of processes that decode and encode, this one included. The others run
            the interpreter of this process, and only if there are many exported files.
        via: What reads from W&B: `graphql`, this package's queries; `sdk`, the W&B SDK, which is slower; or
            `auto`, the SDK if W&B does not know a field of a query, and the queries otherwise.
        policy: How often and how long a failed request is sent again.

    Raises:
        UsageError: A value is invalid.
    """

    metrics: str | None = None
    system: bool = False
    console: bool = False
    artifacts: str | None = None
    kept_artifacts: str | None = None
    files: Sequence[str] = ()
    media: Sequence[str] = ()
    kept_media: Sequence[str] = ()
    max_file_size: int | None = None
    concurrency: int = 32
    requests_per_minute: float | None = None
    strict: bool = False
    fresh: bool = False
    force: bool = False
    previous: Path | None = None
    reuse: bool = True
    untouched: Collection[RunPath] = ()
    prune: bool = False
    processes: int = 1
    via: str = "auto"
    policy: RetryPolicy = field(default_factory=RetryPolicy)

    def __post_init__(self) -> None:
        if not 1 <= self.concurrency <= MOST_CONCURRENCY:
            raise UsageError(f"concurrency is {self.concurrency}, not between 1 and {MOST_CONCURRENCY}")
        if self.via not in WAYS:
            raise UsageError(f"via is {self.via!r}, not one of {listed(WAYS)}")
        for name, patterns in (("files", self.files), ("media", self.media)):
            refuse_text(name, patterns, "patterns")
        try:
            re.compile(self.metrics or "")
        except re.error as exc:
            raise UsageError(f"metrics {self.metrics!r} is not a valid regular expression: {exc}") from exc
        FileSelection(tuple(self.files), self.max_file_size, tuple(self.media))
        if self.artifacts is not None and self.artifacts not in {str(one) for one in ArtifactSelection}:
            known = listed([str(one) for one in ArtifactSelection])
            raise UsageError(f"artifacts is {self.artifacts!r}, not one of {known}")

    @property
    def metric_pattern(self) -> re.Pattern[str] | None:
        """The compiled `metrics`; None for all metrics."""
        return None if self.metrics is None else re.compile(self.metrics)

    @property
    def artifact_selection(self) -> ArtifactSelection | None:
        """The artifacts to pull; None for no artifacts."""
        chosen = self.artifacts or self.kept_artifacts
        return None if chosen is None else ArtifactSelection(chosen)

    @property
    def file_selection(self) -> FileSelection | None:
        """The files to pull; None for no files."""
        return select_files(self.files, self.max_file_size, media=(*self.media, *self.kept_media))
