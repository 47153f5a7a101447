"""Retries are bounded by attempts and time, the limit finds its level, quotas are kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_wandb import Instant

from pull_logs.errors import NetworkError
from pull_logs.fetch.api.errors import HeavyRequestError, TransientError
from pull_logs.fetch.api.rate_limit import AdaptiveLimit, Quota, Slot, retry_after_seconds
from pull_logs.fetch.api.retry import Retrier, RetryPolicy

pytestmark = pytest.mark.anyio


def retrier(instant: Instant, *, ceiling: int = 8, start: int = 8, **policy: float) -> Retrier:
    limit = AdaptiveLimit(ceiling=ceiling, start=start, clock=instant.clock)
    return Retrier(limit=limit, policy=RetryPolicy(**policy), clock=instant.clock)  # type: ignore[arg-type]


def failing(times: int, fault: Callable[[], TransientError]) -> Callable[[Slot], Awaitable[str]]:
    left = [fault() for _ in range(times)]

    async def attempt(slot: Slot) -> str:
        await anyio.lowlevel.checkpoint()
        if left:
            raise left.pop()
        return "done"

    return attempt


def fault(**more: object) -> TransientError:
    return TransientError(NetworkError("it broke"), **more)  # type: ignore[arg-type]


async def test_waits_double_up_to_the_longest() -> None:
    instant = Instant()
    assert await retrier(instant, first_wait=1, longest_wait=6).run(failing(5, fault)) == "done"
    assert instant.waits == [1, 2, 4, 6, 6]


async def test_attempts_are_bounded() -> None:
    instant = Instant()
    with pytest.raises(NetworkError) as caught:
        await retrier(instant, attempts=3).run(failing(9, fault))
    assert str(caught.value) == "it broke (gave up after 3 attempts)"
    assert instant.waits == [1, 2]


async def test_total_time_is_bounded() -> None:
    instant = Instant()
    with pytest.raises(NetworkError) as caught:
        await retrier(instant, attempts=99, total_seconds=10).run(failing(99, fault))
    assert str(caught.value) == "it broke (gave up after 7 s)"
    assert instant.time == 7


async def test_retry_after_goes_before_the_backoff() -> None:
    instant = Instant()
    await retrier(instant).run(failing(2, lambda: fault(retry_after=17.5)))
    assert instant.waits == [17.5, 17.5]


async def test_a_retry_after_beyond_the_total_time_is_not_waited_for() -> None:
    instant = Instant()
    with pytest.raises(NetworkError) as caught:
        await retrier(instant, total_seconds=60).run(failing(1, lambda: fault(retry_after=3600)))
    assert str(caught.value) == "it broke (gave up after 0 s; it asks to wait 3600 s)"
    assert instant.waits == []


async def test_a_kind_of_failure_may_allow_fewer_attempts() -> None:
    instant = Instant()
    with pytest.raises(NetworkError):
        await retrier(instant).run(failing(9, lambda: fault(attempts=2)))
    assert len(instant.waits) == 1


async def test_a_heavy_request_is_handed_back_to_be_made_lighter() -> None:
    instant = Instant()
    with pytest.raises(HeavyRequestError):
        await retrier(instant).run(failing(9, lambda: fault(heavy=True)), heavy_attempts=2)
    assert len(instant.waits) == 1


async def test_in_an_outage_later_requests_get_fewer_attempts_until_one_succeeds() -> None:
    instant = Instant()
    here = retrier(instant, attempts=8)
    for waits in (7, 3, 1, 0, 0):
        instant.waits.clear()
        with pytest.raises(NetworkError):
            await here.run(failing(99, fault))
        assert len(instant.waits) == waits
    await here.run(failing(0, fault))
    assert await here.run(failing(7, fault)) == "done"


async def test_other_errors_pass_at_once() -> None:
    async def attempt(slot: Slot) -> None:
        await anyio.lowlevel.checkpoint()
        raise KeyError("x")

    with pytest.raises(KeyError):
        await retrier(Instant()).run(attempt)


async def test_never_more_in_flight_than_the_ceiling_and_the_limit_reaches_it() -> None:
    instant = Instant()
    limit = AdaptiveLimit(ceiling=6, start=1, clock=instant.clock)
    most = 0

    async def request() -> None:
        nonlocal most
        async with limit.slot() as slot:
            most = max(most, limit.in_flight)
            await anyio.lowlevel.checkpoint()
            limit.succeeded(slot)

    async with anyio.create_task_group() as group:
        for _ in range(100):
            group.start_soon(request)
    assert (most, limit.limit, limit.in_flight) == (6, 6, 0)


async def test_the_limit_stays_while_latency_rises() -> None:
    instant = Instant()
    limit = AdaptiveLimit(ceiling=64, start=1, clock=instant.clock)
    for latency in (0.1, 0.1, 5.0, 5.0, 5.0):
        async with limit.slot() as slot:
            slot.crowded = True
            instant.time += latency
            limit.succeeded(slot)
    assert limit.limit == 3


async def test_one_burst_of_refusals_halves_the_limit_once() -> None:
    instant = Instant()
    limit = AdaptiveLimit(ceiling=8, start=8, clock=instant.clock)
    slots = [Slot(0.0, 0, crowded=True) for _ in range(8)]
    for slot in slots:
        limit.overloaded(slot)
    assert limit.limit == 4
    limit.overloaded(Slot(0.0, 1, crowded=True))
    assert limit.limit == 2


async def test_a_pause_holds_everybody() -> None:
    instant = Instant()
    here = retrier(instant)
    await here.run(failing(1, lambda: fault(retry_after=30, overload=True)))
    assert instant.time == 30
    here.limit.pause(5)
    await here.run(failing(0, fault))
    assert instant.time == 35


async def test_a_cancelled_waiter_gives_its_place_away() -> None:
    limit = AdaptiveLimit(ceiling=1, start=1, clock=Instant().clock)
    entered = []

    async def wait(name: str, scope: anyio.CancelScope) -> None:
        with scope:
            async with limit.slot():
                entered.append(name)

    async with anyio.create_task_group() as group, limit.slot():
        scopes = {name: anyio.CancelScope() for name in "abc"}
        for name, scope in scopes.items():
            group.start_soon(wait, name, scope)
            await anyio.lowlevel.checkpoint()
            await anyio.lowlevel.checkpoint()
        scopes["b"].cancel()
        await anyio.lowlevel.checkpoint()
    assert (entered, limit.in_flight) == (["a", "c"], 0)


@given(limit=st.integers(1, 500), cost=st.sampled_from([1.0, 20.0]), at_once=st.integers(1, 8))
def test_a_quota_is_used_up_and_not_overdrawn(limit: int, cost: float, at_once: int) -> None:
    """Rounds of requests against a fixed window: once the cost is learned, none is refused."""
    quota, now, left, ends, refused, sent = Quota(), 0.0, limit * cost, 60.0, 0, 0
    for _ in range(3 * limit):
        if now >= ends:
            left, ends = limit * cost, now + 60.0
        burst = 0
        while burst < at_once and quota.wait(burst, now=now) == 0:
            burst += 1
        if not burst:
            now += quota.wait(0, now=now)
            continue
        answers: list[tuple[float, bool]] = []
        for _ in range(burst):
            fits = left >= cost
            left -= cost * fits
            sent += fits
            refused += not fits
            answers.append((left, not fits))
        for remaining, no in answers:
            quota.update(remaining, ends - now, now=now, refused=no)
        now += 0.01
    assert refused <= at_once
    assert sent >= limit


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("3", 3.0),
        ("0.25", 0.25),
        ("-5", 0.0),
        ("Tue, 14 Nov 2023 22:13:50 GMT", 30.0),
        ("Tue, 14 Nov 2023 22:00:00 GMT", 0.0),
        ("soon", None),
        ("nan", None),
        ("inf", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(text, wall=1_700_000_000.0) == seconds
