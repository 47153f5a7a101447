"""A bundle set as one bundle: a mapping of run paths to runs, of which only the catalog is read at first."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from pull_logs.errors import FileMissingError, RunNotFoundError, UsageError
from pull_logs.runs import RunInfo, RunPath
from pull_logs.snapshot.format import LIGHT, Manifest, content_id, info_from_fields, is_url
from pull_logs.snapshot.read import Artifact, Bundle, Run, RunSource
from pull_logs.snapshot.sets.catalog import Catalog
from pull_logs.snapshot.sets.entries import OPTIONAL, CatalogEntry
from pull_logs.snapshot.sets.members import Members
from pull_logs.snapshot.sets.object_store import ObjectStore
from pull_logs.snapshot.sets.set_run import SetParts, SetRun, SetSource
from pull_logs.snapshot.sets.store import LocalStore, SetStore
from pull_logs.suggestions import counted, did_you_mean, listed, shortened

_MOST_SUGGESTED = 100_000
"""In a set of more runs, no run with a similar name is looked for."""


class BundleSet(Bundle):
    """An open bundle set: a mapping of `entity/project/run_id` to runs, in path order.

    Members are opened when something is read that the catalog does not have, and a bounded number stays
    open. What is read is one version of the catalog, however the set changes meanwhile. Several threads may
    read from it at once. Close it after use, or use it in `with`.

    Attributes:
        path: The folder, or the part of the URL that may be shown.
        catalog: The version of the catalog.
    """

    def __init__(self, store: SetStore, catalog: Catalog) -> None:
        self.path = store.shown
        self.store = store
        self.catalog = catalog
        self._members = Members(store.open_member)
        self._set_parts = SetParts(catalog, self._members.bundle, store.member_location, str(self.path))

    @property
    def version(self) -> int:
        """The version of the catalog."""
        return self.catalog.version

    @property
    def manifest(self) -> Manifest:
        """A set has no manifest of its own.

        Raises:
            UsageError: Always.
        """
        raise UsageError(
            f"{str(self.path)!r} is a bundle set, which has no manifest of its own",
            hint="open one of its members",
        )

    @property
    def bundle_id(self) -> str:
        """The identity of the catalog: the hash of its members' identities and of the runs in them."""
        return self.catalog.identity()

    @cached_property
    def content_id(self) -> str:
        """The identity of the content: that of the bundle which the members are merged into."""
        return content_id(map(_described, self.catalog.entries()))

    @property
    def kept_metrics(self) -> str | None:
        """The regular expression of the metrics that all members kept; None if all were, or they differ."""
        kept = {bundle.kept_metrics for bundle in self.member_bundles()}
        return kept.pop() if len(kept) == 1 else None

    @property
    def redacted(self) -> Mapping[str, int]:
        """How many texts of each kind were removed from the members."""
        counts: Counter[str] = Counter()
        for bundle in self.member_bundles():
            counts.update(bundle.redacted)
        return counts

    def member_bundles(self) -> Iterator[Bundle]:
        """Iterate over the open members, in the order of their names.

        Raises:
            BundleDamagedError: One is damaged, or another bundle than the catalog says.
            FileMissingError: One is missing.
        """
        for name, bundle_id in self.catalog.member_ids():
            yield self._members.bundle(name, bundle_id)

    def member(self, name: str, bundle_id: str) -> Bundle:
        """Return an open member by its name and identity.

        Raises:
            BundleDamagedError: It is damaged, or another bundle.
            FileMissingError: It is missing.
        """
        return self._members.bundle(name, bundle_id)

    def __iter__(self) -> Iterator[str]:
        return map(str, self.catalog.paths())

    def __len__(self) -> int:
        return len(self.catalog)

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, (str, RunPath)):
            return False
        try:
            self._find(str(key))
        except RunNotFoundError:
            return False
        return True

    def __repr__(self) -> str:
        name = shortened(str(self.path))
        return f"<BundleSet {name!r}: {counted(len(self), 'run')}, version {self.version}>"

    def runs(self) -> Iterator[Run]:
        """Iterate over the runs, in path order."""
        return (self._at(path, row) for row, path in enumerate(self.catalog.paths()))

    def runs_at(self, rows: Iterable[int]) -> Iterator[Run]:
        """Iterate over the runs in some rows of the catalog."""
        return map(self._run, rows)

    def entries(self) -> Iterator[CatalogEntry]:
        """Iterate over the rows of the catalog: what each run is, and where in which member it is stored."""
        return self.catalog.entries()

    def entry(self, key: str | RunPath) -> CatalogEntry:
        """Return the row of a run in the catalog.

        Raises:
            RunNotFoundError: The set has no such run, or more than one.
        """
        return self.catalog.entry(self._find(str(key)))

    def _plain_columns(self) -> dict[str, list[Any]]:
        """Return the plain columns of the tables of runs by name; optional ones where some have values."""
        found = {name: self.catalog.column(name).to_pylist() for name in (*LIGHT, *OPTIONAL)}
        return {
            name: cells
            for name, cells in found.items()
            if name not in OPTIONAL or any(cell is not None for cell in cells)
        }

    def artifacts(self) -> Iterator[Artifact]:
        """Iterate over the artifacts of its members, each version once, member by member.

        Raises:
            BundleDamagedError: Their records are damaged.
        """
        seen: set[str] = set()
        for bundle in self.member_bundles():
            for artifact in bundle.artifacts():
                if artifact.path not in seen:
                    seen.add(artifact.path)
                    yield artifact

    def artifact(self, name: str) -> Artifact:
        """Return an artifact by `entity/project/name:alias`, as `Bundle.artifact` does, of any member.

        Raises:
            FileMissingError: No member has such an artifact, or one has several.
            BundleDamagedError: The records of artifacts are damaged.
        """
        missed = FileMissingError(f"{str(self.path)!r} has no artifact {name!r}")
        for bundle in self.member_bundles():
            try:
                return bundle.artifact(name)
            except FileMissingError as exc:
                missed = exc
        raise missed

    def check_metrics(self) -> None:
        """Check the indexes of the metrics of all members.

        Raises:
            BundleDamagedError: One is damaged, or of other runs.
        """
        for bundle in self.member_bundles():
            bundle.check_metrics()

    def source_of(self, path: RunPath) -> RunSource:
        """Return where a run is stored.

        Raises:
            RunNotFoundError: The set has no run of exactly this path.
        """
        row = self.catalog.find(path)
        if row is None:
            raise RunNotFoundError(f"no run {str(path)!r} in {str(self.path)!r}")
        return self._members.bundle(*self.catalog.member_of(row)).source_of(path)

    def close(self) -> None:
        """Close the catalog and the members; nothing can be read any longer."""
        self._members.close()
        self.catalog.close()

    def _run(self, index: int) -> Run:
        return self._at(self.catalog.path_at(index), index)

    def _at(self, path: RunPath, row: int) -> Run:
        return SetRun(path, SetSource(self._set_parts, row, path))

    def _find(self, key: str) -> int:
        for path in RunPath.written(key):
            row = self.catalog.find(path)
            if row is not None:
                return row
        found = self.catalog.find_short(key)
        if len(found) == 1:
            return found[0]
        if found:
            names = [str(self.catalog.path_at(row)) for row in found]
            raise RunNotFoundError(
                f"{key!r} is the id of {len(names)} runs in {str(self.path)!r}: {listed(names)}",
                hint="write entity/project/run_id",
            )
        raise self._missing(key, key.count("/") + 1)

    def _missing(self, key: str, parts: int) -> RunNotFoundError:
        if len(self) > _MOST_SUGGESTED:
            return RunNotFoundError(f"no run {key!r} in {str(self.path)!r}", hint="")
        called = [
            str(self.catalog.path_at(row))
            for row in range(len(self))
            if self.catalog.value("name", row) == key
        ]
        if called:
            verb = "is the name of the run" if len(called) == 1 else f"is the name of {len(called)} runs:"
            return RunNotFoundError(
                f"no run has the id {key!r} in {str(self.path)!r}", hint=f"it {verb} {listed(called)}"
            )
        known = ["/".join(path.split("/")[3 - min(parts, 3) :]) for path in self]
        contents = f"it has {listed(self.run_paths)}" if self.run_paths else "it has no runs"
        return RunNotFoundError(
            f"no run {key!r} in {str(self.path)!r}",
            hint=did_you_mean(key, known, otherwise=contents, cutoff=0.5),
        )


