"""S3, and what has its API: uploads with a condition for the last request."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from pull_logs.snapshot.storage.systems import StoredObject
from pull_logs.snapshot.storage.versions import Unchanged


def put_file(file: Path, target: StoredObject, condition: Unchanged | None, *, part: int) -> None:
    """Upload a file; with a condition, nothing else may use the file system of the object.

    Raises:
        Exception: Those of s3fs and botocore.
    """
    system = target.system
    options = system.s3_additional_kwargs
    try:
        if condition is not None:
            system.s3_additional_kwargs = {**options, **_headers(condition)}
        system.put_file(str(file), target.path, chunksize=part)
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


def _abort(target: StoredObject) -> None:
    """Remove the parts of an upload that was interrupted; a killed one leaves them, unpublished."""
    bucket, key, _ = target.system.split_path(target.path)
    with suppress(Exception):
        for upload in target.system.list_multipart_uploads(bucket):
            if upload["Key"] == key:
                target.system.call_s3(
                    "abort_multipart_upload", Bucket=bucket, Key=key, UploadId=upload["UploadId"]
                )
