"""A local file becomes an object: uploaded in parts, published by the last request, and compared afterwards.

On S3, Google and Azure storage an object appears when its upload is completed, under its name and complete;
before that the name has nothing, or the former object. So neither a failure nor a kill publishes a part.

An upload may have the condition that the object is still the version that was read. The service checks it
with the last request; a server without conditional requests is asked for the version just before the upload.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pull_logs.errors import NetworkError, ServerError
from pull_logs.snapshot.storage import azure, google, s3
from pull_logs.snapshot.storage.errors import replaced_meanwhile
from pull_logs.snapshot.storage.systems import StoredObject, object_at
from pull_logs.snapshot.storage.versions import Unchanged, object_version

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
    target = object_at(url, shown=shown, own_system=condition is not None and url.startswith("s3"))
    size = file.stat().st_size
    if condition is not None and not _is_checked(target, condition):
        _require_unchanged(url, shown, condition)
        condition = None
    if condition is not None and not _put_if(file, target, condition):
        _require_unchanged(url, shown, condition)
        condition = None
    if condition is None:
        _put(file, target, None)
    with target.errors("written"):
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
    """Upload a file, with a condition for the last request where there is one."""
    with target.errors("written"):
        match target.service:
            case "s3":
                s3.put_file(file, target, condition, part=PART)
            case "gs":
                google.put_file(file, target, condition, part=PART)
            case "az":
                azure.put_file(file, target, condition)
            case _:
                target.system.put_file(str(file), target.path)


def _is_checked(target: StoredObject, condition: Unchanged) -> bool:
    """Return whether the service checks a condition."""
    return target.service in ("s3", "gs", "az") and (condition.version is None or bool(condition.version.tag))


def _require_unchanged(url: str, shown: str, condition: Unchanged) -> None:
    """Make sure that an object is what it was.

    Raises:
        ServerError: It is not.
    """
    if object_version(url, shown=shown) != condition.version:
        raise replaced_meanwhile(shown)


def download_object(url: str, file: Path, *, shown: str) -> None:
    """Download an object to a file that nothing reads yet; there is none if that fails.

    What is left by the end of the process or a loss of power may be a part of the object.

    Raises:
        PullLogsError: As `storage_errors`.
    """
    target = object_at(url, shown=shown)
    try:
        with target.errors():
            target.system.get_file(target.path, str(file))
    except BaseException:
        file.unlink(missing_ok=True)
        raise


def _compare(file: Path, target: StoredObject, size: int) -> int:
    """Compare parts of an object with the file; return how many bytes they have."""
    if not size:
        return 0  # Azure has no range of an empty object
    last = max(size - _COMPARED, 0)
    starts = sorted({last * number // (_SAMPLES - 1) for number in range(_SAMPLES)})
    compared = 0
    with file.open("rb") as opened:
        for start in starts:
            opened.seek(start)
            expected = opened.read(_COMPARED)
            with target.errors():
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