def _described(entry: CatalogEntry) -> tuple[RunInfo, str]:
    empty = {"config_internal": "{}", "system_summary": "{}", "metadata": "{}"}
    fields = {**entry.facts, **empty, "config": entry.config, "summary": entry.summary}
    return info_from_fields(fields), entry.location.rows_hash


def open_store(path: str | os.PathLike[str], *, create: bool = False) -> SetStore:
    """Return where a set is stored.

    Args:
        path: A folder, or the URL of a prefix on object storage.
        create: Make the folder if it does not exist.

    Raises:
        FileMissingError: There is no such folder.
    """
    text = os.fspath(path)
    return ObjectStore(text) if is_url(text) else LocalStore(Path(text), create=create)


def open_catalog(store: SetStore) -> Catalog | None:
    """Open the latest version of the catalog of a set; None if it has none."""
    while versions := store.versions():
        latest = max(versions)
        try:
            return read_version(store, latest)
        except FileMissingError:
            continue  # it was removed meanwhile, after a later one was published
    return None


def read_version(store: SetStore, version: int) -> Catalog:
    """Open a version of the catalog of a set.

    Raises:
        FileMissingError: There is none, or it was removed meanwhile.
        BundleDamagedError: It is damaged.
    """
    return Catalog(store.open_catalog(version), path=store.catalog_path(version), version=version)


def open_latest(store: SetStore) -> BundleSet | None:
    """Open the latest version of a set; None if it has none."""
    catalog = open_catalog(store)
    return None if catalog is None else BundleSet(store, catalog)


def open_bundle_set(path: str | os.PathLike[str]) -> BundleSet:
    """Open a bundle set: only the footer of its catalog is read.

    Args:
        path: A folder, or the URL of a prefix on object storage (`s3://bucket/prefix/`).

    Raises:
        FileMissingError: There is no set.
        BundleDamagedError: Its catalog is damaged.
        FormatTooNewError: Its catalog has a later format version.
    """
    store = open_store(path)
    catalog = open_catalog(store)
    if catalog is None:
        raise FileMissingError(
            f"{store.shown!r} is not a bundle set: it has no catalog",
            hint="`pull-logs set add SET BUNDLE` makes one",
        )
    return BundleSet(store, catalog)
