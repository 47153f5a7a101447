"""What W&B tells of the files of a run (read API facts, section 3.7)."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

from pull_logs.errors import DataError, ServerError
from pull_logs.fetch.api import Client, RejectedQueryError, run_files
from pull_logs.fetch.context import ask_run
from pull_logs.rows.canonical import canon_text
from pull_logs.runs import RunPath
from pull_logs.snapshot.format import check_name

PAGES = (200, 50)
"""Files in a page: as many as are asked for first, and as the SDK asks for."""

_HEX = re.compile(r"[0-9a-fA-F]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedFile:
    """What W&B tells of a file.

    Attributes:
        name: Its name; untrusted text.
        size: Its bytes; None if it does not say.
        md5: The MD5 of its bytes in hex; None if it does not say.
        mediatype: What it says that it is.
        direct_url: Where storage has it: a signed URL, to be asked without the key.
        url: Where the API has it.
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
    """The files of a run, page by page, each name once.

    Args:
        client: Whom to ask.
        path: The run.
        names: Only these; None for all.

    Raises:
        RunNotFoundError: The run was deleted meanwhile.
        AccessError: The server could not be asked.
    """
    seen: set[str] = set()
    cursor: str | None = None
    page = PAGES[0]
    while True:
        query = run_files(
            path.entity, path.project, path.run_id, names=sorted(names or ()), cursor=cursor, page=page
        )
        try:
            run = await ask_run(client, query, path)
        except RejectedQueryError:
            if page == PAGES[-1]:
                raise
            page = PAGES[-1]
            continue
        files = run.get("files")
        connection: Mapping[str, Any] = files if isinstance(files, Mapping) else {}
        edges = [edge for edge in connection.get("edges") or () if isinstance(edge, Mapping)]
        for edge in edges:
            listed = _read(edge.get("node"), base_url=client.settings.base_url)
            if listed is not None and listed.name not in seen:
                seen.add(listed.name)
                yield listed
        info = connection.get("pageInfo")
        if not isinstance(info, Mapping) or not info.get("hasNextPage"):
            return
        following = edges[-1].get("cursor") if edges else None
        if not isinstance(following, str) or following == cursor:
            raise ServerError(f"{client.host} lists the files of run {path} without a way to go on")
        cursor = following


def _read(node: object, *, base_url: str) -> ListedFile | None:
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


def why_unkept(listed: ListedFile) -> str:
    """Why no bundle can hold a file of that name; empty if one can."""
    try:
        check_name(listed.name)
    except DataError as exc:
        return exc.message
    return ""


def _size(value: object) -> int | None:
    """A size, which may be text (read API facts, section 3.7)."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 19:
        return int(value)
    return value if type(value) is int and value >= 0 else None


def _md5(value: object) -> str | None:
    """An MD5 in base64, as it is believed to come, or in hex."""
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
    return urljoin(base_url + "/", value) if isinstance(value, str) and value else None
