"""Tables, images and other media of runs: which there are, and their files in a folder."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pull_logs.errors import DataError, FileMissingError, UsageError

if TYPE_CHECKING:
    from pull_logs.snapshot import MediaItem, Run

_SUFFIX = re.compile(r"(?:\.[A-Za-z0-9]{1,8}){1,2}")
_TABLE_SUFFIX = ".table.json"


@dataclass(frozen=True, slots=True)
class RunMedia:
    """The media of a run that are shown.

    Attributes:
        run: The run.
        items: The files that its rows and its summary point to, by step.
    """

    run: Run
    items: tuple[MediaItem, ...]

    @property
    def missing(self) -> int:
        """The number of files that the bundle does not have."""
        return sum(item.file is None for item in self.items)


def media_of_runs(runs: Iterable[Run], *, key: str | None = None) -> list[RunMedia]:
    """Return what runs point to.

    Args:
        runs: The runs.
        key: A glob for the flat key; None for all.

    Raises:
        FileMissingError: The runs point to no files, or to none with such a key.
        BundleDamagedError: A bundle is damaged.
    """
    found = [RunMedia(run, tuple(run.media(key))) for run in runs]
    if not any(one.items for one in found):
        which = f"run {str(found[0].run.path)!r} has" if len(found) == 1 else f"the {len(found)} runs have"
        if key is not None and any(True for one in found for _ in one.run.media()):
            known = sorted({item.key for one in found for item in one.run.media()})
            raise FileMissingError(
                f"{which} no media with the key {key!r}", hint=f"there are {', '.join(known[:8])}"
            )
        whose = "its rows and its summary" if len(found) == 1 else "their rows and summaries"
        raise FileMissingError(f"{which} no media", hint=f"{whose} point to no files")
    return found


def save_media(media: Sequence[RunMedia], folder: Path) -> tuple[int, int]:
    """Write the files of media into a new folder, and each table as Parquet beside its file.

    A file is `ENTITY/PROJECT/RUN/KEY/STEP.png` in the folder, each part as a bundle has it; the position in a
    list follows the step. Nothing is written outside the folder.

    Args:
        media: The media of runs.
        folder: The folder to create.

    Returns:
        The number of files that were written, and their size.

    Raises:
        UsageError: The folder exists already.
        BundleDamagedError: A bundle is damaged; then there is no folder.
        PullLogsError: The disk is full, or a file cannot be written.
    """
    from pull_logs.snapshot import disk_errors, name_folder, temporary_folder
    from pull_logs.snapshot.format import member_folders
    from pull_logs.snapshot.write import check_output_path

    target = check_output_path(folder)
    if target.exists():
        raise UsageError(f"{str(folder)!r} already exists", hint="name a folder that does not exist")
    parents = member_folders(one.run.path for one in media)
    count = size = 0
    with (
        disk_errors(folder, hint="free some space and try again; nothing was changed"),
        temporary_folder(target.parent) as temp,
    ):
        new = temp / "new"
        new.mkdir()
        for one in media:
            parent = new.joinpath(*(part.partition("=")[2] for part in parents[one.run.path].split("/")[1:]))
            for file, item in _named(one.items):
                path = parent / file
                path.parent.mkdir(parents=True, exist_ok=True)
                for written in _save(item, path):
                    count, size = count + 1, size + written.stat().st_size
        name_folder(new, target)
    return count, size


def _named(items: Sequence[MediaItem]) -> Iterator[tuple[str, MediaItem]]:
    """Iterate over the files that are there, each with its path in the folder of the run."""
    from pull_logs.snapshot.format import segments_of

    segments = segments_of({item.key for item in items if item.key})
    for item in items:
        if item.file is None or not item.key:
            continue
        name = "summary" if item.step is None else str(item.step)
        position = "" if item.index is None else f".{item.index}"
        base = item.name.rpartition("/")[2]
        count = 2 if base.endswith(_TABLE_SUFFIX) else 1
        suffix = "".join(Path(base).suffixes[-count:])
        yield f"{segments[item.key]}/{name}{position}{suffix if _SUFFIX.fullmatch(suffix) else ''}", item


def _save(item: MediaItem, path: Path) -> Iterator[Path]:
    from pull_logs.snapshot.format import arrow_table, encode_logged_table
    from pull_logs.snapshot.read import TABLE, logged_table

    if item.file is not None:
        item.file.save(path, durable=False)
        yield path
    if item.kind != TABLE:
        return
    try:
        data = encode_logged_table(arrow_table(logged_table(item)))
    except DataError:
        return  # a file that is not a table, which is there as it was logged
    parquet = path.with_name(path.name.removesuffix(_TABLE_SUFFIX) + ".parquet")
    parquet.write_bytes(data)
    yield parquet
