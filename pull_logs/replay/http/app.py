"""The replay server as an ASGI application: GraphQL, links to exports, and nothing that changes anything.

POST /graphql -> guard -> documents -> schema and nodes -> catalog, library -> bundles
GET /storage/... -> links -> library
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import orjson
from anyio import to_thread
from graphql import execute_sync
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pull_logs.errors import DamageError, PullLogsError, UsageError
from pull_logs.replay.data import MEMORY, STORAGE, Catalog, Library, LinkSigner, LinkState, object_run
from pull_logs.replay.graphql import (
    DocumentRefusedError,
    Documents,
    Named,
    Prepared,
    asked_for,
    query_root,
    read_schema,
)
from pull_logs.replay.http.guard import MAX_BODY, BodyTooLargeError, HostGuard, has_key, read_body
from pull_logs.replay.http.objects import error_answer, object_answer
from pull_logs.replay.http.request_counts import RequestCounts
from pull_logs.snapshot import Bundle

OnAsk = Callable[[Collection[Named]], Sequence[Bundle] | None]

_LOG = logging.getLogger("pull_logs.replay")


def new_api_key() -> str:
    """A key of the form that the SDK takes: 40 hexadecimal digits."""
    return secrets.token_hex(20)


def build_app(
    bundles: Sequence[Bundle],
    *,
    api_key: str | None = None,
    entity: str | None = None,
    hosts: Collection[str] = (),
    signer: LinkSigner | None = None,
    memory: int = MEMORY,
    shard_rows: int | None = None,
    middleware: Sequence[Middleware] = (),
    on_ask: OnAsk | None = None,
) -> Starlette:
    """A W&B-compatible read server over bundles, which stay the caller's to close.

    `app.state.api_key` is its key, `app.state.requests` counts what it was
    asked, and `app.state.refused` the other addresses that it was to be a proxy
    for (`RequestCounts`). Links in its answers lead to the host that the
    request named.

    Args:
        bundles: A run that several of them hold is served from the first.
        api_key: The key that queries must carry; None makes one.
        entity: The default entity; None takes that of the first run.
        hosts: Names or addresses besides loopback that requests may be sent to.
        signer: Signs links; tests set its clock.
        memory: Bytes that decoded tables, and again encoded exports, may take.
        shard_rows: Rows that one export has at most: W&B exports a long run in several files. None gives
            each run one file.
        middleware: More ASGI middleware behind the guard, such as latency or faults for a test.
        on_ask: Told what each query asks for before it is answered; it gives the bundles to serve from
            then on, or None to go on with those there are.

    Raises:
        UsageError: `shard_rows` is less than 1.
    """
    if shard_rows is not None and shard_rows < 1:
        raise UsageError(f"shard_rows is {shard_rows}, less than 1")
    key = api_key or new_api_key()
    signer = signer or LinkSigner()

    def open_library(bundles: Sequence[Bundle]) -> Library:
        catalog = Catalog(bundles, entity=entity)
        return Library(catalog, signer=signer, memory=memory, shard_rows=shard_rows)

    shelf = _Shelf(open_library(bundles), reopen=open_library, on_ask=on_ask)
    refused = RequestCounts()
    service = _Service(key, shelf, Documents(read_schema()), RequestCounts())
    app = Starlette(
        routes=[
            Route("/graphql", service.graphql, methods=["POST"]),
            Route(f"{STORAGE}/{{token}}/{{name}}", service.stored, methods=["GET"]),
        ],
        middleware=[Middleware(HostGuard, hosts=tuple(hosts), on_refusal=refused.add), *middleware],
    )
    app.state.api_key = key
    app.state.requests = service.counts
    app.state.refused = refused
    return app


@dataclass(frozen=True, slots=True)
class _Question:
    """The body of a GraphQL request."""

    query: str
    variables: Mapping[str, Any] | None
    operation: str | None


class _Shelf:
    """The library that is served now; where `on_ask` has bundles added, the one that has them."""

    def __init__(
        self, library: Library, *, reopen: Callable[[Sequence[Bundle]], Library], on_ask: OnAsk | None
    ) -> None:
        self.library = library
        self._reopen, self._on_ask = reopen, on_ask
        self._lock = Lock()

    def library_for(self, question: _Question, prepared: Prepared) -> Library:
        """The library that answers a question.

        Raises:
            PullLogsError: `on_ask` raised it.
        """
        if self._on_ask is None:
            return self.library
        named = asked_for(
            prepared.document,
            question.operation,
            question.variables or {},
            entity=self.library.catalog.entity,
        )
        with self._lock:
            bundles = self._on_ask(named) if named else None
            if bundles is not None:
                self.library = self._reopen(bundles)
            return self.library


@dataclass(frozen=True, slots=True)
class _Service:
    api_key: str
    shelf: _Shelf
    documents: Documents
    counts: RequestCounts

    async def graphql(self, request: Request) -> Response:
        if not has_key(request, self.api_key):
            self.counts.add("(signed out)")
            return JSONResponse({"error": "user is not logged in"}, 401)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return JSONResponse({"error": "a query is sent as application/json"}, 415)
        try:
            question = _question(await read_body(request))
        except BodyTooLargeError:
            return JSONResponse({"error": f"a query has at most {MAX_BODY} bytes"}, 413)
        if isinstance(question, str):
            return JSONResponse({"error": question}, 400)
        status, body = await to_thread.run_sync(self._answer, question, str(request.base_url))
        return Response(body, status, media_type="application/json")

    def _answer(self, question: _Question, base_url: str) -> tuple[int, bytes]:
        """Status and body of the answer. Reads files: call it in a worker thread."""
        try:
            prepared = self.documents.prepare(question.query)
        except DocumentRefusedError as exc:
            self.counts.add("(refused)")
            errors = [error.formatted for error in exc.errors]
            return exc.status, _json({"errors": errors, "data": None})
        self.counts.add(_operation_name(question, prepared))
        try:
            library = self.shelf.library_for(question, prepared)
        except PullLogsError as exc:
            return 200, _json({"errors": [{"message": str(exc)}], "data": None})
        result = execute_sync(
            self.documents.schema,
            prepared.document,
            query_root(library, base_url),
            variable_values=dict(question.variables or {}),
            operation_name=question.operation,
        )
        return 200, _json(result.formatted)

    async def stored(self, request: Request) -> Response:
        ranged = "range" in request.headers
        self.counts.add("(object range)" if ranged else "(object)")
        path = request.url.path
        library = self.shelf.library
        state = library.signer.check(path, request.query_params)
        if state is not LinkState.GOOD:
            return error_answer(state.value, 403)
        run = object_run(request.path_params["token"])
        name = request.path_params["name"]
        try:
            found = None if run is None else await to_thread.run_sync(library.stored, run, name)
        except DamageError as exc:
            _LOG.error("%s", exc.message)
            return error_answer("ObjectDamaged", 410)
        if found is None:
            _LOG.warning("no object %r", path)
            return error_answer("NoSuchKey", 404)
        return object_answer(found, request.headers.get("range"))


def _question(body: bytes) -> _Question | str:
    """What a request's body asks, or what is wrong with it.

    The SDK sends an empty operation name for queries that come from Python
    (read API facts, section 1): it stands for none.
    """
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return "the body is not JSON"
    if not isinstance(content, dict) or not isinstance(content.get("query"), str):
        return "the body has no query"
    variables, operation = content.get("variables"), content.get("operationName")
    if not isinstance(variables, (dict, type(None))) or not isinstance(operation, (str, type(None))):
        return "variables are an object and operationName is text"
    return _Question(content["query"], variables, operation or None)


def _operation_name(question: _Question, prepared: Prepared) -> str:
    names = prepared.names
    return question.operation or (names[0] if len(names) == 1 else "") or "(unnamed)"


def _json(answer: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(answer)
    except TypeError:  # an integer of more than 64 bits
        return json.dumps(answer, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
