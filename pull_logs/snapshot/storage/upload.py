"""A local file becomes an object: uploaded in parts, published by the last request, and compared afterwards.

On S3, Google and Azure storage an object appears when its upload is completed, under its name and complete;
before that the name has nothing, or the former object. So neither a failure nor a kill publishes a part.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pull_logs.errors import FileMissingError, NetworkError
from pull_logs.snapshot.storage.errors import storage_errors
from pull_logs.snapshot.storage.systems import StoredObject, object_at

PART = 16 * 2**20
"""The bytes of a part; a file of less than two parts is uploaded by one request."""

_COMPARED, _SAMPLES = 64 * 2**10, 8
"""How many bytes of an object are compared with those of the file, how many times."""


@dataclass(frozen=True, slots=True)
class Uploaded:
    """An object that was uploaded.

    Attributes:
        shown: The part of its URL that may be shown.
        bytes: Its size.
        compared: How many of its bytes were read again and compared.
    """

    shown: str
    bytes: int
    compared: int


def upload_file(file: Path, url: str, *, shown: str) -> Uploaded:
    """Upload a file, and compare the object with it: its size, both ends and parts between.

    Args:
        file: The file.
        url: The object; an existing one is replaced.
        shown: The part of the URL that may be shown.

    Raises:
        NetworkError: The upload failed and nothing was published; or the object is not the file.
        PullLogsError: As `storage_errors`.
    """
    target = object_at(url, shown=shown)
    size = file.stat().st_size
    with storage_errors(shown, "written"):
        try:
            target.system.put_file(str(file), target.path, **_part_size(target))
        except BaseException:
            _abort(target)
            raise
        target.system.invalidate_cache()
        found = target.system.info(target.path)["size"]
    if found != size:
        raise _other(shown, f"it has {found} bytes and not {size}")
    return Uploaded(shown, size, _compare(file, target, size))


def object_state(url: str, *, shown: str) -> str | None:
    """Return what differs if an object is replaced: its size and its tag; None if there is none.

    Raises:
        PullLogsError: As `storage_errors`.
    """
    target = object_at(url, shown=shown)
    try:
        with storage_errors(shown):
            found = target.system.info(target.path)
    except FileMissingError as exc:
        if "no bucket" in exc.message:
            raise
        return None
    tags = ("ETag", "etag", "LastModified", "last_modified", "mtime")
    return " ".join(str(found[name]) for name in ("size", *tags) if name in found)


def download_object(url: str, file: Path, *, shown: str) -> None:
    """Download an object to a file that nothing reads yet; there is none if that fails.

    What is left by the end of the process or a loss of power may be a part of the object.

    Raises:
        PullLogsError: As `storage_errors`.
    """
    target = object_at(url, shown=shown)
    try:
        with storage_errors(shown):
            target.system.get_file(target.path, str(file))
    except BaseException:
        file.unlink(missing_ok=True)
        raise


def _part_size(target: StoredObject) -> dict[str, int]:
    # The other systems choose the size of parts by themselves.
    return {"chunksize": PART} if "s3" in target.system.protocol else {}


def _abort(target: StoredObject) -> None:
    """Remove the parts of an upload to S3 that was interrupted; a killed one leaves them, unpublished."""
    if "s3" not in target.system.protocol:
        return
    bucket, key, _ = target.system.split_path(target.path)
    with suppress(Exception):
        for upload in target.system.list_multipart_uploads(bucket):
            if upload["Key"] == key:
                target.system.call_s3(
                    "abort_multipart_upload", Bucket=bucket, Key=key, UploadId=upload["UploadId"]
                )


def _compare(file: Path, target: StoredObject, size: int) -> int:
    """Compare parts of an object with the file; return how many bytes they have."""
    last = max(size - _COMPARED, 0)
    starts = sorted({last * number // (_SAMPLES - 1) for number in range(_SAMPLES)})
    compared = 0
    with file.open("rb") as opened:
        for start in starts:
            opened.seek(start)
            expected = opened.read(_COMPARED)
            with storage_errors(target.shown):
                found = target.system.cat_file(target.path, start=start, end=start + len(expected))
            if found != expected:
                raise _other(target.shown, f"its bytes from {start} on are others")
            compared += len(expected)
    return compared


def _other(shown: str, reason: str) -> NetworkError:
    return NetworkError(
        f"the object {shown!r} is not the file that was uploaded: {reason}",
        hint="run the same command again; another program may have written it at the same time",
    )
