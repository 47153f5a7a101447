"""The artifacts that the runs of a bundle logged and used."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from pull_logs.errors import BundleDamagedError, DataError, FileMissingError, UnsafeFileError
from pull_logs.snapshot.artifact_selection import ArtifactSelection
from pull_logs.snapshot.disk import disk_errors, name_files, unused_name
from pull_logs.snapshot.format import content_member, digest_of
from pull_logs.snapshot.read.logged.contents import Content
from pull_logs.suggestions import counted, did_you_mean

if TYPE_CHECKING:
    from pull_logs.snapshot.format import (
        ArtifactEntry,
        ArtifactRecord,
        Container,
        ContentResource,
        Relation,
    )

_DRIVE = re.compile(r"[A-Za-z]:")
_DEVICE = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)


class LoggedEntry:
    """A file or a reference of an artifact; the bundle has to stay open.

    Attributes:
        entry: What the manifest of the artifact says.
        content: Its bytes; None for a reference, and where they were not downloaded.
    """

    __slots__ = ("_artifact", "content", "entry")

    def __init__(self, artifact: str, entry: ArtifactEntry, content: Content | None) -> None:
        self._artifact, self.entry, self.content = artifact, entry, content

    def __repr__(self) -> str:
        return f"<LoggedEntry {self.path!r} of {self._artifact!r}>"

    @property
    def path(self) -> str:
        """Its path in the artifact; untrusted text."""
        return self.entry.path

    @property
    def size(self) -> int | None:
        """Its bytes; None where they are not known."""
        return self.entry.size

    @property
    def digest(self) -> str:
        """Its digest at W&B, in base64; of a reference, what identifies the object."""
        return self.entry.digest

    @property
    def ref(self) -> str | None:
        """The address of a reference; None for a file. It is recorded and never followed."""
        return self.entry.ref

    def read(self) -> bytes:
        """Return its bytes, checked against their hash and against the digest of W&B.

        Raises:
            FileMissingError: It is a reference, or the bundle does not have its bytes.
            BundleDamagedError: They are not those that were written.
        """
        content = self._bytes()
        data = content.read()
        self._check(digest_of(self.entry.algorithm, [data]), content)
        return data

    def save(self, path: Path | str) -> None:
        """Write its bytes to a file, which gets its name once they are checked as `read` does.

        Raises:
            FileMissingError: It is a reference, or the bundle does not have its bytes.
            BundleDamagedError: They are not those that were written; no file is left.
            PullLogsError: The disk is full or the file cannot be written.
        """
        self._checked_bytes().save(path)

    def write(self, out: BinaryIO) -> None:
        """Write its bytes to an open file, checked as `read` does.

        Raises:
            FileMissingError: It is a reference, or the bundle does not have its bytes.
            BundleDamagedError: They are not those that were written.
            OSError: The file cannot be written.
        """
        self._checked_bytes().write(out)

    def _checked_bytes(self) -> Content:
        content = self._bytes()
        self._check(digest_of(self.entry.algorithm, content.chunks()), content)
        return content

    def _bytes(self) -> Content:
        if self.content is not None:
            return self.content
        if self.ref is not None:
            raise FileMissingError(
                f"entry {self.path!r} of artifact {self._artifact!r} is a reference to {self.ref!r}",
                hint="references are recorded and not followed: read it from there",
            )
        raise FileMissingError(
            f"the bundle does not have the bytes of entry {self.path!r} of artifact {self._artifact!r}",
            hint="`pull-logs fetch --artifacts all` downloads them",
        )

    def _check(self, digest: str, content: Content) -> None:
        if digest != self.digest:
            raise content.damaged(
                f"entry {self.path!r} of artifact {self._artifact!r} has digest {digest}, not {self.digest}"
            )


class Artifact:
    """A version of an artifact that runs of a bundle logged or used; the bundle has to stay open.

    Attributes:
        record: Its name, version, aliases, type, metadata and digest.
    """

    def __init__(self, container: Container, record: ArtifactRecord, *, used_by: Sequence[str] = ()) -> None:
        self._container, self.record, self._used_by = container, record, tuple(used_by)

    def __repr__(self) -> str:
        return f"<Artifact {self.path!r}: {self.record.type}, {counted(self.record.file_count or 0, 'file')}>"

    @property
    def path(self) -> str:
        """`entity/project/name:v3`."""
        return self.record.path

    @property
    def name(self) -> str:
        """`name:v3`."""
        return self.record.name

    @property
    def type(self) -> str:
        """Its type, `model`."""
        return self.record.type

    @property
    def aliases(self) -> tuple[str, ...]:
        """Its aliases, `latest`, without that of its version."""
        return self.record.aliases

    @property
    def metadata(self) -> Mapping[str, object]:
        """Its metadata."""
        return self.record.metadata or {}

    @property
    def logged_by(self) -> str | None:
        """`entity/project/run_id` of the run that logged it; None where that is not known."""
        return self.record.logged_by

    @property
    def used_by(self) -> tuple[str, ...]:
        """The runs of the bundle that used it, in path order."""
        return self._used_by

    @cached_property
    def entries(self) -> Mapping[str, LoggedEntry]:
        """Its files and references by path, in the order of their UTF-8 bytes.

        Raises:
            FileMissingError: The bundle does not know them.
            BundleDamagedError: They are not those that were written.
        """
        if self.record.entries is None:
            raise FileMissingError(f"the bundle does not have the entries of artifact {self.path!r}")
        return {
            entry.path: LoggedEntry(self.path, entry, self._content(entry.hash))
            for entry in entries_of(self._container, self.record.entries)
        }

    @property
    def has_all_files(self) -> bool:
        """Whether the bundle has the bytes of each of its files; references do not count.

        Raises:
            BundleDamagedError: Its entries are not those that were written.
        """
        if self.record.entries is None:
            return False
        return all(entry.content is not None or entry.ref is not None for entry in self.entries.values())

    def _content(self, content_hash: str | None) -> Content | None:
        return None if content_hash is None else content_in(self._container, content_hash)

    def __getitem__(self, path: str) -> LoggedEntry:
        """Return the entry with this path.

        Raises:
            FileMissingError: It has no such entry.
        """
        try:
            return self.entries[path]
        except KeyError:
            hint = did_you_mean(path, self.entries, otherwise="it has no entries")
            raise FileMissingError(f"artifact {self.path!r} has no entry {path!r}", hint=hint) from None

    def download(self, root: Path | str) -> tuple[str, ...]:
        """Write its files into a folder, which is created, under their paths; existing ones are replaced.

        Args:
            root: The folder. Nothing is written outside it: a path that leads out of it, or through a link
                in it, is refused before the first file is written.

        Returns:
            The paths of its references, which are not followed.

        Raises:
            FileMissingError: The bundle does not have the bytes of a file.
            UnsafeFileError: The path of an entry leads out of the folder.
            BundleDamagedError: The bundle is damaged.
            PullLogsError: The disk is full or a file cannot be written.
        """
        root = Path(root)
        files = [entry for entry in self.entries.values() if entry.ref is None]
        for entry in files:
            self._check_path(entry.path)
            if entry.content is None:
                entry.read()
        existing = next(folder for folder in (root.absolute(), *root.absolute().parents) if folder.exists())
        temps: dict[Path, Path] = {}
        try:
            for entry in files:
                target = root.joinpath(*entry.path.split("/"))
                self._refuse_links(root, target)
                temp = unused_name(target)
                temps[temp.absolute()] = target.absolute()
                with disk_errors(target, hint="free some space and try again"):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with temp.open("xb") as out:
                        entry.write(out)
            with disk_errors(root, hint="free some space and try again"):
                name_files(temps, root=existing)
        finally:
            for temp in temps:
                temp.unlink(missing_ok=True)
        return tuple(entry.path for entry in self.entries.values() if entry.ref is not None)

    def _check_path(self, path: str) -> None:
        parts = path.split("/")
        unsafe = any(not part or part in (".", "..") or part[-1] in ". " for part in parts)
        marks = any(mark in path for mark in ("\\", "\x00")) or any(":" in part for part in parts)
        if unsafe or marks or _DRIVE.match(path) or any(map(_DEVICE.fullmatch, parts)):
            raise UnsafeFileError(
                f"artifact {self.path!r} is not safe to download: {path!r} is not the path of a file inside a"
                " folder",
                hint="read its bytes with `artifact[path].read()`",
            )

    def _refuse_links(self, root: Path, target: Path) -> None:
        for part in (target, *target.parents):
            if part == root:
                return
            if part.is_symlink():
                raise UnsafeFileError(
                    f"artifact {self.path!r} is not safe to download: {str(part)!r} is a link",
                    hint="remove the link, or download into another folder",
                )


class RunArtifacts:
    """The artifacts that a run logged and used: their records, entries and files.

    Attributes:
        table: The bytes of the records.
    """

    def __init__(self, container: Container, resource: ContentResource, *, run: str) -> None:
        self._container, self._run = container, run
        self.table = Content(container, resource)

    def __repr__(self) -> str:
        return f"<RunArtifacts of {self._run!r}: {len(self.records)} artifacts>"

    @cached_property
    def records(self) -> tuple[ArtifactRecord, ...]:
        """The records, in the order of a bundle.

        Raises:
            BundleDamagedError: They are not those that were written.
        """
        from pull_logs.snapshot.format import MAX_RECORDS, parse_records

        try:
            return tuple(parse_records(self.table.read_at_most(MAX_RECORDS)))
        except DataError as exc:
            raise self.table.damaged(f"the artifacts of run {self._run!r}: {exc.message}") from exc

    @cached_property
    def contents(self) -> tuple[Content, ...]:
        """The entries and the files of the artifacts, each content once, in the order of their hashes.

        Raises:
            BundleDamagedError: The records or the entries are not those that were written.
        """
        hashes: set[str] = set()
        for entries in {record.entries for record in self.records if record.entries is not None}:
            hashes.add(entries)
            hashes.update(
                entry.hash for entry in entries_of(self._container, entries) if entry.hash is not None
            )
        return tuple(content_in(self._container, content_hash) for content_hash in sorted(hashes))

    def content(self, content_hash: str) -> Content | None:
        """Return a content of the bundle by its hash; None if there is none with it."""
        if content_member(content_hash) not in self._container.contents:
            return None
        return content_in(self._container, content_hash)

    def related(self, relation: Relation) -> Iterator[Artifact]:
        """Iterate over the artifacts that the run logged, or over those that it used."""
        return (Artifact(self._container, record) for record in self.records if record.relation == relation)


def selection_of(artifacts: RunArtifacts) -> ArtifactSelection:
    """Return the selection that gives these artifacts of a run.

    Raises:
        BundleDamagedError: They are not those that were written.
    """
    entries = [
        entry.entry
        for relation in ("logged", "used")
        for artifact in artifacts.related(relation)
        if artifact.record.entries is not None
        for entry in artifact.entries.values()
    ]
    files = [entry for entry in entries if entry.ref is None]
    if files and all(entry.hash is None for entry in files):
        return ArtifactSelection.REFERENCES
    relations = {record.relation for record in artifacts.records}
    if len(relations) > 1:
        return ArtifactSelection.ALL
    return ArtifactSelection.USED if "used" in relations else ArtifactSelection.LOGGED


def content_in(container: Container, content_hash: str) -> Content:
    """Return a content of a bundle.

    Raises:
        BundleDamagedError: The bundle does not have it.
    """
    member = content_member(content_hash)
    if member not in container.contents:
        shown = str(container.path)
        raise BundleDamagedError(f"{shown!r} is damaged: {member!r} is missing", path=shown, member=member)
    return Content(container, container.contents[member])


def entries_of(container: Container, content_hash: str) -> list[ArtifactEntry]:
    """Return the entries of an artifact, given the hash of the content that has them.

    Raises:
        BundleDamagedError: They are not those that were written.
    """
    from pull_logs.snapshot.format import MAX_ENTRIES, parse_entries

    content = content_in(container, content_hash)
    try:
        return parse_entries(content.read_at_most(MAX_ENTRIES))
    except DataError as exc:
        raise content.damaged(f"the entries of an artifact: {exc.message}") from exc
