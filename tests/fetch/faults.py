"""The faults of a network and of W&B that tests inject, by name: each makes an answer or an error."""

from __future__ import annotations

from collections.abc import Callable

import httpx
from scripted_wandb import rows_of, shard_bytes, to_storage

Answering = Callable[[], httpx.Response | Exception]

HTML = "<!doctype html><html>Something went wrong</html>"
XML = "<?xml version='1.0'?><Error><Code>ExpiredToken</Code></Error>"

ANYWHERE: dict[str, Answering] = {
    "408": lambda: httpx.Response(408),
    "429": lambda: httpx.Response(429, headers={"Retry-After": "1.5"}),
    "500": lambda: httpx.Response(500, json={"error": "oops"}),
    "503 page": lambda: httpx.Response(503, html=HTML),
    "reset": lambda: httpx.ReadError("reset by peer"),
    "refused": lambda: httpx.ConnectError("refused"),
    "slow": lambda: httpx.ReadTimeout("slow"),
    "short body": lambda: httpx.Response(200, content=b"PAR1...", headers={"Content-Length": "100000"}),
    "page with 200": lambda: httpx.Response(200, html=HTML),
}
AT_THE_API: dict[str, Answering] = {
    "error with 200": lambda: httpx.Response(200, json={"errors": [{"message": "internal"}], "data": None}),
    "partial data": lambda: httpx.Response(
        200, json={"errors": [{"message": "x", "path": ["project"]}], "data": {"project": None}}
    ),
    "no data": lambda: httpx.Response(200, json={}),
}
AT_STORAGE: dict[str, Answering] = {
    "expired": lambda: httpx.Response(403, text=XML),
    "bad request": lambda: httpx.Response(400, text="Only one auth mechanism allowed"),
    "truncated": lambda: httpx.Response(200, content=shard_bytes(rows_of(range(99)))[:-20]),
    "garbage": lambda: httpx.Response(200, content=b"PAR1" + bytes(200) + b"PAR1"),
}


def faults_of(request: httpx.Request) -> dict[str, Answering]:
    """Return the faults that can happen to a request."""
    return ANYWHERE | (AT_STORAGE if to_storage(request) else AT_THE_API)
