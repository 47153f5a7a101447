"""Finding checkpoints by file, folder and glob pattern; a few of many may be unreadable."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pull_logs.errors import DamageError, FileMissingError, NotFoundError, PullLogsError
from pull_logs.sources.checkpoints.layouts import (
    SUFFIXES,
    complete_checkpoint,
    followed,
    is_checkpoint_folder,
)
from pull_logs.sources.checkpoints.read import CheckpointRun, read_checkpoint
from pull_logs.suggestions import counted


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointScan:
    """The checkpoints that patterns match.

    Attributes:
        found: The checkpoints whose run is known, in the order of the patterns, then in natural order.
        passed_over: The checkpoints of a glob or a folder that could not be read, each with the reason.
        alone: The found checkpoints that a pattern names exactly.
    """

    found: tuple[CheckpointRun, ...]
    passed_over: tuple[tuple[Path, str], ...]
    alone: frozenset[Path]

    def notes(self) -> Iterator[str]:
        """Yield what a reader must know of where the runs of the found checkpoints are known from."""
        for warning in dict.fromkeys(warning for item in self.found for warning in item.warnings):
            yield f"{warning}; do not load it with torch.load; its run is known from another file"
        unread = [item.unread for item in self.found if item.unread]
        if unread:
            whose = "their runs are" if unread[1:] else "its run is"
            yield (
                f"{counted(len(unread), 'checkpoint')} cannot be read, and {whose} known from other files or"
                f" folders: {_first_of(unread)}"
            )
        guessed = [item for item in self.found if item.key in ("folder", "wandb/latest-run")]
        if guessed:
            yield (
                f"the run of {counted(len(guessed), 'checkpoint')} is known only from the names of folders"
                f" ({guessed[0].key}): {_first_of([repr(str(item.file)) for item in guessed])}"
            )


def _first_of(texts: Sequence[str]) -> str:
    return f"{texts[0]}{' ...' if texts[1:] else ''}"


def _expanded(pattern: str) -> Path:
    """Return a path with the home folder in place of `~`, if there is one."""
    return Path(os.path.expanduser(pattern))  # noqa: PTH111 - that of pathlib raises for an unknown user


def scan_checkpoints(patterns: Sequence[str], *, key: str | None = None) -> CheckpointScan:
    """Read all checkpoints that files, folders and glob patterns match, each once.

    A checkpoint that a pattern names exactly must be readable. Of a glob or a folder, checkpoints that name
    no run, are damaged or are unsafe are passed over, as long as one is left.

    Args:
        patterns: Files, folders and globs.
        key: The key that names the run in a checkpoint.

    Raises:
        FileMissingError: A pattern matches nothing.
        NotFoundError: A checkpoint that is named exactly, or every one of a pattern, names no run.
        UnsafeFileError: Loading it would run code.
        DamageError: It is not a checkpoint, or is damaged.
    """
    found: dict[Path, CheckpointRun] = {}
    passed_over: dict[Path, str] = {}
    named: set[Path] = set()
    for pattern in patterns:
        alone = _is_one(_expanded(pattern))
        failure: PullLogsError | None = None
        readable = False
        files = find_checkpoints(pattern)
        for file in files:
            try:
                if file not in found:
                    found[file] = read_checkpoint(file, key=key)
                readable = True
                if alone:
                    named.add(found[file].file)
            except (NotFoundError, DamageError) as exc:
                if alone:
                    raise
                failure = failure or exc
                passed_over[file] = exc.message
        if failure is not None and not readable:
            raise _all_failed(failure, pattern, len(files))
    kept = tuple((file, why) for file, why in passed_over.items() if file not in found)
    return CheckpointScan(found=tuple(found.values()), passed_over=kept, alone=frozenset(named))


def _all_failed(failure: PullLogsError, pattern: str, count: int) -> PullLogsError:
    if count == 1:
        return failure
    message = f"none of the {count} checkpoints of {pattern!r} can be used; the first: {failure.message}"
    return type(failure)(message, hint=failure.hint)


def _is_one(path: Path) -> bool:
    return path.exists() and (not path.is_dir() or is_checkpoint_folder(followed(path)))


def find_checkpoints(pattern: str) -> tuple[Path, ...]:
    """Return the checkpoints that a file, a folder or a glob pattern matches, in natural order.

    Of a folder, these are all files below it with a known suffix. A folder that is one checkpoint (of
    Hugging Face's `Trainer`, DeepSpeed or torch.distributed.checkpoint) is returned itself, and of a sharded
    model its index. Hidden folders and links to folders are left out; `**` matches folders of any depth.

    Raises:
        FileMissingError: Nothing matches.
    """
    path = _expanded(pattern)
    if _is_one(path):
        return (path,)
    # Path.glob takes no absolute pattern.
    matches = [path] if path.exists() else list(map(Path, glob.glob(str(path), recursive=True)))  # noqa: PTH207
    found: dict[tuple[Path, str], Path] = {}
    for match in matches:
        for file in _below(match) if match.is_dir() else (complete_checkpoint(match),):
            # A file that is found again through a link to a folder is the same file.
            identity = (file.parent.resolve(), file.name)
            found[identity] = min(file, found.get(identity, file), key=lambda path: len(path.parts))
    if not found:
        raise FileMissingError(
            f"no checkpoint {pattern!r}" if not matches else f"no checkpoint in {pattern!r}",
            hint=f"in a folder, files with the suffixes {', '.join(SUFFIXES)} are found",
        )
    return tuple(sorted(found.values(), key=_natural))


def _below(folder: Path) -> Iterator[Path]:
    if is_checkpoint_folder(folder):
        yield folder
        return
    for entry in folder.iterdir():
        if entry.is_dir():
            if not entry.is_symlink() and not entry.name.startswith("."):
                yield from _below(entry)
        elif entry.name.endswith(SUFFIXES):
            yield complete_checkpoint(entry)


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Return a sort key that puts `step_9` before `step_10`."""
    return [
        (1, int(part), "") if part.isdecimal() else (0, 0, part) for part in re.split(r"(\d+)", str(path))
    ]
