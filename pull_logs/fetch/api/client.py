"""The GraphQL client: the one place where the key travels.

The key is put into the Authorization header of a request to the API's own origin,
request by request: no connection carries it as a default, no redirect is followed with
it, and no error holds it. Storage is asked over a wire of its own, which knows no key.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import anyio
import httpx
import orjson
from anyio.to_thread import run_sync

from pull_logs.errors import DataError, ServerError, SignInError
from pull_logs.fetch.api.connection import Wire, check_length, http_client
from pull_logs.fetch.api.failures import body_text, graphql_error, says_missing, status_error
from pull_logs.fetch.api.pacing import (
    AdaptiveLimit,
    Clock,
    Lane,
    RetryPolicy,
    Slot,
    TransientError,
    retry_after_seconds,
)
from pull_logs.fetch.api.queries import Query
from pull_logs.fetch.api.settings import Settings
from pull_logs.fetch.progress import Meter
from pull_logs.rows.canonical import parse_json

_FIRST_LIMIT = 8
"""GraphQL requests at once to begin with; the SDK itself sends up to ten."""

_TOKEN_MARGIN = 300.0
"""Seconds before its end at which an access token is replaced."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What GraphQL answered: data, and errors beside it that may concern parts of it."""

    data: Mapping[str, Any]
    errors: Sequence[Any] = ()


