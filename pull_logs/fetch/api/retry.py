"""Retries: requests that fail temporarily are sent again, within bounds of attempts and time.

A request that may succeed later raises `TransientError`, and `Retrier.run` sends it again. A retrier
serves one kind of request (GraphQL or storage) and has an adaptive limit of concurrent requests.

`stamina` and `tenacity` were considered: they repeat one call, and the waits here depend on all
requests together (a shared pause after Retry-After, fewer attempts during an outage, limits that adapt).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from pull_logs.fetch.api.clock import Clock
from pull_logs.fetch.api.errors import HeavyRequestError, TransientError, with_note
from pull_logs.fetch.api.rate_limit import AdaptiveLimit, Slot

T = TypeVar("T")

_UNREACHED_ATTEMPTS = 3
"""Attempts at a host that never answered: its name is probably misspelt, or there is no network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how long a failed request is sent again.

    The wait before attempt `n + 1` is `first_wait * 2**(n - 1)` seconds, at most
    `longest_wait`, plus up to a quarter of it at random, as in the SDK's own client
    (docs/protocol.md, "Errors, retries and limits"). A Retry-After header takes precedence.

    Attributes:
        attempts: The maximum number of attempts, including the first one.
        total_seconds: The maximum time from the first attempt; no wait is begun that would exceed it.
        first_wait: The seconds before the second attempt.
        longest_wait: The maximum of a single wait.
    """

    attempts: int = 10
    total_seconds: float = 300.0
    first_wait: float = 1.0
    longest_wait: float = 30.0

    def wait(self, failures: int, chance: float) -> float:
        """Return the seconds to wait after that many failures, for a chance in [0, 1)."""
        return min(self.longest_wait, self.first_wait * 2.0 ** (failures - 1)) * (1 + chance / 4)


class Retrier:
    """Sends one kind of request, again where it may succeed later.

    Attributes:
        limit: The limit of concurrent requests of this kind.
    """

    def __init__(
        self,
        *,
        limit: AdaptiveLimit,
        policy: RetryPolicy,
        clock: Clock,
        on_retry: Callable[[], None] | None = None,
        check_alive: Callable[[float], Awaitable[bool]] | None = None,
    ) -> None:
        """Create a retrier.

        Args:
            limit: The limit of concurrent requests.
            policy: How often and how long a request is sent again.
            clock: The source of time.
            on_retry: Called before a request is sent again.
            check_alive: Called with the time of the first attempt if nothing arrived in time from a host that
                has not answered any request. It returns whether the host answers at all, and raises an error
                when that was waited for long enough, so that such a host is reported before all attempts.
        """
        self.limit = limit
        self._policy = policy
        self._clock = clock
        self._on_retry = on_retry
        self._check_alive = check_alive
        self._heard = False
        self._consecutive_losses = 0
        self._answered = False

    async def run(self, attempt: Callable[[Slot], Awaitable[T]], *, heavy_attempts: int | None = None) -> T:
        """Return the result of `attempt`, which is called again while it raises `TransientError`.

        A host that never accepted a connection gets few attempts. After several requests in
        a row failed for good, later ones get fewer attempts, so that an outage costs minutes
        and not hours. The first success restores them.

        Args:
            attempt: Sends one request.
            heavy_attempts: The number of failures, of a kind that a smaller request may cure, after
                which `HeavyRequestError` is raised.

        Raises:
            HeavyRequestError: See `heavy_attempts`.
            AccessError: The last failure, when attempts or time ran out.
        """
        began = self._clock.now()
        failures = 0
        while True:
            try:
                result = await self._try(attempt)
            except TransientError as fault:
                failures += 1
                if fault.silent and not self._heard and self._check_alive is not None:
                    self._heard = await self._check_alive(began)
                if fault.heavy and heavy_attempts is not None and failures >= heavy_attempts:
                    raise HeavyRequestError(fault.error) from fault
                await self._wait(fault, failures, began)
            else:
                self._consecutive_losses = 0
                return result

    async def _try(self, attempt: Callable[[Slot], Awaitable[T]]) -> T:
        async with self.limit.slot() as slot:
            try:
                result = await attempt(slot)
            except TransientError as fault:
                self._answered = self._answered or not fault.unreached
                self._heard = self._heard or not (fault.silent or fault.unreached)
                if fault.overload:
                    self.limit.overloaded(slot)
                    if fault.retry_after is not None and fault.retry_after <= self._policy.total_seconds:
                        self.limit.pause(fault.retry_after)
                raise
            self._answered = self._heard = True
            self.limit.succeeded(slot)
            return result

    async def _wait(self, fault: TransientError, failures: int, began: float) -> None:
        """Wait for the next attempt, or raise the final error where there is none."""
        attempts = max(1, self._policy.attempts >> self._consecutive_losses)
        if not self._answered:
            attempts = min(attempts, _UNREACHED_ATTEMPTS)
        if failures >= min(attempts, fault.attempts or attempts):
            self._consecutive_losses += 1
            if failures == 1:
                raise fault.error from fault
            raise with_note(fault.error, f"gave up after {failures} attempts") from fault
        wait = fault.retry_after
        if wait is None:
            wait = self._policy.wait(failures, self._clock.chance())
        spent = self._clock.now() - began
        if spent + wait > self._policy.total_seconds:
            self._consecutive_losses += 1
            requested = f"; it asks to wait {fault.retry_after:g} s" if fault.retry_after else ""
            raise with_note(fault.error, f"gave up after {spent:.0f} s{requested}") from fault
        if self._on_retry is not None:
            self._on_retry()
        await self._clock.sleep(wait)
