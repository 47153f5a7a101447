"""A local file becomes an object: uploaded in parts, published by the last request, and compared afterwards.

On S3, Google and Azure storage an object appears when its upload is completed, under its name and complete;
before that the name has nothing, or the former object. So neither a failure nor a kill publishes a part.

An upload may have the condition that the object is still the version that was read. S3 checks it with the
last request (`If-Match`, or `If-None-Match: *` if there was none); elsewhere, and on a server without
conditional requests, it is checked just before the upload.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pull_logs.errors import FileMissingError, NetworkError, ServerError
from pull_logs.snapshot.storage.errors import replaced_meanwhile, storage_errors
from pull_logs.snapshot.storage.systems import StoredObject, object_at

PART = 16 * 2**20
"""The bytes of a part; a file of less than two parts is uploaded by one request."""

_NOT_IMPLEMENTED = 501
"""The status with which a server refuses a condition that it does not know."""

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


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """What an object was when it was looked at.

    Attributes:
        tag: Its entity tag; empty on storage that has none.
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


def upload_file(file: Path, url: str, *, shown: str, condition: Unchanged | None = None) -> Uploaded:
    """Upload a file, and compare the object with it: its size, both ends and parts between.

    Args:
        file: The file.
        url: The object; an existing one is replaced.
        shown: The part of the URL that may be shown.
        condition: What has to hold when the object appears; without one, it is replaced whatever it is.

    Raises:
        ServerError: The condition does not hold; nothing was changed.
        NetworkError: The upload failed and nothing was published; or the object is not the file.
        PullLogsError: As `storage_errors`.
    """
    target = object_at(url, shown=shown, own_system=condition is not None)
    size = file.stat().st_size
    if condition is not None and not (_is_s3(target) and _has_tag(condition)):
        _require_unchanged(url, shown, condition)
        condition = None
    if condition is not None and not _put_if(file, target, condition):
        _require_unchanged(url, shown, condition)
        condition = None
    if condition is None:
        _put(file, target, None)
    with storage_errors(shown, "written"):
        target.system.invalidate_cache()
        found = target.system.info(target.path)["size"]
    if found != size:
        raise _other(shown, f"it has {found} bytes and not {size}")
    return Uploaded(shown, size, _compare(file, target, size))


def _put_if(file: Path, target: StoredObject, condition: Unchanged) -> bool:
    """Upload a file with a condition; return False if the server knows no conditions."""
    try:
        _put(file, target, condition)
    except ServerError as exc:
        if exc.status != _NOT_IMPLEMENTED:
            raise
        return False
    return True


def _put(file: Path, target: StoredObject, condition: Unchanged | None) -> None:
    """Upload a file, on S3 with a condition for the last request."""
    system = target.system
    options = dict(getattr(system, "s3_additional_kwargs", {}))
    with storage_errors(target.shown, "written"):
        try:
            if condition is not None:
                system.s3_additional_kwargs = {**options, **_headers(condition)}
            system.put_file(str(file), target.path, **_part_size(target))
        except Exception:
            raise  # the parts were removed; those of another upload to this name must stay
        except BaseException:
            _abort(target)
            raise
        finally:
            if condition is not None:
                system.s3_additional_kwargs = options


def _headers(condition: Unchanged) -> dict[str, str]:
    return {"IfNoneMatch": "*"} if condition.version is None else {"IfMatch": condition.version.tag}


def _has_tag(condition: Unchanged) -> bool:
    return condition.version is None or bool(condition.version.tag)


def _is_s3(target: StoredObject) -> bool:
    return "s3" in target.system.protocol


def _require_unchanged(url: str, shown: str, condition: Unchanged) -> None:
    """Make sure that an object is what it was.

    Raises:
        ServerError: It is not.
    """
    if object_version(url, shown=shown) != condition.version:
        raise replaced_meanwhile(shown)


def object_version(url: str, *, shown: str) -> ObjectVersion | None:
    """Return what an object is now; None if there is none.

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
    tag = str(found.get("ETag") or found.get("etag") or "")
    others = (
        str(found[name]) for name in ("LastModified", "last_modified", "updated", "mtime") if name in found
    )
    return ObjectVersion(tag, " ".join((str(found["size"]), tag, *others)))


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


def _part_size(target: StoredObject) -> dict[str, Any]:
    # The other systems choose the size of parts by themselves.
    return {"chunksize": PART} if _is_s3(target) else {}


def _abort(target: StoredObject) -> None:
    """Remove the parts of an upload to S3 that was interrupted; a killed one leaves them, unpublished."""
    if not _is_s3(target):
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
