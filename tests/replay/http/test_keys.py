"""Which keys the server accepts, from whom, and what it says to the others."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from replay_support import world, write_runs
from starlette.requests import Request

from pull_logs.replay import serve_bundle
from pull_logs.replay.http import keys
from pull_logs.replay.http.app import build_app
from pull_logs.snapshot.read.bundle import Bundle, open_bundle

KEY = "k" * 40
OTHER_KEY = "f00dfeed" * 5
ASK = {"query": "{ viewer { id } }"}
CLIENT, SERVER = 50_000, 8080
WRONG: dict[str, Any] = {
    "error": "user is not logged in",
    "errors": [
        {
            "message": "this server replays a bundle and does not accept this key; "
            "log in with the WANDB_API_KEY that it printed"
        }
    ],
    "data": None,
}
NONE = {"error": "user is not logged in", "errors": [{"message": "user is not logged in"}], "data": None}

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists the owners of connections")
ports = st.integers(0, 65535) | st.sampled_from([CLIENT, SERVER])
users = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bundle]:
    with open_bundle(write_runs(tmp_path_factory.mktemp("keys"), world())) as bundle:
        yield bundle


def table(rows: list[tuple[int, int, int]]) -> str:
    """Return a table of connections as Linux writes it, from pairs of ports and users."""
    lines = [
        f"{at:4}: 0100007F:{local:04X} 0100007F:{remote:04X} 01 00000000:00000000 00:00000000 00000000"
        f" {user:5}        0 12345 1 0000000000000000 20 4 30 10 -1\n"
        for at, (local, remote, user) in enumerate(rows)
    ]
    return "".join(
        ["  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n", *lines]
    )


def owned_by(rows: list[tuple[int, int, int]], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "tcp").write_text(table(rows))
    monkeypatch.setattr(keys, "_CONNECTIONS", (folder / "tcp", folder / "none"))


async def status_of(bundle: Bundle, key: str, *, any_key: bool) -> tuple[int, object]:
    app = build_app([bundle], api_key=KEY, any_key=any_key)
    transport = httpx.ASGITransport(app=app, client=("127.0.0.1", CLIENT))
    async with httpx.AsyncClient(transport=transport, base_url=f"http://127.0.0.1:{SERVER}") as client:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        answer = await client.post("/graphql", json=ASK, headers=headers)
    return answer.status_code, answer.json()


@linux
@given(st.lists(st.tuples(ports, ports, users), max_size=9))
def test_the_owners_of_a_connection_are_those_of_its_pair_of_ports(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int, int]]
) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        owned_by(rows, tmp_path_factory.mktemp("table"), monkeypatch)
        expected = {user for local, remote, user in rows if (local, remote) == (CLIENT, SERVER)}
        assert keys._owners(CLIENT, SERVER) == expected


@linux
@pytest.mark.anyio
async def test_any_key_is_accepted_from_this_user_alone(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other = os.geteuid(), os.geteuid() + 1
    for rows, status in (
        ([(CLIENT, SERVER, mine)], 200),
        ([(CLIENT, SERVER, mine), (SERVER, CLIENT, other)], 200),
        ([(CLIENT, SERVER, other)], 401),
        ([(CLIENT, SERVER, mine), (CLIENT, SERVER, other)], 401),
        ([(CLIENT + 1, SERVER, mine)], 401),
        ([], 401),
    ):
        owned_by(rows, tmp_path, monkeypatch)
        found, content = await status_of(bundle, OTHER_KEY, any_key=True)
        assert found == status, rows
        assert status == 200 or content == WRONG
        assert (await status_of(bundle, KEY, any_key=True))[0] == 200
        assert await status_of(bundle, OTHER_KEY, any_key=False) == (401, WRONG)
        assert await status_of(bundle, "", any_key=True) == (401, NONE)


def test_without_a_connection_there_is_no_user() -> None:
    for scope in ({"client": None, "server": ("127.0.0.1", SERVER)}, {"client": ("127.0.0.1", CLIENT)}):
        assert not keys.is_from_this_user(Request({"type": "http", **scope}))


def test_over_a_connection_any_key_is_accepted_on_loopback_but_never_none(tmp_path: Path) -> None:
    with serve_bundle(write_runs(tmp_path, world())) as server:
        url = f"{server.url}/graphql"
        forged = {"x-forwarded-for": "127.0.0.1"}
        for auth in (("api", OTHER_KEY), ("api", server.api_key), ("", "x")):
            assert httpx.post(url, json=ASK, auth=auth, headers=forged).status_code == 200
        for headers in ({}, {"authorization": "Bearer"}, {"authorization": "Basic %"}):
            assert httpx.post(url, json=ASK, headers=headers).json() == NONE


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_where_other_machines_reach_it_only_its_own_key_is_accepted(tmp_path: Path, host: str) -> None:
    with serve_bundle(write_runs(tmp_path, world()), host=host, allow_remote=True) as server:
        loopback = "[::1]" if host == "::" else "127.0.0.1"
        url = f"http://{loopback}:{server.url.rpartition(':')[2]}/graphql"
        refused = httpx.post(url, json=ASK, auth=("api", OTHER_KEY))
        assert (refused.status_code, refused.json()) == (401, WRONG)
        assert httpx.post(url, json=ASK, auth=("api", server.api_key)).status_code == 200


def test_the_sdk_shows_what_to_do_about_a_key_that_is_not_accepted(
    tmp_path: Path, clean_environment: Path
) -> None:
    code = f"import wandb; wandb.Api(api_key={OTHER_KEY!r})"
    with serve_bundle(write_runs(tmp_path, world()), host="0.0.0.0", allow_remote=True) as server:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, **server.environment()},
            cwd=clean_environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(
        f"Failed to verify credentials with {server.url}: {WRONG['errors'][0]['message']}"
    )
