"""The format marker, the first member of a bundle: which version of the format it has.

See docs/bundle-format.md, "The format marker".
"""

from __future__ import annotations

import re

import orjson

from pull_logs.errors import BundleDamagedError, FormatTooNewError

FORMAT_NAME = "wandb-pull-logs/snapshot"
FORMAT_VERSION = 2
"""The latest version, that of a bundle with a compressed file or content; one without has version 1."""

MAX_FORMAT = 4096
"""Most bytes of a marker."""

_RELEASE = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6}){0,3}")


def render_format(version: int) -> bytes:
    """Return the bytes of the member FORMAT; `reader` is the first release that reads the version."""
    return f'{{"format":"{FORMAT_NAME}","reader":"0.1.0","version":{version}}}\n'.encode()


_MARKERS = {render_format(version): version for version in range(1, FORMAT_VERSION + 1)}


def is_format(data: bytes) -> bool:
    """Return whether these are the bytes of FORMAT of a version that this release reads."""
    return data in _MARKERS


def refuse_newer_format(data: bytes, *, path: str) -> None:
    """Refuse a bundle with a later format version; other faults of FORMAT are found by `check_format`.

    Raises:
        FormatTooNewError: The version is later; the hint names the release to install.
    """
    try:
        mark = orjson.loads(data)
    except orjson.JSONDecodeError:
        return
    if not isinstance(mark, dict) or mark.get("format") != FORMAT_NAME:
        return
    version, reader = mark.get("version"), mark.get("reader")
    if type(version) is not int or version <= FORMAT_VERSION:
        return
    known = isinstance(reader, str) and _RELEASE.fullmatch(reader)
    raise FormatTooNewError(
        f"{path!r} has format version {version}, and this release reads versions up to {FORMAT_VERSION}",
        hint=f"install wandb-pull-logs {reader} or later" if known else "install a newer wandb-pull-logs",
    )


def check_format(data: bytes, *, path: str) -> int:
    """Check the bytes of the member FORMAT, and return its version.

    Raises:
        FormatTooNewError: It has a later format version.
        BundleDamagedError: It is not the FORMAT of a version that this release reads.
    """
    refuse_newer_format(data, path=path)
    if data in _MARKERS:
        return _MARKERS[data]
    raise BundleDamagedError(
        f"{path!r} is damaged: FORMAT is not that of {FORMAT_NAME} version 1 or {FORMAT_VERSION}",
        path=path,
        member="FORMAT",
    )


def check_version(version: int, expected: int, *, path: str) -> None:
    """Check that the version in FORMAT is that of the manifest.

    Raises:
        BundleDamagedError: It is another one.
    """
    if version != expected:
        raise BundleDamagedError(
            f"{path!r} is damaged: FORMAT is of version {version}, and the manifest of version {expected}",
            path=path,
            member="FORMAT",
        )
