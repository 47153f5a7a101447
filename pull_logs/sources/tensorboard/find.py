"""Finding the runs of TensorBoard in a folder: each folder with event files is one, named by its path.

The project of a run is the folder that was named, and its name is the path from there, as TensorBoard names
it. If that folder has event files itself, it is a run: its project is the folder above, so that naming the
folder above gives the same runs the same names.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pull_logs.sources.tensorboard.record_framing import RecordReader

_MARK = "tfevents"
"""A part of the name of every event file."""


def has_event_name(name: str) -> bool:
    """Return whether a file has the name of an event file."""
    return _MARK in name


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A folder with event files.

    Attributes:
        project: The name of the folder of all runs.
        name: The path of this folder from there.
        files: Its event files, in the order of their names.
    """

    project: str
    name: str
    files: tuple[Path, ...]


def find_folders(path: Path) -> list[RunFolder]:
    """Return the folders with event files at and below a path, by name; an event file may be given itself.

    Raises:
        OSError: The folder cannot be read.
    """
    if path.is_file():
        parent = path.resolve().parent
        return [RunFolder(parent.parent.name, parent.name, (path,))] if is_event_file(path) else []
    top = path.resolve()
    found = dict(_walk(path))
    above = top.parent if "" in found else top
    prefix = [top.name] if "" in found else []
    return [
        RunFolder(above.name, "/".join([*prefix, *([name] if name else [])]), files)
        for name, files in sorted(found.items())
    ]


def _walk(top: Path) -> Iterator[tuple[str, tuple[Path, ...]]]:
    """Yield the path from `top` of each folder with event files, and the files; links are followed once."""
    seen: set[tuple[int, int]] = set()
    folders = [(top, "")]
    while folders:
        folder, name = folders.pop()
        status = folder.stat()
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as scanned:
            entries = sorted(scanned, key=lambda entry: entry.name)
        files = [folder / entry.name for entry in entries if has_event_name(entry.name) and entry.is_file()]
        if files:
            yield name, tuple(files)
        inner = [entry.name for entry in entries if entry.is_dir()]
        folders += [(folder / entry, f"{name}/{entry}".lstrip("/")) for entry in reversed(inner)]


def is_event_file(path: Path) -> bool:
    """Return whether a file is an event file: by its name, or because it starts with a valid record.

    Raises:
        OSError: It cannot be read.
    """
    if has_event_name(path.name):
        return True
    with path.open("rb") as source:
        reader = RecordReader(source, block_bytes=2**12)
        start = source.read(12)
        source.seek(0)
        return len(start) == 12 and reader.starts_with_record(start)
