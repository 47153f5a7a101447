"""The file at a URL, read in ranges without fsspec's own caching and read-ahead."""

from __future__ import annotations

from typing import Any

from pull_logs.snapshot.storage import azure, google
from pull_logs.snapshot.storage.systems import object_at


def open_url(url: str, *, shown: str) -> Any:
    """Open the file at a URL.

    Raises:
        PullLogsError: As `storage_errors`.
    """
    target = object_at(url, shown=shown)
    if target.service == "gs":
        return google.open_ranges(target)
    if target.service == "az":
        return azure.open_ranges(target)
    with target.errors():
        return target.system.open(target.path, "rb", cache_type="none")
