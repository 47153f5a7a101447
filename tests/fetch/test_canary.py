"""The key is in the Authorization header of requests to the API's origin, and nowhere else at all."""

from __future__ import annotations

import base64
import json
import logging
import os
import subprocess
import sys
import traceback
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from checkout import ROOT
from pulling import PROJECT, pull_from
from scripted_wandb import (
    API,
    KEY,
    SETTINGS,
    FakeRun,
    Instant,
    ScriptedWandb,
    asking,
    once,
    rows_of,
    to_storage,
)
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pull_logs.errors import PullLogsError
from pull_logs.fetch import PullProgress, open_cached
from pull_logs.fetch.api.client import Client
from pull_logs.fetch.api.settings import Settings
from pull_logs.fetch.cache import Cache
from pull_logs.replay import serve_bundle

pytestmark = pytest.mark.anyio

HIDDEN = (KEY, base64.b64encode(f"api:{KEY}".encode()).decode())


def assert_hidden(text: str) -> None:
    assert not any(secret in text for secret in HIDDEN)


def assert_only_the_api_is_told(server: ScriptedWandb) -> None:
    for request in server.requests:
        sent = request.headers.pop("authorization", "")
        assert (sent == f"Basic {HIDDEN[1]}") == (str(request.url) == f"{API}/graphql")
        assert_hidden(f"{request.url} {list(request.headers.raw)} {request.content!r}")


