"""httpx, without what no request needs: its command line at import, and certificates before they are needed.

Modules that are loaded before the first request import `httpx` from here.
"""

from __future__ import annotations

import os
import ssl
import sys
from http.cookiejar import CookieJar, DefaultCookiePolicy

from pull_logs.errors import UsageError

__all__ = ["TrustedCertificates", "http_clients", "httpx"]

_COMMAND_LINE = "httpx._main"
"""The command line of httpx, which imports rich and pygments; httpx does without it where it is missing."""

if _COMMAND_LINE in sys.modules or "httpx" in sys.modules:
    import httpx
else:
    sys.modules[_COMMAND_LINE] = None  # type: ignore[assignment]  # so that importing it fails
    try:
        import httpx
    finally:
        del sys.modules[_COMMAND_LINE]


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


def _http_client(
    transport: httpx.AsyncBaseTransport | None, *, tls: ssl.SSLContext, timeout: float
) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=transport,
        verify=tls,
        http2=False,
        cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=[])),
        follow_redirects=False,
        timeout=httpx.Timeout(timeout, pool=None),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
    )
