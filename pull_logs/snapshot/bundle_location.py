"""What is at a path or URL: a bundle, the folder that one was unzipped to, or a bundle set."""

from __future__ import annotations

import os
from pathlib import Path

from pull_logs.snapshot.format import (
    DIGEST,
    FORMAT,
    MANIFEST,
    Container,
    catalog_version,
    is_url,
    open_container,
)
from pull_logs.snapshot.format.manifest import MAX_FORMAT, MAX_MANIFEST, check_digest, check_format


def is_bundle_set(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is that of a bundle set: a folder with a catalog, or the URL of a prefix."""
    if isinstance(path, str) and is_url(path):
        return path.endswith("/")
    try:
        with os.scandir(path) as entries:
            return any(catalog_version(entry.name) is not None for entry in entries)
    except (OSError, ValueError):
        return False


def container_at(path: str | os.PathLike[str]) -> Container:
    """Open the members of a bundle at a path or URL.

    Raises:
        PullLogsError: As `open_bundle` does.
    """
    if isinstance(path, str) and is_url(path):
        from pull_logs.snapshot.format import RemoteContainer

        return RemoteContainer(path)
    return open_container(Path(path))


def check_location(path: str | os.PathLike[str]) -> None:
    """Check that a bundle or a set is at a path or URL, in a few milliseconds.

    Of a bundle, the directory of its ZIP, its format and the hash of its manifest are checked, but not what
    is in the manifest and the tables, which needs Arrow. Of a set, only the name of a catalog is looked for.

    Raises:
        PullLogsError: As `open_bundle` does.
    """
    if is_bundle_set(path):
        return
    container = container_at(path)
    try:
        shown = str(container.path)
        check_format(container.read(FORMAT, limit=MAX_FORMAT), path=shown)
        manifest = container.read(MANIFEST, limit=MAX_MANIFEST)
        check_digest(container.read(DIGEST, limit=MAX_FORMAT), manifest, path=shown)
    finally:
        container.close()
