"""The boundary to httpx: requests out, answers in, and the errors of httpx turned into those of this package.

A pool follows no redirects, keeps no cookies, and counts what it sends and receives. It does not know
the API key, which the caller passes with each request to the API.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from pull_logs._version import __version__
from pull_logs.errors import NetworkError
from pull_logs.fetch.api.clock import Clock
from pull_logs.fetch.api.errors import TransientError
from pull_logs.fetch.api.failures import Secrets, status_error, transport_error
from pull_logs.fetch.api.http_library import TrustedCertificates, httpx
from pull_logs.fetch.api.rate_limit import Quota, Slot, retry_after_seconds
from pull_logs.fetch.progress import Meter

USER_AGENT = f"wandb-pull-logs/{__version__}"


class ConnectionPool:
    """Connections for one kind of request.

    Attributes:
        clock: The source of time.
        meter: Counts requests and bytes.
        timeout: The seconds that connecting, or the next part of an answer, may take.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        certificates: TrustedCertificates,
        clock: Clock,
        meter: Meter,
        timeout: float,
    ) -> None:
        self._client = client
        self._certificates = certificates
        self.clock = clock
        self.meter = meter
        self.timeout = timeout

    @asynccontextmanager
    async def exchange(
        self,
        method: str,
        url: str,
        *,
        headers: dict[str, str],
        slot: Slot,
        seconds: float,
        content: bytes | None = None,
    ) -> AsyncIterator[httpx.Response]:
        """Send a request; inside the block its answer is open and the body unread.

        Args:
            method: The HTTP method.
            url: The address.
            headers: All headers except `Host`, `User-Agent` and those of the body.
            slot: The permission to send it, which records when the headers arrived.
            seconds: The maximum duration, including reading the body inside the block.
            content: The body.

        Raises:
            TransientError: No answer arrived, or it broke off.
            NetworkError: The request cannot be sent at all.
            UsageError: The certificates in the environment cannot be used.
        """
        request = self._request(method, url, headers=headers, content=content)
        host = request.url.netloc.decode("ascii", "replace")
        if request.url.scheme == "https":
            self._certificates.load()
        self.meter.requests += 1
        try:
            with anyio.fail_after(seconds):
                response = await self._client.send(request, stream=True)
                slot.answered = self.clock.now()
                if response.status_code == 429:
                    self.meter.throttled += 1
                try:
                    yield response
                finally:
                    self.meter.bytes_received += response.num_bytes_downloaded
                    with anyio.CancelScope(shield=True):
                        await response.aclose()
        except httpx.HTTPError as exc:
            raise transport_error(exc, host=host) from None
        except TimeoutError:
            raise transport_error(httpx.ReadTimeout(""), host=host) from None
        finally:
            self.meter.notify()

    def _request(
        self, method: str, url: str, *, headers: dict[str, str], content: bytes | None
    ) -> httpx.Request:
        try:
            return self._client.build_request(
                method, url, headers={"User-Agent": USER_AGENT, **headers}, content=content
            )
        except (httpx.InvalidURL, ValueError) as exc:
            raise NetworkError("the server named a malformed address") from exc


class ApiEndpoint:
    """Sends POST requests to the API's own origin, the only one that receives credentials.

    Attributes:
        host: The host of the API, for errors.
    """

    def __init__(self, pool: ConnectionPool, base_url: str, *, quota: Quota, secrets: Secrets) -> None:
        """Create an endpoint.

        Args:
            pool: The connections.
            base_url: The address of the API, without a trailing slash.
            quota: Records what the answers report of the server's rate limit.
            secrets: What is removed from the texts of errors.
        """
        # The host of an `UnreachableError` is written the same way.
        self.host = httpx.URL(base_url).netloc.decode("ascii", "replace")
        self._pool = pool
        self._base_url = base_url
        self._quota = quota
        self._secrets = secrets

    async def post(self, path: str, body: bytes, *, headers: dict[str, str], slot: Slot) -> bytes:
        """Send one request and return the body of its 200 answer.

        Raises:
            TransientError: There was no answer, or one that may be different later.
            AccessError: The answer is an error.
        """
        pool = self._pool
        async with pool.exchange(
            "POST",
            self._base_url + path,
            headers=headers,
            slot=slot,
            seconds=3 * pool.timeout,
            content=body,
        ) as response:
            self._update_quota(response)
            content = await response.aread()
            check_length(response, self.host, read=len(content))
            if response.status_code != 200:
                raise status_error(
                    response, self._secrets.remove_from(content), host=self.host, wall=pool.clock.wall()
                )
            return content

    async def probe(self, path: str, body: bytes, *, slot: Slot, seconds: float) -> None:
        """Send one request without credentials and wait for the beginning of any answer.

        Raises:
            TransientError: There was none.
        """
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        async with self._pool.exchange(
            "POST", self._base_url + path, headers=headers, slot=slot, seconds=seconds, content=body
        ):
            return

    def _update_quota(self, response: httpx.Response) -> None:
        clock = self._pool.clock
        remaining = retry_after_seconds(response.headers.get("ratelimit-remaining"), wall=clock.wall())
        reset = retry_after_seconds(response.headers.get("ratelimit-reset"), wall=clock.wall())
        if remaining is not None and reset is not None:
            self._quota.update(remaining, reset, now=clock.now(), refused=response.status_code == 429)


def check_length(response: httpx.Response, host: str, *, read: int) -> None:
    """Make sure that a body that was read is as long as its header announced.

    Args:
        response: The answer.
        host: The host that sent it.
        read: The number of bytes read. It equals the number of bytes received where nothing was decoded,
            and is used where a transport passes complete bodies and counts nothing.

    Raises:
        TransientError: The body is shorter or longer.
    """
    announced = response.headers.get("content-length")
    received = response.num_bytes_downloaded or read
    if announced is not None and announced.isdecimal() and int(announced) != received:
        raise TransientError(
            NetworkError(f"{host} sent {received} bytes of {announced}"),
            overload=received < int(announced),
            heavy=True,
        )
