"""The key of a request: the server's own, or any key that this user's own processes on this machine send.

Scripts under test log in with keys of their own: `wandb.login(key=...)`, `Api(api_key=...)`. A server on
loopback accepts them from processes of the user who started it, who can read the bundle anyway. Linux lists
the owner of each connection; other systems do not, and there any process on the machine is accepted.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from pull_logs.errors import UsageError

SIGNED_OUT = "user is not logged in"
_WRONG_KEY = (
    "this server replays a bundle and does not accept this key; log in with the WANDB_API_KEY that it printed"
)
_CONNECTIONS = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


@dataclass(frozen=True, slots=True)
class KeyCheck:
    """Decides which keys are accepted.

    Attributes:
        api_key: The key of the server.
        any_key: Whether any key is accepted from processes of this user on this machine.
    """

    api_key: str
    any_key: bool

    def refusal(self, request: Request) -> Response | None:
        """Return the answer to a request without an accepted key; None if its key is accepted.

        The SDK shows its user the GraphQL errors of a 401, and nothing else of it.
        """
        key = offered_key(request)
        if hmac.compare_digest(key.encode(), self.api_key.encode()):
            return None
        if key and self.any_key and is_from_this_user(request):
            return None
        errors = [{"message": _WRONG_KEY if key else SIGNED_OUT}]
        return JSONResponse({"error": SIGNED_OUT, "errors": errors, "data": None}, 401)


def checked_key(text: str) -> str:
    """Return a key as it is.

    Raises:
        UsageError: The SDK would not send it.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]{40,}", text, re.ASCII):
        raise UsageError(
            "the key does not have the form that the SDK accepts",
            hint="it needs at least 40 letters and digits: `openssl rand -hex 20` prints one",
        )
    return text


def offered_key(request: Request) -> str:
    """Return the key of a request, sent as Basic (any user name) or Bearer authorization; empty if none."""
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    offered = credentials.strip()
    if scheme.lower() == "bearer":
        return offered
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(offered, validate=True).decode().partition(":")[2]
        except (ValueError, binascii.Error):
            return ""
    return ""


def is_from_this_user(request: Request) -> bool:
    """Return whether a process of this user sent a request over loopback, as far as the system reports it."""
    server = request.scope.get("server")
    if request.client is None or server is None:
        return False
    if sys.platform != "linux":
        return True
    return _owners(request.client.port, server[1]) == {os.geteuid()}


def _owners(client_port: int, server_port: int) -> set[int]:
    """Return the users who own the client's end of a connection between two ports."""
    ports = (f"{client_port:04X}", f"{server_port:04X}")
    found = set()
    for table in _CONNECTIONS:
        # A line is "  sl  local_address rem_address   st tx_queue:rx_queue tr:tm->when retrnsmt   uid ...".
        for line in table.read_text("ascii").splitlines()[1:] if table.exists() else ():
            words = line.split(maxsplit=8)
            if (words[1].rpartition(":")[2], words[2].rpartition(":")[2]) == ports:
                found.add(int(words[7]))
    return found
