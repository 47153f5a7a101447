"""Check every byte of a bundle, and locate damage.

Every byte of a bundle can be checked: the ZIP's fields are fixed or stored twice, each file's SHA-256 is in
the manifest, the manifest's is in its digest, and both have a checksum in the ZIP. So every changed bit is
found and located: by the member, or as "container"; in a history by run, column and byte range. See
docs/bundle-format.md, "What a reader checks".
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from pull_logs.errors import BundleDamagedError, DamageError, DataError, FormatTooNewError, PullLogsError
from pull_logs.frames import FactsBuilder, PlainFacts, hash_of_facts
from pull_logs.rows.hashing import rows_hash, rows_hash_of_numbers
from pull_logs.snapshot.bundle_location import container_at
from pull_logs.snapshot.format import (
    DIGEST,
    FORMAT,
    HISTORY,
    MANIFEST,
    MAX_MANIFEST,
    MEDIA,
    METRICS,
    RUNS,
    AnyResource,
    ConsoleResource,
    Container,
    ContentHasher,
    ContentResource,
    FileRecord,
    FileResource,
    Manifest,
    MemberFile,
    Resource,
    ZipContainer,
    damaged_chunks,
    decompressed,
    is_format,
    is_url,
    parse_manifest,
    read_batches,
    read_lines,
    render_digest,
    run_of_member,
    sha256,
    shown_url,
    stored_form,
)
from pull_logs.snapshot.read.bundle import Bundle
from pull_logs.snapshot.read.index import load_index
from pull_logs.snapshot.read.logged import ArtifactCheck, media_problems
from pull_logs.snapshot.read.parquet_member import SMALL_FILE

if TYPE_CHECKING:
    import pyarrow as pa

    from pull_logs.snapshot.read.plain_history import PlainReader
    from pull_logs.snapshot.read.run import Run

CONTAINER = "container"
"""The member of damage that is not in one of the files."""

_THREADS = min(4, os.cpu_count() or 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """A part of a bundle that is not as it was written.

    Attributes:
        member: The file inside, or "container".
        reason: What is wrong, in one sentence.
        run: `entity/project/run_id` of the run that the file belongs to, if any.
        column: The column of its history, where it is known.
        byte_range: Offsets in the member of the first byte and past the last, where they are known.
    """

    member: str
    reason: str
    run: str | None = None
    column: str | None = None
    byte_range: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """The result of a check.

    Attributes:
        path: The bundle.
        members: Files that were checked.
        bytes: Bytes of these files.
        damages: What is damaged; empty when the bundle is as it was written.
    """

    path: Path | str
    members: int
    bytes: int
    damages: tuple[Damage, ...]


def verify_bundle(
    path: str | os.PathLike[str], *, deep: bool = True, share: Share | None = None
) -> VerifyReport:
    """Check every byte of a bundle, or of the folder that it was unzipped to.

    Of a URL, every byte is downloaded in large parts, a few of which are in memory at once.

    Args:
        path: The bundle: a path, or a URL as `open_bundle` takes it.
        deep: Also decode the histories and compare their rows hashes and the content id with the manifest.
        share: Checks the members in another way than in threads, as `verify_process.check_in_processes` does.

    Raises:
        FileMissingError: There is no readable file or folder.
        AccessError: The URL cannot be read, or was replaced while it was read.
        FormatTooNewError: The bundle has a later format version.
    """
    shown: Path | str = shown_url(path) if isinstance(path, str) and is_url(path) else Path(path)
    try:
        container = container_at(path)
    except FormatTooNewError:
        raise
    except DamageError as exc:
        return VerifyReport(path=shown, members=0, bytes=0, damages=(_damage(exc),))
    container.expect_all()
    try:
        damages = tuple(_damages(container, deep=deep, share=share))
    finally:
        container.close()
    return VerifyReport(
        path=shown, members=len(container.sizes), bytes=sum(container.sizes.values()), damages=damages
    )


def _damage(error: DamageError) -> Damage:
    member = error.member if isinstance(error, BundleDamagedError) and error.member else CONTAINER
    return Damage(member=member, reason=error.message, run=run_of_member(member))


@dataclass(frozen=True, slots=True)
class CheckedMember:
    """A member that was checked.

    Attributes:
        damages: What is wrong with it.
        facts_hash: The hash of the facts about the columns of a history whose rows are right.
        plain_hash: Instead of that, the hash of `PlainFacts`, for a history of which these say all.
    """

    damages: tuple[Damage, ...] = ()
    facts_hash: bytes | None = None
    plain_hash: bytes | None = None


def _damages(container: Container, *, deep: bool, share: Share | None) -> Iterator[Damage]:
    manifest, found = _read_manifest(container)
    yield from found
    resources = manifest.members() if manifest else {}
    names = [name for name in container.sizes if name not in (MANIFEST, DIGEST)]
    check_all = check_in_threads if share is None or manifest is None else share
    runs = _Runs(container)
    check = MemberCheck(container, resources, deep=deep, meanwhile=runs.read if deep else None)
    checked = check_all(check, names)
    members = [_with_known_member(damage, resources) for one in checked.values() for damage in one.damages]
    yield from members
    if manifest is None or found or members:
        return
    try:
        index = runs.index()
        bundle = Bundle(container, index)
        bundle.check_metrics()
        if deep:
            yield from _check_metrics(bundle, [checked[f"{folder}/{HISTORY}"] for folder in index.folders])
            if runs.content_id() != bundle.content_id:
                yield Damage(member=RUNS, reason="the content is not that of the content id")
            yield from _check_artifacts(bundle, container)
            yield from _check_media(bundle, container, index.folders)
    except DamageError as exc:
        yield _damage(exc)


class _Runs:
    """The runs of a bundle, read once, in part while other processes check its members.

    Attributes:
        index: Returns the runs and their folders. Raises `DamageError`.
        content_id: Returns the identity that their facts and rows hashes give, likewise.
    """

    def __init__(self, container: Container) -> None:
        self.index = cache(partial(load_index, container))
        self.content_id = cache(lambda: _content_id(Bundle(container, self.index())))

    def read(self) -> None:
        """Read them; what is damaged is found again by who needs it."""
        with suppress(PullLogsError):
            self.content_id()


def _content_id(bundle: Bundle) -> str:
    hasher = ContentHasher()
    for run in bundle.runs():
        hasher.add(run.info, run.rows_hash)
    return hasher.content_id()


def _with_known_member(damage: Damage, known: Collection[str]) -> Damage:
    """Attribute damage to the container if a damaged directory names a file that the manifest does not."""
    if not known or damage.member == FORMAT or damage.member in known:
        return damage
    return replace(damage, member=CONTAINER, run=None)


def _read_manifest(container: Container) -> tuple[Manifest | None, list[Damage]]:
    """Return the manifest, if it can be trusted, and what is wrong with it and its digest."""
    found = []
    data = {}
    for name in (MANIFEST, DIGEST):
        try:
            data[name] = container.read(name, limit=MAX_MANIFEST)
        except DamageError as exc:
            found.append(_damage(exc))
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
        return None, [_damage(exc)]


def _checksum_holds(container: Container, name: str, crc: int) -> bool:
    """Return whether the ZIP has this checksum for a member; a folder has none."""
    return not isinstance(container, ZipContainer) or container.entries[name].crc == crc


class MemberCheck:
    """Checks the members of a bundle other than the manifest; several threads may call it.

    Attributes:
        container: The bundle.
        deep: Whether it decodes histories and console logs.
        meanwhile: What this process does first where others check members.

    Args:
        container: The bundle.
        resources: The entries of the manifest; of a member without one, only its checksum in the ZIP is
            compared.
        deep: Whether to decode histories and console logs.
        meanwhile: What this process does first where others check members.
    """

    def __init__(
        self,
        container: Container,
        resources: Mapping[str, AnyResource],
        *,
        deep: bool,
        meanwhile: Callable[[], None] | None = None,
    ) -> None:
        self.container, self._resources, self.deep = container, resources, deep
        self.meanwhile = meanwhile
        self._reader: PlainReader | None = None
        if deep:
            from pull_logs.snapshot.read.plain_history import PlainReader  # a quick check decodes nothing

            self._reader = PlainReader()

    def __call__(self, name: str) -> CheckedMember:
        """Check a member."""
        return _check_member(self.container, name, self._resources.get(name), reader=self._reader)


def check_in_threads(check: MemberCheck, names: Sequence[str]) -> dict[str, CheckedMember]:
    """Check members in several threads; what was found is in the order of the names."""
    with ThreadPoolExecutor(_THREADS) as pool:
        return dict(zip(names, pool.map(check, names), strict=True))


Share: TypeAlias = Callable[[MemberCheck, Sequence[str]], Mapping[str, CheckedMember]]
"""Checks members, and returns what was found in the order of their names."""


def _check_member(
    container: Container, name: str, resource: AnyResource | None, *, reader: PlainReader | None
) -> CheckedMember:
    """Check a member other than the manifest.

    Args:
        container: The bundle.
        name: The member.
        resource: Its entry of the manifest; without one only its checksum in the ZIP is compared.
        reader: Decodes short histories; None decodes no history and no console log.
    """
    try:
        with container.open(name) as file:
            if not _bytes_are_right(container, name, file, resource):
                parquet = resource if isinstance(resource, Resource) else None
                return CheckedMember(tuple(_locate(file, name, parquet)))
            if isinstance(resource, FileResource | ContentResource) and resource.compressed is not None:
                return _check_text(file, resource)
            if reader is not None and isinstance(resource, Resource) and resource.rows_hash:
                return _check_rows(file, resource, reader)
            if reader is not None and isinstance(resource, ConsoleResource):
                return _check_console(file, resource)
            return CheckedMember()
    except DamageError as exc:
        return CheckedMember((replace(_damage(exc), member=name, run=run_of_member(name)),))


def _bytes_are_right(container: Container, name: str, file: MemberFile, resource: AnyResource | None) -> bool:
    """Compare the bytes of a member with all that is known about them."""
    logged = isinstance(resource, FileResource) and resource.compressed is None
    crc, digest, md5 = 0, hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    for chunk in file.chunks():
        crc = zlib.crc32(chunk, crc)
        digest.update(chunk)
        if logged:
            md5.update(chunk)
    if not _checksum_holds(container, name, crc):
        return False
    if name == FORMAT and not is_format(container.read(FORMAT, limit=MAX_MANIFEST)):
        return False
    if resource is None:
        return True
    expected = stored_form(resource)
    return (
        expected.hash == f"sha256:{digest.hexdigest()}"
        and expected.bytes == file.size()
        and (not isinstance(expected, FileRecord) or expected.md5 == md5.hexdigest())
    )


def _check_text(file: MemberFile, resource: FileResource | ContentResource) -> CheckedMember:
    """Compare the text of a compressed member whose bytes are right with its entry in the manifest."""
    record = resource.record
    digest, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    reason = None
    try:
        for chunk in decompressed(file.chunks(), stored=file.size(), size=record.bytes):
            digest.update(chunk)
            md5.update(chunk)
    except DataError as exc:
        reason = f"cannot be read: {exc.message}"
    else:
        if f"sha256:{digest.hexdigest()}" != record.hash:
            reason = "has a text without its hash"
        elif isinstance(record, FileRecord) and record.md5 != md5.hexdigest():
            reason = "has a text without its MD5"
    if reason is None:
        return CheckedMember()
    name = resource.member
    return CheckedMember((Damage(member=name, reason=f"{name!r} {reason}", run=run_of_member(name)),))


def _locate(file: MemberFile, name: str, resource: Resource | None) -> Iterator[Damage]:
    """Locate the damage in a member, as exactly as its own checksums allow."""
    run = run_of_member(name)
    where = f"{name.rsplit('/', 1)[-1]} of run {run!r}" if run else name
    unknown = Damage(member=name, reason=f"{where} does not have its hash", run=run)
    if run is None or resource is None or resource.bytes != file.size():
        yield unknown
        return
    start = resource.bytes - resource.footer_bytes
    footer = file.read_at(start, resource.footer_bytes)
    if sha256(footer) != resource.footer_hash:
        yield replace(unknown, reason=f"the footer of {where} is damaged", byte_range=(start, resource.bytes))
        return
    chunks = damaged_chunks(file, footer=footer)
    for chunk in chunks:
        yield Damage(
            member=name,
            reason=f"column {chunk.column!r} in {where} is damaged between"
            f" bytes {chunk.start} and {chunk.end}",
            run=run,
            column=chunk.column,
            byte_range=(chunk.start, chunk.end),
        )
    if not chunks:
        yield unknown


def _check_rows(file: MemberFile, resource: Resource, reader: PlainReader) -> CheckedMember:
    """Compare the rows of a file whose bytes are right with the rows hash in the manifest."""
    run = run_of_member(resource.path)
    try:
        found, checked = _described_rows(file, resource, reader)
    except DataError as exc:
        reason = f"{resource.path!r} cannot be read: {exc.message}"
        return CheckedMember((Damage(member=resource.path, reason=reason, run=run),))
    if found != resource.rows_hash:
        reason = f"the rows of {resource.path!r} are not those of its rows hash"
        return CheckedMember((Damage(member=resource.path, reason=reason, run=run),))
    return checked


def _described_rows(file: MemberFile, resource: Resource, reader: PlainReader) -> tuple[str, CheckedMember]:
    """Return the hash of the rows of a file, and what is found if that is right.

    Raises:
        DataError: The file cannot be read.
    """
    history = resource.path.endswith(f"/{HISTORY}")
    data = None if resource.bytes > SMALL_FILE else file.read_at(0, resource.bytes)
    plain = reader.read(data, rows=resource.rows) if history and data is not None else None
    if plain is not None:
        facts = PlainFacts.of(plain.steps, plain.columns)
        found = rows_hash_of_numbers(plain.steps, plain.columns)
        if facts is not None:
            return found, CheckedMember(plain_hash=facts.hash())
        builder = FactsBuilder()
        builder.add_numbers(plain.steps, plain.columns)
        return found, CheckedMember(facts_hash=hash_of_facts(builder.facts()))
    batches = read_batches(file if data is None else data, expected_rows=resource.rows)
    if not history:
        return rows_hash(batches), CheckedMember()
    builder = FactsBuilder()
    found = rows_hash(_described(batches, builder))
    return found, CheckedMember(facts_hash=hash_of_facts(builder.facts()))


def _check_console(file: MemberFile, resource: ConsoleResource) -> CheckedMember:
    """Compare the lines of a console log whose bytes are right with its entry in the manifest."""
    try:
        for _ in read_lines(file.chunks(), resource.record):
            pass
    except DataError as exc:
        reason = f"{resource.path!r} cannot be read: {exc.message}"
        return CheckedMember((Damage(member=resource.path, reason=reason, run=run_of_member(resource.path)),))
    return CheckedMember()


def _described(batches: Iterable[pa.Table], builder: FactsBuilder) -> Iterator[pa.Table]:
    """Pass batches on, and describe them on the way."""
    for batch in batches:
        builder.add(batch)
        yield batch


def _check_metrics(bundle: Bundle, histories: Sequence[CheckedMember]) -> Iterator[Damage]:
    """Compare the index of metrics, if there is one, with the histories, in the order of the runs."""
    if METRICS not in bundle.manifest.resources:
        return
    for run, history in zip(bundle.runs(), histories, strict=True):
        if not _is_indexed(run, history):
            reason = f"{METRICS} has other facts about run {str(run.path)!r} than its history"
            yield Damage(member=METRICS, reason=reason, run=str(run.path))


def _is_indexed(run: Run, history: CheckedMember) -> bool:
    """Whether the index has the facts about a history."""
    entry = run.index_entry()
    if history.plain_hash is None or entry is None:
        return history.facts_hash == hash_of_facts(run.metric_facts())
    indexed = entry.index.plain_hash(entry.number)
    if indexed is not None:
        return indexed == history.plain_hash
    # An index that another program wrote may say the same in other cells.
    builder = FactsBuilder()
    for batch in run.batches():
        builder.add(batch)
    return hash_of_facts(builder.facts()) == hash_of_facts(run.metric_facts())


def _check_artifacts(bundle: Bundle, container: Container) -> Iterator[Damage]:
    """Compare the artifacts of all runs with the contents of the bundle."""
    contents = bundle.manifest.contents
    if contents:
        runs = (run.artifacts for run in bundle.runs() if run.artifacts is not None)
        yield from map(_damage, ArtifactCheck(container, contents).problems(runs))


def _check_media(bundle: Bundle, container: Container, folders: Sequence[str]) -> Iterator[Damage]:
    """Compare the index of media and the tables with the rows, the files and the artifacts of all runs."""
    runs = (
        (run, folder, partial(run.batches, columns=()))
        for run, folder in zip(bundle.runs(), folders, strict=True)
    )
    try:
        yield from map(_damage, media_problems(container, bundle.manifest, runs))
    except DataError as exc:
        yield Damage(member=MEDIA, reason=f"{MEDIA} cannot be compared with the rows: {exc.message}")
