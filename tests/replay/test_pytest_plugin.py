"""The pytest plugin in sessions of its own: alone, in parallel, and in a hostile environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkout import ROOT
from replay_support import bundle_run, plain_rows, write_runs
from trap import Trap, trap

pytest_plugins = ["pytester"]

INNER = Path(__file__).with_name("plugin_inner.py")
PLUGIN = ("-p", "pull_logs.pytest_plugin", "--strict-markers", "-W", "error")

WATCH = """
import json, os, sys

def watch(event, arguments):
    if event == "socket.connect":
        sent = arguments[1]
    elif event == "socket.getaddrinfo":
        sent = arguments[0]
    else:
        return
    with open(os.environ["CONNECTIONS"], "a") as file:
        print(json.dumps(str(sent)), file=file)

sys.addaudithook(watch)
"""


@pytest.fixture
def place(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two bundles that have a run in common, of which the second has more rows."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    one = [bundle_run("acme/one/a", plain_rows(3))]
    two = [
        bundle_run("acme/one/a", plain_rows(4)),
        bundle_run("acme/one/b", plain_rows(2)),
        bundle_run("acme/two/c", []),
    ]
    (pytester.path / "data").mkdir()
    write_runs(pytester.path, one).rename(pytester.path / "one.wandb.zip")
    write_runs(pytester.path, two).rename(pytester.path / "data" / "two.wandb.zip")
    return pytester.path


@pytest.fixture
def hostile(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trap]:
    """All that can lead W&B's code elsewhere leads to a trap: variables, settings, netrc, proxies, cache."""
    home = place / "home"
    cache = home / "cache"
    (home / ".config" / "wandb").mkdir(parents=True)
    (place / "wandb").mkdir()
    cache.mkdir()
    (cache / "acme_one_a_0.runhistory.parquet").write_bytes(b"of another run")
    key = "f00dfeed" * 5
    with trap() as server:
        settings = (
            f"[default]\nbase_url = {server.url}\napi_key = {key}\nentity = real\nhttp_proxy = {server.url}\n"
            f"https_proxy = {server.url}\n"
        )
        (home / ".config" / "wandb" / "settings").write_text(settings)
        (place / "wandb" / "settings").write_text(settings)
        (home / ".netrc").write_text(f"machine 127.0.0.1 login user password {key}\n")
        variables = {
            "HOME": str(home),
            "NETRC": str(home / ".netrc"),
            "WANDB_BASE_URL": server.url,
            "WANDB_API_KEY": key,
            "WANDB_IDENTITY_TOKEN_FILE": str(home / "token"),
            "WANDB_ENTITY": "real",
            "WANDB_PROJECT": "real",
            "WANDB_CACHE_DIR": str(cache),
            "WANDB_CONFIG_DIR": str(home / ".config" / "wandb"),
            "WANDB_HTTP_PROXY": server.url,
            "WANDB_HTTPS_PROXY": server.url,
            "WANDB__PROXIES": json.dumps({"http": server.url, "https": server.url}),
            "WANDB_SERVICE": "3-1-unix-/nowhere/socket",
            "CONNECTIONS": str(place / "connections"),
        }
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, server.url)
        yield server


def connections(place: Path) -> set[str]:
    return {json.loads(line) for line in (place / "connections").read_text().splitlines()}


@pytest.mark.parametrize(
    ("options", "passed"),
    [((), 8), (("-p", "xdist", "-n", "2", "-k", "not reached"), 7)],
    ids=["one process", "xdist"],
)
def test_in_a_hostile_environment_nothing_leaves_loopback(
    pytester: pytest.Pytester, place: Path, hostile: Trap, options: tuple[str, ...], passed: int
) -> None:
    pytester.makeconftest(WATCH)
    pytester.makepyfile(test_inner=INNER.read_text())
    result = pytester.runpytest_subprocess(*PLUGIN, *options, timeout=100)
    result.assert_outcomes(passed=passed)
    assert result.errlines == []
    assert hostile.caught == []
    # The SDK's service is spoken to over a socket in the file system, the server by the service.
    strangers = [told for told in connections(place) if "wandb-" not in told]
    assert [told for told in strangers if "127.0.0.1" not in told and told != "localhost"] == []


