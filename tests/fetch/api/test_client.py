"""The client: what goes where, and what each kind of answer means."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import httpx
import orjson
import pytest
from scripted_wandb import API, KEY, QUICK, SETTINGS, Fault, Instant, ScriptedWandb, once

from pull_logs.errors import NetworkError, PullLogsError, ServerError, SignInError
from pull_logs.fetch.api.client import Client
from pull_logs.fetch.api.errors import (
    HeavyRequestError,
    KeyRefusedError,
    RejectedQueryError,
    UnreachableError,
)
from pull_logs.fetch.api.queries import default_entity
from pull_logs.fetch.api.settings import Settings

INSTEAD = "; `pull-logs fetch --via sdk` reads with the W&B SDK instead"

pytestmark = pytest.mark.anyio

DENIED = {"errors": [{"message": "permission denied"}], "data": {"project": None}}
GOOD = {"data": {"viewer": {"id": "1", "entity": "acme"}}}


def client(server: ScriptedWandb, instant: Instant | None = None, settings: Settings = SETTINGS) -> Client:
    clock = (instant or Instant()).clock
    return Client(settings, transport=server.transport, policy=QUICK, clock=clock)


def always(answer: httpx.Response | Exception) -> Fault:
    return lambda _: answer


async def ask(server: ScriptedWandb, instant: Instant | None = None, *, heavy: int | None = None) -> object:
    async with client(server, instant) as api:
        return (await api.query(default_entity(), heavy_attempts=heavy)).data


async def test_a_query_carries_the_key_and_our_name_and_nothing_else() -> None:
    server = ScriptedWandb()
    assert await ask(server) == GOOD["data"]
    (request,) = server.requests
    assert str(request.url) == f"{API}/graphql"
    assert json.loads(request.content)["operationName"] == "GetDefaultEntity"
    assert request.headers.pop("authorization") == f"Basic {base64.b64encode(f'api:{KEY}'.encode()).decode()}"
    assert request.headers.pop("user-agent").startswith("wandb-pull-logs/")
    del request.headers["content-length"]
    assert dict(request.headers) == {
        "host": "api.test",
        "content-type": "application/json",
        "accept": "application/json",
        "accept-encoding": "gzip",
    }


async def test_cookies_are_not_kept() -> None:
    server = ScriptedWandb()
    server.faults = [
        once(httpx.Response(200, json=GOOD, headers={"Set-Cookie": "a=b; Path=/"}), when=lambda _: True)
    ]
    async with client(server) as api:
        await api.query(default_entity())
        await api.query(default_entity())
    assert all("cookie" not in request.headers for request in server.requests)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(408),
        httpx.Response(418),
        httpx.Response(429, json={"error": "rate limit exceeded"}),
        httpx.Response(500),
        httpx.Response(502, html="<html>Bad gateway</html>"),
        httpx.Response(200, html="<html>Please wait</html>"),
        httpx.Response(200, json={"errors": [{"message": "internal error"}], "data": None}),
        httpx.Response(
            200, json={"errors": [{"message": "oops", "path": ["viewer"]}], "data": {"viewer": None}}
        ),
        httpx.Response(200, json={"data": None}),
        httpx.Response(200, content=b"{}", headers={"Content-Length": "99"}),
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        httpx.RemoteProtocolError("peer closed connection"),
        httpx.ReadError("reset"),
        httpx.DecodingError("bad gzip"),
    ],
    ids=lambda answer: str(getattr(answer, "status_code", type(answer).__name__)),
)
async def test_what_may_pass_is_asked_again(answer: httpx.Response | Exception) -> None:
    server = ScriptedWandb()
    server.faults = [once(answer, answer, when=lambda _: True)]
    assert await ask(server) == GOOD["data"]
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (
            httpx.Response(401, json={"error": f"bad key {KEY}"}),
            KeyRefusedError,
            ("W&B at api.test refused the key: bad key (the key);"
            " sign in with `wandb login` or set WANDB_API_KEY"),
        ),
        (
            httpx.Response(403, json=DENIED),
            SignInError,
            ("no permission at api.test: permission denied;"
            " check the entity's name, and that the key's user is a member of it"),
        ),
        (
            httpx.Response(200, json=DENIED),
            SignInError,
            ("no permission at api.test: permission denied;"
            " check the entity's name, and that the key's user is a member of it"),
        ),
        (
            httpx.Response(404, html="<html></html>"),
            ServerError,
            "api.test has no GraphQL API; check WANDB_BASE_URL, which is the API's address",
        ),
        (
            httpx.Response(400, json={"errors": ["Cannot query field 'x'"]}),
            RejectedQueryError,
            f"api.test answered 400: Cannot query field 'x'{INSTEAD}",
        ),
        (
            httpx.Response(200, json={"errors": [{"message": 'Unknown argument "liveKeys"'}]}),
            RejectedQueryError,
            f'api.test answered GetDefaultEntity with an error: Unknown argument "liveKeys"{INSTEAD}',
        ),
        (httpx.Response(501, json={"error": {"message": "no"}}), ServerError, "api.test answered 501: no"),
        (
            httpx.Response(307, headers={"Location": "https://evil.test/graphql"}),
            ServerError,
            ("api.test redirects to evil.test, where the key is not sent;"
            " set WANDB_BASE_URL to the address of the API itself"),
        ),
    ],
)  # fmt: skip
async def test_what_is_final_is_said_at_once(
    answer: httpx.Response, kind: type[PullLogsError], message: str
) -> None:
    server = ScriptedWandb()
    server.faults = [always(answer)]
    with pytest.raises(kind) as caught:
        await ask(server)
    assert str(caught.value) == message
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            httpx.ConnectError("[Errno 111] refused"),
            ("api.test cannot be reached (gave up after 3 attempts);"
            " check the network, the proxy and WANDB_BASE_URL"),
        ),
        (
            httpx.ReadTimeout("t"),
            ("api.test did not answer anything in 15 s; check WANDB_BASE_URL and the proxy; if the server is"
            " only slow, set WANDB_HTTP_TIMEOUT to more than 19 seconds"),
        ),
        (httpx.Response(503), "api.test answered 503 (gave up after 6 attempts)"),
        (
            httpx.Response(200, html="<!doctype html><p>hi"),
            "api.test answered GetDefaultEntity with an HTML page (gave up after 6 attempts)",
        ),
        (
            httpx.Response(200, json={"errors": [{"message": "deadline\n exceeded"}]}),
            "api.test answered GetDefaultEntity with an error: deadline exceeded (gave up after 4 attempts)",
        ),
    ],
)  # fmt: skip
async def test_what_does_not_pass_names_the_host(answer: httpx.Response | Exception, message: str) -> None:
    server = ScriptedWandb()
    server.faults = [always(answer)]
    with pytest.raises(NetworkError) as caught:
        await ask(server)
    assert str(caught.value) == message


async def test_an_unreachable_host_is_reported_apart() -> None:
    server = ScriptedWandb()
    server.faults = [always(httpx.ConnectError("x"))]
    with pytest.raises(UnreachableError) as caught:
        await ask(server)
    assert caught.value.host == "api.test"


async def test_a_host_that_answered_before_is_given_more_time_to_come_back() -> None:
    server = ScriptedWandb()
    async with client(server, Instant()) as api:
        await api.query(default_entity())
        server.faults = [always(httpx.ConnectError("x"))]
        with pytest.raises(UnreachableError) as caught:
            await api.query(default_entity())
    assert caught.value.message == "api.test cannot be reached (gave up after 6 attempts)"


async def test_retry_after_and_ratelimit_reset_are_obeyed() -> None:
    server, instant = ScriptedWandb(), Instant()
    server.faults = [
        once(
            httpx.Response(429, headers={"Retry-After": "7.5"}),
            httpx.Response(429, headers={"RateLimit-Remaining": "0", "RateLimit-Reset": "40"}),
            when=lambda _: True,
        )
    ]
    await ask(server, instant)
    assert instant.time == 47.5


async def test_a_used_up_quota_is_waited_for() -> None:
    server, instant = ScriptedWandb(), Instant()
    spent = httpx.Response(200, json=GOOD, headers={"RateLimit-Remaining": "0", "RateLimit-Reset": "30"})
    server.faults = [once(spent, when=lambda _: True)]
    async with client(server, instant) as api:
        await api.query(default_entity())
        assert instant.time == 0
        await api.query(default_entity())
    assert instant.time == 30


async def test_partial_data_is_an_answer_where_it_is_asked_for() -> None:
    server = ScriptedWandb()
    partial = {
        "data": {"viewer": {"entity": "acme"}},
        "errors": [{"message": "oops", "path": ["viewer", "id"]}],
    }
    server.faults = [always(httpx.Response(200, json=partial))]
    async with client(server) as api:
        answer = await api.query(default_entity(), partial=True)
        assert (answer.data, list(answer.errors)) == (partial["data"], partial["errors"])
        with pytest.raises(HeavyRequestError):
            await api.query(default_entity(), heavy_attempts=2)


@pytest.mark.parametrize("data", [{"project": None}, None])
async def test_an_error_that_says_that_something_is_not_there_is_the_null_beside_it(data: object) -> None:
    server = ScriptedWandb()
    missing = {"message": "no project", "path": ["project"], "extensions": {"code": "NOT_FOUND"}}
    server.faults = [always(httpx.Response(200, json={"data": data, "errors": [missing]}))]
    assert await ask(server) == (data or {})
    assert len(server.requests) == 1
    server.faults = [always(httpx.Response(200, json={"data": data, "errors": [missing, {"message": "x"}]}))]
    with pytest.raises(NetworkError):
        await ask(server)


async def test_bare_nan_and_lone_surrogates_in_a_body_are_read() -> None:
    server = ScriptedWandb()
    body = b'{"data": {"viewer": {"entity": "a", "x": NaN, "y": "\\ud800"}}}'
    server.faults = [always(httpx.Response(200, content=body))]
    data = await ask(server)
    assert isinstance(data, dict)
    assert str(data["viewer"]["x"]) == "nan"


async def test_an_identity_token_is_exchanged_once_and_renewed_before_its_end(tmp_path: Path) -> None:
    token_file = tmp_path / "token"
    token_file.write_text(" id.en.tity\n")
    server, instant = ScriptedWandb(), Instant()
    tokens = iter(["first", "second"])
    exchanges: list[bytes] = []

    def exchange(request: httpx.Request) -> httpx.Response | None:
        if request.url.path != "/oidc/token":
            return None
        exchanges.append(request.content)
        return httpx.Response(200, json={"access_token": next(tokens), "expires_in": 3600})

    server.faults = [exchange]
    settings = Settings(base_url=API, identity_token_file=token_file)
    async with client(server, instant, settings) as api:
        await api.query(default_entity())
        await api.query(default_entity())
        instant.time += 3400
        await api.query(default_entity())
    sent = [request.headers["authorization"] for request in server.requests if request.url.path == "/graphql"]
    assert sent == ["Bearer first", "Bearer first", "Bearer second"]
    form = b"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=id.en.tity"
    assert exchanges == [form, form]


async def test_without_a_key_nothing_is_sent() -> None:
    server = ScriptedWandb()
    with pytest.raises(SignInError):
        async with client(server, settings=Settings(base_url=API)):
            pass
    assert server.requests == []


async def test_a_body_that_does_not_end_is_given_up(anyio_backend_name: str) -> None:
    class Endless(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"{"
            await anyio.sleep_forever()

    server = ScriptedWandb()
    settings = Settings(base_url=API, api_key=KEY, timeout=0.01)
    server.faults = [once(httpx.Response(200, stream=Endless()), when=lambda _: True)]
    async with client(server, settings=settings) as api:
        assert (await api.query(default_entity())).data == GOOD["data"]


def test_errors_of_a_server_are_shown_on_one_line() -> None:
    from pull_logs.fetch.api.failures import body_text

    said = body_text(orjson.dumps({"error": "a\x1b[31m\nb" + "x" * 999}))
    assert said.startswith("a [31m bxxx")
    assert len(said) == 300
