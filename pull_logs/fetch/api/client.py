"""The client of one W&B: GraphQL queries with the key, and what downloads without it need."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

import anyio
import orjson

from pull_logs.errors import RunNotFoundError
from pull_logs.fetch.api.answers import Answer, read_answer
from pull_logs.fetch.api.authorization import Authorization
from pull_logs.fetch.api.clock import Clock
from pull_logs.fetch.api.connection import ApiEndpoint, ConnectionPool
from pull_logs.fetch.api.errors import SilentHostError, TransientError
from pull_logs.fetch.api.failures import Secrets
from pull_logs.fetch.api.http_library import TrustedCertificates, http_clients, httpx
from pull_logs.fetch.api.queries import Query, default_entity
from pull_logs.fetch.api.rate_limit import AdaptiveLimit, Slot
from pull_logs.fetch.api.retry import Retrier, RetryPolicy
from pull_logs.fetch.api.settings import Settings
from pull_logs.fetch.progress import Meter, ProgressHook
from pull_logs.runs import RunPath

SILENT_SECONDS = 30.0
"""A host that has not answered anything is reported before this time, unless the timeout is longer."""

PROBE_SHARE, MOST_PROBE_SECONDS = 0.4, 8.0
"""The part of the timeout, and the most seconds, in which a small request shows whether a host answers.

