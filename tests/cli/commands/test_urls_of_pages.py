"""URLs of runs, sweeps and projects wherever runs are named, and project names that lack something."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bundlekit import bundle_run, make_bundle

from pull_logs.cli.main import main
from pull_logs.replay import ReplayServer, serve_bundle
from pull_logs.snapshot import open_bundle

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReplayServer]:
    monkeypatch.chdir(tmp_path)
    runs = [bundle_run(f"acme/nano/{run}", sweep=sweep) for run, sweep in (("a", "s1"), ("b", None))]
    make_bundle(Path("server.zip"), [*runs, bundle_run("acme/other/c")])
    with serve_bundle("server.zip") as serving:
        for name, value in serving.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        yield serving


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    def run_command(*words: str) -> tuple[int, str, str]:
        code = main(words)
        done = capsys.readouterr()
        return code, done.out, done.err

    return run_command


def ids(path: str) -> list[str]:
    with open_bundle(path) as bundle:
        return [run.path.run_id for run in bundle.runs()]


PAGES = [("", ["a", "b"]), ("/sweeps/s1", ["a"]), ("/runs/b", ["b"]), ("/workspace?nw=x", ["a", "b"])]


@pytest.mark.parametrize("option", ["-r", "-p", "--sweep"])
@pytest.mark.parametrize(("page", "expected"), PAGES)
def test_a_url_is_taken_wherever_a_run_is_named(
    call: Call, server: ReplayServer, option: str, page: str, expected: list[str]
) -> None:
    url = f"{server.url}/acme/nano{page}"
    assert call("fetch", option, url, "-o", "one.zip", "-q") == (0, "", "")
    assert call("sync", option, url, "-o", "one.zip", "-q") == (0, "", "")
    assert ids("one.zip") == expected
    for words in ([], ["-b", "server.zip"]):
        for command in ([], ["compare"], ["overview"]):
            code, out, err = call(*command, *words, option, url)
            assert code == 0, err
            assert "c path=" not in out
    assert call("subset", "server.zip", option, url, "-o", "part.zip")[0] == 0
    assert ids("part.zip") == expected
    assert call("fetch", "-p", "acme/nano", "-o", "all.zip", "-q") == (0, "", "")
    assert call("refresh", "all.zip", option, url, "-q") == (0, "", "")


def test_the_url_of_a_project_on_another_host_is_refused(call: Call, server: ReplayServer) -> None:
    host = server.url.removeprefix("http://")
    code, _, err = call("fetch", "-p", "https://wandb.example.org/acme/nano", "-o", "b.zip")
    assert (code, err) == (
        2,
        (
            f"pull-logs: error: project 'acme/nano' is on 'wandb.example.org', and {host!r} is configured;"
            " set WANDB_BASE_URL to the API of that host, and sign in there\n"
        ),
    )


def test_a_name_alone_is_told_from_a_project(
    call: Call, server: ReplayServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert server.url
    monkeypatch.setenv("WANDB_ENTITY", "acme")
    code, _, err = call("fetch", "-p", "team", "-o", "b.zip")
    assert (code, err) == (
        3,
        (
            "pull-logs: error: project 'acme/team' does not exist, or this key has no access to it;"
            " 'team' names no entity and was looked for in 'acme': write ENTITY/PROJECT\n"
        ),
    )
