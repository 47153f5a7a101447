"""Runs of any kind at the locations that a user names: local W&B folders, and the stores of other trackers.

The kind of a location is known from its content. Runs of several kinds can be read together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pull_logs.errors import FileMissingError, UsageError
from pull_logs.sources.tracked_runs import FoundRun, ReadOptions, TrackedRun, Tracker
from pull_logs.suggestions import nearest_file
from pull_logs.system_errors import from_system_error

if TYPE_CHECKING:
    from pull_logs.snapshot import ArtifactSelection, BundleRun
    from pull_logs.sources.remote_folders import RemoteTracker
    from pull_logs.sources.wandb_folders import ImportReport, OnRestart

WANDB = "wandb"
"""The kind of W&B's own run folders and logs."""


def trackers() -> tuple[Tracker, ...]:
    """Return all kinds of sources but W&B's own folders, in the order in which they are recognized."""
    from pull_logs.sources.metric_files import MetricFiles
    from pull_logs.sources.mlflow import Mlflow
    from pull_logs.sources.neptune import Neptune
    from pull_logs.sources.tensorboard import TensorBoard
    from pull_logs.sources.trackio import Trackio

    return (TensorBoard(), Mlflow(), Trackio(), Neptune(), MetricFiles())


def remote_trackers() -> tuple[RemoteTracker, ...]:
    """Return the kinds of sources that are also read from object storage."""
    from pull_logs.sources.metric_files import MetricFiles
    from pull_logs.sources.tensorboard import TensorBoard

    return (TensorBoard(), MetricFiles())


KINDS = (WANDB, "tensorboard", "mlflow", "trackio", "neptune", "metric-files")
"""The names of all kinds, without importing them."""


