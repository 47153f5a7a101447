"""Runs that are read where they are: local W&B folders, and the stores of other trackers, local or not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from pull_logs.errors import FileMissingError

if TYPE_CHECKING:
    from pull_logs.interface.run_sources import TrackerSource
    from pull_logs.snapshot import Run
    from pull_logs.sources import Location

_RUN_FOLDER = re.compile(r"(?:offline-)?run-\d{8}_\d{6}-[^/]+")
"""The name of a local W&B run folder."""


def is_store_url(text: str) -> bool:
    """Return whether a text is a URL of runs of another tracker: a database or object storage."""
    from pull_logs.snapshot.storage import is_object_url

    return text.startswith("sqlite:") or is_object_url(text)


def is_local(text: str) -> bool:
    """Return whether a run is named by a folder, by a `.wandb` log, or by a file or URL of another tracker.

    Raises:
        FileMissingError: It has the name of a W&B run folder or log, and does not exist.
        PullLogsError: It is a file that cannot be read.
    """
    from pull_logs.snapshot.storage import is_object_url

    path = Path(text)
    if is_object_url(text) or path.is_dir() or (path.suffix == ".wandb" and path.is_file()):
        return True
    if "://" not in text and (path.suffix == ".wandb" or _RUN_FOLDER.fullmatch(path.name)):
        raise FileMissingError(
            f"{text!r} does not exist", hint="name a local W&B run folder, or its .wandb log"
        )
    if not (path.is_file() or text.startswith("sqlite:")):
        return False
    from pull_logs.sources import kinds_at

    return bool(kinds_at(text))


def read_local_runs(
    texts: Sequence[str], trackers: Sequence[TrackerSource], stack: ExitStack
) -> Iterator[tuple[Run, str]]:
    """Read the runs at some locations; yield each with the location that it is from.

    Args:
        texts: Folders and files of any kind, and folders on object storage.
        trackers: Locations whose kind is named.
        stack: Closes the runs.

    Raises:
        NotFoundError: A location does not exist, or has no run in it.
        DamageError: Nothing at a location can be read.
    """
    if not (texts or trackers):
        return
    from pull_logs.sources import locate

    for text in texts:
        yield from _read(locate(text), stack)
    for source in trackers:
        yield from _read(locate(source.location, source.kind), stack)


def _read(location: Location, stack: ExitStack) -> Iterator[tuple[Run, str]]:
    from pull_logs.snapshot import open_bundle, temporary_folder
    from pull_logs.sources import import_locations

    temporary = stack.enter_context(temporary_folder())
    import_locations([location], out=temporary / "run.wandb.zip")
    bundle = stack.enter_context(open_bundle(temporary / "run.wandb.zip"))
    for run in bundle.runs():
        yield run, location.text
