"""The run, step and epoch of a checkpoint.

A checkpoint is a file written by PyTorch (a ZIP archive or, before 1.6, a sequence of pickles), a plain
pickle, a `.safetensors` file, the index of a sharded model, or a folder that is one checkpoint (`layouts`).
Its contents are read (`contents`, `distributed`) and searched for known keys (`run_keys`); no code in it is
run. A checkpoint that names no run may have a sidecar (`sidecars`), or be in a folder that is named after the
run (`run_folders`). A certain id outranks a guess, wherever each was found.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from pull_logs.errors import DamageError, FileMissingError, NotFoundError, UnsafeFileError
from pull_logs.runs import RunReference
from pull_logs.sources.checkpoints.layouts import followed, is_checkpoint_folder, read_parts
from pull_logs.sources.checkpoints.names import progress_by_name
from pull_logs.sources.checkpoints.run_folders import run_by_folder, run_by_own_folder
from pull_logs.sources.checkpoints.run_keys import (
    LIGHTNING_VERSION,
    PLAIN_ENTITY_KEYS,
    PLAIN_PROJECT_KEYS,
    FoundRun,
    Progress,
    find_progress,
    find_run,
    run_at,
)
from pull_logs.sources.checkpoints.sidecars import (
    RUN_PATH_FILE,
    WANDB_FILE,
    Sidecar,
    is_named_folder,
    progress_beside,
    read_sidecars,
)
from pull_logs.sources.checkpoints.values import members_of, seen_keys
from pull_logs.system_errors import from_system_error


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointRun:
    """The run of a checkpoint.

    Attributes:
        file: The checkpoint.
        reference: The run it names; the project, the entity or both may be missing.
        step: The step at which it was saved; None where it is unknown.
        epoch: The epoch, a fraction if the checkpoint was saved during an epoch; None where it is unknown.
        key: The key that names the run, levels joined by dots, after `PART:` if it is not in the file itself;
            `folder` or `wandb/latest-run` if only folders name the run.
        step_key: The key of the step, in the same form; `name` if only the name of the file or its folder
            has the step, empty without a step.
        epoch_key: The key of the epoch, in the same form.
        guessed: The keys of the project and the entity, where these keys may be of something else than the
            run, such as `cfg.project`. If there is no such run, `certain` is the reference without them.
        warnings: The parts of the checkpoint that were refused because loading them would run code.
        unread: Why the file itself cannot be read, where it is damaged or of an unknown format, so that its
            run is known from another file or a folder; empty if it was read.
    """

    file: Path
    reference: RunReference
    step: int | None = None
    epoch: float | None = None
    key: str
    step_key: str = ""
    epoch_key: str = ""
    guessed: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    unread: str = ""

    @property
    def certain(self) -> RunReference:
        """The reference without a guessed project or entity."""
        last = {key.rpartition(".")[2] for key in self.guessed}
        return replace(
            self.reference,
            project=None if last & {*PLAIN_PROJECT_KEYS} else self.reference.project,
            entity=None if last & {*PLAIN_ENTITY_KEYS} else self.reference.entity,
        )


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
        raise from_system_error(exc, path=path, action="read") from exc


def _read(path: Path, key: str | None) -> CheckpointRun:
    if path.is_dir() and not is_checkpoint_folder(path) and not is_named_folder(path):
        raise NotFoundError(
            f"the folder {str(path)!r} is not a checkpoint",
            hint=f"name its files, or put a {RUN_PATH_FILE} file into it",
        )
    search = _Search(path, key)
    search.parts()
    search.sidecars()
    found = search.certain or search.likely()
    if found is None:
        raise search.failure()
    progress = search.progress
    if not path.is_dir():
        progress = progress.completed(progress_beside(path))
    progress = progress.completed(progress_by_name(path, progress))
    return CheckpointRun(
        file=path,
        reference=found.reference,
        step=progress.step,
        epoch=progress.epoch,
        key=found.key,
        step_key=progress.step_key,
        epoch_key=progress.epoch_key,
        guessed=found.guessed,
        warnings=tuple(exc.message for exc in search.failures if isinstance(exc, UnsafeFileError)),
        unread=search.unread,
    )


class _Search:
    """A search through the parts and sidecars of one checkpoint.

    Attributes:
        certain: The run, once a key names it that refers to W&B.
        progress: The step and the epoch.
        failures: The parts that cannot be read.
        unread: Why the file itself cannot be read; empty if it was read, or refused.
    """

    def __init__(self, path: Path, key: str | None) -> None:
        self.certain: FoundRun | None = None
        self.progress = Progress()
        self.failures: list[DamageError] = []
        self.unread = ""
        self._path = path
        self._key = key
        self._first: object = None
        self._guess: FoundRun | None = None
        self._lightning = False
        self._missed: NotFoundError | None = None

    def parts(self) -> None:
        """Search the checkpoint itself.

        Raises:
            NotFoundError: The key that the user gave names no run.
        """
        for part in read_parts(self._path, key=self._key):
            if part.failure is not None:
                self.failures.append(part.failure)
                if not part.name and not isinstance(part.failure, UnsafeFileError):
                    self.unread = part.failure.message
                continue
            root = part.contents
            self._first = root if self._first is None else self._first
            self._lightning = self._lightning or LIGHTNING_VERSION in (members_of(root) or {})
            self.progress = self.progress.completed(find_progress(root).within(part.name))
            self._keep(self._run(part.name, root), part.name)
            if self.certain is not None and self.progress.step is not None:
                break
        if self._key is not None and self.certain is None and self._missed and not self._path.is_dir():
            raise self._missed

    def _run(self, part: str, root: object) -> FoundRun | None:
        where = str(self._path / part.removesuffix(":")) if self._path.is_dir() else str(self._path)
        try:
            return find_run(root, where=where) if self._key is None else run_at(root, self._key, where=where)
        except NotFoundError as exc:
            self._missed = self._missed or exc
            return None

    def _keep(self, found: FoundRun | None, prefix: str) -> None:
        if found is not None:
            found = replace(found, key=f"{prefix}{found.key}")
            if found.certain:
                self.certain = self.certain or found
            else:
                self._guess = self._guess or found

    def sidecars(self) -> None:
        """Search the files next to the checkpoint for what it does not contain."""
        if self.certain is not None and self.progress.step is not None:
            return
        for sidecar in read_sidecars(self._path):
            if sidecar.failure is not None:
                self.failures.append(sidecar.failure)
                continue
            if self.certain is None:
                self._keep(self._sidecar_run(sidecar), f"{sidecar.name}:")
            if sidecar.has_progress:
                found = find_progress(sidecar.contents).within(f"{sidecar.name}:")
                self.progress = self.progress.completed(found)

    def _sidecar_run(self, sidecar: Sidecar) -> FoundRun | None:
        try:
            found = find_run(sidecar.contents, where=str(self._path.with_name(sidecar.name)))
        except NotFoundError as exc:
            self._missed = self._missed or exc
            return None
        if found is not None and sidecar.name == WANDB_FILE:
            return replace(found, key=found.key.removeprefix("wandb."))
        return replace(found, key="") if found is not None and sidecar.text else found

    def likely(self) -> FoundRun | None:
        """Return the run that a guess gives, if no key names one that refers to W&B."""
        if self._missed is not None:
            return None
        return (
            run_by_own_folder(self._path)
            or self._guess
            or run_by_folder(self._path, lightning=self._lightning)
        )

    def failure(self) -> NotFoundError | DamageError:
        """Return the error for a checkpoint without a run."""
        unsafe = next((exc for exc in self.failures if isinstance(exc, UnsafeFileError)), None)
        return (
            unsafe
            or next(iter(self.failures), None)
            or self._missed
            or NotFoundError(
                f"checkpoint {str(self._path)!r} names no run; it holds {seen_keys(self._first or {})}",
                hint="name the run with -r, or the key that holds it with --checkpoint-key",
            )
        )
