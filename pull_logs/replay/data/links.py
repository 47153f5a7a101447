"""Signed links to stored objects, with a time limit, as object stores use them.

The path of a link identifies the object; the query has a signature of the path and the time limit. Nothing
else protects an object: clients follow links without a key. See docs/protocol.md, "Transport".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from time import time
from urllib.parse import urlencode

from pull_logs.runs import RunPath

STORAGE = "/storage"
_STAMP = "%Y%m%dT%H%M%SZ"


class LinkState(Enum):
    """Whether a link is valid; the values are the error codes of object stores."""

    GOOD = ""
    SIGNATURE_WRONG = "SignatureDoesNotMatch"
    EXPIRED = "AccessDenied"


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSigner:
    """Makes links and verifies them.

    Attributes:
        seconds: How long a link is valid.
        clock: Returns the time in seconds since 1970.
        secret: The key of the signatures.
    """

    seconds: int = 3600
    clock: Callable[[], float] = time
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def link(self, base_url: str, path: str) -> str:
        """Return the signed link to the object at `path` on the server at `base_url`."""
        stamp = datetime.fromtimestamp(self.clock(), UTC).strftime(_STAMP)
        query = {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Date": stamp,
            "X-Amz-Expires": str(self.seconds),
            "X-Amz-SignedHeaders": "host",
            "X-Amz-Signature": self._signature(path, stamp, str(self.seconds)),
        }
        return f"{base_url.rstrip('/')}{path}?{urlencode(query)}"

    def check(self, path: str, query: Mapping[str, str]) -> LinkState:
        """Return whether this server signed the query for `path`, and whether the link is still valid."""
        stamp, seconds = query.get("X-Amz-Date", ""), query.get("X-Amz-Expires", "")
        signature = self._signature(path, stamp, seconds)
        if not hmac.compare_digest(signature.encode(), query.get("X-Amz-Signature", "").encode()):
            return LinkState.SIGNATURE_WRONG
        made = datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC).timestamp()
        return LinkState.GOOD if self.clock() < made + int(seconds) else LinkState.EXPIRED

    def _signature(self, path: str, stamp: str, seconds: str) -> str:
        return hmac.new(self.secret, f"{path}\n{stamp}\n{seconds}".encode(), hashlib.sha256).hexdigest()


def object_path(path: RunPath, name: str) -> str:
    """Return the URL path of the object `name` of a run; a run path may have any characters."""
    token = base64.urlsafe_b64encode(str(path).encode())
    return f"{STORAGE}/{token.decode().rstrip('=')}/{name}"


def object_run(token: str) -> RunPath | None:
    """Return the run named by the token in an object's path; None for an invalid token."""
    try:
        padded = token + "=" * (-len(token) % 4)
        entity, project, run_id = base64.urlsafe_b64decode(padded).decode().split("/")
    except (ValueError, binascii.Error):
        return None
    return RunPath(entity, project, run_id)
