"""Publish the next version of the catalog, whoever else writes at the same time.

A writer reads the latest version, makes the next one and publishes it under a name that nothing may have. If
another writer was faster, it reads that version, applies its change again and tries again. So no change is
lost, and a killed writer leaves the version before.

A request whose answer was lost is sent again, and then finds the version that it made. A version that has the
bytes of the next one is therefore the next one, whoever published it: the bytes depend on the rows alone.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from pull_logs.errors import AccessError, FileMissingError, MachineLimitError, PullLogsError
from pull_logs.runs import RunPath
from pull_logs.snapshot.sets.bundle_set import BundleSet, open_catalog
from pull_logs.snapshot.sets.catalog_file import write_catalog
from pull_logs.snapshot.sets.entries import CatalogEntry
from pull_logs.snapshot.sets.store import SetStore

ATTEMPTS = 50
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 2.0
_COMPARED = 1 << 20

Changes = Mapping[RunPath, CatalogEntry | None]
"""The new rows of runs; None for a run that is dropped."""

Change = Callable[[BundleSet | None], Changes]
"""Returns what changes in a version of a set, which is None before the first one.

It is called again for a later version. Applied to a version that has its changes already, it has none.
"""


def commit(store: SetStore, change: Change, *, pause: Callable[[float], object] = time.sleep) -> int:
    """Publish a change; return the version of the catalog that has it.

    Args:
        store: The set.
        change: The change.
        pause: Waits for some seconds.

    Raises:
        MachineLimitError: Other writers were faster each time.
        PullLogsError: As `change`; or the set cannot be read or written.
    """
    for attempt in range(ATTEMPTS):
        version = _try_once(store, change)
        if version is not None:
            return version
        pause(random.uniform(0.5, 1) * min(_FIRST_PAUSE * 2**attempt, _LONGEST_PAUSE))  # noqa: S311 - jitter
    raise gave_up(store)


def gave_up(store: SetStore) -> MachineLimitError:
    """Return the error of a writer that was overtaken too often."""
    return MachineLimitError(
        f"{store.shown!r} could not be changed: other writers were faster {ATTEMPTS} times",
        hint="run the same command again when fewer programs write to the set",
    )


@contextmanager
def retried_if_overtaken(store: SetStore, base: int) -> Iterator[None]:
    """Suppress an error about a missing file in a block if there is a later version of the set meanwhile.

    What the later version does not need may have been removed; a writer then has to begin again.

    Args:
        store: The set.
        base: The version that the block reads.

    Raises:
        FileMissingError: A file is missing that the latest version needs.
    """
    try:
        yield
    except FileMissingError:
        if max(store.versions(), default=base) == base:
            raise


def _try_once(store: SetStore, change: Change) -> int | None:
    """Publish a change on top of the latest version; None if another writer did so first."""
    catalog = open_catalog(store)
    opened = None if catalog is None else BundleSet(store, catalog)
    base = 0 if catalog is None else catalog.version
    published = False
    try:
        with retried_if_overtaken(store, base):
            changes = change(opened)
            if not changes and base:
                return base
            with store.scratch() as folder:
                file = folder / "catalog.parquet"
                write_catalog(file, catalog, changes)
                published = _publish(store, base + 1, file)
    finally:
        if opened is not None:
            opened.close()
    return base + 1 if published and _follows(store, base) else None


def _publish(store: SetStore, version: int, file: Path) -> bool:
    """Publish a file as a version; return whether the version has its bytes, also if no answer says so."""
    try:
        return store.publish(version, file) or _has_bytes(store, version, file)
    except AccessError:
        with suppress(PullLogsError):
            if _has_bytes(store, version, file):
                return True
        raise


def _has_bytes(store: SetStore, version: int, file: Path) -> bool:
    """Whether there is a version, and it has the bytes of a file."""
    try:
        with store.open_catalog(version) as there, file.open("rb") as ours:
            if there.size() != file.stat().st_size:
                return False
            return all(there.read(len(part)) == part for part in iter(partial(ours.read, _COMPARED), b""))
    except FileMissingError:
        return False


def _follows(store: SetStore, base: int) -> bool:
    """Whether a version that was just published is based on the latest one.

    Old versions are removed in ascending order. If the version before is still there, the name of the new one
    was never used. If not, this writer slept so long that the name was free again.
    """
    versions = store.versions()
    return base in versions if base else len(versions) == 1
