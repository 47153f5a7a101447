"""URLs that a server named: untrusted text, so each may be malformed."""

from __future__ import annotations

from urllib.parse import SplitResult, urljoin, urlsplit

from pull_logs.errors import NetworkError


def split_url(url: str) -> SplitResult:
    """Return the parts of a URL.

    Raises:
        NetworkError: The URL is malformed.
    """
    try:
        return urlsplit(url)
    except ValueError as exc:
        raise NetworkError("the server named a malformed address") from exc


def join_url(base: str, url: str) -> str:
    """Return a URL that may be relative to `base` as an absolute one.

    Raises:
        NetworkError: The URL is malformed.
    """
    try:
        return urljoin(base, url)
    except ValueError as exc:
        raise NetworkError("the server named a malformed address") from exc


def host_of(url: str) -> str:
    """Return the host and port of a URL, as errors name it.

    Raises:
        NetworkError: The URL is malformed.
    """
    return split_url(url).netloc.rpartition("@")[2]


def shard_key(url: str) -> str:
    """Return what identifies an exported file: its URL without the query, which holds the signature.

    The order of the URLs changes from call to call (docs/protocol.md, "Ten traps").

    Raises:
        NetworkError: The URL is malformed.
    """
    parts = split_url(url)
    return f"{parts.netloc}{parts.path}"
