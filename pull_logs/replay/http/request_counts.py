"""Counts of the requests to a replay server, for tests and benchmarks."""

from __future__ import annotations

from collections import Counter
from threading import Lock

MAX_NAMES = 256


class RequestCounts:
    """Counts requests by the name of their operation; safe to use from any thread.

    Operation names come from the client, so only the first `MAX_NAMES` different names are counted
    separately; later ones count as `(other)`.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: Counter[str] = Counter()

    def add(self, name: str) -> None:
        """Count one request."""
        with self._lock:
            known = name in self._counts or len(self._counts) < MAX_NAMES
            self._counts[name if known else "(other)"] += 1

    def __getitem__(self, name: str) -> int:
        with self._lock:
            return self._counts[name]

    @property
    def total(self) -> int:
        """All requests together."""
        with self._lock:
            return self._counts.total()

    def as_dict(self) -> dict[str, int]:
        """Return a copy of the counts, the most frequent first."""
        with self._lock:
            return dict(self._counts.most_common())

    def clear(self) -> None:
        """Start again from zero."""
        with self._lock:
            self._counts.clear()
