"""Files next to a checkpoint that name its run or its step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pull_logs.errors import DamageError
from pull_logs.sources.checkpoints.contents import read_json, read_text
from pull_logs.sources.checkpoints.layouts import is_checkpoint_folder, read_parts
from pull_logs.sources.checkpoints.run_keys import Progress, find_progress

RUN_PATH_FILE = "wandb_run_path"
WANDB_FILE = "wandb.json"

_TEXT_FILES = {
    RUN_PATH_FILE: RUN_PATH_FILE,
    f"{RUN_PATH_FILE}.txt": RUN_PATH_FILE,
    "wandb_run_id": "wandb_run_id",
    "wandb_run_id.txt": "wandb_run_id",
    "wandb_id.txt": "wandb_run_id",
}
"""Text files, and the key whose value each contains."""

_TRAIN_CONFIG = "train_config.json"
"""LeRobot's configuration, with the run in its `wandb`."""

_PROGRESS_FILES = ("trainer_state.json", "training_step.json", "../training_state/training_step.json")
"""The state that Hugging Face's `Trainer` and LeRobot write next to a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sidecar:
    """A file next to a checkpoint.

    Attributes:
        name: Its name.
        contents: Its contents; None if it is damaged.
        text: Whether it is a text file, so that its only value has no key.
        has_progress: Whether its step and epoch are those of the checkpoint.
        failure: The error, if it cannot be read.
    """

    name: str
    contents: object = None
    text: bool = False
    has_progress: bool = False
    failure: DamageError | None = None


def is_named_folder(folder: Path) -> bool:
    """Return whether a folder has a text file that names its run."""
    return any((folder / name).is_file() for name in _TEXT_FILES)


def read_sidecars(path: Path) -> Iterator[Sidecar]:
    """Read the files that may name a checkpoint's run, the nearest first.

    Raises:
        OSError: A file cannot be read.
    """
    stem = path.name.removesuffix(".tar") if path.name.endswith(".pth.tar") else path.name
    for file in dict.fromkeys(
        (path.with_name(f"{path.name}.json"), path.with_name(stem).with_suffix(".json"))
    ):
        if file != path and file.is_file():
            yield _sidecar(file.name, partial(read_json, file), has_progress=True)
    folder = path if path.is_dir() else path.parent
    if not path.is_dir() and is_checkpoint_folder(folder):
        for part in read_parts(folder):
            yield Sidecar(
                name=part.name.removesuffix(":"),
                contents=part.contents,
                has_progress=True,
                failure=part.failure,
            )
    for outer in dict.fromkeys((folder, folder.absolute().parent)):
        yield from _of_folder(outer)


def _of_folder(folder: Path) -> Iterator[Sidecar]:
    if (file := folder / WANDB_FILE).is_file():
        yield _sidecar(file.name, lambda: {"wandb": read_json(file)})
    for name, key in _TEXT_FILES.items():
        if (text := folder / name).is_file():
            yield _sidecar(name, partial(_read_value, text, key), text=True)
    if (config := folder / _TRAIN_CONFIG).is_file():
        yield _sidecar(config.name, partial(read_json, config))


def _read_value(file: Path, key: str) -> object:
    return {key: read_text(file).strip()}


def _sidecar(
    name: str, read: Callable[[], object], *, text: bool = False, has_progress: bool = False
) -> Sidecar:
    try:
        return Sidecar(name=name, contents=read(), text=text, has_progress=has_progress)
    except DamageError as exc:
        return Sidecar(name=name, failure=exc)


def progress_beside(path: Path) -> Progress:
    """Return the step and epoch that a trainer wrote next to a file.

    Raises:
        OSError: A file cannot be read.
        DamageError: A file is damaged.
    """
    progress = Progress()
    for name in _PROGRESS_FILES:
        if (file := path.parent / name).is_file():
            progress = progress.completed(find_progress(read_json(file)).within(f"{file.name}:"))
    return progress
