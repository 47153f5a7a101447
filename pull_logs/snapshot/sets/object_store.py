"""A bundle set on object storage: a prefix with its members, and one object per version of its catalog.

A version is published by a conditional request, `If-None-Match: *` on S3, which fails if there is an object
of that name: of two writers exactly one succeeds. Storage without conditional requests is refused.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from pull_logs.errors import FileMissingError, UsageError
from pull_logs.snapshot.format import (
    BUNDLE_ENDING,
    Container,
    MemberFile,
    RemoteContainer,
    RemoteFile,
    catalog_name,
    catalog_version,
    shown_url,
)
from pull_logs.snapshot.sets.store import MARKS, StoredFile, mark_name, marked_member
from pull_logs.snapshot.storage import is_object_url, object_at, storage_errors, upload_file
from pull_logs.snapshot.write import temporary_folder


class ObjectStore:
    """A prefix on object storage.

    Args:
        url: The prefix, such as `s3://bucket/lab/`.

    Raises:
        UsageError: It is not the URL of object storage, or a library that it needs is not installed.
    """

    def __init__(self, url: str) -> None:
        if not is_object_url(url):
            raise UsageError(
                f"{shown_url(url)!r} is not object storage, so that its bundles cannot be listed",
                hint="name a folder, or a prefix such as s3://bucket/lab/",
            )
        self._url = url if url.endswith("/") else f"{url}/"
        self.shown = shown_url(self._url)
        self._prefix = object_at(self._url, shown=self.shown)

    @property
    def root(self) -> None:
        """There is no folder."""
        return

    def now(self) -> float:
        """Return the time of this machine; the storage has its own clock."""
        return time.time()

    def _list(self, below: str = "") -> dict[str, StoredFile]:
        found = self._prefix.objects_below(below)
        return {name: StoredFile(int(info["size"]), _changed(info)) for name, info in found.items()}

    def versions(self) -> dict[int, StoredFile]:
        """Return the versions of the catalog that there are, in order."""
        found = {catalog_version(name): file for name, file in self._list().items()}
        return {version: file for version, file in sorted(found.items(), key=_order) if version is not None}

    def members(self) -> dict[str, StoredFile]:
        """Return the bundles under the prefix."""
        return {name: file for name, file in self._list().items() if name.endswith(BUNDLE_ENDING)}

    def catalog_path(self, version: int) -> str:
        """Return the part of the URL of a version of the catalog that may be shown."""
        return self.shown + catalog_name(version)

    def open_catalog(self, version: int) -> pa.NativeFile:
        """Open a version of the catalog, of which only parts are requested."""
        file = RemoteFile(self._url + catalog_name(version))
        return pa.PythonFile(MemberFile(file, start=0, size=file.length, owns_file=True), mode="r")

    def publish(self, version: int, file: Path) -> bool:
        """Upload the file under the name of the version, if there is none of that name."""
        path = self._path(catalog_name(version))
        with storage_errors(self.catalog_path(version), "written"):
            try:
                self._prefix.system.pipe_file(path, file.read_bytes(), mode="create")
            except FileExistsError:
                return False
        return True

    def open_member(self, name: str) -> Container:
        """Open a member, of which only parts are requested."""
        return RemoteContainer(self._url + name)

    def member_location(self, name: str) -> str:
        """Return the complete URL of a member."""
        return self._url + name

    def put_member(self, file: Path, name: str, *, copy: bool) -> None:  # noqa: ARG002 - it is always copied
        """Upload the file in parts; it is published by the last request and compared afterwards."""
        upload_file(file, self._url + name, shown=self.shown + name)

    def mark(self, names: Collection[str]) -> None:
        """Write the objects of marks, which are empty."""
        if names:
            with storage_errors(self.shown + MARKS, "written"):
                self._prefix.system.pipe({self._path(mark_name(name)): b"" for name in names})

    def marked(self) -> frozenset[str]:
        """Return the members whose marks are there."""
        return frozenset(map(marked_member, self._list(MARKS)))

    def _path(self, name: str) -> str:
        return f"{self._prefix.path.rstrip('/')}/{name}"

    def remove(self, name: str) -> None:
        """Remove an object."""
        path = self._path(name)
        try:
            with storage_errors(self.shown + name, "written"):
                self._prefix.system.rm_file(path)
        except FileMissingError:
            pass

    def settle(self, removed: Collection[str]) -> None:
        """Wait for nothing: an object that was removed does not come back."""

    def remove_version(self, version: int) -> None:
        """Remove the object of a version."""
        self.remove(catalog_name(version))

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Create a folder on this machine."""
        with temporary_folder() as folder:
            yield folder


def _changed(info: dict[str, Any]) -> float:
    for name in ("LastModified", "last_modified", "updated", "mtime"):
        found = info.get(name)
        if isinstance(found, str):
            found = datetime.fromisoformat(found)
        if isinstance(found, datetime):
            return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    return time.time()


def _order(item: tuple[int | None, StoredFile]) -> int:
    return item[0] or 0
