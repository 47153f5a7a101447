"""Errors of requests: those that reach a caller, and those that retries and readers handle."""

from __future__ import annotations

from pull_logs.errors import AccessError, NetworkError, ServerError, SignInError


class RejectedQueryError(ServerError):
    """The server does not accept a query in this form: a field, an argument or its size."""


class UnknownFieldError(RejectedQueryError):
    """The server does not know a field, an argument or a type of a query, as if its API had changed."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(
            message, hint="`pull-logs fetch --via sdk` reads with the W&B SDK instead", status=status
        )


class KeyRefusedError(SignInError):
    """The server does not know the key, so every other request with it would fail too."""


class UnreachableError(NetworkError):
    """No connection to a host can be made.

    Attributes:
        host: The host.
    """

    def __init__(self, host: str, *, note: str = "") -> None:
        super().__init__(
            f"{host} cannot be reached{note}", hint="check the network, the proxy and WANDB_BASE_URL"
        )
        self.host = host


class SilentHostError(UnreachableError):
    """A host accepts connections, and answers nothing."""

    def __init__(self, host: str, *, seconds: float, timeout: float) -> None:
        super().__init__(host)
        self.message = f"{host} did not answer anything in {seconds:.0f} s"
        self.hint = (
            "check WANDB_BASE_URL and the proxy; if the server is only slow, set WANDB_HTTP_TIMEOUT to more"
            f" than {timeout:g} seconds"
        )
        self.args = (self.message,)


class TransientError(Exception):
    """A request failed in a way that another attempt may cure.

    Attributes:
        error: The error to raise when no attempt succeeds.
        retry_after: The seconds that the server asked to wait, or None.
        overload: Whether fewer concurrent requests may help.
        heavy: Whether a request for less data may help.
        attempts: The maximum number of attempts for this kind of failure, where the policy allows more.
        unreached: Whether the host did not accept the connection.
        silent: Whether nothing arrived in time.
    """

    def __init__(
        self,
        error: AccessError,
        *,
        retry_after: float | None = None,
        overload: bool = False,
        heavy: bool = False,
        attempts: int | None = None,
        unreached: bool = False,
        silent: bool = False,
    ) -> None:
        super().__init__(str(error))
        self.error = error
        self.retry_after = retry_after
        self.overload = overload
        self.heavy = heavy
        self.attempts = attempts
        self.unreached = unreached
        self.silent = silent


class HeavyRequestError(Exception):
    """A request kept failing and may succeed when it asks for less data.

    Attributes:
        error: The error to raise when the request cannot be made smaller.
    """

    def __init__(self, error: AccessError) -> None:
        super().__init__(str(error))
        self.error = error


class UrlRefusedError(Exception):
    """Storage refused a URL, and a new one may work.

    Signed URLs are valid until they expire (docs/protocol.md, "History").

    Attributes:
        error: The error to raise when a new URL is refused too.
    """

    def __init__(self, error: ServerError) -> None:
        super().__init__(str(error))
        self.error = error


def with_note(error: AccessError, note: str) -> AccessError:
    """Return a new error of the same kind, with a note in parentheses after its message."""
    note = f" ({note})"
    if isinstance(error, UnreachableError):
        return UnreachableError(error.host, note=note)
    if isinstance(error, ServerError):
        return type(error)(error.message + note, hint=error.hint, status=error.status)
    return type(error)(error.message + note, hint=error.hint)


def affects_all_runs(error: Exception, *, api_host: str) -> bool:
    """Return whether an error would meet every other run of a pull too: no valid key, or no API."""
    return isinstance(error, KeyRefusedError) or (
        isinstance(error, UnreachableError) and error.host == api_host
    )
