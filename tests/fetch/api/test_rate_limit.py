"""The limit of concurrent requests finds its level, and quotas are kept."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pulling import pull_from
from scripted_wandb import FakeRun, Instant, ScriptedWandb, rows_of

from pull_logs.fetch.api.rate_limit import AdaptiveLimit, Quota, Slot, retry_after_seconds

pytestmark = pytest.mark.anyio


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


async def test_a_cancelled_request_is_not_waited_for() -> None:
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


async def test_a_limit_of_requests_in_a_minute_spaces_them_evenly() -> None:
    """However many may be in flight, and however fast the answers are."""
    instant, sent = Instant(), list[float]()
    limit = AdaptiveLimit(ceiling=8, start=8, clock=instant.clock, interval=0.5)

    async def send() -> None:
        async with limit.slot():
            sent.append(instant.time)

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(send)
    assert len(sent) == 20
    assert all(later - earlier >= 0.5 for earlier, later in pairwise(sent))


async def test_a_pull_keeps_the_requests_in_a_minute(tmp_path: Path) -> None:
    """Requests to the API are counted, and downloads from storage are not."""
    server, instant = (
        ScriptedWandb(*(FakeRun.logging(f"r{one}", rows_of(range(9))) for one in range(3))),
        Instant(),
    )
    report = await pull_from(server, tmp_path / "out.wandb.zip", clock=instant.clock, requests_per_minute=60)
    assert report.graphql_requests > 1
    assert instant.time >= report.graphql_requests - 1