@dataclass(frozen=True, slots=True)
class Location:
    """A path or URL, and its kind.

    Attributes:
        text: The path or URL.
        kind: One of `KINDS`.
        others: The other kinds of runs that are there.
    """

    text: str
    kind: str
    others: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out of a location that has runs of several kinds."""
        if not self.others:
            return ()
        kinds = " and ".join((self.kind, *self.others))
        other = self.others[0]
        return (f"{self.text!r} has runs of {kinds}; `--from {other}` reads those of {other} instead",)


def locate(text: str, kind: str | None = None) -> Location:
    """Return the kind of a location, by its content.

    Args:
        text: A path or URL.
        kind: The kind that it must have; None for any.

    Raises:
        FileMissingError: It does not exist, or has no run of any kind.
        UsageError: It is a URL whose kind is not known.
        PullLogsError: It cannot be read.
    """
    from pull_logs.snapshot.storage import is_object_url

    if is_object_url(text):
        return _locate_remote(text, kind)
    if kind is not None:
        return Location(text, kind)
    path = Path(text)
    if "://" not in text and not path.exists():
        raise FileMissingError(f"no file or folder {text!r}", hint=nearest_file(path))
    found = kinds_at(text)
    if not found and "://" in text:
        raise UsageError(
            f"the kind of {text!r} is not known",
            hint="`--from mlflow` (--mlflow in a question) reads a tracking server of MLflow",
        )
    return Location(text, found[0], found[1:]) if found else Location(text, WANDB)


def _locate_remote(url: str, kind: str | None) -> Location:
    """Return the kind of a folder on object storage, by the names of its files."""
    from pull_logs.snapshot.format import shown_url
    from pull_logs.sources.remote_folders import RemoteFolder

    known = remote_trackers()
    if kind is not None:
        _check_remote(url, kind)
        return Location(url, kind)
    folder = RemoteFolder.open(url, known)
    found = [tracker.name for tracker in known if folder.has(tracker)]
    if not found:
        raise FileMissingError(
            f"no run in {shown_url(url)!r}: no event file of TensorBoard, and no file of metrics",
            hint="download the runs of other kinds, and name the local folder",
        )
    return Location(url, found[0], tuple(found[1:]))


def _check_remote(url: str, kind: str) -> None:
    """Refuse object storage for the kinds that are not read from there.

    Raises:
        UsageError: The kind is one of them.
    """
    from pull_logs.snapshot.format import shown_url

    if kind not in {tracker.name for tracker in remote_trackers()}:
        server = ", or name the URL of its server" if kind == "mlflow" else ""
        raise UsageError(
            f"runs of {kind} cannot be read from {shown_url(url)!r}",
            hint=f"download the folder, and name the local one{server}",
        )


def kinds_at(text: str) -> tuple[str, ...]:
    """Return the kinds of runs at a location that exists, W&B's own first.

    Raises:
        PullLogsError: It cannot be read.
    """
    from pull_logs.sources.wandb_folders import has_logs

    try:
        wandb = (WANDB,) if "://" not in text and has_logs(Path(text)) else ()
        return (*wandb, *(tracker.name for tracker in trackers() if tracker.recognizes(text)))
    except OSError as exc:
        raise from_system_error(exc, path=text, action="read") from exc


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """How runs are imported.

    Attributes:
        read: How runs are read.
        on_restart: How to treat a segment of a W&B run that starts over.
        artifacts: The artifacts of W&B runs to take; None takes none.
        follow_links: Whether files of W&B runs that are symbolic links are copied.
    """

    read: ReadOptions = field(default_factory=ReadOptions)
    on_restart: OnRestart = "offset"
    artifacts: ArtifactSelection | None = None
    follow_links: bool = False


def import_locations(
    locations: Sequence[Location],
    *,
    out: Path,
    options: ImportOptions | None = None,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ImportReport:
    """Write the runs at some locations to a bundle.

    Args:
        locations: The locations.
        out: The bundle to write.
        options: How to import.
        force: Whether to replace what is not a bundle, or a bundle that has other runs or metrics.
        progress: Called with the number of logs or runs that were read, and of all.

    Raises:
        UsageError: `out` cannot be written or must not be replaced, or two runs have one path.
        NotFoundError: A location does not exist or has no run in it.
        DamageError: Nothing at a location can be read.
        PullLogsError: The disk is full, or the bundle cannot be written.
    """
    from pull_logs.snapshot import disk_errors, open_bundle, temporary_folder, write_bundle
    from pull_logs.snapshot.write import check_bundle_output
    from pull_logs.sources.wandb_folders import ImportReport, pointer_notes

    options = options or ImportOptions()
    target = check_bundle_output(out, force=force)
    notes = [note for location in locations for note in location.notes]
    with (
        disk_errors(out, hint="free some space and try again; nothing was changed"),
        temporary_folder(target.parent) as scratch,
    ):
        runs, found = _read(locations, scratch, options, progress)
        _check_paths(runs)
        seal = write_bundle(out, runs, force=force)
    with open_bundle(out) as bundle:
        return ImportReport(seal, (*notes, *found, *pointer_notes(bundle)))


def _read(
    locations: Sequence[Location],
    scratch: Path,
    options: ImportOptions,
    progress: Callable[[int, int], None] | None,
) -> tuple[list[BundleRun], list[str]]:
    """Return the runs at the locations, and notes about them."""
    from pull_logs.sources.wandb_folders import read_run_dirs

    runs: list[BundleRun] = []
    notes: list[str] = []
    folders = [Path(location.text) for location in locations if location.kind == WANDB]
    if folders:
        inner = scratch / "wandb"
        inner.mkdir()
        found = read_run_dirs(
            folders,
            scratch=inner,
            entity=options.read.entity,
            project=options.read.project,
            on_restart=options.on_restart,
            files=options.read.files,
            artifacts=options.artifacts,
            follow_links=options.follow_links,
            progress=progress,
        )
        runs, notes = list(found.runs), list(found.notes)
    others = [location for location in locations if location.kind != WANDB]
    for run in _tracked(others, scratch, options.read, progress):
        runs.append(run.run)
        notes += run.notes
    return runs, notes


def _tracked(
    locations: Sequence[Location],
    scratch: Path,
    options: ReadOptions,
    progress: Callable[[int, int], None] | None,
) -> Iterator[TrackedRun]:
    """Read the runs of other trackers, one after the other.

    Raises:
        PullLogsError: A location cannot be read.
    """
    known = {tracker.name: tracker for tracker in trackers()}
    report = progress or (lambda _done, _total: None)
    number = 0
    for index, location in enumerate(locations):
        try:
            found, notes = _found(location, known, scratch / f"remote{index:06d}")
            for done, run in enumerate(found):
                report(done, len(found))
                folder = scratch / f"{number:06d}"
                folder.mkdir()
                number += 1
                read = run.read(folder, options)
                yield TrackedRun(read.run, (*notes, *read.notes))
                notes = []
            report(len(found), len(found))
        except OSError as exc:
            raise from_system_error(exc, path=location.text, action="read") from exc


def _found(
    location: Location, known: Mapping[str, Tracker], folder: Path
) -> tuple[Sequence[FoundRun], list[str]]:
    """Return the runs at a location, and notes about it; files on object storage are downloaded first."""
    from pull_logs.snapshot.format import shown_url
    from pull_logs.snapshot.storage import is_object_url
    from pull_logs.sources.remote_folders import RemoteFolder

    if not is_object_url(location.text):
        return known[location.kind].find(location.text), []
    _check_remote(location.text, location.kind)
    (tracker,) = (tracker for tracker in remote_trackers() if tracker.name == location.kind)
    local, notes = RemoteFolder.open(location.text, [tracker]).download(tracker, folder)
    try:
        return tracker.find(str(local)), notes
    except FileMissingError as exc:
        shown = shown_url(location.text)
        raise FileMissingError(f"no run of {location.kind} in {shown!r}", hint=exc.hint) from exc


def _check_paths(runs: Sequence[BundleRun]) -> None:
    """Refuse runs of one path.

    Raises:
        UsageError: Two runs have the same path.
    """
    seen = set()
    for run in runs:
        path = run.info.path
        if path in seen:
            raise UsageError(
                f"two of the runs have the path {str(path)!r}",
                hint="import them into two bundles, one of them with another --project",
            )
        seen.add(path)
