"""How many requests may be sent: a limit that adapts to the server, and the quotas that the server announces.

This is kept in the project because no retry library adapts concurrency: they limit the attempts of one
request, and this limits all requests together by latency, overload and RateLimit headers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import anyio

from pull_logs.fetch.api.clock import Clock
from pull_logs.fetch.progress import RateLimit

_RECHECK_SECONDS = 0.05
"""Seconds to wait before checking again whether the first answer of a new quota window has arrived."""


def retry_after_seconds(text: str | None, *, wall: float) -> float | None:
    """Return the seconds in a Retry-After header, which holds seconds or a date.

    See docs/protocol.md, "Errors, retries and limits".

    Args:
        text: The header, or None.
        wall: The current time, in seconds since 1970.
    """
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - wall
        except (ValueError, TypeError, OverflowError):
            return None
    return max(0.0, seconds) if seconds == seconds and seconds != float("inf") else None


class Quota:
    """What remains of a rate limit, according to RateLimit-Remaining and RateLimit-Reset.

    `Remaining` need not count requests (W&B documents a scale of 0 to 1000), so the
    cost of a request is learned from how it falls. While the server's window allows
    another request there is no wait. A new window is assumed to allow as much as the
    previous one, until its first answer arrives.
    """

    def __init__(self) -> None:
        self._ends = float("-inf")
        self._capacity = float("inf")
        self._top = 0.0
        self._remaining = 0.0
        self._answers = 0
        self._cost = 1.0

    def update(self, remaining: float, reset: float, *, now: float, refused: bool = False) -> None:
        """Record the two headers of an answer.

        Args:
            remaining: What remains of the window.
            reset: The seconds until the window ends.
            now: The current time.
            refused: Whether the answer was a refusal, which costs nothing.
        """
        ends = now + reset
        if now >= self._ends or (remaining > self._remaining and ends > self._ends + 0.5):
            self._ends, self._top, self._remaining = ends, remaining, remaining
            self._answers = 0 if refused else 1
        else:
            self._answers += not refused
            self._remaining = min(self._remaining, remaining)
            if self._remaining < self._top and self._answers > 1:
                self._cost = (self._top - self._remaining) / (self._answers - 1)
        self._capacity = self._top + self._cost

    def announced(self, *, now: float) -> tuple[float, float] | None:
        """Return what remains of the window and the seconds until it ends; None outside of a window."""
        return (self._remaining, self._ends - now) if now < self._ends else None

    def wait(self, unanswered: int, *, now: float) -> float:
        """Return the seconds until another request may be allowed, while `unanswered` ones are under way."""
        if now < self._ends:
            return 0.0 if self._remaining >= self._cost * (unanswered + 1) else self._ends - now
        allowed = not unanswered or self._capacity >= self._cost * (unanswered + 1)
        return 0.0 if allowed else _RECHECK_SECONDS


@dataclass(slots=True)
class Slot:
    """Permission to send one request.

    Attributes:
        started: When it was given.
        round: How often the limit had been reduced by then.
        crowded: Whether the complete limit was in use.
        answered: When the headers of the answer arrived; None before.
    """

    started: float
    round: int
    crowded: bool
    answered: float | None = None


class AdaptiveLimit:
    """The number of concurrent requests: it grows while latency is steady, and halves on overload.

    Until the first overload it grows by one per answer, afterwards by one per round of
    answers, and only when all of it is in use. Requests that were sent before the last
    reduction do not reduce it again. Waiting requests are served in order.
    """

    def __init__(self, *, ceiling: int, start: int, clock: Clock, interval: float = 0.0) -> None:
        self.quota = Quota()
        self._clock = clock
        self._ceiling = max(1, ceiling)
        self._limit = float(max(1, min(start, ceiling)))
        self._in_flight = 0
        self._sent = 0
        self._waiting: deque[anyio.Event] = deque()
        self._rounds = 0
        self._resumes = float("-inf")
        self._interval, self._next = interval, float("-inf")
        self._base = float("inf")

    @property
    def limit(self) -> int:
        """The number of requests that may be in flight now."""
        return int(self._limit)

    @property
    def in_flight(self) -> int:
        """The number of requests that are in flight or about to be sent."""
        return self._in_flight

    def state(self) -> RateLimit:
        """Return what may be sent now, for the display of a pull."""
        now = self._clock.now()
        remaining, resets_in = self.quota.announced(now=now) or (None, None)
        wait = max(
            0.0, self._resumes - now, self.quota.wait(self._sent, now=now) if remaining is not None else 0
        )
        return RateLimit(requests=self.limit, remaining=remaining, resets_in=resets_in, wait=wait)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[Slot]:
        """Wait for permission to send a request, and hold it until the block ends."""
        await self._acquire()
        try:
            crowded = self._in_flight >= self.limit
            await self._keep_pace()
            self._sent += 1
            try:
                yield Slot(self._clock.now(), self._rounds, crowded)
            finally:
                self._sent -= 1
        finally:
            self._in_flight -= 1
            self._wake()

    def succeeded(self, slot: Slot) -> None:
        """Record a good answer; its latency ends when its headers arrive."""
        now = self._clock.now()
        latency = (slot.answered or now) - slot.started
        self._base = min(latency, self._base * 1.02)
        if slot.crowded and latency <= max(3 * self._base, self._base + 0.1):
            growth = 1.0 if self._rounds == 0 else 1.0 / self._limit
            self._limit = min(float(self._ceiling), self._limit + growth)
            self._wake()

    def overloaded(self, slot: Slot) -> None:
        """Record that the server refused, failed or was too slow."""
        if slot.round == self._rounds:
            self._rounds += 1
            self._limit = max(1.0, self._limit / 2)

    def pause(self, seconds: float) -> None:
        """Send no more requests for that many seconds."""
        self._resumes = max(self._resumes, self._clock.now() + seconds)

    async def _acquire(self) -> None:
        if not self._waiting and self._in_flight < self.limit:
            self._in_flight += 1
            return
        event = anyio.Event()
        self._waiting.append(event)
        try:
            await event.wait()
        except BaseException:
            if event.is_set():
                self._in_flight -= 1
                self._wake()
            else:
                self._waiting.remove(event)
            raise

    def _wake(self) -> None:
        while self._waiting and self._in_flight < self.limit:
            self._in_flight += 1
            self._waiting.popleft().set()

    async def _keep_pace(self) -> None:
        while True:
            now = self._clock.now()
            wait = max(self._resumes - now, self._next - now, self.quota.wait(self._sent, now=now))
            if wait <= 0:
                self._next = now + self._interval
                return
            await self._clock.sleep(wait)
