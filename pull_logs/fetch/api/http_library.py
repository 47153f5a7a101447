"""httpx, without what no request needs: its command line, HTTP/2, and certificates before they are needed.

Modules that are loaded before the first request import `httpx` from here.
"""

from __future__ import annotations

import os
import socket
import ssl
import sys
from collections.abc import Iterable
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

from pull_logs.errors import UsageError

__all__ = ["TrustedCertificates", "http_clients", "httpx"]

_NOT_NEEDED = {"httpx._main", "h2"}
"""The command line of httpx, which imports rich and pygments, and HTTP/2: it does without what is missing."""

_blocked = _NOT_NEEDED - sys.modules.keys() if "httpx" not in sys.modules else set()
sys.modules.update(dict.fromkeys(_blocked))  # type: ignore[arg-type]  # so that importing them fails
try:
    import httpcore
    import httpx
finally:
    for _name in _blocked:
        del sys.modules[_name]

_READ_BYTES = 1 << 20
"""The most bytes that are read at once from a connection without TLS, of which a read gives at most 16 kB."""

_ESTABLISHED = 1
"""The state of an open connection, the first byte of what Linux reports of it."""


class TrustedCertificates:
    """The certificates that servers are checked with, read when they are first needed.

    Attributes:
        context: The TLS context, which trusts no certificate before `load`.
    """

    def __init__(self, *, used: bool = True) -> None:
        """Make a context without certificates.

        Args:
            used: Whether certificates are read at all; a transport that replaces the network needs none.
        """
        # As `ssl.create_default_context` makes it, except for the certificates.
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if sys.version_info >= (3, 13):
            self.context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_STRICT
        self._loaded = not used
        key_log = os.environ.get("SSLKEYLOGFILE")
        if key_log and not sys.flags.ignore_environment:
            self.context.keylog_filename = key_log

    def load(self) -> None:
        """Read the certificates, once: those of the environment, otherwise those that httpx uses.

        Raises:
            UsageError: They cannot be read.
        """
        if self._loaded:
            return
        file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
        try:
            if file:
                self.context.load_verify_locations(cafile=file)
            elif folder:
                self.context.load_verify_locations(capath=folder)
            else:
                import certifi

                self.context.load_verify_locations(cafile=certifi.where())
        except OSError as exc:
            raise UsageError(
                f"the certificates to trust cannot be read: {exc.strerror or exc}",
                hint="check SSL_CERT_FILE and SSL_CERT_DIR",
            ) from exc
        self._loaded = True


def http_clients(
    number: int,
    transport: httpx.AsyncBaseTransport | None,
    *,
    certificates: TrustedCertificates,
    timeout: float,
) -> list[httpx.AsyncClient]:
    """Return HTTP clients that follow no redirects, keep no cookies, and add no header except `Host`.

    Args:
        number: The number of clients.
        transport: Replaces the network; proxies of the environment and certificates then have no effect.
        certificates: The certificates to trust.
        timeout: The seconds that connecting, or the next part of an answer, may take.

    Raises:
        UsageError: A proxy in the environment cannot be used.
    """
    try:
        clients = [_http_client(transport, tls=certificates.context, timeout=timeout) for _ in range(number)]
    except (ValueError, ImportError, httpx.InvalidURL) as exc:
        # The text of `exc` is not passed on: the address of a proxy may contain a password.
        raise UsageError(
            "a proxy in the environment cannot be used",
            hint="write HTTP_PROXY, HTTPS_PROXY and ALL_PROXY as http://HOST:PORT",
        ) from exc
    for client in clients:
        client.headers.clear()
    return clients


class _Stream(httpcore.AsyncNetworkStream):
    """A connection that knows its socket, and is read in large pieces.

    Before each request and after it, the pool asks every idle connection whether the server has closed it.
    Asking anyio for the socket each time takes a tenth of the processor time of a pull's requests.
    """

    def __init__(self, stream: httpcore.AsyncNetworkStream, *, at_once: int = 0) -> None:
        self._stream = stream
        self._at_once = at_once
        self._socket: socket.socket | None = stream.get_extra_info("socket")

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        """Read some bytes, also more than `max_bytes`, which its callers accept."""
        return await self._stream.read(max(max_bytes, self._at_once), timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Write bytes."""
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        """Return the connection with TLS."""
        return _Stream(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        """Return what is known of the connection."""
        if info == "is_readable" and self._socket is not None and sys.platform == "linux":
            return _is_closed(self._socket)
        return self._stream.get_extra_info(info)


def _is_closed(sock: socket.socket) -> bool:
    """Return whether either end has closed a connection.

    Polling it would show the same, and let other threads take the interpreter's lock each time.
    """
    if sock.fileno() < 0:
        return True
    state: int = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    return state != _ESTABLISHED


class _Network(httpcore.AnyIOBackend):
    """Opens connections."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Open a connection."""
        stream = await super().connect_tcp(host, port, timeout, local_address, socket_options)
        return _Stream(stream, at_once=_READ_BYTES)


class _Transport(httpx.AsyncHTTPTransport):
    """Requests over connections of ours, without a proxy."""

    def __init__(self, *, tls: ssl.SSLContext, limits: httpx.Limits) -> None:
        super().__init__(verify=tls, limits=limits)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=_Network(),
        )


class _Client(httpx.AsyncClient):
    """A client that requests without a proxy over connections of ours; httpx chooses the proxies."""

    def _init_transport(self, *args: Any, **options: Any) -> httpx.AsyncBaseTransport:
        tls, limits = options.get("verify"), options.get("limits")
        if options.get("transport") or not isinstance(tls, ssl.SSLContext) or limits is None:
            return super()._init_transport(*args, **options)
        return _Transport(tls=tls, limits=limits)


def _http_client(
    transport: httpx.AsyncBaseTransport | None, *, tls: ssl.SSLContext, timeout: float
) -> httpx.AsyncClient:
    return _Client(
        transport=transport,
        verify=tls,
        http2=False,
        cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=[])),
        follow_redirects=False,
        timeout=httpx.Timeout(timeout, pool=None),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
    )
