"""The files that a run of a bundle logged: `output.log`, a config, images, whatever was pulled with it."""

from __future__ import annotations

import difflib
import hashlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, overload

from pull_logs.errors import BundleDamagedError, FileMissingError

if TYPE_CHECKING:
    from pull_logs.snapshot.format import Container, FileRecord, FileResource, MemberFile

_NEAREST = 5
_Default = TypeVar("_Default")


class RunFile:
    """A file that a run logged; the bundle has to stay open.

    Its name is untrusted text. `save` takes a path of the caller's own, and nothing is ever written to one
    that the name says.

    Attributes:
        record: What is known of it.
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
        """The MD5 of its bytes in hex, which is what W&B tells of its files."""
        return self.record.md5

    @property
    def mediatype(self) -> str | None:
        """What W&B said that it is, `text/plain`; None if it did not say."""
        return self.record.mediatype

    def read(self) -> bytes:
        """All its bytes, checked against their hash.

        Raises:
            BundleDamagedError: They are not what they were.
        """
        data = b"".join(self.chunks())
        self._check(hashlib.sha256(data).hexdigest())
        return data

    def check(self) -> None:
        """Read it once, a part at a time.

        Raises:
            BundleDamagedError: Its bytes are not what they were.
        """
        digest = hashlib.sha256()
        for chunk in self.chunks():
            digest.update(chunk)
        self._check(digest.hexdigest())

    def save(self, path: Path | str) -> None:
        """Write it to a file of that path, which gets its name when every byte is there and checked.

        Raises:
            BundleDamagedError: Its bytes are not what they were; nothing is left.
            PullLogsError: The disk is full or does not take it.
        """
        from pull_logs.snapshot.disk import disk_errors

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
        """Its bytes as a seekable file, **not checked**: see `check`.

        Raises:
            BundleDamagedError: It is not there any more.
        """
        return self._container.open(self._member)

    def chunks(self) -> Iterator[bytes]:
        """Its bytes, a part at a time, **not checked**: see `check`."""
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

    def __init__(self, container: Container, resources: Sequence[FileResource], *, run: str) -> None:
        ordered = sorted(resources, key=lambda resource: resource.record.name.encode())
        self._files = {resource.record.name: RunFile(container, resource) for resource in ordered}
        self._run = run

    def __getitem__(self, name: str) -> RunFile:
        """The file of that name.

        Raises:
            FileMissingError: The bundle has none.
        """
        if name in self._files:
            return self._files[name]
        near = difflib.get_close_matches(name, self._files, n=_NEAREST, cutoff=0.4)
        listed = ", ".join(map(repr, near))
        raise FileMissingError(
            f"run {self._run!r} has no file {name!r}",
            hint=f"the nearest are {listed}" if near else "`pull-logs fetch --files` pulls files",
        )

    @overload
    def get(self, key: str, default: None = None) -> RunFile | None: ...
    @overload
    def get(self, key: str, default: _Default) -> RunFile | _Default: ...
    def get(self, key: str, default: object = None) -> object:
        """The file of that name, or `default` if there is none."""
        return self._files.get(key, default)

    def __contains__(self, name: object) -> bool:
        return name in self._files

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def __repr__(self) -> str:
        return f"<RunFiles of {self._run!r}: {len(self)} files>"
