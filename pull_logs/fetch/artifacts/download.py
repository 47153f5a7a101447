"""The entries and the files of artifacts, each downloaded once per pull however many runs use them.

A file is checked against the size and the digest in the manifest of its artifact before it is a content of
the spool. What an earlier attempt or bundle has with that digest is not downloaded again. References to
external storage are recorded and never followed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import anyio

from pull_logs.errors import AccessError, DataError
from pull_logs.fetch.api import Client, UrlRefusedError
from pull_logs.fetch.artifacts.listing import list_urls, manifest_url, new_url, read_manifest
from pull_logs.fetch.concurrency import for_each
from pull_logs.fetch.context import FetchedArtifact, PullContext
from pull_logs.fetch.files import FileChangedError, ListedFile, download_file
from pull_logs.snapshot.format import (
    MD5,
    ArtifactEntry,
    ArtifactRecord,
    ContentSource,
    content_of,
    encode_entries,
    md5_hex,
)

_WORKERS = 8
_ATTEMPTS = 4
_MANIFEST_LIMIT = 512 * 2**20

Known = Mapping[tuple[str, str], ContentSource]
"""Contents of an earlier bundle by algorithm and digest."""


async def fetch_artifact(context: PullContext, reader: ArtifactReader, *, bytes_too: bool) -> FetchedArtifact:
    """Download an artifact, once for all runs.

    Args:
        context: What the download needs.
        reader: Downloads it if it is the first.
        bytes_too: Whether to download its files; otherwise only its entries.

    Raises:
        AccessError: The key was refused, or the API could not be reached.
    """
    shared, record = context.shared_artifacts, reader.record
    async with shared.locks.setdefault(record.id, anyio.Lock()):
        fetched = shared.fetched.get((record.id, bytes_too))
        if fetched is None:
            fetched = await reader.read(bytes_too=bytes_too)
            shared.fetched[record.id, bytes_too] = fetched
    return replace(
        fetched, record=replace(record, policy=fetched.record.policy, entries=fetched.record.entries)
    )


class ArtifactReader:
    """Downloads one artifact.

    Args:
        context: What the download needs.
        record: The artifact.
        known: Contents of an earlier bundle.

    Attributes:
        record: The artifact.
    """

    def __init__(self, context: PullContext, record: ArtifactRecord, known: Known) -> None:
        self._context, self.record, self._known = context, record, known
        self._contents: dict[str, ContentSource] = {}
        self._hashes: dict[str, str] = {}
        self.lost: dict[str, str] = {}

    @property
    def _client(self) -> Client:
        return self._context.client

    async def read(self, *, bytes_too: bool) -> FetchedArtifact:
        """Download the entries of the artifact, and its files too.

        Raises:
            AccessError: The key was refused, or the API could not be reached.
        """
        record = self.record
        if record.state not in (None, "COMMITTED"):
            return FetchedArtifact(record)
        try:
            policy, entries = await self.entries()
            if bytes_too:
                await self._read_files([entry for entry in entries if entry.ref is None])
            found = [replace(entry, hash=self._hashes.get(entry.path)) for entry in entries]
            listing = content_of(await self._context.in_thread(partial(encode_entries, found)))
        except (AccessError, DataError) as exc:
            self._raise_if_general(exc)
            return FetchedArtifact(record, lost=f"its manifest could not be downloaded: {exc.message}")
        self._contents[listing.record.hash] = listing
        record = replace(record, policy=policy, entries=listing.record.hash)
        return FetchedArtifact(record, tuple(self._contents.values()), self._why_lost())

    def _raise_if_general(self, exc: AccessError | DataError) -> None:
        if self._context.ends_pull(exc):
            raise exc

    def _why_lost(self) -> str:
        if not self.lost:
            return ""
        name = min(self.lost)
        others = f", nor {len(self.lost) - 1} more" if len(self.lost) > 1 else ""
        return f"entry {name!r} could not be downloaded: {self.lost[name]}{others}"

    async def entries(self) -> tuple[Mapping[str, object], Sequence[ArtifactEntry]]:
        """Return how W&B stores the files of the artifact, and its entries.

        Raises:
            AccessError: A request failed.
            DataError: W&B has no usable manifest of it.
        """
        store, record = self._context.spool.contents, self.record
        path = await self._context.in_thread(partial(store.unfinished, f"manifest\n{record.id}"))
        listed = ListedFile(name="manifest", size=None, md5=None, mediatype=None, direct_url=None, url=None)
        reason = ""
        for _ in range(_ATTEMPTS):
            url = await manifest_url(self._client, record)
            try:
                await download_file(self._client, listed, url, path=path, signed=True)
                return await self._context.in_thread(partial(read_manifest_file, path))
            except UrlRefusedError as exc:
                reason = exc.error.message
        raise DataError(reason)

    async def _read_files(self, entries: Sequence[ArtifactEntry]) -> None:
        missing: dict[str, ArtifactEntry] = {}
        for entry in entries:
            content = await self._context.in_thread(partial(self._held, entry))
            if content is None:
                missing[entry.path] = entry
            else:
                self.keep(entry, content)
        await self.download(missing)

    async def download(self, missing: dict[str, ArtifactEntry]) -> None:
        """Download files, given by their paths; what cannot be downloaded is recorded as lost."""
        cursor = None
        while missing:
            urls, cursor = await list_urls(self._client, self.record, cursor=cursor)
            page = [(missing.pop(path), url) for path, url in urls.items() if path in missing]
            await for_each(page, self.fetch, workers=_WORKERS)
            if cursor is None:
                break
        self.lost |= dict.fromkeys(missing, "W&B names no address for it")

    def _held(self, entry: ArtifactEntry) -> ContentSource | None:
        """Return the bytes of an entry from an earlier attempt or bundle."""
        if entry.size is not None:
            found = self._context.spool.contents.find(entry.algorithm, entry.digest, entry.size)
            if found is not None:
                return found
        return self._known.get((entry.algorithm, entry.digest))

    def keep(self, entry: ArtifactEntry, content: ContentSource) -> None:
        """Record the bytes of an entry."""
        self._contents[content.record.hash] = content
        self._hashes[entry.path] = content.record.hash

    async def fetch(self, item: tuple[ArtifactEntry, str]) -> None:
        """Download a file, unless the same bytes arrived meanwhile for another path or artifact."""
        entry, url = item
        locks = self._context.shared_artifacts.file_locks
        async with locks.setdefault((entry.algorithm, entry.digest), anyio.Lock()):
            content = await self._context.in_thread(partial(self._held, entry))
            if content is None:
                await self.fetch_bytes(entry, url)
            else:
                self.keep(entry, content)

    async def fetch_bytes(self, entry: ArtifactEntry, url: str) -> None:
        """Download a file, with a new address after each failure that one may cure."""
        reason = ""
        for _ in range(_ATTEMPTS):
            try:
                self.keep(entry, await self._download(entry, url))
            except UrlRefusedError as exc:
                reason = exc.error.message
            except FileChangedError as exc:
                reason = str(exc)
            except AccessError as exc:
                self._raise_if_general(exc)
                reason = exc.message
                break
            else:
                return
            again = await new_url(self._client, self.record, entry.path)
            if again is None:
                reason = "it is no longer listed"
                break
            url = again
        self.lost[entry.path] = reason

    async def _download(self, entry: ArtifactEntry, url: str) -> ContentSource:
        """Download a file and check its digest.

        Raises:
            FileChangedError: It does not have its size or digest; nothing of it is kept.
        """
        store, in_thread = self._context.spool.contents, self._context.in_thread
        path = await in_thread(partial(store.unfinished, self.key_of(entry)))
        md5 = md5_hex(entry.digest) if entry.algorithm == MD5 else None
        if md5 is None and entry.algorithm == MD5:
            raise FileChangedError(f"the manifest has {entry.digest!r} for its MD5")
        listed = ListedFile(name="file", size=entry.size, md5=md5, mediatype=None, direct_url=None, url=None)
        await download_file(self._client, listed, url, path=path, signed=True)
        return await self.add(entry, path)

    def key_of(self, entry: ArtifactEntry) -> str:
        """Return a key of an entry in the spool; two artifacts may download one file at the same time."""
        return f"{self.record.id}\n{entry.path}\n{entry.digest}"

    async def add(self, entry: ArtifactEntry, path: Path) -> ContentSource:
        """Make a content of a file that was downloaded, and check its digest.

        Raises:
            FileChangedError: It does not have its digest; nothing of it is kept.
        """
        store, in_thread = self._context.spool.contents, self._context.in_thread
        stored = await in_thread(partial(store.add_file, path, algorithm=entry.algorithm))
        if stored.digest != entry.digest:
            raise FileChangedError(
                f"its {entry.algorithm} is {stored.digest} and the manifest has {entry.digest}"
            )
        return stored.content


def read_manifest_file(path: Path) -> tuple[Mapping[str, object], Sequence[ArtifactEntry]]:
    """Return what `read_manifest` makes of a file, and remove the file.

    Raises:
        DataError: It is not a manifest, or it is too large.
    """
    try:
        if path.stat().st_size > _MANIFEST_LIMIT:
            raise DataError(f"the manifest has more than {_MANIFEST_LIMIT} bytes")
        return read_manifest(path.read_bytes())
    finally:
        path.unlink()
