"""The server of a scenario, in a process of its own; it answers clients by HTTP and its parent by pipes.

    python benchmarks/serving.py BUNDLE OPTIONS

OPTIONS is JSON. Prints one line with its address and key, then answers each line `reset` with the counts
since the last one, until its input ends.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
from typing import Any

import httpx
from contender import ENTITY, PROJECT
from faultnet import FaultNet, TrafficMeter
from starlette.middleware import Middleware

from pull_logs.replay import ReplayServer, serve_bundle

MEMORY = 4 << 30
"""Enough for all encoded exports to stay in memory, so that the client is measured and not the server."""

_LISTING = """
query Warm($entity: String!, $project: String!, $cursor: String) {
  project(entityName: $entity, name: $project) {
    runs(first: 100, after: $cursor) {
      edges { cursor node { historyKeys parquetHistory(liveKeys: ["_step"]) { parquetUrls } } }
      pageInfo { hasNextPage }
    }
  }
}
"""
_MOST_PAGES = 1000


def serve(bundle: str, options: dict[str, Any]) -> None:
    """Serve until the parent closes the pipe."""
    meter = TrafficMeter()
    net = Middleware(
        FaultNet,
        latency=options["latency"],
        quota=options["quota"],
        window=options["window"],
        meter=meter,
    )
    with serve_bundle(bundle, memory=MEMORY, shard_rows=options["shard_rows"], middleware=[net]) as server:
        if options["quota"] is None:
            _warm(server)
        meter.reset()
        _send({"url": server.url, "api_key": server.api_key})
        spent = _processor_seconds()
        for line in sys.stdin:
            if line.strip() != "reset":
                break
            before, spent = spent, _processor_seconds()
            counts = server.requests.as_dict()
            server.requests.clear()
            _send({**meter.reset(), "operations": counts, "processor_seconds": spent - before})


def _warm(server: ReplayServer) -> None:
    """Request everything once, so that nothing is decoded or encoded while a client is measured."""
    cursor = None
    with httpx.Client(auth=("api", server.api_key), timeout=600, trust_env=False) as client:
        for _ in range(_MOST_PAGES):
            variables = {"entity": ENTITY, "project": PROJECT, "cursor": cursor}
            body = {"query": _LISTING, "variables": variables}
            runs = client.post(f"{server.url}/graphql", json=body).json()["data"]["project"]["runs"]
            for edge in runs["edges"]:
                cursor = edge["cursor"]
                for url in edge["node"]["parquetHistory"]["parquetUrls"]:
                    client.get(url).raise_for_status()
            if not runs["pageInfo"]["hasNextPage"]:
                return


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _send(content: dict[str, Any]) -> None:
    print(json.dumps(content), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle")
    parser.add_argument("options", type=json.loads)
    arguments = parser.parse_args()
    serve(arguments.bundle, arguments.options)
