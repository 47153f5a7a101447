"""What an unsuccessful answer means: which failures are temporary, which are final, and the text of each.

The rules are those of the SDK (docs/protocol.md, "Errors, retries and limits"): 408, 429, 5xx except 501 and
other 4xx are temporary; 400, 401, 403, 404, 409, 410, 413, 422 and 501 are final. More patient than the SDK,
this package repeats a query that got a GraphQL error in a 200 answer a few times, unless the text of the
error shows that a repetition cannot help.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from pull_logs.errors import AccessError, NetworkError, ServerError, SignInError
from pull_logs.fetch.api.errors import (
    KeyRefusedError,
    RejectedQueryError,
    TransientError,
    UnknownFieldError,
    UnreachableError,
)
from pull_logs.fetch.api.http_library import httpx
from pull_logs.fetch.api.rate_limit import retry_after_seconds
from pull_logs.fetch.api.urls import split_url

FINAL_STATUSES = frozenset({400, 401, 403, 404, 409, 410, 413, 422, 501})
REJECTED_STATUSES = frozenset({400, 413, 422})
GRAPHQL_ERROR_ATTEMPTS = 4

_UNREACHED_ATTEMPTS = 6

_DENIED = re.compile(
    r"permission denied|not authori[sz]ed|unauthori[sz]ed|forbidden|access denied", re.IGNORECASE
)
_LIMITED = re.compile(r"rate.?limit|too many requests", re.IGNORECASE)
_REJECTED = re.compile(
    r"cannot query field|unknown (argument|type|directive|field|fragment)|syntax error|graphql.?validation"
    r"|(not defined|undefined) (by|on|field)|too (complex|many aliases)|complexity|max(imum)? (query )?depth",
    re.IGNORECASE,
)
_UNKNOWN = re.compile(
    r"cannot query field|unknown (argument|type|directive|field|fragment)"
    r"|(not defined|undefined) (by|on|field)",
    re.IGNORECASE,
)
_LONGEST_MESSAGE = 300
_NO_PERMISSION = "check the entity's name, and that the key's user is a member of it"


class Secrets:
    """Credentials that no error may repeat."""

    def __init__(self) -> None:
        self._secrets: dict[bytes, None] = {}

    def add(self, secret: str) -> None:
        """Remember a secret."""
        if secret:
            self._secrets[secret.encode()] = None

    def remove_from(self, content: bytes) -> bytes:
        """Return the body of an error without the secrets, in case the server repeats one."""
        for secret in self._secrets:
            content = content.replace(secret, b"(the key)")
        return content


def shorten(text: str) -> str:
    """Return the text of a server on one line, shortened, without control characters."""
    line = "".join(char if char.isprintable() else " " for char in " ".join(text.split()))
    return line if len(line) <= _LONGEST_MESSAGE else f"{line[: _LONGEST_MESSAGE - 3]}..."


def messages_in(body: object) -> list[str]:
    """Return the messages in an error body of any of W&B's three shapes (docs/protocol.md, "Transport")."""
    if not isinstance(body, Mapping):
        return []
    found: list[object] = []
    error, errors = body.get("error"), body.get("errors")
    found.append(error.get("message") if isinstance(error, Mapping) else error)
    if isinstance(errors, Sequence) and not isinstance(errors, str):
        found += [item.get("message") if isinstance(item, Mapping) else item for item in errors]
    return [shorten(item) for item in found if isinstance(item, str) and item.strip()]


def body_text(content: bytes) -> str:
    """Return a short description of an error body: its messages, or the kind of page it is."""
    try:
        messages = messages_in(orjson.loads(content))
    except orjson.JSONDecodeError:
        messages = []
    if messages:
        return "; ".join(messages)
    start = content.lstrip()[:200].lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "an HTML page"
    if start.startswith(b"<?xml"):
        code = re.search(rb"<Code>([A-Za-z]{1,60})</Code>", content)
        return f"an XML page with the code {code[1].decode()}" if code else "an XML page"
    return ""


