"""Check every byte of a bundle, and say where it is damaged.

A bundle has no byte that is not told elsewhere: the ZIP's fields are fixed or
in the directory twice, each file's SHA-256 is in the manifest, the manifest's in
its digest, and both in a checksum of the ZIP. So whatever flips is found, and
named: the member, or "container"; in a history the run, the column and the
bytes.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from pull_logs.errors import BundleDamagedError, DamageError, DataError, FormatTooNewError
from pull_logs.rows.hashing import rows_hash
from pull_logs.snapshot.format import (
    DIGEST,
    FORMAT,
    FORMAT_BYTES,
    MANIFEST,
    MAX_MANIFEST,
    RUNS,
    Container,
    FileResource,
    Manifest,
    MemberFile,
    Resource,
    ZipContainer,
    content_id,
    damaged_chunks,
    open_container,
    parse_manifest,
    read_batches,
    render_digest,
    run_of_member,
)
from pull_logs.snapshot.read.bundle import Bundle, check_members

CONTAINER = "container"
"""What a damage names as its member when it is not in one of the files."""

_THREADS = min(4, os.cpu_count() or 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """A place where a bundle is not as it was written.

    Attributes:
        member: The file inside, or "container".
        reason: What is wrong, one sentence.
        run: `entity/project/run_id` when the file is a run's.
        column: The column of its history, where it could be told.
        byte_range: First byte and the one behind the last, counted in the member, where it could be told.
    """

    member: str
    reason: str
    run: str | None = None
    column: str | None = None
    byte_range: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What was checked, and what was found.

    Attributes:
        path: The bundle.
        members: Files that were checked.
        bytes: Their bytes.
        damages: Nothing, when the bundle is as it was written.
    """

    path: Path
    members: int
    bytes: int
    damages: tuple[Damage, ...]


def verify_bundle(path: str | os.PathLike[str], *, deep: bool = True) -> VerifyReport:
    """Check every byte of a bundle, or of the folder that it was unzipped to.

    Args:
        path: The bundle.
        deep: Decode the histories as well and compare their rows hashes and the content id: whether the
            manifest tells the truth about what the files mean.

    Raises:
        FileMissingError: Nothing can be read there.
        FormatTooNewError: It is of a version after this one.
    """
    path = Path(path)
    try:
        container = open_container(path)
    except FormatTooNewError:
        raise
    except DamageError as exc:
        return VerifyReport(path=path, members=0, bytes=0, damages=(_told(exc),))
    try:
        damages = tuple(_damages(container, deep=deep))
    finally:
        container.close()
    return VerifyReport(
        path=path, members=len(container.sizes), bytes=sum(container.sizes.values()), damages=damages
    )


def _told(error: DamageError) -> Damage:
    member = error.member if isinstance(error, BundleDamagedError) and error.member else CONTAINER
    return Damage(member=member, reason=error.message, run=run_of_member(member))


def _damages(container: Container, *, deep: bool) -> Iterator[Damage]:
    manifest, found = _read_manifest(container)
    yield from found
    resources = manifest.members() if manifest else {}
    with ThreadPoolExecutor(_THREADS) as pool:
        names = [name for name in container.sizes if name not in (MANIFEST, DIGEST)]
        checks = pool.map(lambda name: _check_member(container, name, resources.get(name), deep=deep), names)
        members = [_by_known_name(damage, resources) for damage in chain.from_iterable(checks)]
    yield from members
    if manifest is None or found or members:
        return
    try:
        check_members(container, manifest)
        yield from _check_index(container, manifest, deep=deep)
    except DamageError as exc:
        yield _told(exc)


def _by_known_name(damage: Damage, known: Collection[str]) -> Damage:
    """The damage; the container's where a damaged directory names a file, and so a run, that there is not."""
    if not known or damage.member == FORMAT or damage.member in known:
        return damage
    return replace(damage, member=CONTAINER, run=None)


