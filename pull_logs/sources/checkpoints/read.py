"""The run, step and epoch of a checkpoint.

A checkpoint is a file written by PyTorch (a ZIP archive or, before 1.6, a sequence of pickles), a plain
pickle, a `.safetensors` file, the index of a sharded model, or a folder that is one checkpoint (`layouts`).
Its contents are read (`contents`, `distributed`) and searched for known keys (`run_keys`); no tensor is read
and no code in it is run. A checkpoint that names no run may have a sidecar: `model.pt.json`, `model.json`,
or a text file `wandb_run_path` in its folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pull_logs.errors import DamageError, FileMissingError, NotFoundError, UnsafeFileError
from pull_logs.runs import RunReference
from pull_logs.sources.checkpoints.contents import read_json, read_text
from pull_logs.sources.checkpoints.layouts import (
    followed,
    is_checkpoint_folder,
    progress_by_name,
    read_parts,
    run_by_folder,
    trainer_state,
)
from pull_logs.sources.checkpoints.run_keys import FoundRun, Progress, find_progress, find_run, run_at
from pull_logs.sources.checkpoints.values import seen_keys

RUN_PATH_FILE = "wandb_run_path"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointRun:
    """The run of a checkpoint.

    Attributes:
        file: The checkpoint.
        reference: The run it names; the project, the entity or both may be missing.
        step: The step at which it was saved; None where it is unknown.
        epoch: The epoch, a fraction if the checkpoint was saved during an epoch; None where it is unknown.
        key: The key that names the run, levels joined by dots, after `PART:` if it is not in the file itself;
            `folder` if only Lightning's folders name the run.
        step_key: The key of the step, in the same form; `name` if only the name of the file or its folder
            has the step, empty without a step.
        epoch_key: The key of the epoch, in the same form.
    """

    file: Path
    reference: RunReference
    step: int | None = None
    epoch: float | None = None
    key: str
    step_key: str = ""
    epoch_key: str = ""


def read_checkpoint(path: Path, *, key: str | None = None) -> CheckpointRun:
    """Read which run a checkpoint belongs to.

    Args:
        path: A checkpoint file or folder; DeepSpeed's `latest` means the folder that it names.
        key: The key that names the run, levels joined by dots; None tries the usual keys.

    Raises:
        FileMissingError: There is no such file, or it cannot be read.
        NotFoundError: It names no run.
        UnsafeFileError: Loading it would run code.
        DamageError: It is not a checkpoint, or is damaged.
    """
    try:
        return _read(followed(path), key)
    except FileNotFoundError as exc:
        raise FileMissingError(f"no checkpoint {str(path)!r}") from exc
    except OSError as exc:
        raise FileMissingError(f"cannot read {str(path)!r}: {exc.strerror or exc}") from exc


def _read(path: Path, key: str | None) -> CheckpointRun:
    if path.is_dir() and not is_checkpoint_folder(path) and not (path / RUN_PATH_FILE).is_file():
        raise NotFoundError(
            f"the folder {str(path)!r} is not a checkpoint",
            hint=f"name its files, or put a {RUN_PATH_FILE} file into it",
        )
    search = _Search(path, key)
    search.parts()
    if search.found is None:
        search.sidecars()
    if search.found is None:
        raise search.failure()
    progress = search.progress
    if not path.is_dir():
        progress = progress.completed(_beside(path))
    progress = progress.completed(progress_by_name(path))
    return CheckpointRun(
        file=path,
        reference=search.found.reference,
        step=progress.step,
        epoch=progress.epoch,
        key=search.found.key,
        step_key=progress.step_key,
        epoch_key=progress.epoch_key,
    )


def _beside(path: Path) -> Progress:
    return find_progress(trainer_state(path)).within("trainer_state.json:")


class _Search:
    """A search through the parts and sidecars of one checkpoint.

    Attributes:
        found: The run, once it is found.
        progress: The step and the epoch.
    """

    def __init__(self, path: Path, key: str | None) -> None:
        self.found: FoundRun | None = None
        self.progress = Progress()
        self._path = path
        self._key = key
        self._first: object = {}
        self._damage: DamageError | None = None
        self._missed: NotFoundError | None = None

    def parts(self) -> None:
        """Search the checkpoint itself."""
        try:
            for number, (part, root) in enumerate(read_parts(self._path, key=self._key)):
                if number == 0:
                    self._first = root
                self.progress = self.progress.completed(find_progress(root).within(part))
                if self.found is None:
                    self.found = self._run(part, root)
                if self.found is not None and self.progress.step is not None:
                    break
        except UnsafeFileError:
            raise
        except DamageError as exc:
            # A sidecar may name the run of a damaged file.
            self._damage = exc
        if self.found is None and self._missed is not None and not self._path.is_dir():
            raise self._missed

    def _run(self, part: str, root: object) -> FoundRun | None:
        where = str(self._path / part.removesuffix(":")) if self._path.is_dir() else str(self._path)
        try:
            found = find_run(root, where=where) if self._key is None else run_at(root, self._key, where=where)
        except NotFoundError as exc:
            if self._key is None:
                raise
            self._missed = self._missed or exc
            return None
        if found is None and self._key is None and not part:
            found = run_by_folder(self._path, root)
        return FoundRun(found.reference, f"{part}{found.key}") if found else None

    def sidecars(self) -> None:
        """Search the files next to the checkpoint."""
        for file, contents in _sidecars(self._path):
            self.found = find_run(contents, where=str(file))
            if self.found is not None:
                text = file.name == RUN_PATH_FILE
                key = "" if text else self.found.key
                self.found = FoundRun(self.found.reference, f"{file.name}:{key}")
                if not text:
                    self.progress = self.progress.completed(find_progress(contents).within(f"{file.name}:"))
                return

    def failure(self) -> NotFoundError | DamageError:
        """Return the error for a checkpoint without a run."""
        return (
            self._damage
            or self._missed
            or NotFoundError(
                f"checkpoint {str(self._path)!r} names no run; it holds {seen_keys(self._first)}",
                hint="name the run with -r, or the key that holds it with --checkpoint-key",
            )
        )


def _sidecars(path: Path) -> Iterator[tuple[Path, object]]:
    """Yield the files that may name a checkpoint's run, the nearest first, and their contents."""
    for file in dict.fromkeys((path.with_name(f"{path.name}.json"), path.with_suffix(".json"))):
        if file != path and file.is_file():
            yield file, read_json(file)
    folders = [path] if path.is_dir() else [path.parent]
    if is_checkpoint_folder(folders[0]):
        folders.append(folders[0].absolute().parent)
        if not path.is_dir():
            yield from (
                (path.with_name(part.removesuffix(":")), contents)
                for part, contents in read_parts(path.parent)
            )
    for folder in folders:
        file = folder / RUN_PATH_FILE
        if file.is_file():
            yield file, {RUN_PATH_FILE: read_text(file).strip()}
