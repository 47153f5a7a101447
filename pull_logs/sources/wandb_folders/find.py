"""Finding W&B's logs in run folders, `wandb/` folders and folders that contain one.

    wandb/offline-run-20261123_103448-3fk2a/run-3fk2a.wandb
    wandb/run-20261123_103448-3fk2a/run-3fk2a.wandb
    wandb/latest-run -> one of them

Each start of a run, a resume included, has its own folder, named by the local time and the run id. See
docs/protocol.md, "Local run logs". A log that is found twice, through `latest-run` or through two arguments,
counts once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pull_logs.errors import FileMissingError

_RUN_FOLDER = re.compile(r"(?:offline-)?run-(\d{8}_\d{6})-.+", re.DOTALL)
_WANDB_FOLDERS = ("wandb", ".wandb")
"""W&B writes to the second folder if the first is the source of its package."""


@dataclass(frozen=True, slots=True)
class FoundLogs:
    """The logs of some folders.

    Attributes:
        files: The logs, sorted by the names of their folders, which begin with the time of the start.
        notes: The run folders without a log, one sentence each.
    """

    files: tuple[Path, ...]
    notes: tuple[str, ...]


def is_run_folder(path: Path) -> bool:
    """Return whether `find_logs` finds a run in a path: a log, a run folder or a folder that contains one."""
    try:
        if path.is_file():
            return path.suffix == ".wandb"
        return path.is_dir() and next(_run_folders(path), None) is not None
    except OSError:
        return False


def find_logs(paths: Sequence[Path]) -> FoundLogs:
    """Find the logs in run folders, `wandb/` folders and folders that contain one; a log may be given itself.

    Raises:
        FileMissingError: A path does not exist, or there is no run in it.
    """
    files: set[Path] = set()
    notes: list[str] = []
    for path in paths:
        if not path.exists():
            raise FileMissingError(f"no file or folder {str(path)!r}")
        try:
            found = _logs_in(path)
        except OSError as exc:
            raise FileMissingError(f"cannot read {str(path)!r}: {exc.strerror or exc}") from exc
        if not found.files:
            raise FileMissingError(
                f"no W&B run in {str(path)!r}",
                hint="name a run folder (offline-run-DATE-ID, run-DATE-ID) or the wandb/ folder around it",
            )
        files.update(found.files)
        notes += found.notes
    return FoundLogs(tuple(sorted(files, key=start_order)), tuple(dict.fromkeys(notes)))


def start_order(file: Path, started_at: str | None = None) -> tuple[str, int, str]:
    """Return a sort key that puts the logs of one run in the order in which they were started.

    Args:
        file: The log.
        started_at: The time of the start in the log, in UTC. Without it, the time in the name of the folder
            is used, which is in the local time of its machine and has only seconds: W&B gives the second
            folder of the same second the suffix `-1`.
    """
    match = _RUN_FOLDER.fullmatch(file.parent.name)
    if started_at is None and match is not None:
        day, time = match[1].split("_")
        started_at = f"{day[:4]}-{day[4:6]}-{day[6:]}T{time[:2]}:{time[2:4]}:{time[4:]}"
    return (started_at or "").removesuffix("Z"), len(file.parent.name), str(file)


def _logs_in(path: Path) -> FoundLogs:
    if path.is_file():
        return FoundLogs((path.resolve(),) if path.suffix == ".wandb" else (), ())
    files: list[Path] = []
    notes: list[str] = []
    for folder in _run_folders(path):
        logs = sorted(file.resolve() for file in folder.glob("*.wandb") if file.is_file())
        if not logs:
            notes.append(f"{str(folder)!r} holds no log (run-ID.wandb) and was left out")
        files += logs
    return FoundLogs(tuple(files), tuple(notes))


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