class Client:
    """Asks one W&B; an async context manager.

    Attributes:
        settings: Whom it asks, and as whom.
        host: The API's host, for errors.
        clock: Where time comes from.
        meter: Counts what is done.
        graphql: The pace of GraphQL requests.
        storage: The pace of downloads.
        wire: Connections without the key, for downloads.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        concurrency: int = 32,
        policy: RetryPolicy | None = None,
        clock: Clock | None = None,
        meter: Meter | None = None,
    ) -> None:
        """Make a client.

        Args:
            settings: Whom to ask, and as whom.
            transport: Replaces the network for both kinds of requests.
            concurrency: Most requests of either kind in flight.
            policy: How long to go on asking.
            clock: Where time comes from.
            meter: Counts what is done.
        """
        self.settings = settings
        self.host = urlsplit(settings.base_url).netloc
        self.clock = clock or Clock()
        self.meter = meter or Meter(now=self.clock.now)
        policy = policy or RetryPolicy()
        self.graphql = self._lane(policy, ceiling=concurrency, start=_FIRST_LIMIT)
        self.storage = self._lane(policy, ceiling=concurrency, start=2 * _FIRST_LIMIT)
        tls = httpx.create_ssl_context() if transport is None else None
        clients = [http_client(transport, tls=tls, timeout=settings.timeout) for _ in range(2)]
        self._clients = tuple(clients)
        self._api, self.wire = (
            Wire(client, clock=self.clock, meter=self.meter, timeout=settings.timeout) for client in clients
        )
        self._stack = AsyncExitStack()
        self._token = ""
        self._token_ends = float("-inf")
        self._token_lock = anyio.Lock()

    def _lane(self, policy: RetryPolicy, *, ceiling: int, start: int) -> Lane:
        limit = AdaptiveLimit(ceiling=ceiling, start=start, clock=self.clock)
        self.meter.limits.append(lambda: limit.limit)
        return Lane(limit=limit, policy=policy, clock=self.clock, on_retry=self._count_retry)

    def _count_retry(self) -> None:
        self.meter.retries += 1
        self.meter.tell()

    async def __aenter__(self) -> Self:
        """Make ready to ask.

        Raises:
            SignInError: There is nothing to sign in with.
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
        """Ask GraphQL, again if need be.

        Args:
            query: What to ask.
            partial: Whether data with errors beside it is an answer; else it is a failure.
            heavy_attempts: See `Lane.persist`.

        Raises:
            HeavyRequestError: See `Lane.persist`.
            SignInError: The key was refused, or has no permission.
            RejectedQueryError: The server does not take a query of this form.
            NetworkError: There was no answer, or an error for one.
        """
        body = orjson.dumps(
            {"query": query.text, "variables": query.variables, "operationName": query.operation}
        )

        async def attempt(slot: Slot) -> Answer:
            headers = {
                "Authorization": await self._authorization(slot),
                "Content-Type": "application/json",
                "Accept": "application/json",
                "Accept-Encoding": "gzip",
            }
            self.meter.graphql_requests += 1
            content = await self._post("/graphql", body, headers, slot)
            return self._read_answer(content, query.operation, partial=partial)

        return await self.graphql.persist(attempt, heavy_attempts=heavy_attempts)

    async def _post(self, path: str, body: bytes, headers: dict[str, str], slot: Slot) -> bytes:
        """Send one POST to the API's origin; the body of a 200 answer."""
        async with self._api.exchange(
            "POST",
            self.settings.base_url + path,
            headers=headers,
            slot=slot,
            seconds=3 * self._api.timeout,
            content=body,
        ) as response:
            self._hear_limits(response)
            content = await response.aread()
            check_length(response, self.host, read=len(content))
            if response.status_code != 200:
                raise status_error(
                    response, self.without_secrets(content), host=self.host, wall=self.clock.wall()
                )
            return content

    def _hear_limits(self, response: httpx.Response) -> None:
        wall = self.clock.wall()
        remaining = retry_after_seconds(response.headers.get("ratelimit-remaining"), wall=wall)
        reset = retry_after_seconds(response.headers.get("ratelimit-reset"), wall=wall)
        if remaining is not None and reset is not None:
            self.graphql.limit.quota.hear(
                remaining, reset, now=self.clock.now(), refused=response.status_code == 429
            )

    def _read_answer(self, content: bytes, operation: str, *, partial: bool) -> Answer:
        try:
            body = read_json(content)
        except DataError:
            body = None
        if not isinstance(body, dict):
            said = body_text(content) or "something that is not JSON"
            raise TransientError(
                ServerError(f"{self.host} answered {operation} with {said}", status=200), heavy=True
            )
        errors, data = body.get("errors") or (), body.get("data")
        if not isinstance(errors, Sequence) or isinstance(errors, str):
            errors = [str(errors)]
        if any(map(says_missing, errors)):
            errors, data = [error for error in errors if not says_missing(error)], data or {}
        useful = isinstance(data, dict) and any(value is not None for value in data.values())
        if errors and not (partial and useful):
            errors = read_json(self.without_secrets(orjson.dumps(errors)))
            raise graphql_error(errors, host=self.host, operation=operation)
        if not isinstance(data, dict):
            said = body_text(content) or "an answer without data"
            raise TransientError(
                ServerError(f"{self.host} answered {operation} with {said}", status=200), heavy=True
            )
        return Answer(data, errors)

    def without_secrets(self, content: bytes) -> bytes:
        """An error's body, for a message, without the key, should the server repeat it."""
        key = self.settings.api_key
        for secret in (key, key and _basic(key), self._token):
            if secret:
                content = content.replace(secret.encode(), b"(the key)")
        return content

    async def key_for(self, url: str, slot: Slot) -> dict[str, str]:
        """The header with which a file of the API's own origin is asked for; none for any other address."""
        here, there = urlsplit(self.settings.base_url), urlsplit(url)
        if (here.scheme, here.netloc) != (there.scheme, there.netloc):
            return {}
        return {"Authorization": await self._authorization(slot)}

    async def _authorization(self, slot: Slot) -> str:
        """The Authorization header: the key, or an access token for the identity token."""
        if self.settings.api_key:
            return f"Basic {_basic(self.settings.api_key)}"
        async with self._token_lock:
            if self.clock.now() >= self._token_ends - _TOKEN_MARGIN:
                await self._exchange_token(slot)
        return f"Bearer {self._token}"

    async def _exchange_token(self, slot: Slot) -> None:
        """Exchange the identity token for an access token (read API facts, section 2)."""
        path = self.settings.identity_token_file
        assert path is not None  # noqa: S101 - `require_key` made sure
        try:
            token = (await run_sync(path.read_text)).strip()
        except (OSError, UnicodeDecodeError) as exc:
            raise SignInError(f"identity token file {str(path)!r} cannot be read") from exc
        form = httpx.QueryParams(
            {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": token}
        )
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept-Encoding": "gzip"}
        try:
            content = await self._post("/oidc/token", str(form).encode(), headers, slot)
        except ServerError as exc:
            raise SignInError(
                f"W&B at {self.host} refused the identity token in {str(path)!r}", hint="renew the token file"
            ) from exc
        answer = read_json(content)
        if not isinstance(answer, dict) or not isinstance(answer.get("access_token"), str):
            raise SignInError(
                f"W&B at {self.host} gave no access token for the identity token in {str(path)!r}"
            )
        self._token = answer["access_token"]
        lifetime = answer.get("expires_in")
        seconds = float(lifetime) if isinstance(lifetime, (int, float)) else 0.0
        self._token_ends = self.clock.now() + max(seconds, _TOKEN_MARGIN + 1)


def _basic(key: str) -> str:
    return base64.b64encode(f"api:{key}".encode()).decode()


def read_json(content: bytes) -> Any:
    """The JSON of a body, by the quick way where it takes it.

    orjson refuses bare NaN and lone surrogates; the texts of rows, configs and summaries
    are strings in here, and are read with the care they need where they are used.

    Raises:
        DataError: It is not JSON.
    """
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return parse_json(content)
