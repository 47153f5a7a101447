"""What an object was when it was looked at, and the condition that it still is that."""

from __future__ import annotations

from dataclasses import dataclass

from pull_logs.errors import BucketMissingError, FileMissingError
from pull_logs.snapshot.storage.systems import object_at


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """What an object was when it was looked at.

    Attributes:
        tag: What its service compares: its entity tag, on Google storage its generation; empty on storage
            that has none.
        text: Its size, tag and time: what differs if it is replaced.
    """

    tag: str
    text: str


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The condition that an object is still what it was.

    Attributes:
        version: What it was; None if there was none.
    """

    version: ObjectVersion | None


def object_version(url: str, *, shown: str) -> ObjectVersion | None:
    """Return what an object is now; None if there is none.

    Raises:
        PullLogsError: As `storage_errors`.
    """
    target = object_at(url, shown=shown)
    try:
        with target.errors():
            found = target.system.info(target.path)
    except BucketMissingError:
        raise
    except FileMissingError:
        return None
    if found["type"] != "file":  # objects below a folder of this name
        return None
    tag = str(found.get("generation") or found.get("ETag") or found.get("etag") or "")
    times = (
        str(found[name]) for name in ("LastModified", "last_modified", "updated", "mtime") if name in found
    )
    return ObjectVersion(tag, " ".join((str(found["size"]), tag, *times)))
