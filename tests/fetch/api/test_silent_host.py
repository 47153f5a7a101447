"""A server that accepts connections and never answers is reported at once, and a slow one is not given up."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pulling import pull_from
from scripted_wandb import SETTINGS, FakeRun, Instant, ScriptedWandb, rows_of

from pull_logs.cli.main import main
from pull_logs.errors import NetworkError
from pull_logs.fetch import Settings
from pull_logs.fetch.api.client import MOST_PROBE_SECONDS, PROBE_SHARE, SILENT_SECONDS
from pull_logs.fetch.api.settings import load_settings


@pytest.fixture
def silent() -> Iterator[int]:
    """A port whose server accepts connections, and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield listener.getsockname()[1]


def test_the_default_reports_a_silent_host_within_30_seconds(tmp_path: Path) -> None:
    settings = load_settings(environ={}, cwd=tmp_path, home=tmp_path)
    waited = settings.timeout + min(MOST_PROBE_SECONDS, PROBE_SHARE * settings.timeout)
    assert waited < 30
    assert waited + settings.timeout > SILENT_SECONDS


@pytest.mark.parametrize(
    "words",
    [
        ["fetch", "-p", "acme/nano", "-o", "b.zip"],
        ["sync", "-r", "acme/nano/a", "-o", "b.zip"],
        ["-r", "acme/nano/a"],
        ["fetch", "-p", "nano", "-o", "b.zip"],
    ],
)
def test_a_silent_host_is_named_with_the_next_step(
    words: list[str],
    silent: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{silent}")
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    monkeypatch.setenv("WANDB_HTTP_TIMEOUT", "0.5")
    monkeypatch.setattr("pull_logs.fetch.api.client.SILENT_SECONDS", 1.0)
    began = time.monotonic()
    assert main(words) == 5
    assert time.monotonic() - began < 20 * 0.5  # ten attempts would be 10 timeouts and minutes of waits
    assert capsys.readouterr().err == (
        f"pull-logs: error: 127.0.0.1:{silent} did not answer anything in 1 s; check WANDB_BASE_URL and the"
        " proxy; if the server is only slow, set WANDB_HTTP_TIMEOUT to more than 0.5 seconds\n"
    )
    assert not (tmp_path / "b.zip.partial").exists()


@pytest.mark.anyio
async def test_a_host_that_answers_a_small_request_is_asked_again(tmp_path: Path) -> None:
    server = ScriptedWandb(FakeRun.exported("a", rows_of(range(3))))
    slow = iter([httpx.ReadTimeout("slow")])
    server.faults = [lambda request: next(slow, None) if b"Runs" in request.content else None]
    report = await pull_from(server, tmp_path / "b.zip")
    assert report.incomplete == ()
    assert server.operations()[:3] == ["Runs", "GetDefaultEntity", "Runs"]
    assert "authorization" not in server.requests[1].headers


@pytest.mark.anyio
@pytest.mark.parametrize("kind", [httpx.ReadTimeout, httpx.ConnectTimeout])
async def test_nothing_is_asked_a_third_time_with_the_default_timeout(
    tmp_path: Path, kind: type[httpx.TimeoutException]
) -> None:
    server, instant = ScriptedWandb(FakeRun.exported("a", rows_of(range(3)))), Instant()
    waits = iter([19.0, 7.6])

    def silence(_: httpx.Request) -> Exception:
        instant.time += next(waits)
        return kind("nothing")

    server.faults = [silence]
    with pytest.raises(NetworkError) as silent:
        await pull_from(server, tmp_path / "b.zip", settings=SETTINGS, clock=instant.clock)
    assert silent.value.message == "api.test did not answer anything in 27 s"
    assert len(server.requests) == 2


def test_the_timeout_of_the_default_is_that_of_the_settings() -> None:
    assert Settings().timeout == 19