With the default timeout of 19 s, a host that accepts connections and never answers is reported after 27 s.
"""

_FIRST_LIMIT = 8
"""Concurrent GraphQL requests at the beginning; the SDK itself sends up to ten."""

_FIRST_DOWNLOADS = 32
"""Concurrent downloads at the beginning: storage has no limit of requests, as the API has."""


class Client:
    """Sends requests to one W&B; an async context manager.

    Attributes:
        settings: The address of the API and the credentials.
        host: The host of the API, for errors.
        clock: The source of time.
        meter: Counts requests, bytes, rows and runs.
        graphql: Limits and retries GraphQL requests.
        storage: Limits and retries downloads.
        pool: The connections without the key, for downloads.
        authorization: The header for a file that only the API itself serves.
        secrets: What is removed from the texts of errors.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        concurrency: int = 32,
        requests_per_minute: float | None = None,
        policy: RetryPolicy | None = None,
        clock: Clock | None = None,
        progress: ProgressHook | None = None,
    ) -> None:
        """Create a client.

        Args:
            settings: The address of the API and the credentials.
            transport: Replaces the network for both kinds of requests.
            concurrency: The maximum number of requests of either kind in flight.
            requests_per_minute: The most GraphQL requests in a minute; None for no such limit.
            policy: How often and how long a failed request is sent again.
            clock: The source of time.
            progress: Receives the counters after every request.

        Raises:
            UsageError: The certificates or a proxy in the environment cannot be used.
        """
        self.settings = settings
        self.clock = clock or Clock()
        self.meter = Meter(now=self.clock.now, hook=progress)
        policy = policy or RetryPolicy()
        self.graphql = self._retrier(
            policy,
            ceiling=concurrency,
            start=_FIRST_LIMIT,
            interval=60 / requests_per_minute if requests_per_minute else 0.0,
            check_alive=self._check_alive,
        )
        self.storage = self._retrier(policy, ceiling=concurrency, start=_FIRST_DOWNLOADS)
        certificates = TrustedCertificates(used=transport is None)
        if settings.base_url.startswith("https:"):
            certificates.load()  # now, so that an error is raised before anything is requested
        self._clients = http_clients(2, transport, certificates=certificates, timeout=settings.timeout)
        api_pool, self.pool = (
            ConnectionPool(
                client,
                certificates=certificates,
                clock=self.clock,
                meter=self.meter,
                timeout=settings.timeout,
            )
            for client in self._clients
        )
        self.secrets = Secrets()
        self._endpoint = ApiEndpoint(
            api_pool, settings.base_url, quota=self.graphql.limit.quota, secrets=self.secrets
        )
        self.host = self._endpoint.host
        self.authorization = Authorization(settings, self._endpoint, secrets=self.secrets, clock=self.clock)
        self._stack = AsyncExitStack()

    def _retrier(
        self,
        policy: RetryPolicy,
        *,
        ceiling: int,
        start: int,
        interval: float = 0.0,
        check_alive: Callable[[float], Awaitable[bool]] | None = None,
    ) -> Retrier:
        limit = AdaptiveLimit(ceiling=ceiling, start=start, clock=self.clock, interval=interval)
        self.meter.limits.append(limit.state)
        return Retrier(
            limit=limit,
            policy=policy,
            clock=self.clock,
            on_retry=self.meter.count_retry,
            check_alive=check_alive,
        )

    async def _check_alive(self, began: float) -> bool:
        """Return whether the host answers a small query without a key; a refusal is an answer too.

        Args:
            began: The time of the first attempt at another query, which was not answered.

        Raises:
            SilentHostError: There is no answer, and no time for another attempt.
        """
        timeout = self.settings.timeout
        query = default_entity()
        body = orjson.dumps({"query": query.text, "operationName": query.operation})
        try:
            async with self.graphql.limit.slot() as slot:
                seconds = min(MOST_PROBE_SECONDS, PROBE_SHARE * timeout)
                await self._endpoint.probe("/graphql", body, slot=slot, seconds=seconds)
        except TransientError as exc:
            waited = self.clock.now() - began
            if waited + timeout > SILENT_SECONDS:
                raise SilentHostError(self.host, seconds=waited, timeout=timeout) from exc
            return False
        return True

    async def __aenter__(self) -> Self:
        """Open the connections.

        Raises:
            SignInError: There is neither a key nor an identity token file.
        """
        self.settings.require_key()
        for client in self._clients:
            await self._stack.enter_async_context(client)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            await self._stack.aclose()

    async def query(
        self, query: Query, *, partial: bool = False, heavy_attempts: int | None = None
    ) -> Answer:
        """Send a GraphQL query, again where it may succeed later.

        Args:
            query: The query.
            partial: Whether data with errors is an answer; otherwise it is a failure.
            heavy_attempts: See `Retrier.run`.

        Raises:
            HeavyRequestError: See `Retrier.run`.
            SignInError: The key was refused, or has no permission.
            RejectedQueryError: The server does not accept a query of this form.
            NetworkError: There was no answer, or it was an error.
        """
        body = orjson.dumps(
            {"query": query.text, "variables": query.variables, "operationName": query.operation}
        )

        async def attempt(slot: Slot) -> Answer:
            headers = {
                "Authorization": await self.authorization.header(slot),
                "Content-Type": "application/json",
                "Accept": "application/json",
                "Accept-Encoding": "gzip",
            }
            self.meter.graphql_requests += 1
            content = await self._endpoint.post("/graphql", body, headers=headers, slot=slot)
            return read_answer(
                content, operation=query.operation, host=self.host, partial=partial, secrets=self.secrets
            )

        return await self.graphql.run(attempt, heavy_attempts=heavy_attempts)

    async def query_run(
        self, query: Query, path: RunPath, *, heavy_attempts: int | None = None
    ) -> Mapping[str, Any]:
        """Send a query about one run that exists, and return the fields of the run.

        Raises:
            RunNotFoundError: The run does not exist (any more).
            HeavyRequestError: See `Retrier.run`.
            AccessError: The request failed.
        """
        answer = await self.query(query, heavy_attempts=heavy_attempts)
        project = answer.data.get("project")
        run = project.get("run") if isinstance(project, Mapping) else None
        if not isinstance(run, Mapping):
            raise RunNotFoundError(f"run {str(path)!r} was deleted while it was read")
        return run

    async def default_entity(self) -> str | None:
        """Request the default entity of the user; None if there is none.

        Raises:
            AccessError: The request failed.
        """
        answer = await self.query(default_entity())
        viewer = answer.data.get("viewer")
        entity = viewer.get("entity") if isinstance(viewer, Mapping) else None
        return entity if isinstance(entity, str) and entity else None
