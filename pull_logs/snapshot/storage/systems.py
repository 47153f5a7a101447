"""The file system of a URL. Credentials, profiles and endpoints are found as its ecosystem finds them.

Making a file system of object storage takes a tenth of a second of processor time, mostly for the description
of the service, so that the objects of a bucket share one.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from pull_logs.errors import BucketMissingError, FileMissingError, UsageError
from pull_logs.snapshot.storage.errors import Action, missing_bucket, storage_errors

_OBJECTS = re.compile(r"(?:s3a?|gs|gcs|az|abfss?)://")

_AT_ONCE = 4
"""How many blocks of an object are sent to Azure at the same time, each 4 MiB in memory."""

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

    @property
    def service(self) -> str:
        """The service: `s3`, `gs`, `az`, or another protocol of fsspec."""
        protocols = self.system.protocol
        names = (protocols,) if isinstance(protocols, str) else protocols
        return next((name for name in ("s3", "gs", "az") if name in names), names[0])

    @contextmanager
    def errors(self, action: Action = "read") -> Iterator[None]:
        """Raise errors about the object as our own, and say which bucket is missing.

        Raises:
            PullLogsError: As `storage_errors`.
        """
        try:
            with storage_errors(self.shown, action):
                yield
        except BucketMissingError:
            raise
        except FileMissingError as exc:
            if self._has_no_bucket():
                raise missing_bucket(self.shown, self.system.split_path(self.path)[0]) from exc
            raise

    def objects_below(self, name: str = "") -> dict[str, dict[str, Any]]:
        """Return what fsspec knows of the objects below the path, by their names there.

        Args:
            name: A folder below the path; only its objects are listed.

        Raises:
            PullLogsError: As `storage_errors`.
        """
        root = self.path.rstrip("/")
        with self.errors():
            self.system.invalidate_cache()
            found = self.system.find(f"{root}/{name}".rstrip("/"), detail=True)
            if not found and self.service == "az" and self._has_no_bucket():
                raise FileNotFoundError(root)  # adlfs finds nothing there
        if isinstance(found, list):  # adlfs found an object at the path
            return {}
        return {path.removeprefix(f"{root}/"): info for path, info in sorted(found.items())}

    def _has_no_bucket(self) -> bool:
        """Return whether the bucket does not exist, which only S3 says by itself."""
        try:
            if self.service == "gs":
                bucket, _, _ = self.system.split_path(self.path)
                self.system.call("GET", "b/{}/o", bucket, maxResults=1)
            elif self.service == "az":
                self.system.info(self.system.split_path(self.path)[0])
        except FileNotFoundError:
            return True
        except Exception:  # noqa: BLE001 - it may not be looked at, or not be reached
            return False
        return False


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
    scheme, _, rest = url.partition("://")
    bucket = f"{scheme}://{rest.partition('/')[0]}/"
    period = int(time.monotonic() // _SHARED_SECONDS)
    system = _bucket_system(bucket, frozenset(os.environ.items()), os.getpid(), period)
    return StoredObject(system, system._strip_protocol(url), shown)  # noqa: SLF001 - fsspec's own name for it


@lru_cache(maxsize=4)
def _bucket_system(
    bucket: str,
    _environment: frozenset[tuple[str, str]],  # credentials and addresses may be there
    _process: int,
    _period: int,
) -> Any:
    from fsspec.core import url_to_fs

    options: dict[str, Any] = {"skip_instance_cache": True, "use_listings_cache": False}
    _silence()
    if bucket.startswith(("gs:", "gcs:")):
        # The class that fsspec chooses asks over gRPC for the kind of the bucket before each operation.
        from gcsfs.core import GCSFileSystem

        return GCSFileSystem(**options)
    if bucket.startswith(("az:", "abfs")):
        options["max_concurrency"] = _AT_ONCE
    return url_to_fs(bucket, **options)[0]


def _silence() -> None:
    """Let libraries not print what they log to stderr, where nothing else takes it: it may have secrets."""
    for name in ("gcsfs", "google", "azure"):
        logger = logging.getLogger(name)
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())


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