def _read_manifest(container: Container) -> tuple[Manifest | None, list[Damage]]:
    """The manifest, if it can be trusted, and what is wrong with it and its digest."""
    found = []
    data = {}
    for name in (MANIFEST, DIGEST):
        try:
            data[name] = container.read(name, limit=MAX_MANIFEST)
        except DamageError as exc:
            found.append(_told(exc))
            continue
        if not _checksum_holds(container, name, zlib.crc32(data[name])):
            found.append(Damage(member=name, reason=f"{name} does not have its checksum"))
    if found:
        return None, found
    if data[DIGEST] != render_digest(data[MANIFEST]):
        reason = f"{MANIFEST} and {DIGEST} do not belong together"
        return None, [Damage(member=name, reason=reason) for name in (MANIFEST, DIGEST)]
    try:
        return parse_manifest(data[MANIFEST], path=str(container.path), members=container.sizes), []
    except DamageError as exc:
        return None, [_told(exc)]


def _checksum_holds(container: Container, name: str, crc: int) -> bool:
    """Whether the ZIP has that checksum for a member; a folder has none."""
    return not isinstance(container, ZipContainer) or container.entries[name].crc == crc


def _check_member(
    container: Container, name: str, resource: Resource | FileResource | None, *, deep: bool
) -> list[Damage]:
    """What is wrong with a member that is not the manifest; without a manifest its checksum is all there is."""
    try:
        with container.open(name) as file:
            crc, digest, md5 = 0, hashlib.sha256(), hashlib.md5(usedforsecurity=False)
            for chunk in file.chunks():
                crc = zlib.crc32(chunk, crc)
                digest.update(chunk)
                if isinstance(resource, FileResource):
                    md5.update(chunk)
            whole = _checksum_holds(container, name, crc)
            if resource is not None:
                told = resource.record if isinstance(resource, FileResource) else resource
                whole = whole and told.hash == f"sha256:{digest.hexdigest()}"
                whole = whole and told.bytes == file.size()
            if isinstance(resource, FileResource):
                whole = whole and resource.record.md5 == md5.hexdigest()
                resource = None
            if name == FORMAT:
                whole = whole and container.read(FORMAT, limit=len(FORMAT_BYTES)) == FORMAT_BYTES
            if not whole:
                return list(_locate(file, name, resource))
            return _check_rows(file, resource) if deep and resource and resource.rows_hash else []
    except DamageError as exc:
        return [replace(_told(exc), member=name, run=run_of_member(name))]


def _locate(file: MemberFile, name: str, resource: Resource | None) -> Iterator[Damage]:
    """Where a member is damaged, as far as its own checksums tell."""
    run = run_of_member(name)
    short = name.rsplit("/", 1)[-1]
    where = f"{short} of run {run!r}" if run else name
    unknown = Damage(member=name, reason=f"{where} does not have its hash", run=run)
    if run is None or resource is None or resource.bytes != file.size():
        yield unknown
        return
    start = resource.bytes - resource.footer_bytes
    footer = file.read_at(start, resource.footer_bytes)
    if f"sha256:{hashlib.sha256(footer).hexdigest()}" != resource.footer_hash:
        yield Damage(
            member=name,
            reason=f"the footer of {where} is damaged",
            run=run,
            byte_range=(start, resource.bytes),
        )
        return
    chunks = damaged_chunks(file, footer=footer)
    for chunk in chunks:
        yield Damage(
            member=name,
            reason=f"column {chunk.column!r} in {where} is damaged between bytes {chunk.start} and {chunk.end}",
            run=run,
            column=chunk.column,
            byte_range=(chunk.start, chunk.end),
        )
    if not chunks:
        yield unknown


def _check_rows(file: MemberFile, resource: Resource) -> list[Damage]:
    """Whether a whole file means what the manifest says."""
    run = run_of_member(resource.path)
    try:
        found = rows_hash(read_batches(file, expected_rows=resource.rows))
    except DataError as exc:
        reason = f"{resource.path!r} cannot be read: {exc.message}"
        return [Damage(member=resource.path, reason=reason, run=run)]
    if found == resource.rows_hash:
        return []
    reason = f"the rows of {resource.path!r} are not those of its rows hash"
    return [Damage(member=resource.path, reason=reason, run=run)]


def _check_index(container: Container, manifest: Manifest, *, deep: bool) -> Iterable[Damage]:
    """Whether `runs.parquet` and the manifest fit together, once every byte is known to be right."""
    bundle = Bundle(container)
    if not deep:
        return
    found = content_id((run.info, run.rows_hash) for run in bundle.runs())
    if found != manifest.content_id:
        yield Damage(member=RUNS, reason="the content is not that of the content id")
