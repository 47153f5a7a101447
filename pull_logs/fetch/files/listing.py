"""The files of a run as W&B lists them (docs/protocol.md, "Files")."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pull_logs.errors import NetworkError, ServerError
from pull_logs.fetch.api import Client, RejectedQueryError, join_url, run_files
from pull_logs.rows.canonical import canon_text
from pull_logs.runs import RunPath

PAGES = (200, 50)
"""The files in a page: the first number is tried first, the second is that of the SDK."""

_HEX = re.compile(r"[0-9a-fA-F]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedFile:
    """A file as W&B lists it.

    Attributes:
        name: The name; untrusted text.
        size: The size in bytes; None if it is not reported.
        md5: The MD5 of its bytes in hex; None if it is not reported.
        mediatype: The reported media type; None if there is none.
        direct_url: Its address in storage: a signed URL, to be requested without the key.
        url: Its address at the API.
    """

    name: str
    size: int | None
    md5: str | None
    mediatype: str | None
    direct_url: str | None
    url: str | None


async def list_files(
    client: Client, path: RunPath, *, names: Collection[str] | None = None
) -> AsyncIterator[ListedFile]:
    """Yield the files of a run, page by page, each name once.

    Args:
        client: Sends the requests.
        path: The path of the run.
        names: The names of the files; None for all files.

    Raises:
        RunNotFoundError: The run was deleted in the meantime.
        AccessError: A request failed.
    """
    seen: set[str] = set()
    cursor: str | None = None
    page = PAGES[0]
    while True:
        query = run_files(
            path.entity, path.project, path.run_id, names=sorted(names or ()), cursor=cursor, page=page
        )
        try:
            run = await client.query_run(query, path)
        except RejectedQueryError:
            if page == PAGES[-1]:
                raise
            page = PAGES[-1]
            continue
        files = run.get("files")
        connection: Mapping[str, Any] = files if isinstance(files, Mapping) else {}
        edges = [edge for edge in connection.get("edges") or () if isinstance(edge, Mapping)]
        for edge in edges:
            listed = read_listed(edge.get("node"), base_url=client.settings.base_url)
            if listed is not None and listed.name not in seen:
                seen.add(listed.name)
                yield listed
        info = connection.get("pageInfo")
        if not isinstance(info, Mapping) or not info.get("hasNextPage"):
            return
        following = edges[-1].get("cursor") if edges else None
        if not isinstance(following, str) or following == cursor:
            raise ServerError(
                f"{client.host} lists the files of run {path} without a cursor for the next page"
            )
        cursor = following


def read_listed(node: object, *, base_url: str) -> ListedFile | None:
    """Return the file that a node of a listing describes; None where it has no name."""
    if not isinstance(node, Mapping) or not isinstance(node.get("name"), str):
        return None
    name, mediatype = canon_text(node["name"]), node.get("mimetype")
    return ListedFile(
        name=name,
        size=_size(node.get("sizeBytes")),
        md5=_md5(node.get("md5")),
        mediatype=mediatype if isinstance(mediatype, str) else None,
        direct_url=_url(node.get("directUrl"), base_url),
        url=_url(node.get("url"), base_url),
    )


def _size(value: object) -> int | None:
    """Return a size, which may be text (docs/protocol.md, "Files")."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 19:
        return int(value)
    return value if type(value) is int and value >= 0 else None


def _md5(value: object) -> str | None:
    """Return the hex form of an MD5 in base64, the expected form, or in hex."""
    if not isinstance(value, str):
        return None
    if _HEX.fullmatch(value):
        return value.lower()
    try:
        digest = base64.b64decode(value, validate=True)
    except (ValueError, binascii.Error):
        return None
    return digest.hex() if len(digest) == 16 else None


def _url(value: object, base_url: str) -> str | None:
    """Return an address, which may be relative; None where it is missing or malformed."""
    if not isinstance(value, str) or not value:
        return None
    try:
        return join_url(base_url + "/", value)
    except NetworkError:
        return None
