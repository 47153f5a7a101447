"""The file system of a URL. Credentials, profiles and endpoints are found as its ecosystem finds them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pull_logs.errors import UsageError
from pull_logs.snapshot.storage.errors import storage_errors

_OBJECTS = re.compile(r"(?:s3a?|gs|gcs|az|abfss?)://")


def is_object_url(text: str) -> bool:
    """Return whether a text is the URL of an object that can be written: on S3, Google or Azure storage."""
    return _OBJECTS.match(text) is not None


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object, which need not exist.

    Attributes:
        system: The file system of fsspec.
        path: Its path there.
        shown: The part of its URL that may be shown.
    """

    system: Any
    path: str
    shown: str


def object_at(url: str, *, shown: str) -> StoredObject:
    """Return where a URL is.

    Raises:
        UsageError: fsspec, or a library that it needs, is not installed.
    """
    try:
        from fsspec.core import url_to_fs
    except ImportError as exc:
        raise UsageError(
            f"{shown!r} is a URL, and fsspec is not installed",
            hint="pip install 'wandb-pull-logs[remote]', or download the bundle",
        ) from exc
    with storage_errors(shown):
        options = _http_options(url) if re.match(r"https?://", url) else {}
        system, path = url_to_fs(url, skip_instance_cache=True, **options)
    return StoredObject(system, path, shown)


def open_url(url: str, *, shown: str) -> Any:
    """Open the file at a URL, without fsspec's own caching and read-ahead.

    Raises:
        PullLogsError: As `storage_errors`.
    """
    target = object_at(url, shown=shown)
    with storage_errors(shown):
        return target.system.open(target.path, "rb", cache_type="none")


def _http_options(url: str) -> dict[str, Any]:
    """Return time limits, and the proxy of the environment.

    aiohttp's own `trust_env` would also send the passwords of netrc.
    """
    from urllib.request import getproxies, proxy_bypass

    import aiohttp

    limit = aiohttp.ClientTimeout(total=None, sock_connect=20, sock_read=60)
    options: dict[str, Any] = {
        "client_kwargs": {"timeout": limit},
        "headers": {"Accept-Encoding": "identity"},
        "encoded": re.fullmatch("[!-~]+", url) is not None,  # a signature holds for the URL as it is
    }
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme)
    if proxy and not proxy_bypass(parts.hostname or ""):
        options["proxy"] = proxy
    return options
