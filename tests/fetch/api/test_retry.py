"""Retries are bounded by attempts and time, and giving up raises a new error."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
import pytest
from scripted_wandb import Instant

from pull_logs.errors import AccessError, NetworkError, ServerError
from pull_logs.fetch.api.errors import (
    HeavyRequestError,
    RejectedQueryError,
    TransientError,
    UnreachableError,
    with_note,
)
from pull_logs.fetch.api.rate_limit import AdaptiveLimit, Slot
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


async def test_a_pause_holds_every_request() -> None:
    instant = Instant()
    here = retrier(instant)
    await here.run(failing(1, lambda: fault(retry_after=30, overload=True)))
    assert instant.time == 30
    here.limit.pause(5)
    await here.run(failing(0, fault))
    assert instant.time == 35


async def test_giving_up_leaves_the_first_error_as_it_was() -> None:
    error = NetworkError("it broke", hint="mend it")
    with pytest.raises(NetworkError) as caught:
        await retrier(Instant(), attempts=2).run(failing(9, lambda: TransientError(error)))
    assert str(caught.value) == "it broke (gave up after 2 attempts); mend it"
    assert isinstance(caught.value.__cause__, TransientError)
    assert (caught.value.__cause__.error, str(error)) == (error, "it broke; mend it")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (NetworkError("it broke", hint="mend it"), "it broke (late); mend it"),
        (ServerError("it answered 503", status=503), "it answered 503 (late)"),
        (RejectedQueryError("no such field", status=400), "no such field (late)"),
        (
            UnreachableError("api.test"),
            "api.test cannot be reached (late); check the network, the proxy and WANDB_BASE_URL",
        ),
    ],
)
def test_a_note_makes_a_new_error_of_the_same_kind(error: AccessError, text: str) -> None:
    before = str(error)
    noted = with_note(error, "late")
    assert (type(noted), str(noted), noted.args) == (type(error), text, (noted.message,))
    assert vars(noted) == {**vars(error), "message": noted.message}
    assert str(error) == before
