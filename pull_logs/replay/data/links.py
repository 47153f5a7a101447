"""Links to stored objects, signed and limited in time the way an object store's are.

A link's path without its query identifies the object; the query carries a
signature of the path and of when it ends. Nothing else protects an object:
links are fetched without a key (read API facts, sections 0 and 1).
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
    """Whether a link may be followed, named as an object store's error codes."""

    GOOD = ""
    SIGNATURE_WRONG = "SignatureDoesNotMatch"
    EXPIRED = "AccessDenied"


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSigner:
    """Makes links, and knows its own.

    Attributes:
        seconds: How long a link is good for.
        clock: Seconds since 1970.
    """

    seconds: int = 3600
    clock: Callable[[], float] = time
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def link(self, base_url: str, path: str) -> str:
        """The signed link to the object at `path` on the server at `base_url`."""
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
        """Whether the query is one that this server signed for `path`, and still good."""
        stamp, seconds = query.get("X-Amz-Date", ""), query.get("X-Amz-Expires", "")
        signature = self._signature(path, stamp, seconds)
        if not hmac.compare_digest(signature.encode(), query.get("X-Amz-Signature", "").encode()):
            return LinkState.SIGNATURE_WRONG
        made = datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC).timestamp()
        return LinkState.GOOD if self.clock() < made + int(seconds) else LinkState.EXPIRED

    def _signature(self, path: str, stamp: str, seconds: str) -> str:
        return hmac.new(self.secret, f"{path}\n{stamp}\n{seconds}".encode(), hashlib.sha256).hexdigest()


def object_path(path: RunPath, name: str) -> str:
    """The URL path of the object `name` of a run; any run path fits, whatever its characters."""
    token = base64.urlsafe_b64encode(str(path).encode())
    return f"{STORAGE}/{token.decode().rstrip('=')}/{name}"


def object_run(token: str) -> RunPath | None:
    """The run of an object from its path's token; None for a token that no run has."""
    try:
        padded = token + "=" * (-len(token) % 4)
        entity, project, run_id = base64.urlsafe_b64decode(padded).decode().split("/")
    except (ValueError, binascii.Error):
        return None
    return RunPath(entity, project, run_id)