def status_error(response: httpx.Response, content: bytes, *, host: str, wall: float) -> Exception:
    """Return the error to raise for a GraphQL answer whose status is not 200.

    Args:
        response: The answer.
        content: Its body.
        host: The host that sent it.
        wall: The current time, in seconds since 1970, for Retry-After.
    """
    status = response.status_code
    text = body_text(content)
    suffix = f": {text}" if text else ""
    error: AccessError
    if status == 401:
        hint = "sign in with `wandb login` or set WANDB_API_KEY"
        error = KeyRefusedError(f"W&B at {host} refused the key{suffix}", hint=hint)
    elif status == 403:
        error = SignInError(f"no permission at {host}{suffix}", hint=_NO_PERMISSION)
    elif 300 <= status < 400:
        message = f"{host} redirects to {_redirect_target(response)}, where the key is not sent"
        hint = "set WANDB_BASE_URL to the address of the API itself"
        error = ServerError(message, hint=hint, status=status)
    elif status == 404:
        hint = "check WANDB_BASE_URL, which is the API's address"
        error = ServerError(f"{host} has no GraphQL API", hint=hint, status=status)
    elif status in REJECTED_STATUSES:
        rejected = UnknownFieldError if _UNKNOWN.search(text) else RejectedQueryError
        error = rejected(f"{host} answered {status}{suffix}", status=status)
    else:
        error = ServerError(f"{host} answered {status}{suffix}", status=status)
        if status >= 400 and status not in FINAL_STATUSES:
            return temporary_status(response, error, wall=wall)
    return error


def _redirect_target(response: httpx.Response) -> str:
    try:
        return split_url(response.headers.get("location", "")).hostname or "somewhere else"
    except NetworkError:
        return "a malformed address"


def temporary_status(response: httpx.Response, error: AccessError, *, wall: float) -> TransientError:
    """Return the error for a temporary status, with the wait that the server requests."""
    headers = response.headers
    wait = retry_after_seconds(headers.get("retry-after"), wall=wall)
    if wait is None and response.status_code == 429:
        wait = retry_after_seconds(headers.get("ratelimit-reset"), wall=wall)
    return TransientError(error, retry_after=wait, overload=True, heavy=response.status_code >= 500)


def means_missing(error: object) -> bool:
    """Return whether a GraphQL error only repeats what the null next to it means: something does not exist.

    W&B sends the null alone (docs/protocol.md, "Ten traps"); a server that replays a bundle adds an error
    with the nearest names.
    """
    return _code(error) == "NOT_FOUND"


def _code(error: object) -> object:
    extensions = error.get("extensions") if isinstance(error, Mapping) else None
    return extensions.get("code") if isinstance(extensions, Mapping) else None


def graphql_error(errors: Sequence[Any], *, host: str, operation: str) -> Exception:
    """Return the error to raise for a 200 answer that holds GraphQL errors and no useful data."""
    text = "; ".join(messages_in({"errors": errors})) or "an error without a message"
    message = f"{host} answered {operation} with an error: {text}"
    if _DENIED.search(text):
        return SignInError(f"no permission at {host}: {text}", hint=_NO_PERMISSION)
    if _REJECTED.search(text):
        return UnknownFieldError(message) if _UNKNOWN.search(text) else RejectedQueryError(message)
    if all(_code(error) == "NOT_IN_BUNDLE" for error in errors):
        return ServerError(message)  # a server that replays a bundle will not have it later
    limited = bool(_LIMITED.search(text))
    return TransientError(
        ServerError(message),
        overload=limited,
        heavy=not limited,
        attempts=None if limited else GRAPHQL_ERROR_ATTEMPTS,
    )


def transport_error(error: httpx.HTTPError, *, host: str) -> Exception:
    """Return the error to raise for a request that got no answer, or an incomplete one.

    The text of `error` is not passed on: it may quote a signed URL.
    """
    if isinstance(error, httpx.TimeoutException):
        fault = NetworkError(
            f"{host} did not answer in time", hint="WANDB_HTTP_TIMEOUT gives it more seconds"
        )
        unreached = isinstance(error, httpx.ConnectTimeout)
        return TransientError(fault, overload=True, heavy=not unreached, unreached=unreached, silent=True)
    if isinstance(error, (httpx.ConnectError, httpx.ProxyError)):
        return TransientError(UnreachableError(host), attempts=_UNREACHED_ATTEMPTS, unreached=True)
    if isinstance(error, (httpx.TransportError, httpx.DecodingError)):
        return TransientError(NetworkError(f"the answer of {host} broke off"), overload=True, heavy=True)
    return NetworkError(f"the request to {host} failed: {type(error).__name__}")
