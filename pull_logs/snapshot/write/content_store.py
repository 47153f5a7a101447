"""The contents of artifacts in a spool: a file for each content, named by its SHA-256.

A file has its final name when its bytes are complete and hashed. A download is written to a file with another
name first, where the next attempt continues it.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from pull_logs.errors import BundleDamagedError
from pull_logs.snapshot.disk import new_file
from pull_logs.snapshot.format import (
    CHUNK,
    MD5,
    XXH128,
    ArtifactsSource,
    ContentFile,
    ContentRecord,
    ContentSource,
    GivenArtifacts,
    content_of,
    digest_of,
)

_UNFINISHED = ".part"


@dataclass(frozen=True, slots=True)
class StoredContent:
    """A content of a spool with the digest that W&B has for it.

    Attributes:
        content: The content.
        digest: Its digest in base64.
    """

    content: ContentFile
    digest: str


class ContentStore:
    """The contents of a spool; its methods may be called from several threads.

    Args:
        folder: The folder of the contents, which is created when it is needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = Lock()
        self._by_digest: dict[tuple[str, str], ContentFile] = {}
        self._unread: dict[tuple[str, int], list[Path]] | None = None
        self._checked: set[str] = set()

    def unfinished(self, key: str) -> Path:
        """Return the file of a download, given a text that identifies it."""
        self._folder.mkdir(exist_ok=True)
        return self._folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}{_UNFINISHED}"

    def find(self, algorithm: str, digest: str, size: int) -> ContentFile | None:
        """Return the content with a digest of W&B; None if it is not there.

        Files of that size that an earlier attempt left are read once, by one thread at a time.
        """
        with self._lock:
            for file in self._unread_files().pop((algorithm, size), ()):
                content = ContentFile(ContentRecord(size, f"sha256:{file.name}"), file)
                if f"sha256:{_sha256(content.chunks())}" == content.record.hash:
                    self._by_digest[algorithm, digest_of(algorithm, content.chunks())] = content
            found = self._by_digest.get((algorithm, digest))
        return found if found is not None and found.record.bytes == size else None

    def _unread_files(self) -> dict[tuple[str, int], list[Path]]:
        """Return the files whose digest by an algorithm is not known, by algorithm and size."""
        if self._unread is None:
            self._unread = {}
            for file in sorted(self._folder.iterdir()) if self._folder.is_dir() else ():
                if file.suffix != _UNFINISHED:
                    for algorithm in (MD5, XXH128):
                        self._unread.setdefault((algorithm, file.stat().st_size), []).append(file)
        return self._unread

    def add_file(self, file: Path, *, algorithm: str = MD5) -> StoredContent:
        """Give a downloaded file its final name.

        Args:
            file: The file, one of `unfinished`.
            algorithm: The digest to compute, `MD5` or `XXH128`.
        """
        sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
        with file.open("rb") as source:
            while chunk := source.read(CHUNK):
                sha256.update(chunk)
                md5.update(chunk)
                size += len(chunk)
        record = ContentRecord(size, f"sha256:{sha256.hexdigest()}")
        plain = ContentFile(record, file)
        digest = base64.b64encode(md5.digest()).decode()
        if algorithm != MD5:
            digest = digest_of(algorithm, plain.chunks())
        content = ContentFile(record, self._folder / sha256.hexdigest())
        with self._lock:
            unread = self._unread_files()
            for other in (MD5, XXH128):
                if other != algorithm:
                    unread.setdefault((other, size), []).append(content.path)
            file.replace(content.path)
            self._checked.add(record.hash)
            self._by_digest[algorithm, digest] = content
        return StoredContent(content, digest)

    def keep(self, artifacts: ArtifactsSource | None) -> ArtifactsSource | None:
        """Return the artifacts of a run with each content in a file of this store.

        Raises:
            BundleDamagedError: A content does not have its hash.
            OSError: A file cannot be written.
        """
        if artifacts is None:
            return None
        # The records are in memory from now on: the bundle that they are from may be closed.
        table = content_of(b"".join(artifacts.table.chunks()))
        if table.record != artifacts.table.record:
            raise _damaged(artifacts.table.record, str(self._folder))
        return GivenArtifacts(table=table, contents=[self._keep(content) for content in artifacts.contents])

    def _keep(self, content: ContentSource) -> ContentFile:
        record = content.record
        final = self._folder / record.hash.removeprefix("sha256:")
        kept = ContentFile(record, final)
        if final.exists() and final.stat().st_size == record.bytes and self._is_intact(kept):
            return kept
        self._folder.mkdir(exist_ok=True)
        temp = self._folder / f"{secrets.token_hex(16)}{_UNFINISHED}"
        digest = hashlib.sha256()
        with new_file(final, temp=temp, durable=False) as out:
            for chunk in content.chunks():
                digest.update(chunk)
                out.write(chunk)
            if f"sha256:{digest.hexdigest()}" != record.hash:
                raise _damaged(record, str(final))
        self._checked.add(record.hash)
        return kept

    def _is_intact(self, kept: ContentFile) -> bool:
        """Return whether a file has its bytes: after a loss of power, one of an earlier attempt may not."""
        digest = kept.record.hash
        if digest not in self._checked and f"sha256:{_sha256(kept.chunks())}" == digest:
            self._checked.add(digest)
        return digest in self._checked


def _sha256(chunks: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def _damaged(record: ContentRecord, path: str) -> BundleDamagedError:
    return BundleDamagedError(
        f"a content of an artifact is damaged: it does not have its hash {record.hash}", path=path
    )
