"""The source of time and chance, so that tests need neither."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """The functions that give time and chance.

    Attributes:
        now: Returns seconds on a monotonic clock.
        wall: Returns seconds since 1970, for dates in headers.
        sleep: Waits that many seconds.
        chance: Returns a random number in [0, 1).
    """

    now: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep
    chance: Callable[[], float] = random.random
