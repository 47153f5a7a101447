"""Where W&B's logs are: run folders, `wandb/` folders and folders that contain one.

    wandb/offline-run-20261123_103448-3fk2a/run-3fk2a.wandb
    wandb/run-20261123_103448-3fk2a/run-3fk2a.wandb
    wandb/latest-run -> one of them

Each time that a run is started or resumed it gets a folder, named by the local
time and the run id (read API facts, section 7). `find_logs` gives the logs of
all of them; the same log reached twice, through `latest-run` or
through two arguments, is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pull_logs.errors import FileMissingError

_RUN_FOLDER = re.compile(r"(?:offline-)?run-(\d{8}_\d{6})-.+", re.DOTALL)
_WANDB_FOLDERS = ("wandb", ".wandb")
"""W&B writes to the second where the first is somebody else's package."""


@dataclass(frozen=True, slots=True)
class FoundLogs:
    """The logs of some folders.

    Attributes:
        files: The logs, by the names of their folders, which begin with the time of the start.
        notes: Run folders without a log, a sentence each.
    """

    files: tuple[Path, ...]
    notes: tuple[str, ...]


def is_run_folder(path: Path) -> bool:
    """Whether a path is one that `find_logs` finds a run in: a log, a run folder or one that holds some."""
    try:
        if path.is_file():
            return path.suffix == ".wandb"
        return path.is_dir() and next(_run_folders(path), None) is not None
    except OSError:
        return False


def find_logs(paths: Sequence[Path]) -> FoundLogs:
    """The logs in run folders, `wandb/` folders, folders that contain one, or given themselves.

    Raises:
        FileMissingError: A path does not exist, or there is no run in it.
    """
    files: set[Path] = set()
    notes: list[str] = []
    for path in paths:
        if not path.exists():
            raise FileMissingError(f"no file or folder {str(path)!r}")
        try:
            found = _logs_in(path, notes)
        except OSError as exc:
            raise FileMissingError(f"cannot read {str(path)!r}: {exc.strerror or exc}") from exc
        if not found:
            raise FileMissingError(
                f"no W&B run in {str(path)!r}",
                hint="name a run folder (offline-run-DATE-ID, run-DATE-ID) or the wandb/ folder around it",
            )
        files.update(found)
    return FoundLogs(tuple(sorted(files, key=start_order)), tuple(dict.fromkeys(notes)))


def start_order(file: Path, started_at: str | None = None) -> tuple[str, int, str]:
    """A key that puts the logs of one run in the order in which they were started.

    Args:
        file: The log.
        started_at: When the log itself says that it was started, in UTC. The folder's name has the time of
            whatever zone its machine was in, and only seconds: W&B gives the second folder of a second
            the suffix `-1`.
    """
    match = _RUN_FOLDER.fullmatch(file.parent.name)
    if started_at is None and match is not None:
        day, time = match[1].split("_")
        started_at = f"{day[:4]}-{day[4:6]}-{day[6:]}T{time[:2]}:{time[2:4]}:{time[4:]}"
    return (started_at or "").removesuffix("Z"), len(file.parent.name), str(file)


def _logs_in(path: Path, notes: list[str]) -> list[Path]:
    if path.is_file():
        return [path.resolve()] if path.suffix == ".wandb" else []
    found: list[Path] = []
    for folder in _run_folders(path):
        logs = sorted(file.resolve() for file in folder.glob("*.wandb") if file.is_file())
        if not logs:
            notes.append(f"{str(folder)!r} holds no log (run-ID.wandb) and was left out")
        found += logs
    return found


def _run_folders(path: Path) -> Iterator[Path]:
    if _RUN_FOLDER.fullmatch(path.resolve().name) or any(path.glob("*.wandb")):
        yield path
        return
    inner = [folder for folder in path.iterdir() if _RUN_FOLDER.fullmatch(folder.name) and folder.is_dir()]
    if inner:
        yield from sorted(inner)
        return
    for name in _WANDB_FOLDERS:
        if path.name != name and (path / name).is_dir():
            yield from _run_folders(path / name)
