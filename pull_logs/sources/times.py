"""Times of trackers as the times of runs: UTC text, `2026-11-23T10:00:00Z`."""

from __future__ import annotations

from datetime import UTC, datetime

_LATEST = 253402300800.0
"""The year 10000, in seconds since 1970."""


def utc_time(seconds: float | None) -> str | None:
    """Return a time in seconds since 1970 as UTC text; None for none, or for one that is not a time."""
    if seconds is None or not 0 < seconds < _LATEST:
        return None
    text = datetime.fromtimestamp(round(seconds, 6), UTC).isoformat().removesuffix("+00:00")
    return f"{text}Z"
