"""The progress of a pull, as values passed to a hook; the library itself displays nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

ProgressHook = Callable[["PullProgress"], None]
"""Called on the event loop after every request and every finished run, so it must be quick."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """What a server allows at one moment.

    Attributes:
        requests: Requests that may be in flight.
        remaining: What remains of the server's rate limit, in its own unit; None if it announced nothing.
        resets_in: The seconds until the rate limit is renewed; None if it announced nothing.
        wait: The seconds for which no request may be sent; 0 if one may be sent now.
    """

    requests: int = 0
    remaining: float | None = None
    resets_in: float | None = None
    wait: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PullProgress:
    """The state of a pull at one moment.

    Attributes:
        runs_done: Runs that are finished: complete, incomplete or failed.
        runs_failed: Finished runs that will not be in the bundle.
        runs_total: Runs to be pulled, as far as known; None before the first page of a listing.
        rows: Rows received, including repeated ones.
        bytes_received: Bytes of the bodies of answers, as received.
        requests: Requests sent, including retries.
        retries: Requests that had to be sent again.
        limit: Requests that may be in flight at the moment, GraphQL and storage together.
        seconds: Seconds since the pull began.
        rate_limit: What the server allows, of the limit that holds requests up longest.
        failure: The path of the run that failed last, and the reason; empty if none failed.
    """

    runs_done: int = 0
    runs_failed: int = 0
    runs_total: int | None = None
    rows: int = 0
    bytes_received: int = 0
    requests: int = 0
    retries: int = 0
    limit: int = 0
    seconds: float = 0.0
    rate_limit: RateLimit = field(default_factory=RateLimit)
    failure: str = ""


def _strictness(limit: RateLimit) -> tuple[float, bool]:
    return limit.wait, limit.remaining is not None


@dataclass(slots=True, kw_only=True)
class Meter:
    """The counters of one pull, which its parts update.

    Attributes:
        now: Returns seconds on a monotonic clock.
        hook: Receives the state of the counters; None for no hook.
        limits: Functions that return what the server allows, one per kind of request.
        started: When the meter was created.
        runs_done: See `PullProgress`.
        runs_failed: See `PullProgress`.
        runs_total: See `PullProgress`.
        rows: See `PullProgress`.
        bytes_received: See `PullProgress`.
        requests: See `PullProgress`.
        graphql_requests: Those of `requests` that were GraphQL queries.
        throttled: Those of `requests` that were answered with 429.
        retries: See `PullProgress`.
        failure: See `PullProgress`.
    """

    now: Callable[[], float]
    hook: ProgressHook | None = None
    limits: list[Callable[[], RateLimit]] = field(default_factory=list)
    started: float = 0.0
    runs_done: int = 0
    runs_failed: int = 0
    runs_total: int | None = None
    rows: int = 0
    bytes_received: int = 0
    requests: int = 0
    graphql_requests: int = 0
    throttled: int = 0
    retries: int = 0
    failure: str = ""

    def __post_init__(self) -> None:
        self.started = self.now()

    @property
    def seconds(self) -> float:
        """The seconds since the meter was created."""
        return self.now() - self.started

    def expect_runs(self, number: int) -> None:
        """Add to the number of runs to be pulled."""
        self.runs_total = (self.runs_total or 0) + number

    def finish_run(self) -> None:
        """Count a finished run."""
        self.runs_done += 1
        self.notify()

    def count_retry(self) -> None:
        """Count a request that is sent again."""
        self.retries += 1
        self.notify()

    def state(self) -> PullProgress:
        """Return the counters as a value."""
        limits = [limit() for limit in self.limits]
        return PullProgress(
            runs_done=self.runs_done,
            runs_failed=self.runs_failed,
            runs_total=self.runs_total,
            rows=self.rows,
            bytes_received=self.bytes_received,
            requests=self.requests,
            retries=self.retries,
            limit=sum(limit.requests for limit in limits),
            seconds=self.seconds,
            rate_limit=max(limits, key=_strictness, default=RateLimit()),
            failure=self.failure,
        )

    def notify(self) -> None:
        """Pass the state to the hook, if there is one."""
        if self.hook is not None:
            self.hook(self.state())
