"""Where a bundle set is stored: a folder with its members, and one file per version of its catalog.

The greatest version is the catalog. A version is published by giving a complete file a name that nothing
has, so that of two writers exactly one succeeds.

A member that was removed leaves a mark, an empty file `.removed/NAME.removed`, so that no later member has
its name: a program that slept since it decided to remove that member cannot remove another one.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from pull_logs.errors import FileMissingError
from pull_logs.snapshot.disk import disk_errors, link_new, publish_new, sync_folder
from pull_logs.snapshot.format import BUNDLE_ENDING, Container, catalog_name, catalog_version
from pull_logs.snapshot.sets.file_pool import FilePool
from pull_logs.snapshot.write import temporary_folder

MARKS, _MARK = ".removed/", ".removed"
"""Where marks are, and the end of their names."""

_FULL_DISK = "free some space and run the same command again; nothing was changed"


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A member or a version of the catalog.

    Attributes:
        bytes: Its size.
        changed: When it was written, in seconds since 1970.
    """

    bytes: int
    changed: float


class SetStore(Protocol):
    """Where a set is stored.

    Attributes:
        shown: The set, for messages.
    """

    shown: str

    @property
    def root(self) -> Path | None:
        """The folder; None on object storage."""

    def versions(self) -> dict[int, StoredFile]:
        """Return the versions of the catalog that there are, in order."""

    def members(self) -> dict[str, StoredFile]:
        """Return the bundles that are stored, by their names below the set."""

    def catalog_path(self, version: int) -> str:
        """Return the path of a version of the catalog, for messages."""

    def open_catalog(self, version: int) -> pa.NativeFile:
        """Open a version of the catalog.

        Raises:
            FileMissingError: There is no such version.
        """

    def publish(self, version: int, file: Path) -> bool:
        """Make a file the version of the catalog; return False if there is one already."""

    def open_member(self, name: str) -> Container:
        """Open a member.

        Raises:
            FileMissingError: There is none of that name.
            BundleDamagedError: Its directory is damaged.
        """

    def member_location(self, name: str) -> str:
        """Return what opens a member in another process: a path, or the complete URL."""

    def put_member(self, file: Path, name: str, *, copy: bool) -> None:
        """Store a complete bundle as a member; the file stays. One of that name is the same bundle.

        Args:
            file: The bundle.
            name: The name of the member.
            copy: Whether the file is used any longer, so that it must not be linked.
        """

    def mark(self, names: Collection[str]) -> None:
        """Mark members that will be removed; a mark stays."""

    def marked(self) -> frozenset[str]:
        """Return the members that are marked."""

    def remove(self, name: str) -> None:
        """Remove a member; nothing happens if there is none."""

    def settle(self, removed: Collection[str]) -> None:
        """Wait until members that were removed cannot come back."""

    def remove_version(self, version: int) -> None:
        """Remove a version of the catalog; nothing happens if there is none."""

    def scratch(self) -> AbstractContextManager[Path]:
        """Create a folder for a block, in which files are made that will be stored."""

    def now(self) -> float:
        """Return the time by which the files are dated, in seconds since 1970."""


def mark_name(member: str) -> str:
    """Return the name of the mark of a member below the set."""
    return f"{MARKS}{member.removesuffix(BUNDLE_ENDING)}{_MARK}"


def marked_member(name: str) -> str:
    """Return the member of a mark, by its name below the set."""
    return f"{name.removeprefix(MARKS).removesuffix(_MARK)}{BUNDLE_ENDING}"


