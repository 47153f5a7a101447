"""When to ask again and how much to ask at once: retries, the adaptive limit, server quotas.

Nothing here knows HTTP. A request that failed in a way that may pass raises
`TransientError`; `Lane.persist` asks again until it passes, bounded by attempts
and by total time. A `Lane` is one kind of request (GraphQL, storage) with a limit
of its own, which grows while latency holds and halves on overload. Time and
chance come from a `Clock`, so that tests need neither.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TypeVar

import anyio

from pull_logs.errors import AccessError

T = TypeVar("T")

_UNREACHED_ATTEMPTS = 3
"""Most attempts at a host that never answered: more likely it is misspelt, or there is no network."""

_NEXT_LOOK = 0.05
"""Seconds after which to look again whether the first answer of a new window has come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Where time and chance come from.

    Attributes:
        now: Seconds, only ever going forward.
        wall: Seconds since 1970, for dates in headers.
        sleep: Waits that many seconds.
        chance: A number in [0, 1).
    """

    now: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep
    chance: Callable[[], float] = random.random


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How long to go on asking.

    The wait before attempt `n + 1` is `first_wait * 2**(n - 1)` seconds, at most
    `longest_wait`, and up to a quarter more by chance (as the SDK's own client:
    read API facts, section 5). What the server asks for by Retry-After goes before.

    Attributes:
        attempts: Most attempts, the first one included.
        total_seconds: Most seconds from the first attempt on; a wait that would pass it is not begun.
    """

    attempts: int = 10
    total_seconds: float = 300.0
    first_wait: float = 1.0
    longest_wait: float = 30.0

    def wait(self, failures: int, chance: float) -> float:
        """Seconds to wait after so many failures, for a chance in [0, 1)."""
        return min(self.longest_wait, self.first_wait * 2.0 ** (failures - 1)) * (1 + chance / 4)


class TransientError(Exception):
    """A request failed in a way that may pass.

    Attributes:
        error: What to raise when it does not pass.
        retry_after: Seconds that the server asked to wait, or None.
        overload: Whether fewer requests at once might help.
        heavy: Whether asking for less in one request might help.
        attempts: Most attempts for a failure of this kind, where fewer than the policy's make sense.
        unreached: Whether the host did not even take the connection.
    """

    def __init__(
        self,
        error: AccessError,
        *,
        retry_after: float | None = None,
        overload: bool = False,
        heavy: bool = False,
        attempts: int | None = None,
        unreached: bool = False,
    ) -> None:
        super().__init__(str(error))
        self.error = error
        self.unreached = unreached
        self.retry_after = retry_after
        self.overload = overload
        self.heavy = heavy
        self.attempts = attempts


class HeavyRequestError(Exception):
    """A request that kept failing and may pass when it asks for less.

    Attributes:
        error: What to raise when it cannot be made lighter.
    """

    def __init__(self, error: AccessError) -> None:
        super().__init__(str(error))
        self.error = error


