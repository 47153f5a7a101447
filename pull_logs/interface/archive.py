"""Bring the runs of a project in a bundle set up to date with W&B: what an archive does every night.

The set is the only record of what was archived: what W&B has is compared with its catalog, and the new and
changed runs are pulled into bundles of their own, which become members of the set by one new version of the
catalog. What arrived before the process was killed is in a folder beside the set, or in the cache of the
user for object storage. It makes the next call shorter, and is not needed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from pull_logs.errors import DamageError, UsageError

if TYPE_CHECKING:
    import httpx

    from pull_logs.fetch import (
        ChangesReport,
        Clock,
        ProgressHook,
        PullOptions,
        RunFilter,
        Settings,
        Shard,
    )
    from pull_logs.snapshot import SealReport
    from pull_logs.snapshot.sets import SetStore

WORK = ".archive"
"""The folder in a set for what arrived and is not in the set yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveReport:
    """What became of a project.

    Attributes:
        changes: What was downloaded.
        version: The version of the catalog that has it; None if nothing changed.
        members: The new members of the set.
    """

    changes: ChangesReport
    version: int | None
    members: tuple[str, ...]


def archive_project(
    store: SetStore,
    project: str,
    *,
    options: PullOptions,
    shard: Shard | None = None,
    run_filter: RunFilter | None = None,
    work: Path | None = None,
    settings: Settings | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    progress: ProgressHook | None = None,
    announce: Callable[[str], None] | None = None,
    clock: Clock | None = None,
    size: int | None = None,
    inspect: Callable[[SealReport], object] = lambda _seal: None,
) -> ArchiveReport:
    """Bring the runs of a project in a set up to date.

    Args:
        store: The set; it need not have a catalog yet.
        project: `entity/project`.
        options: What is downloaded.
        shard: The part of the runs to bring up to date; all if None.
        run_filter: Keeps the runs of the shard.
        work: The folder for unfinished work; chosen for the set if None.
        settings: The address of the API and the credentials; found as the SDK finds them if None.
        transport: Replaces the network, for tests.
        progress: Receives the progress.
        announce: Receives a sentence if the download goes on with the SDK.
        clock: The source of time.
        size: About how many bytes a new bundle has; that of `pull_changes` if None.
        inspect: Receives each new bundle before it is added.

    Raises:
        UsageError: The text is not a project, the runs in the set must not be brought up to date with these
            options, or another process archives this project into this set on this machine.
        RunNotFoundError: W&B has no run of it, and the set neither.
        PullLogsError: As `pull`, `add_bundles`.
    """
    from pull_logs.fetch import ArchivedRuns, Selection, pull_changes, run_async
    from pull_logs.snapshot import add_bundles
    from pull_logs.snapshot.sets import open_latest

    entity, name = split_project(project)
    stem = f"{quote(entity, safe='')}--{quote(name, safe='')}"
    if shard is not None:
        stem += f".{shard.number}-of-{shard.count}"
    with _locked((work or _work_folder(store)) / stem) as folder, ExitStack() as stack:
        _add_left(store, folder)
        opened = open_latest(store)
        if opened is not None:
            stack.enter_context(opened)
        selects = (lambda _path: True) if shard is None else shard.has
        pull = partial(
            pull_changes,
            Selection(projects=(project,), filter=run_filter),
            archived=ArchivedRuns(opened, entity=entity, project=name, selects=selects),
            out=folder / f"{stem}.wandb.zip",
            options=options,
            settings=settings,
            transport=transport,
            progress=progress,
            announce=announce,
            clock=clock,
            **({} if size is None else {"size": size}),
        )
        changes = run_async(pull)
        for seal in changes.bundles:
            inspect(seal)
        files = [seal.path for seal in changes.bundles]
        added = add_bundles(store, files, prefer="newest", base=opened) if files else None
        for file in files:
            file.unlink(missing_ok=True)
    members = () if added is None else tuple(sorted(added.members.values()))
    version = added.version if added is not None and members else None
    return ArchiveReport(changes=changes, version=version, members=members)


def split_project(text: str) -> tuple[str, str]:
    """Return the entity and the name of a project.

    Raises:
        UsageError: The text does not name a project.
    """
    entity, slash, name = text.partition("/")
    if not (entity and slash and name) or "/" in name:
        raise UsageError(f"{text!r} is not a project", hint="write ENTITY/PROJECT")
    return entity, name


@contextmanager
def _locked(folder: Path) -> Iterator[Path]:
    """Lock the folder for unfinished work, which is removed if nothing of it is left at the end of the block.

    Raises:
        UsageError: Another process, or another part of this one, uses it.
        PullLogsError: The folder cannot be made.
    """
    from pull_logs.snapshot import disk_errors
    from pull_logs.snapshot.write import FolderLock

    with disk_errors(folder, hint="free some space and run the same command again"):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = FolderLock(folder)
        try:
            yield folder
        finally:
            if any(folder.glob("*.wandb.zip*")):
                lock.release()
            else:
                lock.remove_folder()
                with suppress(OSError):
                    folder.parent.rmdir()  # only if no other project has unfinished work


def _work_folder(store: SetStore) -> Path:
    """Return the folder for unfinished work: in the set, or in the cache of the user for object storage."""
    if store.root is not None:
        return store.root / WORK
    from platformdirs import user_cache_path

    key = hashlib.sha256(store.shown.encode()).hexdigest()[:16]
    return user_cache_path("wandb-pull-logs-archives", appauthor=False) / key


def _add_left(store: SetStore, folder: Path) -> None:
    """Add the bundles that a killed call made and did not add; a damaged one is downloaded again."""
    from pull_logs.snapshot import add_bundles

    for file in sorted(folder.glob("*.wandb.zip")):
        with suppress(DamageError):
            add_bundles(store, [file], prefer="newest")
        file.unlink(missing_ok=True)