class LocalStore:
    """A folder.

    Args:
        root: The folder.
        create: Make the folder if it does not exist.
        now: Returns the time.

    Raises:
        FileMissingError: The folder does not exist.
        PullLogsError: It cannot be made.
    """

    def __init__(self, root: Path, *, create: bool = False) -> None:
        self._root = root
        self.shown = str(root)
        self._pool = FilePool()
        if create and not root.exists():
            with disk_errors(root, hint=_FULL_DISK):
                root.mkdir()
                sync_folder(root.parent)
        if not root.is_dir():
            raise FileMissingError(
                f"there is no folder {self.shown!r}", hint="`pull-logs set add SET BUNDLE` makes a set"
            )

    @property
    def root(self) -> Path:
        """The folder."""
        return self._root

    def now(self) -> float:
        """Return the time of this machine."""
        return time.time()

    def versions(self) -> dict[int, StoredFile]:
        """Return the versions of the catalog that there are, in order."""
        found = {}
        with os.scandir(self.root) as entries:
            for entry in entries:
                version = catalog_version(entry.name)
                if version is not None and (file := _stored(entry)) is not None:
                    found[version] = file
        return dict(sorted(found.items()))

    def members(self) -> dict[str, StoredFile]:
        """Return the bundles in the folder and in the folders below it."""
        found: dict[str, StoredFile] = {}
        folders = [""]
        while folders:
            prefix = folders.pop()
            with os.scandir(self.root / prefix) as entries:
                for entry in entries:
                    name = prefix + entry.name
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(f"{name}/")
                    elif name.endswith(BUNDLE_ENDING) and (file := _stored(entry)) is not None:
                        found[name] = file
        return dict(sorted(found.items()))

    def catalog_path(self, version: int) -> str:
        """Return the path of a version of the catalog."""
        return str(self.root / catalog_name(version))

    def open_catalog(self, version: int) -> pa.NativeFile:
        """Open a version of the catalog."""
        try:
            return pa.OSFile(self.catalog_path(version))
        except FileNotFoundError as exc:
            raise FileMissingError(f"there is no file {self.catalog_path(version)!r}") from exc

    def publish(self, version: int, file: Path) -> bool:
        """Give the file the name of the version, if nothing has that name."""
        target = self.root / catalog_name(version)
        with disk_errors(target, hint=_FULL_DISK):
            return publish_new(file, target)

    def open_member(self, name: str) -> Container:
        """Open a member; its file is opened again when it is read after many others."""
        return self._pool.container(self.root / name)

    def member_location(self, name: str) -> str:
        """Return the absolute path of a member."""
        return str((self.root / name).absolute())

    def put_member(self, file: Path, name: str, *, copy: bool) -> None:
        """Link or copy the file, and wait until it is on the disk."""
        target = self.root / name
        if target == file or (target.exists() and target.samefile(file)):
            return
        with disk_errors(target, hint=_FULL_DISK):
            if target.exists():
                os.utime(target)  # so that no other writer removes it as an old one
                return
            if not copy and link_new(file, target):
                return
            with self.scratch() as folder:
                complete = folder / "member"
                shutil.copyfile(file, complete)
                publish_new(complete, target)

    def mark(self, names: Collection[str]) -> None:
        """Make the files of marks, and wait until they are on the disk."""
        marks = [self.root / mark_name(name) for name in names]
        with disk_errors(self.root / MARKS, hint=_FULL_DISK):
            for file in marks:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.touch()
            folders = {parent for file in marks for parent in file.parents}
            for folder in sorted(folder for folder in folders if folder.is_relative_to(self.root)):
                sync_folder(folder)

    def marked(self) -> frozenset[str]:
        """Return the members whose marks are there."""
        marks = (self.root / MARKS).rglob(f"*{_MARK}")
        return frozenset(marked_member(file.relative_to(self.root).as_posix()) for file in marks)

    def remove(self, name: str) -> None:
        """Remove the file of a member."""
        with disk_errors(self.root / name, hint=_FULL_DISK):
            (self.root / name).unlink(missing_ok=True)

    def settle(self, removed: Collection[str]) -> None:
        """Wait until no loss of power brings back the files of members."""
        for folder in sorted({(self.root / name).parent for name in removed}):
            with disk_errors(folder, hint=_FULL_DISK):
                sync_folder(folder)

    def remove_version(self, version: int) -> None:
        """Remove the file of a version."""
        self.remove(catalog_name(version))

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Create a folder inside the set, which is removed afterwards, also if this process is killed."""
        with disk_errors(self.root, hint=_FULL_DISK), temporary_folder(self.root) as folder:
            yield folder


def _stored(entry: os.DirEntry[str]) -> StoredFile | None:
    """Return the size and the time of a file; None for anything else, and if it was removed meanwhile."""
    try:
        if not entry.is_file(follow_symlinks=False):
            return None
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    return StoredFile(status.st_size, status.st_mtime)
