"""An application of the replay, called without a network."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
from replay_support import world, write_runs
from starlette.applications import Starlette

from pull_logs.snapshot.read.bundle import Bundle, open_bundle

KEY = "k" * 40
BASE = "http://127.0.0.1:8080"


@contextmanager
def open_world(folder: Path) -> Iterator[Bundle]:
    """Open a bundle of the runs of `world`."""
    with open_bundle(write_runs(folder, world())) as bundle:
        yield bundle


@asynccontextmanager
async def client_of(app: Starlette, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    options = {"auth": ("api", KEY), "base_url": BASE, **options}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), **options) as client:
        yield client


async def ask(app: Starlette, query: str, operation: str | None = "", **variables: Any) -> Any:
    async with client_of(app) as client:
        body = {"query": query, "variables": variables, "operationName": operation}
        answer = await client.post("/graphql", json=body)
    assert answer.status_code == 200, answer.text
    content = answer.json()
    assert "errors" not in content, content
    return content["data"]


async def refused(app: Starlette, query: str, **variables: Any) -> tuple[int, list[str]]:
    async with client_of(app) as client:
        answer = await client.post("/graphql", json={"query": query, "variables": variables})
    return answer.status_code, [error["message"] for error in answer.json()["errors"]]
