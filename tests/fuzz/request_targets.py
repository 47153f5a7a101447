"""Fuzz targets for what people and clients send: expressions and GraphQL requests."""

from __future__ import annotations

import json
from functools import cache

import anyio
import httpx
from format_targets import good_bundle
from fuzzkit import Target, as_file
from mutation import request, words
from starlette.applications import Starlette

from pull_logs.analyze.expressions import compile_expression, parse
from pull_logs.errors import ExpressionError
from pull_logs.replay.http.app import build_app
from pull_logs.snapshot.read import open_bundle

KEY = "k" * 40
"""The API key of the fuzzed server."""


def expression(data: bytes) -> None:
    """An expression parses to the same tree again, or an error points into its text."""
    text = data.decode(errors="replace")
    try:
        node = parse(text)
        compile_expression(text, ["loss", "val/loss", "_step", "a b"])
    except ExpressionError as exc:
        if exc.span is not None:
            start, end = exc.span
            assert 0 <= start <= end <= len(text) + 1
        raise
    assert parse(text) == node


@cache
def _app() -> Starlette:
    return build_app([open_bundle(as_file(good_bundle(), "served.wandb.zip"))], api_key=KEY)


async def _post(body: bytes) -> httpx.Response:
    served, base = httpx.ASGITransport(app=_app()), "http://127.0.0.1"
    async with httpx.AsyncClient(transport=served, base_url=base, auth=("api", KEY)) as client:
        return await client.post("/graphql", content=body, headers={"content-type": "application/json"})


def graphql_request(data: bytes) -> None:
    """A request is answered with JSON, and never with a fault of the server."""
    answer = anyio.run(_post, data)
    assert answer.status_code in (200, 400, 413), answer.text
    content = answer.json()
    for error in content.get("errors") or ():
        assert "Traceback" not in error["message"]


def _requests() -> list[bytes]:
    run = (
        "query Run($project: String!, $entity: String!, $name: String!) {"
        " project(name: $project, entityName: $entity) { run(name: $name) {"
        " id name state config summaryMetrics historyLineCount historyKeys"
        ' history(minStep: 0, maxStep: 5) sampledHistory(specs: ["{}"]) } } }'
    )
    runs = (
        'query Runs($filters: JSONString) { project(name: "nano", entityName: "acme") {'
        ' runs(filters: $filters, first: 2, order: "-created_at") { edges { node { name } cursor } } } }'
    )
    named = {"project": "nano", "entity": "acme", "name": "3fk2a"}
    filters = {"$and": [{"config.lr.value": {"$gt": 0.01}}, {"display_name": {"$regex": "^b"}}]}
    return [
        json.dumps({"query": run, "variables": named}).encode(),
        json.dumps({"query": runs, "variables": {"filters": json.dumps(filters)}}).encode(),
    ]


def _expressions() -> list[bytes]:
    return [
        b"loss < 0.5 and not (val/loss is missing or loss in [1, -2.5, 'x', true])",
        b"ema(loss, 0.9) ** 2 - `a b` / 3 >= 1e-3",
        b"`a b` contains 'x' or loss matches \"^a.*b$\"",
        b"quantile(loss, 0.5) - at_first(_step, val/loss < 3)",
    ]


TARGETS = (
    Target("expression", expression, _expressions, words),
    Target("graphql-request", graphql_request, _requests, request),
)