def retry_after_seconds(text: str | None, *, wall: float) -> float | None:
    """Seconds in a Retry-After header, which holds seconds or a date (read API facts, section 5).

    Args:
        text: The header, or None.
        wall: The time now, in seconds since 1970.
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
    """What is left of a rate limit, as RateLimit-Remaining and RateLimit-Reset tell it.

    `Remaining` need not count requests (W&B documents a scale of 0 to 1000), so the
    cost of a request is learned from how it falls. While the server's window has room
    for another request there is no wait; a new window is taken to have as much room as
    the one before, until its first answer tells.
    """

    def __init__(self) -> None:
        self._ends = float("-inf")
        self._room = float("inf")
        self._top = 0.0
        self._remaining = 0.0
        self._heard = 0
        self._cost = 1.0

    def hear(self, remaining: float, reset: float, *, now: float, refused: bool = False) -> None:
        """Take in the two headers of an answer.

        Args:
            remaining: What is left.
            reset: Seconds until the window ends.
            now: The time.
            refused: Whether the answer was a refusal, which costs nothing.
        """
        ends = now + reset
        if now >= self._ends or (remaining > self._remaining and ends > self._ends + 0.5):
            self._ends, self._top, self._remaining = ends, remaining, remaining
            self._heard = 0 if refused else 1
        else:
            self._heard += not refused
            self._remaining = min(self._remaining, remaining)
            if self._remaining < self._top and self._heard > 1:
                self._cost = (self._top - self._remaining) / (self._heard - 1)
        self._room = self._top + self._cost

    def wait(self, unheard: int, *, now: float) -> float:
        """Seconds until another request may fit, when `unheard` are on their way."""
        if now < self._ends:
            return 0.0 if self._remaining >= self._cost * (unheard + 1) else self._ends - now
        return 0.0 if not unheard or self._room >= self._cost * (unheard + 1) else _NEXT_LOOK


@dataclass(slots=True)
class Slot:
    """Leave to send one request.

    Attributes:
        started: When it was given.
        round: How often the limit had been cut by then.
        crowded: Whether all of the limit was in use.
    """

    started: float
    round: int
    crowded: bool
    answered: float | None = None


class AdaptiveLimit:
    """How many requests may be in flight: grows while latency holds, halves on overload.

    While nothing was refused yet it grows by one per answer, afterwards by one per
    round of answers, and only when the whole of it is in use. Requests that were
    sent before the last cut do not cut again. Those who wait are served in order.
    """

    def __init__(self, *, ceiling: int, start: int, clock: Clock) -> None:
        self.quota = Quota()
        self._clock = clock
        self._ceiling = max(1, ceiling)
        self._limit = float(max(1, min(start, ceiling)))
        self._in_flight = 0
        self._sent = 0
        self._waiting: deque[anyio.Event] = deque()
        self._rounds = 0
        self._resumes = float("-inf")
        self._base = float("inf")

    @property
    def limit(self) -> int:
        """Requests that may be in flight now."""
        return int(self._limit)

    @property
    def in_flight(self) -> int:
        """Requests that are in flight or about to be sent."""
        return self._in_flight

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[Slot]:
        """Wait for leave to send a request, and hold it while the request is under way."""
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
        """An answer came in good order; its latency ends where its headers came."""
        now = self._clock.now()
        latency = (slot.answered or now) - slot.started
        self._base = min(latency, self._base * 1.02)
        if slot.crowded and latency <= max(3 * self._base, self._base + 0.1):
            growth = 1.0 if self._rounds == 0 else 1.0 / self._limit
            self._limit = min(float(self._ceiling), self._limit + growth)
            self._wake()

    def overloaded(self, slot: Slot) -> None:
        """The server refused, failed or was too slow."""
        if slot.round == self._rounds:
            self._rounds += 1
            self._limit = max(1.0, self._limit / 2)

    def pause(self, seconds: float) -> None:
        """Send nothing more for so long."""
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
            wait = max(self._resumes - now, self.quota.wait(self._sent, now=now))
            if wait <= 0:
                return
            await self._clock.sleep(wait)


class Lane:
    """One kind of request: its limit, and how patiently it is asked again."""

    def __init__(
        self,
        *,
        limit: AdaptiveLimit,
        policy: RetryPolicy,
        clock: Clock,
        on_retry: Callable[[], None] | None = None,
    ) -> None:
        self.limit = limit
        self._policy = policy
        self._clock = clock
        self._on_retry = on_retry
        self._lost_in_a_row = 0
        self._answered = False

    async def persist(
        self, attempt: Callable[[Slot], Awaitable[T]], *, heavy_attempts: int | None = None
    ) -> T:
        """The result of `attempt`, tried again while it raises `TransientError`.

        A host that never took a connection gets few attempts. After requests in a row were given up, later ones get fewer attempts, so that an
        outage costs minutes and not hours; the first success restores them.

        Args:
            attempt: Sends one request.
            heavy_attempts: After so many failures that asking for less might cure,
                `HeavyRequestError` is raised instead of going on.

        Raises:
            HeavyRequestError: See `heavy_attempts`.
            AccessError: The last failure's, when attempts or time ran out.
        """
        began = self._clock.now()
        failures = 0
        while True:
            try:
                result = await self._try(attempt)
            except TransientError as fault:
                failures += 1
                if fault.heavy and heavy_attempts is not None and failures >= heavy_attempts:
                    raise HeavyRequestError(fault.error) from fault
                await self._wait(fault, failures, began)
            else:
                self._lost_in_a_row = 0
                return result

    async def _try(self, attempt: Callable[[Slot], Awaitable[T]]) -> T:
        async with self.limit.slot() as slot:
            try:
                result = await attempt(slot)
            except TransientError as fault:
                self._answered = self._answered or not fault.unreached
                if fault.overload:
                    self.limit.overloaded(slot)
                    if fault.retry_after is not None and fault.retry_after <= self._policy.total_seconds:
                        self.limit.pause(fault.retry_after)
                raise
            self._answered = True
            self.limit.succeeded(slot)
            return result

    async def _wait(self, fault: TransientError, failures: int, began: float) -> None:
        attempts = max(1, self._policy.attempts >> self._lost_in_a_row)
        if not self._answered:
            attempts = min(attempts, _UNREACHED_ATTEMPTS)
        if failures >= min(attempts, fault.attempts or attempts):
            self._lost_in_a_row += 1
            raise _after(fault.error, f"{failures} attempts" if failures > 1 else "") from fault
        wait = fault.retry_after
        if wait is None:
            wait = self._policy.wait(failures, self._clock.chance())
        if self._clock.now() + wait - began > self._policy.total_seconds:
            self._lost_in_a_row += 1
            asked = f"; it asks to wait {fault.retry_after:g} s" if fault.retry_after else ""
            raise _after(fault.error, f"{self._clock.now() - began:.0f} s{asked}") from fault
        if self._on_retry is not None:
            self._on_retry()
        await self._clock.sleep(wait)


def _after(error: AccessError, patience: str) -> AccessError:
    if patience:
        error.message = f"{error.message} (gave up after {patience})"
        error.args = (error.message,)
    return error
