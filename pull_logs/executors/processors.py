"""How many processors there are for this process."""

from __future__ import annotations

import os
from contextlib import suppress


def processors() -> int:
    """Return how many processors this process may use."""
    with suppress(AttributeError):  # not on every system
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
