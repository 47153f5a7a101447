"""The files that a run of a bundle logged: `output.log`, configs, images and others."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, overload

from pull_logs.errors import BundleDamagedError, FileMissingError
from pull_logs.snapshot.disk import disk_errors
from pull_logs.suggestions import did_you_mean

if TYPE_CHECKING:
    from pull_logs.snapshot.format import Container, FileRecord, FileResource, MemberFile

_Default = TypeVar("_Default")


class RunFile:
    """A file that a run logged; the bundle has to stay open.

    Its name is untrusted text and is never used as a path: `save` takes a path from the caller.

    Attributes:
        record: Its name, size, hashes and media type.
    """

    __slots__ = ("_container", "_member", "record")

    def __init__(self, container: Container, resource: FileResource) -> None:
        self._container, self._member = container, resource.path
        self.record: FileRecord = resource.record

    def __repr__(self) -> str:
        return f"<RunFile {self.name!r}: {self.size} bytes>"

    @property
    def name(self) -> str:
        """Its name in the run, `media/images/a.png`."""
        return self.record.name

    @property
    def size(self) -> int:
        """Its bytes."""
        return self.record.bytes

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

    def read(self) -> bytes:
        """Return all its bytes, checked against their hash.

        Raises:
            BundleDamagedError: They are not those that were written.
        """
        data = b"".join(self.chunks())
        self._check(hashlib.sha256(data).hexdigest())
        return data

    def check(self) -> None:
        """Check its hash, reading it once in parts.

        Raises:
            BundleDamagedError: Its bytes are not those that were written.
        """
        digest = hashlib.sha256()
        for chunk in self.chunks():
            digest.update(chunk)
        self._check(digest.hexdigest())

    def save(self, path: Path | str) -> None:
        """Write it to a file, which gets its name once all bytes are written and checked.

        Raises:
            BundleDamagedError: Its bytes are not those in the manifest; no file is left.
            PullLogsError: The disk is full or the file cannot be written.
        """
        path = Path(path)
        temp = path.with_name(f".saving-{secrets.token_hex(8)}")
        digest = hashlib.sha256()
        with disk_errors(path, hint="free some space and try again"):
            try:
                with temp.open("wb") as out:
                    for chunk in self.chunks():
                        out.write(chunk)
                        digest.update(chunk)
                self._check(digest.hexdigest())
                temp.replace(path)
            except BaseException:
                temp.unlink(missing_ok=True)
                raise

    def open(self) -> MemberFile:
        """Return its bytes as a seekable file, **not checked**: see `check`.

        Raises:
            BundleDamagedError: It no longer exists.
        """
        return self._container.open(self._member)

    def chunks(self) -> Iterator[bytes]:
        """Iterate over its bytes in parts, **not checked**: see `check`."""
        with self.open() as file:
            file.expect(lambda: [(0, self.size)])
            yield from file.chunks()

    def _check(self, digest: str) -> None:
        if digest != self.sha256:
            shown = str(self._container.path)
            raise BundleDamagedError(
                f"{shown!r} is damaged: file {self.name!r} does not have its hash",
                path=shown,
                member=self._member,
                hint="run `pull-logs verify` to see where",
            )


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
