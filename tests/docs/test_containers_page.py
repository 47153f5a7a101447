"""The Dockerfile and the compose file on docs/containers.md: their commands run, their names are answered."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import httpx
import pytest
import yaml
from checkout import RECORDED, ROOT
from page_examples import blocks_of

from pull_logs.cli.main import cli

PAGE = ROOT / "docs" / "containers.md"
BLOCKS = {block.title: block.text for block in blocks_of(PAGE)}
KEY = "0123456789abcdef" * 3
ASK = {"query": '{ project(name: "digits", entityName: "acme") { runCount } }'}
READ = "import wandb; print(len(wandb.Api().runs('acme/digits')))"


def compose() -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load(BLOCKS["compose.yaml"])["services"]
    return services


def instruction(name: str) -> list[str]:
    """Return the words of an instruction of the Dockerfile that has one in JSON form."""
    (line,) = (line for line in BLOCKS["Dockerfile"].splitlines() if line.startswith(f"{name} ["))
    words: list[str] = json.loads(line.partition(" ")[2])
    return words


def test_every_flag_of_the_image_exists() -> None:
    program, name, *words = instruction("ENTRYPOINT")
    assert program == "pull-logs"
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    context = command.make_context(name, [*words, str(RECORDED)])
    assert (context.params["host"], context.params["port"]) == ("0.0.0.0", 8080)
    assert context.params["allow_remote"]
    assert "EXPOSE 8080" in BLOCKS["Dockerfile"].splitlines()
    assert f"COPY runs.wandb.zip {instruction('CMD')[0]}" in BLOCKS["Dockerfile"].splitlines()


def test_the_services_share_a_key_and_an_address() -> None:
    server, tests = compose()["replay"], compose()["tests"]
    assert server["environment"]["PULL_LOGS_API_KEY"].startswith("${REPLAY_KEY:?")
    assert tests["environment"]["WANDB_API_KEY"] == "${REPLAY_KEY}"
    assert {value for name, value in tests["environment"].items() if name.endswith(("URL", "PROXY"))} == {
        "http://replay:8080"
    }
    assert tests["depends_on"]["replay"]["condition"] == "service_healthy"
    assert server["networks"] == tests["networks"] == ["offline"]


@contextmanager
def running(*more: str) -> Iterator[tuple[dict[str, str], int]]:
    """Run the command of the image on a free port; give the printed variables and the port."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    words = instruction("ENTRYPOINT")[1:]
    words[words.index("8080")] = str(port)
    with subprocess.Popen(
        [sys.executable, "-m", "pull_logs", *words, *more, str(RECORDED)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PULL_LOGS_API_KEY": KEY},
    ) as process:
        assert process.stdout is not None
        printed: dict[str, str] = {}
        while "no_proxy" not in printed:
            line = process.stdout.readline()
            assert line, process.communicate()
            name, _, value = shlex.split(line)[1].partition("=")
            printed[name] = value
        try:
            yield printed, port
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)
    assert process.returncode == 0


def own_address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 9))
        except OSError:
            pytest.skip("this machine has no network besides loopback")
        return str(probe.getsockname()[0])


def test_the_command_of_the_image_answers_other_machines_by_the_names_of_the_page(
    clean_environment: Path,
) -> None:
    address = own_address()
    with running() as (printed, port):
        assert printed["WANDB_BASE_URL"] == f"http://{address}:{port}"
        assert printed["WANDB_API_KEY"] == KEY
        url = f"{printed['WANDB_BASE_URL']}/graphql"
        for host, status in (
            ("replay:8080", 200),
            (f"{address}:{port}", 200),
            ("host.docker.internal:8080", 200),
            ("replay.tests.svc.cluster.local:8080", 403),
            ("evil.example", 403),
        ):
            answer = httpx.post(url, json=ASK, auth=("api", KEY), headers={"host": host})
            assert answer.status_code == status, host
        # The health check of the compose file is Python to run in the container.
        program, *check = compose()["replay"]["healthcheck"]["test"][1:]
        assert program == "python"
        check[-1] = check[-1].replace("8080", str(port))
        subprocess.run([sys.executable, *check], check=True, timeout=30)
        settings = {
            name: str(value).replace("replay:8080", f"{address}:{port}").replace("${REPLAY_KEY}", KEY)
            for name, value in compose()["tests"]["environment"].items()
        }
        done = subprocess.run(
            [sys.executable, "-c", READ],
            env={**os.environ, **settings},
            cwd=clean_environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (done.returncode, done.stdout) == (0, "16\n"), done.stderr


def test_a_name_that_was_allowed_is_answered_for_and_printed() -> None:
    with running("--allow-host", "replay.tests.svc.cluster.local", "--allow-host", "localhost:9000") as (
        printed,
        port,
    ):
        assert printed["WANDB_BASE_URL"] == f"http://replay.tests.svc.cluster.local:{port}"
        for host, status in (("replay.tests.svc.cluster.local:8080", 200), ("evil.example", 403)):
            answer = httpx.post(
                f"http://127.0.0.1:{port}/graphql", json=ASK, auth=("api", KEY), headers={"host": host}
            )
            assert answer.status_code == status, host


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--allow-host", "http://replay:8080"],
            (
                "'http://replay:8080' is not the name of a host; write the host as clients name it, "
                "NAME or NAME:PORT, without http:// and wildcards"
            ),
        ),
        (
            ["--api-key", "secret"],
            (
                "the key does not have the form that the SDK accepts; it needs at least 40 letters and "
                "digits: `openssl rand -hex 20` prints one"
            ),
        ),
    ],
)
def test_what_cannot_be_served_is_one_line(words: list[str], message: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pull_logs", "serve", str(RECORDED), *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        cwd=ROOT,
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"pull-logs: error: {message}\n")
