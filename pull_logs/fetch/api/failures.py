"""What an answer that is no success means: which failures pass, which are final, and how they read.

The sorting is the SDK's own (read API facts, section 5): 408, 429, 5xx except 501 and
odd 4xx may pass; 400, 401, 403, 404, 409, 410, 413, 422 and 501 are final. Stricter than
the SDK, a GraphQL error in a 200 answer is asked again a few times unless its text says
that asking again is of no use.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import orjson

from pull_logs.errors import AccessError, NetworkError, ServerError, SignInError
from pull_logs.fetch.api.pacing import TransientError, retry_after_seconds

FINAL_STATUSES = frozenset({400, 401, 403, 404, 409, 410, 413, 422, 501})
REJECTED_STATUSES = frozenset({400, 413, 422})
GRAPHQL_ERROR_ATTEMPTS = 4

_DENIED = re.compile(
    r"permission denied|not authori[sz]ed|unauthori[sz]ed|forbidden|access denied", re.IGNORECASE
)
_LIMITED = re.compile(r"rate.?limit|too many requests", re.IGNORECASE)
_REJECTED = re.compile(
    r"cannot query field|unknown (argument|type|directive|field|fragment)|syntax error|graphql.?validation"
    r"|(not defined|undefined) (by|on|field)|too (complex|many aliases)|complexity|max(imum)? (query )?depth",
    re.IGNORECASE,
)
_LONGEST_MESSAGE = 300
_NO_PERMISSION = "check the entity's name, and that the key's user is a member of it"


class RejectedQueryError(ServerError):
    """The server does not take a query in this form: a field, an argument or its size."""


class KeyRefusedError(SignInError):
    """The server does not know the key: nothing else can be asked with it either."""


class UnreachableError(NetworkError):
    """No connection to a host comes about.

    Attributes:
        host: The host.
    """

    def __init__(self, host: str) -> None:
        super().__init__(f"{host} cannot be reached", hint="check the network, the proxy and WANDB_BASE_URL")
        self.host = host


def shorten(text: str) -> str:
    """Text of a server on one line, cut to a readable length, without control characters."""
    line = "".join(char if char.isprintable() else " " for char in " ".join(text.split()))
    return line if len(line) <= _LONGEST_MESSAGE else f"{line[: _LONGEST_MESSAGE - 3]}..."


def messages_in(body: object) -> list[str]:
    """The messages in an error body of any of W&B's three shapes (read API facts, section 1)."""
    if not isinstance(body, Mapping):
        return []
    found: list[object] = []
    error, errors = body.get("error"), body.get("errors")
    found.append(error.get("message") if isinstance(error, Mapping) else error)
    if isinstance(errors, Sequence) and not isinstance(errors, str):
        found += [item.get("message") if isinstance(item, Mapping) else item for item in errors]
    return [shorten(item) for item in found if isinstance(item, str) and item.strip()]


def body_text(content: bytes) -> str:
    """What an error body says, in short: its messages, or what kind of page it is."""
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
    """The error for a GraphQL answer whose status is not 200.

    Args:
        response: The answer.
        content: Its body.
        host: Who was asked.
        wall: The time, in seconds since 1970, for Retry-After.
    """
    status = response.status_code
    said = body_text(content)
    colon = f": {said}" if said else ""
    error: AccessError
    if status == 401:
        hint = "sign in with `wandb login` or set WANDB_API_KEY"
        error = KeyRefusedError(f"W&B at {host} refused the key{colon}", hint=hint)
    elif status == 403:
        error = SignInError(f"no permission at {host}{colon}", hint=_NO_PERMISSION)
    elif 300 <= status < 400:
        target = httpx.URL(response.headers.get("location", "")).host or "somewhere else"
        message = f"{host} redirects to {target}, where the key is not sent"
        hint = "set WANDB_BASE_URL to the address of the API itself"
        error = ServerError(message, hint=hint, status=status)
    elif status == 404:
        hint = "check WANDB_BASE_URL, which is the API's address"
        error = ServerError(f"{host} has no GraphQL API", hint=hint, status=status)
    elif status in REJECTED_STATUSES:
        error = RejectedQueryError(f"{host} answered {status}{colon}", status=status)
    else:
        error = ServerError(f"{host} answered {status}{colon}", status=status)
        if status >= 400 and status not in FINAL_STATUSES:
            return passing_status(response, error, wall=wall)
    return error


def passing_status(response: httpx.Response, error: AccessError, *, wall: float) -> TransientError:
    """A status that may pass, with what the server says of when."""
    headers = response.headers
    wait = retry_after_seconds(headers.get("retry-after"), wall=wall)
    if wait is None and response.status_code == 429:
        wait = retry_after_seconds(headers.get("ratelimit-reset"), wall=wall)
    return TransientError(error, retry_after=wait, overload=True, heavy=response.status_code >= 500)


def says_missing(error: object) -> bool:
    """Whether a GraphQL error says no more than the null beside it: that something is not there.

    W&B leaves it at the null (read API facts, section 0); a server that replays a bundle tells what is near.
    """
    extensions = error.get("extensions") if isinstance(error, Mapping) else None
    return isinstance(extensions, Mapping) and extensions.get("code") == "NOT_FOUND"


def graphql_error(errors: Sequence[Any], *, host: str, operation: str) -> Exception:
    """The error for a 200 answer that holds GraphQL errors and no data of use."""
    said = "; ".join(messages_in({"errors": errors})) or "an error without a message"
    message = f"{host} answered {operation} with an error: {said}"
    if _DENIED.search(said):
        return SignInError(f"no permission at {host}: {said}", hint=_NO_PERMISSION)
    if _REJECTED.search(said):
        return RejectedQueryError(message)
    limited = bool(_LIMITED.search(said))
    return TransientError(
        ServerError(message),
        overload=limited,
        heavy=not limited,
        attempts=None if limited else GRAPHQL_ERROR_ATTEMPTS,
    )


def transport_error(error: httpx.HTTPError, *, host: str) -> Exception:
    """The error for a request that got no answer, or a broken one.

    The text of `error` is not passed on: it may quote a signed URL.
    """
    if isinstance(error, httpx.TimeoutException):
        fault = NetworkError(
            f"{host} did not answer in time", hint="WANDB_HTTP_TIMEOUT gives it more seconds"
        )
        unreached = isinstance(error, httpx.ConnectTimeout)
        return TransientError(fault, overload=True, heavy=not unreached, unreached=unreached)
    if isinstance(error, (httpx.ConnectError, httpx.ProxyError)):
        return TransientError(UnreachableError(host), attempts=6, unreached=True)
    if isinstance(error, (httpx.TransportError, httpx.DecodingError)):
        return TransientError(NetworkError(f"the answer of {host} broke off"), overload=True, heavy=True)
    return NetworkError(f"{host} cannot be asked: {type(error).__name__}")
