"""How a pull is going, as values handed to a hook: the library itself shows nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

ProgressHook = Callable[["PullProgress"], None]
"""Called on the event loop after every request and every finished run; it must be quick."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PullProgress:
    """The state of a pull at one moment.

    Attributes:
        runs_done: Runs that are finished: whole, incomplete or failed.
        runs_failed: Those of them that will not be in the bundle.
        runs_total: Runs to be pulled, as far as known; None before the first listing page.
        rows: Rows received, repeats included.
        bytes_received: Bytes of answers as they came over the wire, bodies only.
        requests: Requests sent, retries included.
        retries: Requests that had to be sent again.
        limit: Requests that may be in flight at the moment, GraphQL and storage together.
        seconds: Seconds since the pull began.
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


@dataclass(slots=True, kw_only=True)
class Meter:
    """The counters of one pull, which its parts add to.

    Attributes:
        now: Seconds on a clock that only goes forward.
        limits: Tells how many requests may be in flight, per kind of request.
        graphql_requests: Of `requests`, those that asked the GraphQL API.
        throttled: Of `requests`, those that were answered 429.
    """

    now: Callable[[], float]
    hook: ProgressHook | None = None
    limits: list[Callable[[], int]] = field(default_factory=list)
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

    def __post_init__(self) -> None:
        self.started = self.now()

    @property
    def seconds(self) -> float:
        """Seconds since the meter was made."""
        return self.now() - self.started

    def state(self) -> PullProgress:
        """The counters as a value."""
        return PullProgress(
            runs_done=self.runs_done,
            runs_failed=self.runs_failed,
            runs_total=self.runs_total,
            rows=self.rows,
            bytes_received=self.bytes_received,
            requests=self.requests,
            retries=self.retries,
            limit=sum(limit() for limit in self.limits),
            seconds=self.seconds,
        )

    def tell(self) -> None:
        """Hand the state to the hook, if there is one."""
        if self.hook is not None:
            self.hook(self.state())