def test_the_trap_is_one_that_wandb_falls_into(
    place: Path, hostile: Trap, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the plugin the same environment leads there, or the test above would show nothing."""
    for name in ("WANDB_SERVICE", "WANDB_IDENTITY_TOKEN_FILE", "WANDB__PROXIES"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_X_GRAPHQL_RETRY_MAX", "1")
    done = subprocess.run(
        [sys.executable, "-c", "import wandb; wandb.Api()"],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "Failed to verify credentials" in done.stderr
    assert hostile.caught


MORE = """
import shutil
import httpx, pytest

def runs(server):
    body = {"query": '{ project(name: "one") { runCount } }'}
    answer = httpx.post(f"{server.url}/graphql", json=body, auth=("api", server.api_key))
    return answer.json()["data"]["project"]["runCount"]

@pytest.mark.wandb_bundle("one.wandb.zip")
def test_elsewhere(wandb_bundle):
    httpx.get("http://api.example/graphql", proxy=wandb_bundle.url).raise_for_status()

@pytest.mark.wandb_bundle("one.wandb.zip")
def test_before_it_is_replaced(wandb_bundle):
    assert runs(wandb_bundle) == 1
    shutil.copy("data/two.wandb.zip", "new.zip")
    shutil.move("new.zip", "one.wandb.zip")

@pytest.mark.wandb_bundle("one.wandb.zip")
def test_after_it_is_replaced(wandb_bundle):
    assert runs(wandb_bundle) == 2

@pytest.mark.skip
@pytest.mark.wandb_bundle("data/gone.wandb.zip")
def test_skipped(): ...

@pytest.mark.wandb_bundle("data/gone.wandb.zip")
def test_gone(): ...

@pytest.mark.wandb_bundle("broken.wandb.zip")
def test_broken(): ...

@pytest.mark.wandb_bundle()
def test_none(): ...

@pytest.mark.wandb_bundle("one.wandb.zip", entity="me")
def test_more(): ...

def test_unmarked(wandb_bundle): ...
"""


def test_what_is_wrong_is_told_in_one_line_and_a_replaced_bundle_answers_anew(
    pytester: pytest.Pytester, place: Path
) -> None:
    (place / "broken.wandb.zip").write_bytes(b"no bundle")
    pytester.makepyfile(test_inner=MORE)
    result = pytester.runpytest_subprocess(*PLUGIN, timeout=60)
    result.assert_outcomes(passed=2, failed=1, errors=5, skipped=1)
    told = [line for line in result.outlines if line.startswith(("wandb_bundle: ", "refused: "))]
    form = '@pytest.mark.wandb_bundle("runs.wandb.zip", ...)'
    takes = f"wandb_bundle: the marker wandb_bundle takes paths of bundles and nothing else: {form}"
    assert told[0] == f"wandb_bundle: no file or folder at '{place}/data/gone.wandb.zip'"
    assert told[1].startswith(f"wandb_bundle: '{place}/broken.wandb.zip' ")
    nothing = "the marker wandb_bundle names no bundle, and neither does wandb_bundle in the ini file"
    unmarked = f"the fixture wandb_bundle names no bundle by itself; mark the test with {form}"
    assert told[2:] == [
        f"wandb_bundle: {nothing}: {form}",
        takes,
        f"wandb_bundle: {unmarked}, or name one as wandb_bundle in the ini file",
        "refused: W&B at api.example; while wandb_bundle is active only bundles answer",
    ]


def test_unused_it_costs_nothing_to_load() -> None:
    code = (
        "import pytest, sys; before = set(sys.modules); "
        "import pull_logs.pytest_plugin; print(*set(sys.modules) - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ}
    )
    assert {name for name in done.stdout.split() if "." not in name} <= {"pull_logs", "lazy_loader"}
    assert {name for name in done.stdout.split() if name.startswith("pull_logs.")} == {
        "pull_logs.pytest_plugin"
    }


def test_pytest_finds_it_by_itself() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"pull_logs.pytest_plugin": "pull_logs.pytest_plugin"}
