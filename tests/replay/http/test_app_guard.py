"""What the replay answers nobody: without its key, for another host, from another origin."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping

import pytest
from served_app import KEY, client_of, open_world
from starlette.applications import Starlette

from pull_logs.replay.http.app import build_app
from pull_logs.snapshot.read.bundle import Bundle

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bundle]:
    with open_world(tmp_path_factory.mktemp("app")) as bundle:
        yield bundle


@pytest.fixture
def app(bundle: Bundle) -> Starlette:
    return build_app([bundle], api_key=KEY)


def basic(text: str) -> Mapping[str, str]:
    return {"Authorization": "basic " + base64.b64encode(text.encode()).decode()}


@pytest.mark.parametrize("headers", [basic(f"api:{KEY}"), {"authorization": f"BEARER {KEY}"}])
async def test_a_key_is_taken_as_basic_or_bearer(app: Starlette, headers: Mapping[str, str]) -> None:
    async with client_of(app, auth=None, headers=headers) as client:
        assert (await client.post("/graphql", json={"query": "{ viewer { id } }"})).status_code == 200


@pytest.mark.parametrize(
    "headers", [{}, basic("api:wrong"), basic(KEY), {"authorization": "Basic %"}, {"authorization": KEY}]
)
async def test_without_the_key_nothing_is_answered(app: Starlette, headers: Mapping[str, str]) -> None:
    async with client_of(app, auth=None, headers=headers) as client:
        answer = await client.post("/graphql", json={"query": "{ viewer { id } }"})
    assert answer.status_code == 401
    assert (answer.json()["error"], answer.json()["data"]) == ("user is not logged in", None)


async def test_a_server_without_a_given_key_makes_one(bundle: Bundle) -> None:
    first, second = build_app([bundle]).state.api_key, build_app([bundle]).state.api_key
    assert first != second
    assert len(first) == 40


@pytest.mark.parametrize(
    ("host", "hint"),
    [
        ("evil.example", "evil.example"),
        ("evil.example:8080", "evil.example"),
        ("192.168.1.7", "192.168.1.7"),
        ("localhost.evil.example", "localhost.evil.example"),
        ("replay", "replay"),
        ("", None),
    ],
)
async def test_another_host_is_not_answered_for(app: Starlette, host: str, hint: str | None) -> None:
    message = f"this server does not answer for host {host!r}"
    if hint:
        message += f"; `pull-logs serve --allow-host {hint}` would"
    async with client_of(app, headers={"host": host}) as client:
        answer = await client.post("/graphql", json={"query": "{ viewer { id } }"})
    assert answer.status_code == 403
    assert answer.json() == {"error": message, "errors": [{"message": message}], "data": None}


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1:8080", "127.1.2.3", "[::1]:80", "ci-node:5"]
)
async def test_this_machine_and_the_hosts_that_were_named_are(bundle: Bundle, host: str) -> None:
    app = build_app([bundle], api_key=KEY, hosts=["ci-node"])
    async with client_of(app, headers={"host": host}) as client:
        assert (await client.post("/graphql", json={"query": "{ viewer { id } }"})).status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:9"])
async def test_a_page_of_another_origin_is_not_answered(app: Starlette, origin: str) -> None:
    async with client_of(app, headers={"origin": origin}) as client:
        answer = await client.post("/graphql", json={"query": "{ viewer { id } }"})
    assert answer.status_code == 403
    assert answer.json()["error"] == f"this server does not answer pages of {origin!r}"


async def test_what_a_form_can_send_is_not_taken(app: Starlette) -> None:
    async with client_of(app) as client:
        for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
            answer = await client.post("/graphql", content=b"{}", headers={"content-type": kind})
            assert answer.status_code == 415
        assert (await client.get("/graphql?query={viewer{id}}")).status_code == 405


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"{", 400, "the body is not JSON"),
        (b"[" * 100_000, 400, "the body is not JSON"),
        (b"[]", 400, "the body has no query"),
        (b'{"query": 3}', 400, "the body has no query"),
        (b'{"query": "", "variables": []}', 400, "variables must be an object and operationName a string"),
        (b" " * 1_000_001, 413, "a query has at most 1000000 bytes"),
    ],
)
async def test_a_body_that_is_no_question(app: Starlette, body: bytes, status: int, message: str) -> None:
    async with client_of(app) as client:
        answer = await client.post("/graphql", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()) == (status, {"error": message})
