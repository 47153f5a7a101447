"""Answers for stored objects: byte ranges of them, and an object store's errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from xml.sax.saxutils import escape

from starlette.responses import Response

from pull_logs.replay.library import Stored

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_MESSAGES = {
    "SignatureDoesNotMatch": "The signature of this link is not one that this server made",
    "AccessDenied": "Request has expired",
    "NoSuchKey": "The specified key does not exist",
    "InvalidRange": "The requested range is not satisfiable",
}


def object_answer(stored: Stored, range_header: str | None) -> Response:
    """The object, or the one range of its bytes that was asked for.

    A header that is no single range of bytes is ignored, as HTTP has it.
    """
    size = len(stored.body)
    headers = {"Accept-Ranges": "bytes", "ETag": f'"{stored.tag}"'}
    span = _span(range_header, size)
    if span is None:
        return Response(stored.body, headers=headers, media_type=stored.media_type)
    first, stop = span
    if first >= stop:
        return error_answer("InvalidRange", 416, headers={"Content-Range": f"bytes */{size}"})
    headers["Content-Range"] = f"bytes {first}-{stop - 1}/{size}"
    return Response(stored.body[first:stop], 206, headers=headers, media_type=stored.media_type)


def error_answer(code: str, status: int, *, headers: Mapping[str, str] | None = None) -> Response:
    """An error in XML, as object stores write them."""
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{escape(code)}</Code><Message>{escape(_MESSAGES[code])}</Message></Error>"
    )
    return Response(text, status, headers=headers, media_type="application/xml")


def _span(header: str | None, size: int) -> tuple[int, int] | None:
    """Start and stop of the range; an empty one where it lies outside; None to send everything."""
    match = _RANGE.fullmatch((header or "").strip())
    if match is None or not any(match.groups()) or max(map(len, match.groups())) > 18:
        return None
    first, last = match.groups()
    if not first:
        return max(size - int(last), 0), size
    if last and int(last) < int(first):
        return None
    return int(first), min(int(last) + 1 if last else size, size)
