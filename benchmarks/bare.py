"""The least that a pull can take: the same requests at the same concurrency, with nothing decoded.

The listing has to be read, because it names the files. What else arrives is discarded: exported files, and
the live rows of runs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import anyio
import httpx
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from pull_logs.fetch.api.queries import Query, history_page, list_runs

CONCURRENCY = 32
"""That of `pull-logs fetch`."""

_FIRST_PAGE, _LARGEST_PAGE = 50, 200
"""The runs in the pages of the listing, which double."""

_SAMPLES = 1000

Node = dict[str, Any]


async def read_bare(entity: str, project: str) -> int:
    """Request everything that a pull of a project requests; return the number of promised rows."""
    rows = 0
    base, key = os.environ["WANDB_BASE_URL"], os.environ["WANDB_API_KEY"]
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
    options: dict[str, Any] = {"timeout": 60, "limits": limits, "verify": base.startswith("https")}
    send, receive = anyio.create_memory_object_stream[Node](2 * CONCURRENCY)
    async with (
        httpx.AsyncClient(auth=("api", key), base_url=base, **options) as api,
        httpx.AsyncClient(**options) as storage,
        receive,
        anyio.create_task_group() as group,
    ):
        for _ in range(CONCURRENCY):
            group.start_soon(_read, api, storage, receive, entity, project)
        rows += await _list(api, send, entity, project)
    return rows


async def _list(api: httpx.AsyncClient, send: MemoryObjectSendStream[Node], entity: str, project: str) -> int:
    rows, page = 0, _FIRST_PAGE
    cursor: str | None = None
    async with send:
        while True:
            query = list_runs(
                entity=entity, project=project, filters="{}", cursor=cursor, page=page, exports=True
            )
            found = json.loads(await _post(api, query))["data"]["project"]["runs"]
            for edge in found["edges"]:
                rows += edge["node"]["historyLineCount"]
                await send.send(edge["node"])
            if not found["pageInfo"]["hasNextPage"]:
                return rows
            cursor, page = found["edges"][-1]["cursor"], min(_LARGEST_PAGE, 2 * page)


async def _read(
    api: httpx.AsyncClient,
    storage: httpx.AsyncClient,
    nodes: MemoryObjectReceiveStream[Node],
    entity: str,
    project: str,
) -> None:
    async for node in nodes:
        for url in node["parquetHistory"]["parquetUrls"]:
            async with storage.stream("GET", url, headers={"Accept-Encoding": "identity"}) as response:
                response.raise_for_status()
                async for _ in response.aiter_bytes():
                    pass
        for start, stop in _windows([int(row["_step"]) for row in node["parquetHistory"]["liveData"]]):
            await _post(
                api,
                history_page(entity, project, node["name"], start=start, stop=stop, samples=2 * _SAMPLES),
            )


def _windows(steps: list[int]) -> Iterator[tuple[int, int]]:
    for at in range(0, len(steps), _SAMPLES):
        part = steps[at : at + _SAMPLES]
        yield part[0], part[-1] + 1


async def _post(api: httpx.AsyncClient, query: Query) -> bytes:
    body = {"query": query.text, "variables": query.variables, "operationName": query.operation}
    response = await api.post("/graphql", json=body)
    response.raise_for_status()
    return response.content
