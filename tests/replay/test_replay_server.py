"""The replay server on a real port: it starts, answers many at once, and stops without a trace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from replay_support import Row, bundle_run, plain_rows, world, write_runs

from pull_logs.errors import FileMissingError, NetworkError, UsageError
from pull_logs.replay.server import serve_bundle
from pull_logs.snapshot.read.bundle import open_bundle

FOREVER = """
import sys
from pull_logs.replay import serve_forever
serve_forever([sys.argv[1]], on_ready=lambda server: print(server.url, flush=True))
print("ended", flush=True)
"""


def test_it_answers_and_its_folder_and_port_are_gone_afterwards(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with serve_bundle(write_runs(tmp_path, world())) as server:
        assert server.url.startswith("http://127.0.0.1:")
        body = {"query": "query Who { viewer { entity } }"}
        answer = httpx.post(f"{server.url}/graphql", json=body, auth=("api", server.api_key))
        assert answer.json() == {"data": {"viewer": {"entity": "acme"}}}
        assert server.requests.as_dict() == {"Who": 1}
        assert server.folder.is_dir()
        assert server.api_key not in repr(server)
    assert not server.folder.exists()
    assert set(threading.enumerate()) <= before  # threads of other tests may end meanwhile
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url)


def test_the_environment_keeps_the_sdk_away_from_everything_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "intranet")
    with serve_bundle(write_runs(tmp_path, world()), api_key="a" * 40) as server:
        environment = server.environment()
        assert environment["WANDB_BASE_URL"] == server.url
        assert environment["WANDB_API_KEY"] == "a" * 40
        assert environment["NETRC"] == os.devnull
        assert environment["NO_PROXY"] == environment["no_proxy"] == "intranet,127.0.0.1,localhost,::1"
        for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
            assert Path(environment[name]).parent == server.folder


def test_a_body_that_does_not_say_how_long_it_is_is_bounded_too(tmp_path: Path) -> None:
    with serve_bundle(write_runs(tmp_path, world())) as server:
        chunks = (b" " * 100_000 for _ in range(11))
        headers = {"content-type": "application/json"}
        answer = httpx.post(
            f"{server.url}/graphql", content=chunks, headers=headers, auth=("api", server.api_key)
        )
    assert (answer.status_code, answer.json()) == (413, {"error": "a query has at most 1000000 bytes"})


def test_many_threads_read_different_runs_at_once(tmp_path: Path) -> None:
    """The bundle is one open file, and the cache too small for any two tables."""
    histories: dict[str, list[Row]] = {f"r{at}": plain_rows(50 + at) for at in range(24)}
    runs = [bundle_run(f"acme/nano/{name}", rows, config={"k": name}) for name, rows in histories.items()]
    query = """query Q($n: String!) { project(name: "nano") { run(name: $n) { config historyLineCount
      history(samples: 1000) parquetHistory(liveKeys: ["_step"]) { parquetUrls } } } }"""
    with serve_bundle(write_runs(tmp_path, runs)) as server, httpx.Client() as client:

        def read(name: str) -> tuple[str, int, int, bytes]:
            body = {"query": query, "variables": {"n": name}}
            answer = client.post(f"{server.url}/graphql", json=body, auth=("api", server.api_key))
            run = answer.json()["data"]["project"]["run"]
            export = client.get(run["parquetHistory"]["parquetUrls"][0]).content
            return run["config"], run["historyLineCount"], len(run["history"]), export[:4]

        with ThreadPoolExecutor(12) as pool:
            found = list(pool.map(read, list(histories) * 3))
    assert found == [
        (f'{{"k":{{"desc":null,"value":"{name}"}}}}', len(rows), len(rows), b"PAR1")
        for name, rows in list(histories.items()) * 3
    ]


def test_many_threads_read_records_of_different_groups(tmp_path: Path) -> None:
    """Records are stored in groups of 256; reading two of them at once has crashed the process before."""
    names = [f"r{at:04}" for at in range(1100)]
    path = write_runs(tmp_path, (bundle_run(f"acme/nano/{name}", [], config={"k": name}) for name in names))
    with open_bundle(path) as bundle, ThreadPoolExecutor(16) as pool:
        shuffled = [names[at * 377 % len(names)] for at in range(len(names))]
        found = list(pool.map(lambda name: bundle[f"acme/nano/{name}"].info.config["k"], shuffled))
    assert found == shuffled


def test_an_address_that_others_reach_has_to_be_allowed(tmp_path: Path) -> None:
    path = write_runs(tmp_path, world())
    with (
        pytest.raises(UsageError, match=r"^'0\.0\.0\.0' is not a loopback address; other machines could"),
        serve_bundle(path, host="0.0.0.0"),
    ):
        pass
    with serve_bundle(path, host="0.0.0.0", allow_remote=True) as server:
        port = server.url.rpartition(":")[2]
        assert httpx.post(f"http://127.0.0.1:{port}/graphql").status_code == 401


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    path = write_runs(tmp_path, world())
    with serve_bundle(path) as server:
        port = int(server.url.rsplit(":", 1)[1])
        with (
            pytest.raises(NetworkError, match=rf"^cannot listen on 127\.0\.0\.1:{port}: "),
            serve_bundle(path, port=port),
        ):
            pass


def test_nothing_to_serve(tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match=r"^no bundle to serve; name one or more \.wandb\.zip files$"),
        serve_bundle(),
    ):
        pass
    with pytest.raises(FileMissingError), serve_bundle(tmp_path / "gone.wandb.zip"):
        pass


def test_ctrl_c_ends_the_server_quietly(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", FOREVER, str(write_runs(tmp_path, world()))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert httpx.post(f"{url}/graphql").status_code == 401
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "ended\n", "")
