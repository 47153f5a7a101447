"""A small W&B for tests: a handler for `httpx.MockTransport` that records requests, and fails on demand.

The API is at `https://api.test`, and exported files have signed URLs at `https://storage.test`.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq

from pull_logs.fetch.api.clock import Clock
from pull_logs.fetch.api.retry import RetryPolicy
from pull_logs.fetch.api.settings import Settings
from pull_logs.snapshot.format import ConsoleLine

API = "https://api.test"
STORAGE = "https://storage.test"
KEY = "canary" * 7
SETTINGS = Settings(base_url=API, api_key=KEY, key_origin="WANDB_API_KEY", entity="acme")

Row = dict[str, Any]
Fault = Callable[[httpx.Request], httpx.Response | Exception | None]


def rows_of(steps: Iterable[int], *, metrics: int = 2) -> list[Row]:
    """Plain rows, each different from all others."""
    return [
        {
            "_step": step,
            "_timestamp": 1.7e9 + step,
            **{f"m{number}": step * 0.5 + number for number in range(metrics)},
        }
        for step in steps
    ]


def shard_bytes(rows: Sequence[Row] | pa.Table) -> bytes:
    """An exported file as W&B writes it: null for what a row lacks."""
    table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(_filled(rows))
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="snappy")
    return sink.getvalue()


def _filled(rows: Sequence[Row]) -> list[Row]:
    names = list(dict.fromkeys(name for row in rows for name in row))
    return [{name: row.get(name) for name in names} for row in rows]


@dataclass
class FakeRun:
    """A run of the scripted W&B; `lines` and `last_step` are what it promises.

    `files` are what it logged; `reported` replaces fields of a file in listings. `console` is what it
    printed, and `console_count` the number of lines that it promises. `keys` are the numbers of values of its
    metrics that it reports, and the artifacts are only counted.
    """

    run_id: str
    shards: dict[str, bytes] = field(default_factory=dict)
    live: list[Row] = field(default_factory=list)
    lines: int | None = None
    last_step: int | None = None
    live_data: Any = "listed"
    state: str = "finished"
    config: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    events: list[Row] = field(default_factory=list)
    sweep: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    reported: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    console: list[ConsoleLine] = field(default_factory=list)
    console_count: int | None = None
    keys: Mapping[str, int] = field(default_factory=dict)
    logged_artifacts: int | None = 0
    used_artifacts: int | None = 0

    @classmethod
    def exported(cls, run_id: str, rows: Sequence[Row], *, shards: int = 1, **more: Any) -> FakeRun:
        """A finished run whose rows are all in files."""
        size = max(1, -(-len(rows) // shards))
        files = {
            f"{run_id}-{at // size}": shard_bytes(rows[at : at + size]) for at in range(0, len(rows), size)
        }
        return cls(run_id, files, lines=len(rows), last_step=rows[-1]["_step"] if rows else None, **more)

    @classmethod
    def logging(cls, run_id: str, rows: Sequence[Row], **more: Any) -> FakeRun:
        """A run whose rows are all live."""
        made: dict[str, Any] = {
            "lines": len(rows),
            "last_step": rows[-1]["_step"] if rows else None,
            "state": "running",
        }
        return cls(run_id, live=list(rows), **{**made, **more})


class ScriptedWandb:
    """Answers as W&B does, and remembers every request.

    Attributes:
        faults: Asked in order before each answer; the first that returns something decides.
        refused_fields: Words in a query that get HTTP 400.
        most_samples: Rows that a history page has at most, whatever was asked for.
        valid: The signatures that storage takes; None takes all.
        sweeps: The YAML of sweeps' configs, by id.
        console_limit: Lines that an answer has at most, whatever was asked for.
    """

    def __init__(self, *runs: FakeRun, entity: str = "acme", project: str = "nano") -> None:
        self.entity, self.project = entity, project
        self.runs = {run.run_id: run for run in runs}
        self.requests: list[httpx.Request] = []
        self.faults: list[Fault] = []
        self.refused_fields: tuple[str, ...] = ()
        self.most_samples = 10**9
        self.page_limit = 10**9
        self.valid: set[str] | None = None
        self.signed = 0
        self.sweeps: dict[str, str] = {}
        self.console_limit = 1000

    @property
    def transport(self) -> httpx.AsyncBaseTransport:
        return httpx.MockTransport(self.handle)

    def operations(self) -> list[str]:
        """What was asked, in order; downloads as `GET name`."""
        return [
            json.loads(request.content)["operationName"]
            if request.url.path == "/graphql"
            else f"{request.method} {request.url.path.rpartition('/')[2]}"
            for request in self.requests
        ]

    def count(self, operation: str) -> int:
        return sum(name == operation for name in self.operations())

    def handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        for fault in self.faults:
            answer = fault(request)
            if isinstance(answer, Exception):
                raise answer
            if answer is not None:
                return answer
        if request.url.host == "storage.test":
            return self.storage(request)
        if "authorization" not in request.headers:
            return httpx.Response(401, json={"error": "user is not logged in"})
        if request.method == "GET":
            return httpx.Response(
                302, headers={"Location": f"{STORAGE}{request.url.raw_path.decode()}?sig=redirected"}
            )
        body = json.loads(request.content)
        if any(word in body["query"] for word in self.refused_fields):
            return httpx.Response(400, json={"errors": [{"message": "Cannot query field"}], "data": None})
        return httpx.Response(
            200, json={"data": self.answer(body["operationName"], body["query"], body["variables"])}
        )

    def storage(self, request: httpx.Request) -> httpx.Response:
        name = request.url.path.rpartition("/")[2]
        if self.valid is not None and request.url.params["sig"] not in self.valid:
            return httpx.Response(403, text="<?xml version='1.0'?><Error><Code>ExpiredToken</Code></Error>")
        if request.url.path.startswith("/files/"):
            return self.stored_file(request)
        for run in self.runs.values():
            if name in run.shards:
                return httpx.Response(200, content=run.shards[name])
        return httpx.Response(404, text="<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>")

    def stored_file(self, request: httpx.Request) -> httpx.Response:
        _, _, run_id, name = request.url.raw_path.decode().partition("?")[0].split("/")
        data = self.runs[run_id].files.get(bytes.fromhex(name).decode())
        if data is None:
            return httpx.Response(404, text="<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>")
        asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))
        if asked is None:
            return httpx.Response(200, content=data)
        start = int(asked[1])
        return httpx.Response(
            206,
            content=data[start:],
            headers={"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"},
        )

    def files_page(self, run: FakeRun, variables: Mapping[str, Any]) -> dict[str, Any]:
        wanted = variables.get("fileNames")
        names = [name for name in run.files if not wanted or name in wanted]
        start = int(variables.get("fileCursor") or 0)
        page = names[start : start + min(self.page_limit, variables.get("fileLimit", 100))]
        edges = [
            {"node": self.file_node(run, name), "cursor": str(start + number + 1)}
            for number, name in enumerate(page)
        ]
        return {"edges": edges, "pageInfo": {"hasNextPage": start + len(page) < len(names)}}

    def console_page(self, run: FakeRun, variables: Mapping[str, Any]) -> dict[str, Any]:
        """A page as the SDK's query asks for it: from the start, after a cursor, or the last lines."""
        if "last" in variables:
            lines = run.console[-min(variables["last"], self.console_limit) :]
            return {"edges": [{"node": console_node(line)} for line in lines]}
        start = int((variables["after"] or "line-0").removeprefix("line-"))
        page = run.console[start : start + min(variables["first"], self.console_limit)]
        end = start + len(page)
        info = {"endCursor": f"line-{end}" if page else None, "hasNextPage": end < len(run.console)}
        return {"edges": [{"node": console_node(line)} for line in page], "pageInfo": info}

    def file_node(self, run: FakeRun, name: str) -> dict[str, Any]:
        data, path = run.files[name], f"/files/{run.run_id}/{name.encode().hex()}"
        self.signed += 1
        md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        return {
            "id": name,
            "name": name,
            "url": f"{API}{path}",
            "directUrl": f"{STORAGE}{path}?sig={self.signed}",
            "sizeBytes": str(len(data)),
            "mimetype": "text/plain",
            "md5": md5,
            **run.reported.get(name, {}),
        }

    def answer(self, operation: str, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        if operation == "GetDefaultEntity":
            return {"viewer": {"id": "1", "entity": self.entity}}
        if (variables["entity"], variables["project"]) != (self.entity, self.project):
            return {"project": None}
        if operation in ("Runs", "HistoryPages"):
            runs = self.listing(query, variables) if operation == "Runs" else self.history_pages(variables)
            return {"project": runs}
        if operation.startswith("GetSweep"):
            config = self.sweeps.get(variables["name"])
            return {"project": {"sweep": None if config is None else {"id": "1", "config": config}}}
        if operation in ("NamedRuns", "RunInventories"):
            aliases = {
                name.replace("name", "r"): value
                for name, value in variables.items()
                if name.startswith("name")
            }
            return {"project": {alias: self.node(run_id, query, {}) for alias, run_id in aliases.items()}}
        run_id = variables.get("name") or variables.get("runName") or variables.get("run")
        return {"project": {"run": self.node(str(run_id), query, variables)}}

    def history_pages(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        found = {}
        for name, run_id in variables.items():
            if number := name.removeprefix("run") if name.startswith("run") else "":
                low, high, size = (variables[f"{part}{number}"] for part in ("min", "max", "size"))
                window = {"minStep": low, "maxStep": high, "pageSize": size}
                found[f"r{number}"] = self.node(run_id, "history(minStep", window)
        return found

    def listing(self, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        sweep = re.search(r'"sweep": "(\w+)"', variables["filters"])
        names = [run.run_id for run in self.runs.values() if sweep is None or run.sweep == sweep[1]]
        start = int(variables["cursor"] or 0)
        page = names[start : start + min(self.page_limit, variables["perPage"])]
        edges = [
            {"node": self.node(name, query), "cursor": str(start + number + 1)}
            for number, name in enumerate(page)
        ]
        info = {"endCursor": "", "hasNextPage": start + len(page) < len(names)}
        return {"runCount": len(names), "runs": {"edges": edges, "pageInfo": info}}

    def node(
        self, run_id: str, query: str, variables: Mapping[str, Any] | None = None
    ) -> dict[str, Any] | None:
        run = self.runs.get(run_id)
        if run is None:
            return None
        fields: dict[str, Any] = {}
        if "displayName" in query:
            fields = self.facts(run)
        if "parquetHistory" in query:
            fields["parquetHistory"] = {"parquetUrls": self.sign(run), "liveData": self.live_data(run)}
        if "history(minStep" in query and variables is not None:
            fields["history"] = self.page(run, variables)
        if ("files(names" in query or "files(first" in query) and variables is not None:
            fields["files"] = self.files_page(run, variables)
        if "logLineCount" in query:
            fields["logLineCount"] = len(run.console) if run.console_count is None else run.console_count
        if "logLines(" in query and variables is not None:
            fields["logLines"] = self.console_page(run, variables)
        if "events(" in query and variables is not None:
            fields["events"] = [json.dumps(event) for event in run.events[: variables.get("samples", 1)]]
        return fields | self.artifact_counts(run, query)

    def artifact_counts(self, run: FakeRun, query: str) -> dict[str, Any]:
        counts = {"output": run.logged_artifacts, "input": run.used_artifacts}
        return {
            alias: {"totalCount": counts[kind]}
            for alias, kind in re.findall(r"(\w+): (output|input)Artifacts\(", query)
        }

    def facts(self, run: FakeRun) -> dict[str, Any]:
        return {
            "id": f"storage-{run.run_id}",
            "name": run.run_id,
            "displayName": f"run {run.run_id}",
            "state": run.state,
            "tags": ["a"],
            "sweepName": run.sweep,
            "createdAt": "2026-01-02T03:04:05",
            "heartbeatAt": "2026-01-02T03:05:05Z",
            "user": {"name": "Ada", "username": "ada"},
            "config": json.dumps({key: {"value": value, "desc": None} for key, value in run.config.items()}),
            "summaryMetrics": json.dumps(run.summary),
            "systemMetrics": None,
            "historyLineCount": run.lines,
            "historyKeys": None
            if run.last_step is None
            else {
                "keys": {
                    name: {"typeCounts": [{"type": "number", "count": count}]}
                    for name, count in run.keys.items()
                },
                "sets": [],
                "lastStep": run.last_step,
            },
            **run.extra,
        }

    def sign(self, run: FakeRun) -> list[str]:
        self.signed += 1
        urls = [f"{STORAGE}/bucket/{name}?sig={self.signed}&name=a%2Fb" for name in run.shards]
        return urls[::-1] if self.signed % 2 else urls

    def live_data(self, run: FakeRun) -> Any:
        if run.live_data == "listed":
            return [{"_step": float(row["_step"])} for row in run.live]
        return run.live_data

    def page(self, run: FakeRun, variables: Mapping[str, Any]) -> list[str]:
        low, high = variables["minStep"], variables["maxStep"]
        rows = [row for row in run.live if low <= row["_step"] < high]
        most = min(variables["pageSize"], self.most_samples)
        if len(rows) > most:
            rows = [rows[math.floor(number * len(rows) / most)] for number in range(most)]
        return [json.dumps(row) for row in rows]


class Instant:
    """A clock on which waiting takes no time and is remembered."""

    def __init__(self) -> None:
        self.time = 0.0
        self.waits: list[float] = []
        self.clock = Clock(
            now=self.now, wall=lambda: 1_700_000_000.0 + self.time, sleep=self.sleep, chance=lambda: 0.0
        )

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        import anyio.lowlevel

        until = self.time + seconds  # tasks that wait at once do not wait one after the other
        self.waits.append(seconds)
        await anyio.lowlevel.checkpoint()
        self.time = max(self.time, until)


def console_node(line: ConsoleLine) -> dict[str, Any]:
    """A line as W&B lists it: without a level and a label, these are empty."""
    return {
        "number": line.number,
        "timestamp": line.timestamp,
        "level": line.level,
        "label": line.label,
        "line": line.text,
    }


def once(*answers: httpx.Response | Exception, when: Callable[[httpx.Request], bool]) -> Fault:
    """A fault that gives these answers, one per request that it concerns, and then none."""
    left = list(answers)
    return lambda request: left.pop(0) if left and when(request) else None


def to_storage(request: httpx.Request) -> bool:
    return request.url.host == "storage.test"


def asking(operation: str) -> Callable[[httpx.Request], bool]:
    """Whether a request is that GraphQL operation."""
    return lambda request: (
        request.url.path == "/graphql" and json.loads(request.content)["operationName"] == operation
    )


QUICK = RetryPolicy(attempts=6, total_seconds=120.0)
