"""The replay server as a read-only ASGI application: GraphQL and links to exported files.

POST /graphql     -> guard -> documents -> schema, resolvers -> catalog, library -> bundles
GET /storage/...  -> links -> library
GET /artifactsV2/... -> library
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import Any, TypedDict, Unpack

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
    Prepared,
    QueryTarget,
    Work,
    query_root,
    query_targets,
    read_schema,
)
from pull_logs.replay.http.guard import MAX_BODY, BodyTooLargeError, HostGuard, read_body
from pull_logs.replay.http.hosts import AllowedHosts
from pull_logs.replay.http.keys import KeyCheck
from pull_logs.replay.http.objects import error_answer, object_answer
from pull_logs.replay.http.request_counts import RequestCounts
from pull_logs.runs import RunPath
from pull_logs.snapshot import Bundle

OnQuery = Callable[[Collection[QueryTarget]], Sequence[Bundle] | None]
"""Takes the targets of a query and returns the bundles to serve from then on, or None to keep them."""

_LOG = logging.getLogger("pull_logs.replay")


def new_api_key() -> str:
    """Return a new key in the form that the SDK accepts: 40 hexadecimal digits."""
    return secrets.token_hex(20)


class AppOptions(TypedDict, total=False):
    """How bundles are served; every option may be left out.

    Attributes:
        api_key: The key that queries must carry; None generates one.
        any_key: Whether queries from processes of this user on this machine may carry any other key.
        entity: The default entity; None uses the entity of the first run.
        hosts: Names or addresses besides loopback that requests may be sent to; `NAME:PORT` where clients
            know the server under another port.
        private_hosts: Whether requests may be sent to any IP address, name without a dot or name below
            `.internal` (see `hosts`).
        memory: Bytes that decoded histories may take, and encoded exports as many again.
        shard_rows: The most rows of one exported file, at least 1: W&B exports a long run in several files.
            None exports each run as one file.
        middleware: More ASGI middleware, applied after the guard, such as latency or faults for a test.
    """

    api_key: str | None
    any_key: bool
    entity: str | None
    hosts: Collection[str]
    private_hosts: bool
    memory: int
    shard_rows: int | None
    middleware: Sequence[Middleware]


def build_app(
    bundles: Sequence[Bundle],
    *,
    signer: LinkSigner | None = None,
    on_query: OnQuery | None = None,
    **options: Unpack[AppOptions],
) -> Starlette:
    """Build a W&B-compatible read server over open bundles; the caller closes them.

    `app.state.api_key` is its key, `app.state.requests` counts its requests by operation,
    `app.state.refused` counts the other addresses that clients tried to reach with it as their proxy
    (both `RequestCounts`), and `app.state.used` has the paths of the runs that answers contained. Links in
    its answers lead to the host that the request named.

    Args:
        bundles: The bundles. A run that several of them hold is served from the first.
        signer: Signs links; tests set its clock.
        on_query: Called with the targets of each query before it is answered. It returns the bundles to
            serve from then on, or None to keep the present ones.
        options: See `AppOptions`.

    Raises:
        UsageError: `shard_rows` is less than 1.
    """
    shard_rows = options.get("shard_rows")
    if shard_rows is not None and shard_rows < 1:
        raise UsageError(f"shard_rows is {shard_rows}, less than 1")
    signer = signer or LinkSigner()

    def open_library(bundles: Sequence[Bundle]) -> Library:
        catalog = Catalog(bundles, entity=options.get("entity"))
        memory = options.get("memory", MEMORY)
        return Library(catalog, signer=signer, memory=memory, shard_rows=shard_rows)

    served = _ServedLibrary(open_library(bundles), reopen=open_library, on_query=on_query)
    keys = KeyCheck(options.get("api_key") or new_api_key(), any_key=options.get("any_key", False))
    service = _Service(keys, served, Documents(read_schema()), RequestCounts())
    hosts = AllowedHosts.of(options.get("hosts", ()), private=options.get("private_hosts", False))
    return _application(service, hosts=hosts, middleware=options.get("middleware", ()))


def _application(service: _Service, *, hosts: AllowedHosts, middleware: Sequence[Middleware]) -> Starlette:
    refused = RequestCounts()
    app = Starlette(
        routes=[
            Route("/graphql", service.graphql, methods=["POST"]),
            Route(f"{STORAGE}/{{token}}/{{name}}", service.stored, methods=["GET"]),
            Route("/artifactsV2/{rest:path}", service.artifact_file, methods=["GET"]),
        ],
        middleware=[Middleware(HostGuard, hosts=hosts, on_refusal=refused.add), *middleware],
    )
    app.state.api_key = service.keys.api_key
    app.state.requests = service.counts
    app.state.refused = refused
    app.state.used = service.used
    return app


@dataclass(frozen=True, slots=True)
class _GraphQLRequest:
    """The body of a GraphQL request."""

    text: str
    variables: Mapping[str, Any] | None
    operation: str | None


class _ServedLibrary:
    """The library that is served now; `on_query` may replace it by one with more bundles."""

    def __init__(
        self, library: Library, *, reopen: Callable[[Sequence[Bundle]], Library], on_query: OnQuery | None
    ) -> None:
        self.library = library
        self._reopen, self._on_query = reopen, on_query
        self._lock = Lock()

    def library_for(self, query: _GraphQLRequest, prepared: Prepared) -> Library:
        """Return the library that answers a query.

        Raises:
            PullLogsError: `on_query` raised it.
        """
        if self._on_query is None:
            return self.library
        targets = query_targets(
            prepared.document,
            query.operation,
            query.variables or {},
            entity=self.library.catalog.entity,
        )
        with self._lock:
            bundles = self._on_query(targets) if targets else None
            if bundles is not None:
                self.library = self._reopen(bundles)
            return self.library


@dataclass(frozen=True, slots=True)
class _Service:
    """The two endpoints of the application."""

    keys: KeyCheck
    served: _ServedLibrary
    documents: Documents
    counts: RequestCounts
    used: set[RunPath] = field(default_factory=set)

    async def graphql(self, request: Request) -> Response:
        if refusal := self.keys.refusal(request):
            self.counts.add("(signed out)")
            return refusal
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return JSONResponse({"error": "send a query as application/json"}, 415)
        try:
            query = _parse_body(await read_body(request))
        except BodyTooLargeError:
            return JSONResponse({"error": f"a query has at most {MAX_BODY} bytes"}, 413)
        except _BadBodyError as exc:
            return JSONResponse({"error": str(exc)}, 400)
        status, body = await to_thread.run_sync(self._answer, query, str(request.base_url))
        return Response(body, status, media_type="application/json")

    def _answer(self, query: _GraphQLRequest, base_url: str) -> tuple[int, bytes]:
        """Return status and body of the answer. This reads files: call it in a worker thread."""
        try:
            prepared = self.documents.prepare(query.text)
        except DocumentRefusedError as exc:
            self.counts.add("(refused)")
            errors = [error.formatted for error in exc.errors]
            return exc.status, _json({"errors": errors, "data": None})
        self.counts.add(_operation_name(query, prepared))
        try:
            library = self.served.library_for(query, prepared)
        except PullLogsError as exc:
            return 200, _json({"errors": [{"message": str(exc)}], "data": None})
        work = Work()
        result = execute_sync(
            self.documents.schema,
            prepared.document,
            query_root(library, base_url, work, on_run=self.used.add),
            context_value=work,
            variable_values=dict(query.variables or {}),
            operation_name=query.operation,
        )
        if work.exceeded is not None:
            return 200, _json({"errors": [{"message": str(work.exceeded)}], "data": None})
        return 200, _json(result.formatted)

    async def stored(self, request: Request) -> Response:
        ranged = "range" in request.headers
        self.counts.add("(object range)" if ranged else "(object)")
        path = request.url.path
        library = self.served.library
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

    async def artifact_file(self, request: Request) -> Response:
        """Send one file of an artifact, which the SDK requests by the MD5 of its bytes, with the key."""
        if refusal := self.keys.refusal(request):
            self.counts.add("(signed out)")
            return refusal
        self.counts.add("(object)")
        # region / entity / project / collection / the artifact in which it was first logged / MD5 / name,
        # or, for releases before 0.28.2: region / entity / the artifact in which it was first logged / MD5
        parts = request.path_params["rest"].split("/")
        library, found = self.served.library, None
        try:
            if len(parts) > 6:
                entity, project, collection, _, digest = parts[1:6]
                find = partial(library.artifact_file, entity, digest, within=(project, collection))
                found = await to_thread.run_sync(find)
            elif len(parts) == 4:
                found = await to_thread.run_sync(library.artifact_file, parts[1], parts[3])
        except DamageError as exc:
            _LOG.error("%s", exc.message)
            return error_answer("ObjectDamaged", 410)
        if found is None:
            _LOG.warning("no object %r", request.url.path)
            return error_answer("NoSuchKey", 404)
        return object_answer(found, request.headers.get("range"))


class _BadBodyError(Exception):
    """The body of a request is not a GraphQL request."""


def _parse_body(body: bytes) -> _GraphQLRequest:
    """Read the body of a GraphQL request.

    The SDK sends an empty operation name with queries from Python code; it means the same as none.
    See docs/protocol.md, "Transport".

    Raises:
        _BadBodyError: The body is something else.
    """
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise _BadBodyError("the body is not JSON") from exc
    if not isinstance(content, dict) or not isinstance(content.get("query"), str):
        raise _BadBodyError("the body has no query")
    variables, operation = content.get("variables"), content.get("operationName")
    if not isinstance(variables, (dict, type(None))) or not isinstance(operation, (str, type(None))):
        raise _BadBodyError("variables must be an object and operationName a string")
    return _GraphQLRequest(content["query"], variables, operation or None)


def _operation_name(query: _GraphQLRequest, prepared: Prepared) -> str:
    names = prepared.names
    return query.operation or (names[0] if len(names) == 1 else "") or "(unnamed)"


def _json(answer: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(answer)
    except TypeError:  # an integer of more than 64 bits
        return json.dumps(answer, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
