"""The files that a run of a bundle logged: `output.log`, configs, images and others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar, overload

from pull_logs.errors import FileMissingError
from pull_logs.snapshot.read.member_bytes import MemberBytes
from pull_logs.suggestions import did_you_mean

if TYPE_CHECKING:
    from pull_logs.snapshot.format import Container, FileRecord, FileResource

_Default = TypeVar("_Default")


class RunFile(MemberBytes):
    """A file that a run logged; the bundle has to stay open.

    Its name is untrusted text and is never used as a path: `save` takes a path from the caller.

    Attributes:
        record: Its name, size, hashes and media type.
    """

    __slots__ = ("record",)

    def __init__(self, container: Container, resource: FileResource) -> None:
        record: FileRecord = resource.record
        shown = f"file {record.name!r}"
        super().__init__(
            container,
            resource.path,
            shown=shown,
            size=record.bytes,
            expected=record.hash,
            compressed=resource.compressed,
        )
        self.record = record

    def __repr__(self) -> str:
        return f"<RunFile {self.name!r}: {self.size} bytes>"

    @property
    def name(self) -> str:
        """Its name in the run, `media/images/a.png`."""
        return self.record.name

    @property
    def sha256(self) -> str:
        """The SHA-256 of its bytes in hex."""
        return self.record.hash.removeprefix("sha256:")

    @property
    def md5(self) -> str:
        """The MD5 of its bytes in hex, which W&B reports for its files."""
        return self.record.md5

    @property
    def mediatype(self) -> str | None:
        """Its media type according to W&B, `text/plain`; None if W&B reported none."""
        return self.record.mediatype


class RunFiles(Mapping[str, RunFile]):
    """The files of a run by name, in the order of the names' UTF-8 bytes."""

    def __init__(
        self, container: Container, resources: Sequence[FileResource], *, run: str, from_server: bool = True
    ) -> None:
        ordered = sorted(resources, key=lambda resource: resource.record.name.encode())
        self._files = {resource.record.name: RunFile(container, resource) for resource in ordered}
        self._run = run
        self._hint = (
            "`pull-logs fetch --files` pulls files"
            if from_server
            else "`pull-logs import --files` copies files from `files/` of the run folder"
        )

    def __getitem__(self, name: str) -> RunFile:
        """Return the file with this name.

        Raises:
            FileMissingError: The run has no such file.
        """
        if name in self._files:
            return self._files[name]
        raise FileMissingError(
            f"run {self._run!r} has no file {name!r}",
            hint=did_you_mean(name, self._files, otherwise=self._hint),
        )

    @overload
    def get(self, key: str, default: None = None) -> RunFile | None: ...
    @overload
    def get(self, key: str, default: _Default) -> RunFile | _Default: ...
    def get(self, key: str, default: object = None) -> object:
        """Return the file with this name, or `default` if there is none."""
        return self._files.get(key, default)

    def __contains__(self, name: object) -> bool:
        return name in self._files

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def __repr__(self) -> str:
        return f"<RunFiles of {self._run!r}: {len(self)} files>"
