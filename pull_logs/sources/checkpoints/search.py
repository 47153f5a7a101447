"""Checkpoints by pattern: files, folders and globs of hundreds, of which a few may be unreadable."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pull_logs.errors import DamageError, FileMissingError, NotFoundError, PullLogsError
from pull_logs.sources.checkpoints.layouts import SUFFIXES, is_checkpoint_folder, whole_of
from pull_logs.sources.checkpoints.read import CheckpointRun, read_checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointScan:
    """What patterns of checkpoints came to.

    Attributes:
        found: The checkpoints whose run is known, in the order of the patterns, numbers in number order.
        passed_over: Those that a glob or a folder brought and that could not be read, and why not.
        alone: Those of the found ones that were named by themselves.
    """

    found: tuple[CheckpointRun, ...]
    passed_over: tuple[tuple[Path, str], ...]
    alone: frozenset[Path]


def scan_checkpoints(patterns: Sequence[str], *, key: str | None = None) -> CheckpointScan:
    """Read all the checkpoints that files, folders and glob patterns name, each once.

    One that was named alone must be readable. Of those that a glob or a folder brings, the ones that name
    no run, are damaged or unsafe are passed over, as long as one is left.

    Args:
        patterns: Files, folders, globs.
        key: Where a checkpoint names its run.

    Raises:
        FileMissingError: A pattern matches nothing.
        NotFoundError: A checkpoint that was named alone, or every one of a pattern, names no run.
        UnsafeFileError: Loading it would run code.
        DamageError: It is no checkpoint, or damaged.
    """
    found: dict[Path, CheckpointRun] = {}
    passed_over: dict[Path, str] = {}
    named: set[Path] = set()
    for pattern in patterns:
        alone = _is_one(Path(pattern).expanduser())
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
    return path.exists() and (not path.is_dir() or is_checkpoint_folder(path))


def find_checkpoints(pattern: str) -> tuple[Path, ...]:
    """The checkpoints that a file, a folder or a glob pattern names, numbers in names in number order.

    A folder gives all files below it with a known suffix; a folder that is one checkpoint (of Hugging
    Face's `Trainer`, DeepSpeed or torch.distributed.checkpoint) is given itself, and of a sharded model
    its index. Hidden folders and links to folders are left out; `**` in a pattern goes to any depth.

    Raises:
        FileMissingError: There is none.
    """
    path = Path(pattern).expanduser()
    if _is_one(path):
        return (path,)
    matches = [path] if path.exists() else [Path(name) for name in glob.glob(str(path), recursive=True)]  # noqa: PTH207 - Path.glob takes no absolute pattern
    found: dict[tuple[Path, str], Path] = {}
    for match in matches:
        for file in _below(match) if match.is_dir() else (whole_of(match),):
            # A file that is reached again through a link to a folder is the same one.
            place = (file.parent.resolve(), file.name)
            found[place] = min(file, found.get(place, file), key=lambda path: len(path.parts))
    if not found:
        raise FileMissingError(
            f"no checkpoint {pattern!r}" if not matches else f"no checkpoint in {pattern!r}",
            hint=f"files called {', '.join(sorted(SUFFIXES))} are looked for in a folder",
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
        elif entry.suffix in SUFFIXES:
            yield whole_of(entry)


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """A key that puts `step_9` before `step_10`."""
    return [
        (1, int(part), "") if part.isdecimal() else (0, 0, part) for part in re.split(r"(\d+)", str(path))
    ]
