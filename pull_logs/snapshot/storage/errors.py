"""Errors of fsspec and of the libraries below it as our own, without their texts, which may have secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from pull_logs.errors import (
    BucketMissingError,
    FileMissingError,
    NetworkError,
    PullLogsError,
    ServerError,
    SignInError,
    UsageError,
)

RANGES_HINT = "download the bundle and open the file"

Action = Literal["read", "written"]

_CODE = re.compile(r"[A-Z][A-Za-z]{2,60}")
"""The form of an error code of S3 and Azure: never a URL, a key or a header."""

_FORBIDDEN = 403
"""The status that gcsfs reports in the text of an error alone."""

_STATUSES = ("status", "status_code", "code")
"""Where errors of aiohttp, of Azure and of gcsfs have the status."""

_ENDS = 8
"""The most causes of an error that are looked at."""

_CREDENTIALS = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    "gs": "run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS",
    "az": "set AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY,"
    " or run `az login` and set AZURE_STORAGE_ACCOUNT_NAME",
}


@contextmanager
def storage_errors(shown: str, action: Action = "read") -> Iterator[None]:
    """Raise errors about an address as our own.

    Args:
        shown: The part of its URL that may be shown.
        action: What is done with it.

    Raises:
        UsageError: A library for such a URL is not installed, or there is none.
        FileMissingError: There is no such object or bucket.
        SignInError: It may not be used, or there are no credentials.
        NetworkError: The server cannot be reached, or fails.
    """
    try:
        yield
    except PullLogsError:
        raise
    except ImportError as exc:
        raise UsageError(
            f"{shown!r} needs a library that is not installed: {exc}",
            hint=f"pip install 'wandb-pull-logs[{_extra(shown)}]'",
        ) from exc
    except Exception as exc:  # every library that fsspec uses has its own errors
        raise _translated(shown, exc, action) from exc


_SERVICES = {"s3a": "s3", "gcs": "gs", "abfs": "az", "abfss": "az"}
"""The other names of the services in URLs."""

_EXTRAS = {"s3": "s3", "gs": "gcs", "az": "azure"}
_NO_CREDENTIALS = frozenset(
    {
        "NoCredentialsError",
        "PartialCredentialsError",
        "ProfileNotFound",
        "DefaultCredentialsError",
        "CredentialUnavailableError",
    }
)
_WITHOUT_CREDENTIALS = re.compile("Anonymous caller|Must provide either a connection_string")
"""What Google says of a request without credentials, and adlfs of an account."""

_INVALID_CREDENTIALS = "unable to connect to account"
"""What adlfs says of a connection string that it cannot use."""

_UNREACHABLE = frozenset(
    {"EndpointConnectionError", "ClientConnectorError", "ClientConnectorDNSError", "ServiceRequestError"}
)
"""The errors of requests that no server received."""


def _extra(shown: str) -> str:
    return _EXTRAS.get(_service(shown), "remote")


def _scheme(shown: str) -> str:
    return shown.partition("://")[0]


def _translated(shown: str, exc: Exception, action: Action) -> PullLogsError:
    # fsspec reports every HTTP error as a missing file; the cause has the status.
    cause = exc.__cause__ if isinstance(exc, FileNotFoundError) and exc.__cause__ else exc
    status, code = _status(cause), _code(exc)
    found = (
        _denied(shown, exc, status, code, action)
        or _missing(shown, exc, status, code)
        or _unsupported(shown, cause)
        or _replaced(shown, exc, status, action)
    )
    if found is not None:
        return found
    if status is not None and status >= 300:
        why = f"{status} {code}" if code else str(status)
        return ServerError(
            f"{shown!r} cannot be {action}: the server answered {why}", status=status, hint=_again(action)
        )
    late = any(isinstance(one, TimeoutError) or "Timeout" in type(one).__name__ for one in _causes(exc))
    reason = "the server did not answer in time" if late else code or type(cause).__name__
    if not late and any(type(one).__name__ in _UNREACHABLE for one in _causes(exc)):
        where = "the network, and the name of the account" if _service(shown) == "az" else "the network"
        return NetworkError(
            f"{shown!r} cannot be {action}: the server cannot be reached",
            hint=f"check {where}, and run the same command again",
        )
    return NetworkError(f"{shown!r} cannot be {action}: {reason}", hint=_again(action))


def _denied(shown: str, exc: Exception, status: int | None, code: str, action: Action) -> SignInError | None:
    names = {type(one).__name__ for one in _causes(exc)}
    texts = [str(one) for one in _causes(exc)]
    # The library of Azure has one error for refused credentials, with a status, and for none at all.
    none = names & _NO_CREDENTIALS or (status is None and "ClientAuthenticationError" in names)
    if none or any(map(_WITHOUT_CREDENTIALS.search, texts)):
        return SignInError(f"there are no credentials for {shown!r}", hint=_sign_in_hint(shown))
    if any(text.startswith(_INVALID_CREDENTIALS) for text in texts):
        return SignInError(f"the credentials for {shown!r} are not valid", hint=_sign_in_hint(shown))
    if status in (401, 403) or any(isinstance(one, PermissionError) for one in _causes(exc)):
        why = f": {code}" if code else ""
        return SignInError(f"{shown!r} may not be {action}{why}", hint=_sign_in_hint(shown))
    return None


def _missing(shown: str, exc: Exception, status: int | None, code: str) -> FileMissingError | None:
    if code == "NoSuchBucket" or _missing_bucket(exc):
        return missing_bucket(shown, _bucket(shown))
    alone = isinstance(exc, FileNotFoundError) and exc.__cause__ is None
    if status in (404, 410) or (alone and status is None):
        return FileMissingError(f"there is no file at {shown!r}")
    return None


def missing_bucket(shown: str, name: str) -> BucketMissingError:
    """Return the error for an object in a bucket that does not exist."""
    azure = _service(shown) == "az"
    kind, also = ("container", " and the account") if azure else ("bucket", "")
    return BucketMissingError(
        f"there is no {kind} {name!r} for {shown!r}", hint=f"make the {kind}, or check its name{also}"
    )


def _unsupported(shown: str, cause: BaseException) -> PullLogsError | None:
    if isinstance(cause, ValueError) and "Protocol not known" in str(cause):
        return UsageError(f"fsspec does not support the kind of URL of {shown!r}", hint=RANGES_HINT)
    if isinstance(cause, ValueError) and "range requests" in str(cause):
        return NetworkError(f"{shown!r} is not served in ranges", hint=RANGES_HINT)
    return None


def replaced_meanwhile(shown: str) -> ServerError:
    """Return the error for an object that is not replaced, because another program has written it."""
    return ServerError(
        f"{shown!r} was written by another program meanwhile, and was not replaced",
        status=412,
        hint="run the same command again, which begins with what is there now",
    )


def replaced_while_read(shown: str) -> ServerError:
    """Return the error for an object that is no longer the version that was opened."""
    return ServerError(
        f"{shown!r} was replaced while it was read", status=412, hint="run the same command again"
    )


def _replaced(shown: str, exc: Exception, status: int | None, action: Action) -> ServerError | None:
    """Return the error for an object that is no longer the version that was read."""
    expired = any(type(one).__name__ == "FileExpired" for one in _causes(exc))
    if action == "written":
        # 409: another conditional request for the same name is being answered.
        exists = any(isinstance(one, FileExistsError) for one in _causes(exc))
        return replaced_meanwhile(shown) if status in (409, 412) or exists else None
    return replaced_while_read(shown) if status == 412 or expired else None


def _again(action: Action) -> str:
    return "nothing was published; run the same command again" if action == "written" else ""


def _sign_in_hint(shown: str) -> str:
    return _CREDENTIALS.get(_service(shown), "its link may have expired, or needs a sign-in")


def _service(shown: str) -> str:
    return _SERVICES.get(_scheme(shown), _scheme(shown))


def _bucket(shown: str) -> str:
    return shown.partition("://")[2].partition("/")[0]


def _causes(exc: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = exc
    for _ in range(_ENDS):
        if found is None:
            return
        yield found
        found = found.__cause__ or found.__context__


def _response(exc: BaseException) -> dict[str, object]:
    response = getattr(exc, "response", None)
    return response if isinstance(response, dict) else {}


def _status(exc: BaseException) -> int | None:
    """Return the HTTP status of an error, or of what caused it."""
    for one in _causes(exc):
        metadata = _response(one).get("ResponseMetadata")
        if isinstance(metadata, dict):
            found = metadata.get("HTTPStatusCode")
            if isinstance(found, int):
                return found
        for name in _STATUSES:
            found = getattr(one, name, None)
            if isinstance(found, int):
                return found
        if isinstance(one, OSError) and str(one).startswith("Forbidden: "):
            return _FORBIDDEN
    return None


def _code(exc: BaseException) -> str:
    """Return the error code of S3 or Azure, if the error or its cause has one."""
    for one in _causes(exc):
        error = _response(one).get("Error")
        code = error.get("Code") if isinstance(error, dict) else getattr(one, "error_code", None)
        found = _CODE.fullmatch(code) if isinstance(code, str) else None
        if found:
            return found[0]
    return ""


def _missing_bucket(exc: BaseException) -> bool:
    return any("bucket does not exist" in str(one) for one in _causes(exc))
