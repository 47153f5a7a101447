"""The Authorization header: the API key, or an access token for an identity token.

This is the only module that puts credentials into a request. The header is made for each request to the
API's own origin: no connection sends it by default, and no redirect is followed with it.
"""

from __future__ import annotations

import base64

import anyio
from anyio.to_thread import run_sync

from pull_logs.errors import ServerError, SignInError
from pull_logs.fetch.api.answers import read_json
from pull_logs.fetch.api.clock import Clock
from pull_logs.fetch.api.connection import ApiEndpoint
from pull_logs.fetch.api.failures import Secrets
from pull_logs.fetch.api.http_library import httpx
from pull_logs.fetch.api.rate_limit import Slot
from pull_logs.fetch.api.settings import Settings
from pull_logs.fetch.api.urls import split_url

_TOKEN_MARGIN = 300.0
"""Seconds before its expiry at which an access token is replaced."""


class Authorization:
    """Makes the header that authorizes a request to the API."""

    def __init__(self, settings: Settings, endpoint: ApiEndpoint, *, secrets: Secrets, clock: Clock) -> None:
        """Authorize requests.

        Args:
            settings: The key or the identity token file, and the address of the API.
            endpoint: Where an identity token is exchanged.
            secrets: Learns every credential, so that no error repeats one.
            clock: The source of time.
        """
        self._settings = settings
        self._endpoint = endpoint
        self._secrets = secrets
        self._clock = clock
        self._basic = ""
        if settings.api_key:
            self._basic = base64.b64encode(f"api:{settings.api_key}".encode()).decode()
            secrets.add(settings.api_key)
            secrets.add(self._basic)
        self._token = ""
        self._token_ends = float("-inf")
        self._token_lock = anyio.Lock()

    async def header(self, slot: Slot) -> str:
        """Return the value of the header; this may request an access token first.

        Raises:
            SignInError: The identity token cannot be read, or was refused.
            TransientError: The exchange may succeed later.
        """
        if self._basic:
            return f"Basic {self._basic}"
        async with self._token_lock:
            if self._clock.now() >= self._token_ends - _TOKEN_MARGIN:
                await self._exchange_token(slot)
        return f"Bearer {self._token}"

    async def for_file(self, url: str, slot: Slot) -> dict[str, str]:
        """Return the header for a file on the API's own origin, and no header for any other address.

        Raises:
            NetworkError: The URL is malformed.
            SignInError: As for `header`.
        """
        own, other = split_url(self._settings.base_url), split_url(url)
        if (own.scheme, own.netloc) != (other.scheme, other.netloc):
            return {}
        return {"Authorization": await self.header(slot)}

    async def _exchange_token(self, slot: Slot) -> None:
        """Exchange the identity token for an access token (docs/protocol.md, "Authentication")."""
        path, host = self._settings.identity_token_file, self._endpoint.host
        assert path is not None  # noqa: S101 - `Settings.require_key` made sure
        try:
            token = (await run_sync(path.read_text)).strip()
        except (OSError, UnicodeDecodeError) as exc:
            raise SignInError(f"identity token file {str(path)!r} cannot be read") from exc
        self._secrets.add(token)
        form = httpx.QueryParams(
            {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": token}
        )
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept-Encoding": "gzip"}
        try:
            content = await self._endpoint.post("/oidc/token", str(form).encode(), headers=headers, slot=slot)
        except ServerError as exc:
            raise SignInError(
                f"W&B at {host} refused the identity token in {str(path)!r}", hint="renew the token file"
            ) from exc
        answer = read_json(content)
        if not isinstance(answer, dict) or not isinstance(answer.get("access_token"), str):
            raise SignInError(f"W&B at {host} gave no access token for the identity token in {str(path)!r}")
        self._token = answer["access_token"]
        self._secrets.add(self._token)
        lifetime = answer.get("expires_in")
        seconds = float(lifetime) if isinstance(lifetime, (int, float)) else 0.0
        self._token_ends = self._clock.now() + max(seconds, _TOKEN_MARGIN + 1)
