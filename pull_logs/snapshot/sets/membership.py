"""Add bundles to a set, and drop runs from it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

from pull_logs.errors import BundleDamagedError, FileMissingError, MergeConflictError, RunNotFoundError
from pull_logs.runs import RunPath
from pull_logs.snapshot.format import BUNDLE_ENDING
from pull_logs.snapshot.operations import Choice, Prefer, choose_run
from pull_logs.snapshot.read import Bundle, Run, open_bundle, verify_bundle
from pull_logs.snapshot.sets.bundle_set import BundleSet, read_version
from pull_logs.snapshot.sets.catalog_writer import Changes, commit
from pull_logs.snapshot.sets.entries import CatalogEntry, entries_of
from pull_logs.snapshot.sets.store import SetStore
from pull_logs.suggestions import counted
from pull_logs.system_errors import from_system_error

_STEM = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST_STEM = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class AddReport:
    """Bundles that were added to a set.

    Attributes:
        version: The version of the catalog that has their runs.
        members: The names of the new members, by the bundles that were given.
        added: The runs that the set did not have.
        replaced: The runs of which the set had an earlier version.
        kept: The runs of which the set keeps its own version.
        unchanged: The number of runs that the set had just like this.
    """

    version: int
    members: Mapping[str, str]
    added: tuple[RunPath, ...]
    replaced: tuple[Choice, ...]
    kept: tuple[Choice, ...]
    unchanged: int


@dataclass(slots=True)
class _Outcome:
    """What a change does to the runs of a version of the catalog; `there` are given members that it has."""

    changes: dict[RunPath, CatalogEntry | None]
    added: list[RunPath]
    replaced: list[Choice]
    kept: list[Choice]
    unchanged: int = 0
    there: set[str] = field(default_factory=set)

    def replace(self, entry: CatalogEntry, choice: Choice) -> None:
        """Replace a run of the version."""
        self.replaced.append(choice)
        self.changes[entry.path] = entry


@dataclass(frozen=True, slots=True)
class _Given:
    """A bundle to add, open, and the rows of its runs."""

    path: Path
    bundle: Bundle
    member: str
    entries: tuple[CatalogEntry, ...]

    def renamed(self, member: str) -> _Given:
        """Return the bundle as a member of another name."""
        entries = (replace(one, location=replace(one.location, member=member)) for one in self.entries)
        return replace(self, member=member, entries=tuple(entries))


def member_name(path: Path, bundle_id: str) -> str:
    """Return the name of a bundle as a member: no two bundles have the same."""
    stem = _STEM.sub("-", path.name.removesuffix(BUNDLE_ENDING))[:_LONGEST_STEM].strip(".-") or "bundle"
    digest = bundle_id.removeprefix("sha256:")[:12]
    stem = stem.removesuffix(f"-{digest}")
    return f"{stem}-{digest}{BUNDLE_ENDING}"


def safe_names(store: SetStore, current: BundleSet | None, bundles: Sequence[tuple[str, str]]) -> list[str]:
    """Return names under which bundles stay in a set, each as given where that is one.

    A member to which only earlier versions of the catalog refer may be about to be removed, and so may one
    whose name was that of a member that was removed. The latest version has to refer to another file.

    Args:
        store: The set.
        current: The latest version; None before the first one.
        bundles: The name and the identity of each bundle. A set has no other bundle of such a name.
    """
    names = [name for name, _ in bundles]
    needed = set[str]() if current is None else current.catalog.members().keys()
    new = set(names) - needed
    if not new:
        return names
    taken = frozenset[str]()
    if new & store.members().keys():
        taken = taken.union(*(referred(store, version) or () for version in store.versions()))
    # Marks are made before members are removed, and these before versions: so the marks are read last.
    taken = (taken | store.marked()) - needed
    return [next(name for name in _names_of(*bundle) if name not in taken) for bundle in bundles]


def _names_of(name: str, bundle_id: str) -> Iterator[str]:
    """Iterate over the names that a bundle may have as a member: all but the first have its identity."""
    yield name
    other = member_name(Path(name), bundle_id)
    yield other
    stem = other.removesuffix(BUNDLE_ENDING)
    yield from (f"{stem}-{number}{BUNDLE_ENDING}" for number in count(2))


def referred(store: SetStore, version: int) -> frozenset[str] | None:
    """Return the members to which a version of the catalog refers; None if there is no such version."""
    try:
        with closing(read_version(store, version)) as catalog:
            return frozenset(catalog.members())
    except FileMissingError:
        return None


def add_bundles(
    store: SetStore,
    bundles: Sequence[Path],
    *,
    prefer: Prefer | None = None,
    keep: bool = False,
    base: BundleSet | None = None,
) -> AddReport:
    """Move bundles into a set.

    Each is verified first. A run that the set has already is replaced by the version that has all that the
    other one has, or, if both have the same data, by the one with the later heartbeat (`merge_bundles`
    chooses in the same way). The files are removed when the catalog has their runs.

    Args:
        store: The set.
        bundles: The files of the bundles; one that is in the folder of the set already stays where it is.
        prefer: The version to take if two versions of a run disagree: `newest`, or `first`, that of the set.
        keep: Leave the files where they are, and copy them.
        base: The version of the set with which what W&B has was compared: a run that is still as in this
            version is replaced by that of the bundles, whatever the two have.

    Raises:
        MergeConflictError: Two versions of a run disagree, and `prefer` is None; nothing was changed.
        UsageError: A bundle is an unzipped one.
        BundleDamagedError: A bundle is damaged.
        PullLogsError: The set cannot be written.
    """
    with ExitStack() as stack:
        verified = [_given(store, path, stack) for path in bundles]
        given, outcome = verified, _Outcome({}, [], [], [])

        def change(current: BundleSet | None) -> Changes:
            nonlocal given, outcome
            given = _safely_named(store, current, verified)
            outcome = _decide(given, current, prefer, base)
            used = _members_of(outcome) | outcome.there
            for one in given:
                if one.member in used:
                    store.put_member(one.path, one.member, copy=keep)
            return outcome.changes

        version = commit(store, change)
    used = _members_of(outcome)
    members = {str(one.path): one.member for one in given if one.member in used}
    if not keep:
        for one in given:
            if one.member in used | outcome.there and not _is_member(store, one):
                _remove(one.path)
    return AddReport(
        version=version,
        members=members,
        added=tuple(outcome.added),
        replaced=tuple(outcome.replaced),
        kept=tuple(outcome.kept),
        unchanged=outcome.unchanged,
    )


def _members_of(outcome: _Outcome) -> set[str]:
    """Return the members that have the runs which change."""
    return {entry.location.member for entry in _rows(outcome.changes)}


def _remove(file: Path) -> None:
    """Remove a bundle that is in the set.

    Raises:
        MachineLimitError: It cannot be removed; the set has it.
    """
    try:
        file.unlink(missing_ok=True)
    except OSError as exc:
        raise from_system_error(exc, path=file, action="deleted") from exc


def _rows(changes: Changes) -> Iterable[CatalogEntry]:
    return (entry for entry in changes.values() if entry is not None)


def _is_member(store: SetStore, given: _Given) -> bool:
    return _name_in(store, given.path) is not None


def _safely_named(store: SetStore, current: BundleSet | None, given: Sequence[_Given]) -> list[_Given]:
    """Return bundles to add with names under which no other writer removes them."""
    names = safe_names(store, current, [(one.member, one.bundle.bundle_id) for one in given])
    return [one if one.member == name else one.renamed(name) for one, name in zip(given, names, strict=True)]


def _given(store: SetStore, path: Path, stack: ExitStack) -> _Given:
    """Verify and open a bundle to add."""
    report = verify_bundle(path, deep=False)
    if report.damages:
        raise BundleDamagedError(
            f"{str(path)!r} is damaged and was not added: {report.damages[0].reason}",
            path=str(path),
            member=report.damages[0].member,
            hint="run `pull-logs verify` to see where",
        )
    bundle = stack.enter_context(open_bundle(path))
    member = _name_in(store, path) or member_name(path, bundle.bundle_id)
    return _Given(path, bundle, member, tuple(entries_of(bundle, member=member)))


def _name_in(store: SetStore, path: Path) -> str | None:
    """Return the name of a bundle that is in the folder of a set already; None for any other."""
    root = store.root
    if root is None or not path.name.endswith(BUNDLE_ENDING):
        return None
    resolved, parent = path.resolve(), root.resolve()
    if not resolved.is_relative_to(parent):
        return None
    name = resolved.relative_to(parent)
    hidden = any(part.startswith(".") for part in name.parts)  # a file that is being made
    return None if hidden else name.as_posix()


def _decide(
    given: Sequence[_Given], current: BundleSet | None, prefer: Prefer | None, base: BundleSet | None
) -> _Outcome:
    """Choose the version of each run of the bundles.

    Raises:
        MergeConflictError: Two versions of a run disagree, and `prefer` is None.
    """
    outcome, conflicts = _Outcome({}, [], [], []), list[str]()
    known = {} if current is None else current.catalog.locate({e.path for one in given for e in one.entries})
    for one in given:
        for entry in one.entries:
            before = outcome.changes.get(entry.path)
            if before is None and current is not None and entry.path in known:
                before = current.catalog.entry(known[entry.path])
            if before is None:
                outcome.added.append(entry.path)
                outcome.changes[entry.path] = entry
                continue
            if before.location != entry.location and _is_as_in(base, before):
                outcome.replace(entry, _update(one, before))
            elif before.content == entry.content:
                outcome.unchanged += 1
                outcome.there |= {one.member} & {before.location.member}
            else:
                old = _run_of(before, given, current)
                try:
                    taken, choice = choose_run([old, one.bundle[str(entry.path)]], prefer)
                except MergeConflictError as exc:
                    conflicts.append(f"run {str(entry.path)!r}: {exc.message}")
                else:
                    outcome.kept.append(choice) if taken is old else outcome.replace(entry, choice)
    if conflicts:
        more = f", and {counted(len(conflicts) - 1, 'more run')}" if len(conflicts) > 1 else ""
        raise MergeConflictError(
            f"the set and the new bundles disagree about {conflicts[0]}{more}",
            conflicts=tuple(conflicts),
            hint="pass --prefer newest, or --prefer first to keep the version of the set",
        )
    return outcome


def _update(given: _Given, before: CatalogEntry) -> Choice:
    """Return the choice of a run that was compared with the version of the set when it was pulled."""
    reason = "it was brought up to date from the version of the set"
    return Choice(path=before.path, kept=str(given.path), left=(before.location.member,), reason=reason)


def _is_as_in(base: BundleSet | None, entry: CatalogEntry) -> bool:
    """Return whether a version of the set has exactly this row."""
    row = None if base is None else base.catalog.find(entry.path)
    return base is not None and row is not None and base.catalog.entry(row) == entry


def _run_of(entry: CatalogEntry, given: Sequence[_Given], current: BundleSet | None) -> Run:
    for one in given:
        if one.member == entry.location.member:
            return one.bundle[str(entry.path)]
    assert current is not None  # noqa: S101 - for the type checker: the row is from the catalog
    return current[str(entry.path)]


def drop_runs(store: SetStore, runs: Collection[str]) -> tuple[int, tuple[RunPath, ...]]:
    """Drop runs from a set: from its catalog at once, and from its files when they are compacted.

    Args:
        store: The set.
        runs: The runs, as `BundleSet` takes them.

    Returns:
        The version of the catalog without them, and their paths.

    Raises:
        RunNotFoundError: The set has no such run, or several; nothing was changed.
    """
    dropped: list[RunPath] = []

    def change(current: BundleSet | None) -> Changes:
        if current is None:
            raise RunNotFoundError(f"{store.shown!r} has no runs")
        if not dropped:
            dropped.extend(dict.fromkeys(current[name].path for name in runs))
        return {path: None for path in dropped if current.catalog.find(path) is not None}

    return commit(store, change), tuple(dropped)