def files_below(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


async def test_in_a_pull_with_redirects_and_retries(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    states: list[PullProgress] = []
    server = ScriptedWandb(
        FakeRun.exported("a", rows_of(range(9)), shards=3), FakeRun.logging("b", rows_of(range(9)))
    )
    home = f"{API}/bucket/a-0?sig=1"
    server.faults = [
        once(httpx.Response(302, headers={"Location": "https://third.test/x"}), when=to_storage),
        lambda request: (
            httpx.Response(302, headers={"Location": home}) if request.url.host == "third.test" else None
        ),
        lambda request: httpx.Response(403, text="no") if str(request.url) == home else None,
        once(httpx.Response(500, json={"error": f"key {KEY} crashed"}), when=asking("HistoryPage")),
    ]
    report = await pull_from(server, tmp_path / "b.zip", progress=states.append)
    assert {request.url.host for request in server.requests} == {"api.test", "storage.test", "third.test"}
    assert_only_the_api_is_told(server)
    assert_hidden(caplog.text + repr(report) + json.dumps(report.to_json()) + repr(states) + repr(SETTINGS))
    assert not any(secret.encode() in files_below(tmp_path) for secret in HIDDEN)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(401, json={"error": f"unknown key {KEY}"}),
        httpx.Response(403, json={"errors": [{"message": f"{KEY} may not"}]}),
        httpx.Response(200, json={"errors": [{"message": f"permission denied for {KEY}"}], "data": None}),
        httpx.Response(200, json={"errors": [{"message": f"oops {KEY}"}], "data": None}),
        httpx.Response(200, json=[KEY]),
        httpx.Response(500, json={"error": HIDDEN[1]}),
        httpx.Response(307, headers={"Location": f"https://evil.test/{KEY}"}),
        httpx.ConnectError(f"cannot send {KEY}"),
    ],
)
async def test_in_errors_and_what_is_left_of_them(
    tmp_path: Path, answer: httpx.Response | Exception, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server = ScriptedWandb()
    server.faults = [lambda _: answer]
    with pytest.raises(PullLogsError) as caught:
        await pull_from(server, tmp_path / "b.zip")
    assert_hidden("".join(traceback.format_exception(caught.value)) + repr(caught.value) + caught.value.hint)
    assert_hidden(caplog.text)
    assert_only_the_api_is_told(server)


async def test_a_redirect_of_the_api_is_not_followed(tmp_path: Path) -> None:
    server = ScriptedWandb()
    server.faults = [lambda _: httpx.Response(308, headers={"Location": "https://evil.test/graphql"})]
    with pytest.raises(PullLogsError):
        await pull_from(server, tmp_path / "b.zip")
    assert [request.url.host for request in server.requests] == ["api.test"]


async def test_storage_on_the_apis_own_origin_is_not_reported_either() -> None:
    server = ScriptedWandb()
    server.faults = [
        lambda request: httpx.Response(200, content=b"PAR1PAR1") if request.method == "GET" else None
    ]
    async with Client(SETTINGS, transport=server.transport, clock=Instant().clock) as client:
        from pull_logs.fetch.api.downloads import download

        (await download(client.pool, client.storage, f"{API}/storage/x?sig=1")).close()
    assert "authorization" not in server.requests[0].headers


def test_the_cache_is_keyed_by_it_without_showing_it(tmp_path: Path) -> None:
    server = ScriptedWandb(FakeRun.exported("a", rows_of(range(9))))
    with ExitStack() as stack:
        open_cached(PROJECT, stack=stack, settings=SETTINGS, folder=tmp_path, transport=server.transport)
    assert_hidden("".join(str(path) for path in tmp_path.rglob("*")))
    assert not any(secret.encode() in files_below(tmp_path) for secret in HIDDEN)
    other = Settings(base_url=API, api_key="o" * 40)
    assert Cache(tmp_path, SETTINGS).prepare() != Cache(tmp_path, other).prepare()


class Recorder:
    """ASGI middleware: remembers every request, to the last byte."""

    def __init__(self, app: ASGIApp, *, seen: list[tuple[str, list[tuple[bytes, bytes]], bytes]]) -> None:
        self.app, self.seen = app, seen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        target = f"{scope['path']}?{scope['query_string'].decode()}"

        async def heard() -> Message:
            nonlocal body
            message = await receive()
            body += message.get("body", b"")
            return message

        await self.app(scope, heard, send)
        self.seen.append((target, list(scope["headers"]), body))


def test_in_what_the_command_sends_says_and_writes(tmp_path: Path) -> None:
    seen: list[tuple[str, list[tuple[bytes, bytes]], bytes]] = []
    served = ROOT / "fixtures" / "digits.wandb.zip"
    home = tmp_path / "home"
    home.mkdir()
    said = ""
    with serve_bundle(served, api_key=KEY, middleware=[Middleware(Recorder, seen=seen)]) as server:
        where = {name: str(home) for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "TMPDIR")}
        environment = {**os.environ, **server.environment(), **where, "PYTHONPATH": str(Path.cwd())}
        for words in (
            "fetch -p acme/digits -o b.wandb.zip --system --report-json r.json",
            "refresh b.wandb.zip",
            "-r acme/digits/cnn1e2s0 --schema",
            "fetch -p acme/nope -o c.wandb.zip",
            "fetch -r acme/digits/cnn1e2s0 -r acme/digits/nope -o c.wandb.zip",
        ):
            done = subprocess.run(
                [sys.executable, "-m", "pull_logs", *words.split()],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == (3 if "nope -o c" in words and "-p" in words else 0), done.stderr
            said += done.stdout + done.stderr
    assert {target.partition("?")[0] == "/graphql" for target, _, _ in seen} == {True, False}
    for target, headers, body in seen:
        sent = [value for name, value in headers if name == b"authorization"]
        assert sent == ([f"Basic {HIDDEN[1]}".encode()] if target.startswith("/graphql") else [])
        rest = [pair for pair in headers if pair[0] != b"authorization"]
        assert_hidden(f"{target} {rest} {body!r}")
    assert_hidden(said)
    assert (tmp_path / "c.wandb.zip.partial").is_dir()
    assert not any(secret.encode() in files_below(tmp_path) for secret in HIDDEN)
    assert_hidden("".join(str(path) for path in tmp_path.rglob("*")))
