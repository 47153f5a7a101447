"""The file system of a URL. Credentials, profiles and endpoints are found as its ecosystem finds them.

Making a file system of object storage takes a tenth of a second of processor time, mostly for the description
of the service, so that the objects of a bucket share one.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from pull_logs.errors import UsageError
from pull_logs.snapshot.storage.errors import storage_errors

_OBJECTS = re.compile(r"(?:s3a?|gs|gcs|az|abfss?)://")

_SHARED_SECONDS = 300
"""How long a file system is shared; then credentials are looked up again, which may be others in a file."""


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


def object_at(url: str, *, shown: str, own_system: bool = False) -> StoredObject:
    """Return where a URL is.

    Args:
        url: The URL.
        shown: The part of it that may be shown.
        own_system: Make a file system that nothing else uses, so that its options may be changed.

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
        if is_object_url(url) and "?" not in url and not own_system:
            return _shared(url, shown)
        options = _http_options(url) if re.match(r"https?://", url) else {}
        system, path = url_to_fs(url, skip_instance_cache=True, **options)
    return StoredObject(system, path, shown)


def _shared(url: str, shown: str) -> StoredObject:
    """Return where an object is, in the file system of its bucket."""
    from fsspec.core import strip_protocol

    scheme, _, rest = url.partition("://")
    bucket = f"{scheme}://{rest.partition('/')[0]}/"
    period = int(time.monotonic() // _SHARED_SECONDS)
    system = _bucket_system(bucket, frozenset(os.environ.items()), os.getpid(), period)
    return StoredObject(system, strip_protocol(url), shown)


@lru_cache(maxsize=4)
def _bucket_system(
    bucket: str,
    _environment: frozenset[tuple[str, str]],  # credentials and addresses may be there
    _process: int,
    _period: int,
) -> Any:
    from fsspec.core import url_to_fs

    return url_to_fs(bucket, skip_instance_cache=True, use_listings_cache=False)[0]


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
