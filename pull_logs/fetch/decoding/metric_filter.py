"""The keys that `--metrics` keeps."""

from __future__ import annotations

import re
from collections.abc import Callable

from pull_logs.rows.canonical import TIMESTAMP


def metric_filter(pattern: re.Pattern[str] | None) -> Callable[[str], bool] | None:
    """Return a function that selects the keys of `--metrics`; None for all keys.

    The time is always kept, because it distinguishes the lines of one step.
    """
    if pattern is None:
        return None
    return lambda key: key == TIMESTAMP or pattern.search(key) is not None
