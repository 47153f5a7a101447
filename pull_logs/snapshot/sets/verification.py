"""Check every member of a set, and the catalog against the members."""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial

from pull_logs.errors import DamageError, FileMissingError
from pull_logs.snapshot.read import Damage, Share, VerifyReport, open_bundle, verify_bundle
from pull_logs.snapshot.sets.bundle_set import BundleSet, open_bundle_set, open_store
from pull_logs.snapshot.sets.catalog import Catalog
from pull_logs.snapshot.sets.catalog_file import wrong_parts
from pull_logs.snapshot.sets.entries import CatalogEntry, entry_of

_HASH_BYTES = hashlib.sha256().digest_size


def verify_set(
    path: str | os.PathLike[str], *, deep: bool = True, share: Share | None = None
) -> VerifyReport:
    """Check a set: every byte of its members, and that each run is in its member as the catalog says.

    Args:
        path: The folder of the set, or the URL of its prefix.
        deep: Also decode the histories (`verify_bundle`).
        share: Checks the files of a member in another way than in threads (`verify_bundle`).

    Returns:
        What is damaged; the `member` of damage is the name of the member of the set, and the file in it.

    Raises:
        FileMissingError: There is no set.
        AccessError: A URL cannot be read.
        FormatTooNewError: A member or the catalog has a later format version.
    """
    members = size = 0
    damages: list[Damage] = []
    shown = open_store(path).shown
    try:
        opened = open_bundle_set(path)
    except DamageError as exc:
        return VerifyReport(
            path=shown, members=0, bytes=0, damages=(Damage(member="catalog", reason=exc.message),)
        )
    with opened:
        rows: dict[str, _Rows] = {}
        try:
            for number, entry in enumerate(opened.entries()):
                rows.setdefault(entry.location.member, _Rows()).add(number, entry)
            damages += [Damage(member="catalog", reason=reason) for reason in wrong_parts(opened.catalog)]
        except DamageError as exc:
            damages.append(Damage(member="catalog", reason=exc.message))
        for name, own in sorted(rows.items()):
            try:
                location = opened.store.member_location(name)
                report = verify_bundle(location, deep=deep, share=share)
            except FileMissingError as exc:
                damages.append(Damage(member=name, reason=exc.message))
                continue
            members += report.members
            size += report.bytes
            damages += [replace(one, member=f"{name}: {one.member}") for one in report.damages]
            if not report.damages:
                damages += own.differences(location, name, opened.catalog)
    return VerifyReport(path=shown, members=members, bytes=size, damages=tuple(damages))


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of the catalog about one member: of each, its number and its hash are kept.

    Attributes:
        numbers: Their numbers.
        hashes: Their hashes, one after the other.
    """

    numbers: array[int] = field(default_factory=partial(array, "q"))
    hashes: bytearray = field(default_factory=bytearray)

    def add(self, number: int, entry: CatalogEntry) -> None:
        """Add a row."""
        self.numbers.append(number)
        self.hashes.extend(_hash(entry))

    def differences(self, location: str, name: str, catalog: Catalog) -> Iterator[Damage]:
        """Iterate over where they are not those of an intact member."""
        with open_bundle(location) as bundle:
            for index, number in enumerate(self.numbers):
                path = catalog.path_at(number)
                run = bundle.get(path)
                kept = self.hashes[index * _HASH_BYTES : (index + 1) * _HASH_BYTES]
                if run is None:
                    reason = "the catalog has this run in the member, and the member does not have it"
                elif _hash(entry_of(run, member=name, bundle=bundle)) != kept:
                    reason = "the catalog has other facts about this run than the member"
                else:
                    continue
                yield Damage(member=name, reason=reason, run=str(path))


def _hash(entry: CatalogEntry) -> bytes:
    return hashlib.sha256(repr(entry).encode(errors="surrogatepass")).digest()


def unlisted_members(opened: BundleSet) -> tuple[str, ...]:
    """Return the bundles that are stored in a set and to which its catalog does not refer.

    They are members whose runs were all replaced, dropped or copied, and bundles that were never added.
    """
    return tuple(sorted(opened.store.members().keys() - opened.catalog.members().keys()))
