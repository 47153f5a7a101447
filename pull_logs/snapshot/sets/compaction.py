"""Make few large members of many small ones, and remove what nothing refers to any longer.

The new members are written and on the disk before the catalog refers to them; the old ones are removed later,
because readers may have opened an older version of the catalog. So a killed compaction leaves the set as it
was, or as it has to be.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise

from pull_logs.errors import FileMissingError
from pull_logs.runs import RunPath
from pull_logs.snapshot.operations import subset_bundle
from pull_logs.snapshot.read import open_bundle
from pull_logs.snapshot.sets.bundle_set import BundleSet, open_catalog
from pull_logs.snapshot.sets.catalog import Catalog
from pull_logs.snapshot.sets.catalog_writer import (
    ATTEMPTS,
    Changes,
    commit,
    gave_up,
    retried_if_overtaken,
)
from pull_logs.snapshot.sets.entries import CatalogEntry, entries_of
from pull_logs.snapshot.sets.membership import member_name, referred, safe_names
from pull_logs.snapshot.sets.store import SetStore, StoredFile

SIZE = 256 * 2**20
"""The size of the members that a compaction makes."""

GRACE = 3600.0
"""For so many seconds, what was replaced is kept for its readers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactReport:
    """A compaction.

    Attributes:
        version: The version of the catalog that refers to the new members.
        members: The new members.
        compacted: The members that were replaced by them.
        runs: The number of runs that were copied.
        removed: The files that nothing referred to and that were removed.
        waiting: The number of members that are kept for their readers until a later compaction.
    """

    version: int
    members: tuple[str, ...]
    compacted: tuple[str, ...]
    runs: int
    removed: tuple[str, ...]
    waiting: int


@dataclass(frozen=True, slots=True)
class _Part:
    """Runs that become one member, and the members that have them now."""

    rows: tuple[int, ...]
    members: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SetSize:
    """The size of the members of a set.

    Attributes:
        bytes: All of it.
        dead: About how much of it is of runs that were replaced or dropped, which a compaction removes.
    """

    bytes: int
    dead: int


def size_of_set(opened: BundleSet) -> SetSize:
    """Return the size of the members of a set, of which each is opened.

    Raises:
        BundleDamagedError: A member is damaged.
        PullLogsError: The set cannot be read.
    """
    stored, live = opened.store.members(), opened.catalog.members()
    size = dead = 0
    for name, bundle_id in opened.catalog.member_ids():
        if name in stored:
            held = stored[name].bytes
            runs = max(len(opened.member(name, bundle_id)), 1)
            size += held
            dead += held * (runs - live[name]) // runs
    return SetSize(bytes=size, dead=dead)


def compact_set(store: SetStore, *, size: int = SIZE, grace: float = GRACE) -> CompactReport:
    """Copy the runs of small members, and of members with dropped or replaced runs, into new members.

    Args:
        store: The set.
        size: About how many bytes a new member has; members of less than half of it are small.
        grace: For so many seconds, members and catalogs that were replaced are kept for their readers.

    Raises:
        BundleDamagedError: A member is damaged.
        PullLogsError: The set cannot be read or written.
    """
    parts, written = _copied(store, size=size)
    moved: dict[RunPath, CatalogEntry] = {}

    def change(current: BundleSet | None) -> Changes:
        nonlocal moved
        moved = {} if current is None or not written else _moves(store, current, written)
        return moved

    version = commit(store, change)
    removed, waiting = clean_up(store, grace=grace)
    return CompactReport(
        version=version,
        members=tuple(sorted({entry.location.member for entry in moved.values()})),
        compacted=tuple(sorted(frozenset[str]().union(*(part.members for part in parts)))),
        runs=len(moved),
        removed=removed,
        waiting=waiting,
    )


def _copied(store: SetStore, *, size: int) -> tuple[list[_Part], list[CatalogEntry]]:
    """Write the new members; return what was copied, and the rows of the runs in them.

    Raises:
        FileMissingError: There is no set, or a member is missing.
    """
    for _ in range(ATTEMPTS):
        catalog = open_catalog(store)
        if catalog is None:
            raise FileMissingError(f"{store.shown!r} is not a bundle set: it has no catalog")
        with BundleSet(store, catalog) as opened, retried_if_overtaken(store, catalog.version):
            parts = list(_parts(opened, store, size=size))
            return parts, [entry for part in parts for entry in _written(opened, store, part)]
    raise gave_up(store)


