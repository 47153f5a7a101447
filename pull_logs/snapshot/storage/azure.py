"""Azure Blob Storage: ranges of one version, and uploads with a condition."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from pull_logs.snapshot.storage.errors import replaced_while_read
from pull_logs.snapshot.storage.ranges import ObjectRanges
from pull_logs.snapshot.storage.systems import StoredObject
from pull_logs.snapshot.storage.versions import Unchanged


def open_ranges(target: StoredObject) -> ObjectRanges:
    """Return an object to read: its version that is there now.

    Raises:
        PullLogsError: As `storage_errors`.
    """
    from azure.core import MatchConditions
    from azure.core.exceptions import ResourceModifiedError
    from fsspec import asyn

    system = target.system
    with target.errors():
        found = system.info(target.path)
        if found["type"] != "file":
            raise FileNotFoundError(target.path)
    container, blob, version = system.split_path(target.path)
    same = {"etag": found["etag"], "match_condition": MatchConditions.IfNotModified}

    async def request(start: int, stop: int) -> bytes:
        async with system.service_client.get_blob_client(container, blob) as client:
            stream = await client.download_blob(offset=start, length=stop - start, version_id=version, **same)
            data: bytes = await stream.readall()
            return data

    def read(start: int, stop: int) -> bytes:
        with suppress(ResourceModifiedError):
            data: bytes = asyn.sync(system.loop, request, start, stop)
            return data
        system.info(target.path)  # raises another error if there is none of another version either
        raise replaced_while_read(target.shown)

    return ObjectRanges(int(found["size"]), read)


def put_file(file: Path, target: StoredObject, condition: Unchanged | None) -> None:
    """Upload a file: in one request, or in blocks that the last request publishes, if the condition holds.

    Azure removes the blocks of an upload that was not completed after a week.

    Raises:
        Exception: Those of adlfs and of Azure's library.
    """
    from azure.core import MatchConditions

    options: dict[str, Any] = {}
    if condition is not None and condition.version is None:
        options = {"overwrite": False}
    elif condition is not None and condition.version is not None:
        options = {"etag": condition.version.tag, "match_condition": MatchConditions.IfNotModified}
    target.system.put_file(str(file), target.path, **options)
