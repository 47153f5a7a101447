"""The httpx border: requests out, answers in, and httpx's errors turned into ours.

Nothing here knows the key. A wire follows no redirects, keeps no cookies, and counts
what it sends and receives.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy

import anyio
import httpx

from pull_logs._version import __version__
from pull_logs.errors import NetworkError
from pull_logs.fetch.api.failures import transport_error
from pull_logs.fetch.api.pacing import Clock, Slot, TransientError
from pull_logs.fetch.progress import Meter

USER_AGENT = f"wandb-pull-logs/{__version__}"


class Wire:
    """One pool of connections to hosts of one kind; an async context manager by `opened`.

    Attributes:
        clock: Where time comes from.
        meter: Counts requests and bytes.
        timeout: Seconds that connecting, or the next piece of an answer, may take.
    """

    def __init__(self, client: httpx.AsyncClient, *, clock: Clock, meter: Meter, timeout: float) -> None:
        self._client = client
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
        """Send a request; its answer is open, its body unread, inside the block.

        Args:
            method: The HTTP method.
            url: Where to.
            headers: The only headers but `Host`, `User-Agent` and those of the body.
            slot: Leave to send it; learns when the headers came.
            seconds: What all of it may take, reading the body in the block included.
            content: The body.

        Raises:
            TransientError: No answer came, or it broke off.
            NetworkError: The request cannot be sent at all.
        """
        request = self._request(method, url, headers=headers, content=content)
        host = request.url.netloc.decode("ascii", "replace")
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
            self.meter.tell()

    def _request(
        self, method: str, url: str, *, headers: dict[str, str], content: bytes | None
    ) -> httpx.Request:
        try:
            return self._client.build_request(
                method, url, headers={"User-Agent": USER_AGENT, **headers}, content=content
            )
        except (httpx.InvalidURL, ValueError) as exc:
            raise NetworkError("the server named an address that is none") from exc


def check_length(response: httpx.Response, host: str, *, read: int) -> None:
    """Make sure that a body that was read is as long as its header said.

    Args:
        response: The answer.
        host: Who gave it.
        read: Bytes read from it; they are those on the wire where nothing was decoded, and stand in for
            them where a transport gives whole bodies and counts nothing.

    Raises:
        TransientError: It is shorter or longer.
    """
    promised = response.headers.get("content-length")
    received = response.num_bytes_downloaded or read
    if promised is not None and promised.isdecimal() and int(promised) != received:
        raise TransientError(
            NetworkError(f"{host} sent {received} bytes of {promised}"),
            overload=received < int(promised),
            heavy=True,
        )


def http_client(
    transport: httpx.AsyncBaseTransport | None, *, tls: ssl.SSLContext | None, timeout: float
) -> httpx.AsyncClient:
    """A client that follows nothing, keeps nothing, and adds no header of its own but `Host`.

    Args:
        transport: Replaces the network; proxies and certificates of the environment then do not count.
        tls: Certificates to trust, so that they are loaded once for all clients.
        timeout: Seconds that connecting, or the next piece of an answer, may take.
    """
    client = httpx.AsyncClient(
        transport=transport,
        verify=True if tls is None else tls,
        http2=False,
        cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=[])),
        follow_redirects=False,
        timeout=httpx.Timeout(timeout, pool=None),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
    )
    client.headers.clear()
    return client
