"""The server replaces W&B: as a proxy it refuses other hosts, and a process gets its environment back."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import httpx
import pytest
from replay_support import bundle_run, plain_rows, world, write_runs

from pull_logs.replay import ReplayServer, serve_bundle
from pull_logs.replay.environment import applied, without_wandb

ASK = {"query": '{ project(name: "nano", entityName: "acme") { runCount } }'}


def exchange(server: ReplayServer, request: str) -> tuple[int, str]:
    """What a raw request is answered: the status and the body."""
    port = int(server.url.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(f"{request}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    head, _, body = answer.partition("\r\n\r\n")
    return int(head.split()[1]), body


def test_by_way_of_itself_it_answers_for_itself(tmp_path: Path) -> None:
    with serve_bundle(write_runs(tmp_path, world())) as server:
        auth = ("api", server.api_key)
        with httpx.Client(proxy=server.url, trust_env=False) as client:
            answer = client.post(f"{server.url}/graphql?a=%2F", json=ASK, auth=auth)
            assert answer.json() == {"data": {"project": {"runCount": 5}}}
            link = """{
              project(name: "nano") { run(name: "plain01") { parquetHistory(liveKeys: []) { parquetUrls } } }
            }"""
            found = client.post(f"{server.url}/graphql", json={"query": link}, auth=auth).json()["data"]
            (url,) = found["project"]["run"]["parquetHistory"]["parquetUrls"]
            assert url.startswith(f"{server.url}/storage/")
            assert client.get(url).content[:4] == b"PAR1"
        assert server.refused.as_dict() == {}


@pytest.mark.parametrize(
    ("request_line", "address"),
    [
        ("CONNECT api.wandb.ai:443 HTTP/1.1\r\nHost: api.wandb.ai:443", "api.wandb.ai:443"),
        ("CONNECT api.wandb.ai:443 HTTP/1.1\r\nHost: 127.0.0.1", "api.wandb.ai:443"),
        ("GET http://api.example/graphql HTTP/1.1\r\nHost: api.example", "api.example"),
        ("GET http://api.example/graphql HTTP/1.1\r\nHost: 127.0.0.1", "api.example"),
        ("GET http://127.0.0.1:1/graphql HTTP/1.1\r\nHost: 127.0.0.1:1", "127.0.0.1:1"),
        ("GET http://127.0.0.1/graphql HTTP/1.1\r\nHost: 127.0.0.1", "127.0.0.1"),
        ("GET http://[::1/graphql HTTP/1.1\r\nHost: 127.0.0.1", "http://[::1/graphql"),
    ],
)
def test_what_is_meant_for_another_server_is_refused_and_counted(
    tmp_path: Path, request_line: str, address: str
) -> None:
    with serve_bundle(write_runs(tmp_path, world())) as server:
        status, body = exchange(server, request_line)
        assert (status, body) == (403, f'{{"error":"this server does not answer for host {address!r}"}}')
        assert server.refused.as_dict() == {address: 1}
        assert exchange(server, "GET /graphql HTTP/1.1\r\nHost: 127.0.0.1")[0] == 405
        assert server.refused.total == 1


def test_the_environment_is_set_while_the_block_runs_and_put_back_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "https://api.wandb.ai")
    monkeypatch.setenv("WANDB_ENTITY", "real")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("NO_PROXY", "intranet")
    before = dict(os.environ)
    path = write_runs(tmp_path, world())

    def use() -> None:
        with serve_bundle(path, set_environment=True) as server:
            assert os.environ["WANDB_BASE_URL"] == server.url
            assert os.environ["WANDB_MODE"] == "offline"
            assert "WANDB_ENTITY" not in os.environ
            assert os.environ["NO_PROXY"] == "intranet,127.0.0.1,localhost,::1"
            os.environ["WANDB_PROJECT"] = "from before"
            del os.environ["WANDB_API_KEY"]
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        use()
    assert dict(os.environ) == before


def test_blocks_within_blocks(tmp_path: Path) -> None:
    before = dict(os.environ)
    with applied({"WANDB_BASE_URL": "outer", "NETRC": "n"}):
        with applied({"WANDB_BASE_URL": "inner"}):
            assert os.environ["WANDB_BASE_URL"] == "inner"
        assert (os.environ["WANDB_BASE_URL"], os.environ["NETRC"]) == ("outer", "n")
    assert dict(os.environ) == before


def test_a_child_gets_nothing_that_says_which_wandb() -> None:
    outside = {
        "PATH": "p",
        "WANDB_API_KEY": "k",
        "WANDB_MODE": "offline",
        "HTTPS_PROXY": "x",
        "MY_WANDB_": "y",
    }
    assert without_wandb(outside) == {
        "PATH": "p",
        "WANDB_MODE": "offline",
        "HTTPS_PROXY": "x",
        "MY_WANDB_": "y",
    }


def test_several_bundles_are_one_wandb(tmp_path: Path) -> None:
    paths = []
    for number, name in enumerate(("first", "second")):
        folder = tmp_path / name
        folder.mkdir()
        runs = [bundle_run("acme/nano/shared", plain_rows(2 + number)), bundle_run(f"acme/nano/{name}", [])]
        paths.append(write_runs(folder, runs))
    query = '{ project(name: "nano") { runCount run(name: "shared") { historyLineCount } } }'
    with serve_bundle(*paths) as server:
        answer = httpx.post(f"{server.url}/graphql", json={"query": query}, auth=("api", server.api_key))
    assert answer.json() == {"data": {"project": {"runCount": 3, "run": {"historyLineCount": 2}}}}
