"""Google Cloud Storage: what gcsfs has no request for, or too many.

gcsfs opens an object with two requests, reads a range of whatever version is there with two more, and cannot
replace an object only if it is still the one that was read. So these are requested here, with the
connections, credentials and repeated attempts of gcsfs.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pull_logs.errors import NetworkError
from pull_logs.snapshot.storage.errors import replaced_while_read
from pull_logs.snapshot.storage.ranges import ObjectRanges
from pull_logs.snapshot.storage.systems import StoredObject
from pull_logs.snapshot.storage.versions import Unchanged

_KIND = {"Content-Type": "application/octet-stream"}

_NONE = "0"
"""The generation of an object that does not exist."""


def open_ranges(target: StoredObject) -> ObjectRanges:
    """Return an object to read: its generation that is there now.

    Raises:
        PullLogsError: As `storage_errors`.
    """
    system, path = target.system, target.path

    def look() -> dict[str, Any]:
        bucket, key, generation = system.split_path(path)
        if not key:
            raise FileNotFoundError(path)
        found: dict[str, Any] = system.call(
            "GET", "b/{}/o/{}", bucket, key, json_out=True, generation=generation
        )
        return found

    def read(start: int, stop: int) -> bytes:
        try:
            _, data = system.call("GET", url, headers={"Range": f"bytes={start}-{stop - 1}"})
        except FileNotFoundError:
            look()  # raises the same error if there is none of another generation either
            raise replaced_while_read(target.shown) from None
        return bytes(data)

    with target.errors():
        found = look()
        url = f"{system.url(path)}&generation={found['generation']}"
    return ObjectRanges(int(found["size"]), read)


def put_file(file: Path, target: StoredObject, condition: Unchanged | None, *, part: int) -> None:
    """Upload a file, by one request if it has less than two parts; the object appears with the last request.

    The condition is checked with that request. Google removes what is left of an upload after a week.

    Raises:
        NetworkError: A part was not stored.
        Exception: Those of gcsfs.
    """
    from gcsfs.core import UnclosableBytesIO  # a body that can be sent again

    system = target.system
    bucket, key, _ = system.split_path(target.path)
    to = (system.base.replace("/storage/v1/", "/upload/storage/v1/") + "b/{}/o", bucket)
    match = {}
    if condition is not None:
        match["ifGenerationMatch"] = condition.version.tag if condition.version else _NONE
    size = file.stat().st_size
    if size < 2 * part:
        content, body = _multipart(key, file.read_bytes())
        system.call(
            "POST", *to, uploadType="multipart", headers=content, data=UnclosableBytesIO(body), **match
        )
        return
    answer, _ = system.call("POST", *to, uploadType="resumable", json={"name": key}, **match)
    stored = 0
    with file.open("rb") as opened:
        while stored < size:
            opened.seek(stored)
            data = opened.read(part)
            range_ = f"bytes {stored}-{stored + len(data) - 1}/{size}"
            headers = {**_KIND, "Content-Range": range_}
            progress, created = system.call(
                "PUT", answer["Location"], headers=headers, data=UnclosableBytesIO(data)
            )
            stored = _stored(target, stored, progress, size if created else 0)


def _multipart(key: str, data: bytes) -> tuple[dict[str, str], bytes]:
    """Return the headers and the body of a request that has the metadata and the bytes of an object."""
    boundary = secrets.token_hex(16)
    metadata = f"--{boundary}\r\nContent-Type: application/json\r\n\r\n{json.dumps({'name': key})}\r\n"
    content = f"--{boundary}\r\nContent-Type: {_KIND['Content-Type']}\r\n\r\n"
    headers = {"Content-Type": f"multipart/related; boundary={boundary}"}
    return headers, b"".join(((metadata + content).encode(), data, f"\r\n--{boundary}--\r\n".encode()))


def _stored(target: StoredObject, before: int, progress: Mapping[str, str], otherwise: int) -> int:
    """Return how many bytes of an upload are stored, which are more than before."""
    found = re.fullmatch(r"bytes=0-(\d+)", progress.get("Range", ""))
    stored = int(found[1]) + 1 if found else otherwise
    if stored <= before:
        raise NetworkError(
            f"{target.shown!r} cannot be written: the server stored no more than {before} bytes",
            hint="nothing was published; run the same command again",
        )
    return stored
