"""The run that only the folders of a checkpoint name.

    wandb/run-20240101_120000-2ywaztas/files/model.pt          a file that was saved to the run's folder
    artifacts/model-2ywaztas:v3/model.ckpt                     an artifact that Lightning, the `Trainer` or
                                                               Ultralytics named after its run
    PROJECT/2ywaztas/checkpoints/epoch=3-step=1200.ckpt        Lightning with its `WandbLogger`
    model.pt, wandb/latest-run                                 the last run that was started in the folder

They are guesses: anything in the checkpoint or in a sidecar outranks them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pull_logs.errors import UsageError
from pull_logs.runs import RunReference
from pull_logs.sources.checkpoints.run_keys import FoundRun

BY_FOLDER = "folder"
LATEST_RUN = "wandb/latest-run"

_RUN_FOLDER = re.compile(r"(?:offline-)?run-\d{8}_\d{6}-(.+)")
_GENERATED_ID = re.compile(r"[a-z0-9]{8}")
_ARTIFACT = re.compile(
    r"(?:(?:model|checkpoint)-(?P<id>[a-z0-9]{8})|run_(?P<run>[a-z0-9]{8})_model)[:-](?:v\d+|latest|best)"
)


def run_by_own_folder(path: Path) -> FoundRun | None:
    """Return the run in whose `run-DATE-ID` folder a checkpoint is stored."""
    for folder in path.absolute().parents:
        if (found := _RUN_FOLDER.fullmatch(folder.name)) is not None:
            return _found(found[1], BY_FOLDER)
    return None


def run_by_folder(path: Path, *, lightning: bool) -> FoundRun | None:
    """Return the run that the folders around a checkpoint name, the most certain form first.

    Args:
        path: The checkpoint.
        lightning: Whether Lightning wrote it. With a `WandbLogger` and no folder given, it saves to
            `PROJECT/RUN_ID/checkpoints`; only run ids in the form that W&B generates are accepted.
    """
    return next((found for found in _by_folders(path.absolute(), lightning=lightning) if found), None)


def _by_folders(path: Path, *, lightning: bool) -> Iterator[FoundRun | None]:
    *_, project, run_id, folder, _ = ("", "", "", *path.parts)
    if lightning and folder == "checkpoints" and _GENERATED_ID.fullmatch(run_id):
        yield _found(f"{project}/{run_id}", BY_FOLDER)
    for outer in path.parents:
        if (found := _ARTIFACT.fullmatch(outer.name)) is not None:
            yield _found(found["id"] or found["run"], BY_FOLDER)
    for outer in (path.parent, path.parent.parent):
        latest = outer / "wandb" / "latest-run"
        if latest.exists() and (found := _RUN_FOLDER.fullmatch(latest.resolve().name)) is not None:
            yield _found(found[1], LATEST_RUN)


def _found(text: str, key: str) -> FoundRun | None:
    try:
        return FoundRun(RunReference.parse(text), key, certain=False)
    except UsageError:
        return None
