"""HTTP answers for stored objects: complete objects, byte ranges, and the errors of object stores."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from xml.sax.saxutils import escape

from starlette.responses import Response, StreamingResponse

from pull_logs.replay.data import Stored, StoredFile
from pull_logs.snapshot import RunFile
from pull_logs.snapshot.format import CHUNK
from pull_logs.snapshot.read import Content

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_MESSAGES = {
    "SignatureDoesNotMatch": "The signature of this link was not made by this server",
    "AccessDenied": "Request has expired",
    "NoSuchKey": "The specified key does not exist",
    "ObjectDamaged": "The bytes of this object have changed since its bundle was made",
    "InvalidRange": "The requested range is not satisfiable",
}


def object_answer(stored: Stored | StoredFile, range_header: str | None) -> Response:
    """Return the object, or the requested range of its bytes.

    A header that is not a single range of bytes is ignored, as HTTP allows.
    """
    size = stored.file.size if isinstance(stored, StoredFile) else len(stored.body)
    headers = {"Accept-Ranges": "bytes", "ETag": f'"{stored.tag}"'}
    span = _span(range_header, size)
    if span is None:
        return _body(stored, 0, size, status=200, headers=headers)
    first, stop = span
    if first >= stop:
        return error_answer("InvalidRange", 416, headers={"Content-Range": f"bytes */{size}"})
    headers["Content-Range"] = f"bytes {first}-{stop - 1}/{size}"
    return _body(stored, first, stop, status=206, headers=headers)


def _body(
    stored: Stored | StoredFile, first: int, stop: int, *, status: int, headers: Mapping[str, str]
) -> Response:
    """Return the bytes from `first` up to `stop`; a run file is streamed in parts."""
    if isinstance(stored, Stored):
        return Response(stored.body[first:stop], status, headers=headers, media_type=stored.media_type)
    described = {**headers, "Content-Length": str(stop - first), "Content-Type": stored.media_type}
    return StreamingResponse(_parts(stored.file, first, stop), status, headers=described)


def _parts(file: RunFile | Content, first: int, stop: int) -> Iterator[bytes]:
    with file.open() as opened:
        for offset in range(first, stop, CHUNK):
            yield opened.read_at(offset, min(CHUNK, stop - offset))


def error_answer(code: str, status: int, *, headers: Mapping[str, str] | None = None) -> Response:
    """Return an error in XML, as object stores write them."""
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{escape(code)}</Code><Message>{escape(_MESSAGES[code])}</Message></Error>"
    )
    return Response(text, status, headers=headers, media_type="application/xml")


def _span(header: str | None, size: int) -> tuple[int, int] | None:
    """Return start and stop of the range, empty if it is outside the object; None to send everything."""
    match = _RANGE.fullmatch((header or "").strip())
    if match is None or not any(match.groups()) or max(map(len, match.groups())) > 18:
        return None
    first, last = match.groups()
    if not first:
        return max(size - int(last), 0), size
    if last and int(last) < int(first):
        return None
    return int(first), min(int(last) + 1 if last else size, size)