def _parts(opened: BundleSet, store: SetStore, *, size: int) -> Iterator[_Part]:
    """Divide the runs that have to be copied into new members, in path order."""
    stored, live = store.members(), opened.catalog.members()
    bytes_of: dict[str, float] = {}
    kinds: dict[str, str] = {}
    complete: dict[str, int] = {}
    for bundle, (name, _) in zip(opened.member_bundles(), opened.catalog.member_ids(), strict=True):
        held = stored[name].bytes if name in stored else 0
        dead = len(bundle) - live[name]
        if dead or held < size / 2:
            bytes_of[name] = held / max(len(bundle), 1)
            kinds[name] = bundle.kept_metrics or ""
            complete[name] = 0 if dead else len(bundle)
    chosen = [
        (kinds[member], row, member)
        for row, member in enumerate(_members_of(opened.catalog))
        if member in bytes_of
    ]
    for _, group in groupby(sorted(chosen), key=lambda one: one[0]):
        rows: list[int] = []
        members: list[str] = []
        total = 0.0
        for _, row, member in group:
            if rows and total + bytes_of[member] > size:
                yield from _worthwhile(rows, members, complete)
                rows, members, total = [], [], 0.0
            rows.append(row)
            members.append(member)
            total += bytes_of[member]
        yield from _worthwhile(rows, members, complete)


def _members_of(catalog: Catalog) -> Iterator[str]:
    """Iterate over the member of each run, in path order."""
    for group in range(catalog.groups):
        yield from catalog.cells("member", group)


def _worthwhile(rows: Sequence[int], members: Sequence[str], complete: dict[str, int]) -> Iterator[_Part]:
    """Return the runs of a new member, unless they are just those of an old one."""
    named = frozenset(members)
    if len(named) == 1 and complete[members[0]] == len(rows):
        return
    yield _Part(tuple(rows), named)


def _written(opened: BundleSet, store: SetStore, part: _Part) -> list[CatalogEntry]:
    """Write a new member; return the rows of its runs."""
    with store.scratch() as folder:
        file = folder / "compact.wandb.zip"
        report = subset_bundle(opened.runs_at(part.rows), file)
        own = member_name(file, report.bundle_id)
        (name,) = safe_names(store, opened, [(own, report.bundle_id)])
        with open_bundle(file) as bundle:
            entries = list(entries_of(bundle, member=name))
        store.put_member(file, name, copy=False)
    return entries


def _moves(
    store: SetStore, current: BundleSet, written: Sequence[CatalogEntry]
) -> dict[RunPath, CatalogEntry]:
    """Return the new rows of runs that are still what was copied, into members that stay."""
    known = current.catalog.locate([entry.path for entry in written])
    names = {entry.location.member: entry.location.bundle_id for entry in written}
    safe = names.keys() & set(safe_names(store, current, [*names.items()])) & store.members().keys()
    changes: dict[RunPath, CatalogEntry] = {}
    for entry in written:
        row = known.get(entry.path) if entry.location.member in safe else None
        before = None if row is None else current.catalog.entry(row)
        if before is not None and before.content == entry.content and before.location != entry.location:
            changes[entry.path] = replace(before, location=entry.location)
    return changes


def _read_versions(store: SetStore) -> tuple[dict[int, StoredFile], dict[int, frozenset[str]]]:
    """Return the versions that there are, and the members to which each refers.

    Raises:
        FileMissingError: A catalog that is listed is not there, for example because it is a link to nothing.
    """
    missing: list[int] = []
    for _ in range(ATTEMPTS):
        versions = store.versions()
        found = {version: referred(store, version) for version in versions}
        members = {version: names for version, names in found.items() if names is not None}
        if len(members) == len(versions):
            return versions, members
        # Another writer removed one meanwhile, and published a later one before.
        missing = [version for version in versions if version not in members]
    raise FileMissingError(f"{store.catalog_path(missing[0])!r} is listed and cannot be opened")


def clean_up(store: SetStore, *, grace: float = GRACE) -> tuple[tuple[str, ...], int]:
    """Remove old versions of the catalog, and the members to which only they refer.

    A version is old if a later one was published `grace` seconds ago. A bundle that no version ever referred
    to is left alone: it may be one that is just being added.

    Args:
        store: The set.
        grace: The seconds.

    Returns:
        What was removed, and how many members wait for a later call.

    Raises:
        FileMissingError: A catalog that is listed is not there, for example because it is a link to nothing.
        PullLogsError: The set cannot be read or written.
    """
    versions, members = _read_versions(store)
    stored, now = store.members(), store.now()
    needed = members[max(versions)] if versions else frozenset()
    expired: list[int] = []
    for version, following in pairwise(versions):
        unneeded = members[version] - needed
        young = any(name in stored and now - stored[name].changed < grace for name in unneeded)
        if young or now - versions[following].changed < grace:
            break
        expired.append(version)
    kept = frozenset[str]().union(*(members[version] for version in versions if version not in expired))
    gone = frozenset[str]().union(*(members[version] for version in expired)) - kept
    store.mark(gone)
    removed = sorted(gone & stored.keys())
    for name in removed:
        store.remove(name)
    # No later call would find a member that comes back when the versions that referred to it are gone.
    store.settle(removed)
    for version in expired:  # in this order: `catalog_writer` relies on it
        store.remove_version(version)
    return tuple(removed), len((kept - needed) & stored.keys())
