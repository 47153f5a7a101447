"""Compare the artifacts of a bundle with its contents, and each file with the digest of W&B."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from pull_logs.errors import BundleDamagedError
from pull_logs.snapshot.format import ArtifactEntry, Container, ContentResource, content_member, digest_of
from pull_logs.snapshot.read.logged.artifacts import RunArtifacts, content_in, entries_of


class ArtifactCheck:
    """Checks that the records, entries and contents of artifacts agree.

    Args:
        container: The bundle, whose members have their hashes.
        contents: The records and the contents of artifacts by member, according to the manifest.
    """

    def __init__(self, container: Container, contents: Mapping[str, ContentResource]) -> None:
        self._container = container
        self._left = {name for name in contents if name.startswith("contents/")}
        self._digests: dict[tuple[str, str], str] = {}
        self._checked: set[str] = set()

    def problems(self, runs: Iterable[RunArtifacts]) -> Iterator[BundleDamagedError]:
        """Yield what is wrong with the artifacts of runs, then with contents that no artifact has."""
        for run in runs:
            try:
                hashes = {record.entries for record in run.records if record.entries is not None}
            except BundleDamagedError as exc:
                yield exc
                continue
            for content_hash in sorted(hashes - self._checked):
                self._checked.add(content_hash)
                yield from self._entry_problems(content_hash)
        for member in sorted(self._left):
            path = str(self._container.path)
            yield BundleDamagedError(
                f"{path!r} is damaged: {member!r} is in no artifact", path=path, member=member
            )

    def _entry_problems(self, content_hash: str) -> Iterator[BundleDamagedError]:
        self._left.discard(content_member(content_hash))
        try:
            entries = entries_of(self._container, content_hash)
        except BundleDamagedError as exc:
            yield exc
            return
        for entry in entries:
            if entry.hash is not None:
                self._left.discard(content_member(entry.hash))
                try:
                    self._check(entry, entry.hash)
                except BundleDamagedError as exc:
                    yield exc

    def _check(self, entry: ArtifactEntry, content_hash: str) -> None:
        content = content_in(self._container, content_hash)
        if entry.size not in (None, content.size):
            raise content.damaged(
                f"entry {entry.path!r} of an artifact has {content.size} bytes, not {entry.size}"
            )
        key = content_hash, entry.algorithm
        if key not in self._digests:
            self._digests[key] = digest_of(entry.algorithm, content.chunks())
        if self._digests[key] != entry.digest:
            raise content.damaged(
                f"entry {entry.path!r} of an artifact has digest {self._digests[key]}, not {entry.digest}"
            )
