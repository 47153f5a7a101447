"""Which runs a question is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from pull_logs.errors import UsageError

if TYPE_CHECKING:
    from pull_logs.snapshot import Bundle, Run

BundleSource: TypeAlias = "Path | str | Bundle"
"""A bundle: a path, a folder of bundles, a glob or a URL, or one that is open."""


TRACKERS = ("tensorboard", "mlflow", "trackio")
"""The kinds of trackers that have an option of their own, by its name."""


@dataclass(frozen=True, slots=True)
class TrackerSource:
    """The store of another tracker.

    Attributes:
        kind: The kind of tracker, one of `pull_logs.sources.KINDS`.
        location: A path or URL.
    """

    kind: str
    location: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Which runs a question is about, as the command line names them.

    Attributes:
        runs: Run paths, run URLs, local W&B run folders, or folders and files of other trackers (`-r`).
        checkpoints: Checkpoint files, folders or globs (`-c`).
        bundles: Bundle files, unzipped bundles, folders or globs of bundles, or URLs of bundles (`-b`).
        projects: `entity/project` (`-p`).
        sweeps: `entity/project/sweep` (`--sweep`).
        trackers: Stores of other trackers whose kind is named (`--tensorboard`).
        keep: A run expression (`--filter`).
        checkpoint_key: The key of the run path in a checkpoint (`--checkpoint-key`).
        refresh: Download again what the cache has.
        offline: Never use the network.
        opened: Runs of open bundles, from Python.
        reads_paths: Whether `runs` may name local folders and files beside the runs of the bundles; those of
            an agent may not, which was not given those files.
    """

    runs: tuple[str, ...] = ()
    checkpoints: tuple[str, ...] = ()
    bundles: tuple[BundleSource, ...] = ()
    projects: tuple[str, ...] = ()
    sweeps: tuple[str, ...] = ()
    trackers: tuple[TrackerSource, ...] = ()
    keep: str | None = None
    checkpoint_key: str | None = None
    refresh: bool = False
    offline: bool = False
    opened: tuple[Run, ...] = ()
    reads_paths: bool = True

    @property
    def named(self) -> bool:
        """Whether any source was given."""
        return bool(
            self.runs
            or self.checkpoints
            or self.bundles
            or self.projects
            or self.sweeps
            or self.trackers
            or self.opened
        )

    @property
    def only_bundles(self) -> bool:
        """Whether it is about all runs of bundles, and nothing else."""
        others = (self.runs, self.checkpoints, self.projects, self.sweeps, self.trackers, self.opened)
        return bool(self.bundles) and not any(others)

    def check(self) -> None:
        """Refuse contradictory combinations.

        Raises:
            UsageError: No source was given, `--refresh` with an option that excludes the network, or the URL
                of a tracker's runs with `--offline`.
        """
        if not self.named:
            raise UsageError(
                "no source was given",
                hint="name one with -b BUNDLE, -c CHECKPOINT, -r RUN or -p ENTITY/PROJECT",
            )
        if self.refresh and (self.offline or self.bundles):
            other = "-b" if self.bundles else "--offline"
            raise UsageError(f"--refresh uses the network and {other} never does", hint="omit one of the two")
        if self.offline:
            self._check_offline()

    def _check_offline(self) -> None:
        from pull_logs.snapshot.format import shown_url
        from pull_logs.snapshot.storage import is_object_url

        named = [text for text in self.runs if is_object_url(text)]
        named += [source.location for source in self.trackers if is_remote(source.location)]
        if named:
            raise UsageError(
                f"{shown_url(named[0])!r} is read over the network and --offline never uses it",
                hint="omit --offline, or name a local copy",
            )


def is_remote(location: str) -> bool:
    """Return whether the store of a tracker is on a server or on object storage."""
    from pull_logs.snapshot.storage import is_object_url

    return location.startswith(("http://", "https://")) or is_object_url(location)


def tracker_sources(named: Mapping[str, Sequence[str]]) -> tuple[TrackerSource, ...]:
    """Return the stores of trackers that are given by their kinds."""
    return tuple(TrackerSource(kind, text) for kind, texts in named.items() for text in texts)
