"""Malformed addresses, wherever they come from, are errors of this package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from pulling import PROJECT, named, pull_from, reasons
from scripted_wandb import KEY, FakeRun, ScriptedWandb, asking, once, rows_of, to_storage

from pull_logs.errors import NetworkError, PullLogsError, ServerError, UsageError
from pull_logs.fetch import pull
from pull_logs.fetch.api.settings import DEFAULT_BASE_URL, Settings, load_settings
from pull_logs.fetch.api.urls import host_of, join_url, shard_key, split_url

pytestmark = pytest.mark.anyio

MALFORMED = "https://[storage.test/x"


@pytest.mark.parametrize("read", [split_url, host_of, shard_key, lambda url: join_url("https://a/", url)])
def test_a_malformed_address_is_an_error_of_this_package(read: Callable[[str], object]) -> None:
    with pytest.raises(NetworkError, match=r"^the server named a malformed address$"):
        read(MALFORMED)


async def test_a_redirect_of_storage_to_a_malformed_address_is_reported(tmp_path: Path) -> None:
    server = ScriptedWandb(FakeRun.exported("r", rows_of(range(3))))
    server.faults = [
        lambda request: httpx.Response(302, headers={"Location": MALFORMED}) if to_storage(request) else None
    ]
    report = await pull_from(server, tmp_path / "b.zip")
    reason = "exported file 'r-0' could not be downloaded: the server named a malformed address"
    assert reasons(report) == {"r": reason}


async def test_a_redirect_of_the_api_to_a_malformed_address_is_reported(tmp_path: Path) -> None:
    server = ScriptedWandb(FakeRun.exported("r", rows_of(range(3))))
    server.faults = [lambda _: httpx.Response(302, headers={"Location": MALFORMED})]
    with pytest.raises(ServerError) as caught:
        await pull_from(server, tmp_path / "b.zip")
    assert str(caught.value) == (
        "api.test redirects to a malformed address, where the key is not sent;"
        " set WANDB_BASE_URL to the address of the API itself"
    )


async def test_an_exported_file_at_a_malformed_address_makes_its_run_fail(tmp_path: Path) -> None:
    rows = rows_of(range(3))
    server = ScriptedWandb(FakeRun.exported("a", rows), FakeRun.exported("b", rows))
    exports = {"parquetHistory": {"parquetUrls": [MALFORMED], "liveData": []}}
    node = {"name": "a", "displayName": "a", **exports}
    server.node = lambda run_id, *more: node if run_id == "a" else ScriptedWandb.node(server, run_id, *more)  # type: ignore[method-assign]
    report = await pull_from(server, tmp_path / "b.zip", named("a", "b"))
    assert reasons(report) == {"a": "W&B listed an exported history file at a malformed address"}


async def test_files_at_malformed_addresses_have_none(tmp_path: Path) -> None:
    run = FakeRun.exported("r", rows_of(range(3)), files={"output.log": b"x"})
    run.reported["output.log"] = {"url": MALFORMED, "directUrl": MALFORMED}
    report = await pull_from(ScriptedWandb(run), tmp_path / "b.zip", files=["*"])
    reason = "file 'output.log' could not be downloaded: W&B names no address for it"
    assert reasons(report) == {"r": reason}


@pytest.mark.parametrize("url", ["https://[api.test", "https://api.test:port"])
def test_a_malformed_base_url_is_a_usage_error(tmp_path: Path, url: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_settings(environ={"WANDB_BASE_URL": url}, cwd=tmp_path, home=tmp_path)
    assert str(caught.value) == (
        f"base URL {url!r} from WANDB_BASE_URL is not an http(s) address; the default is {DEFAULT_BASE_URL}"
    )


@pytest.mark.parametrize(("names", "operation"), [("a", "HistoryPage"), ("ab", "HistoryPages")])
async def test_an_api_at_a_default_port_that_cannot_be_reached_ends_the_pull(
    tmp_path: Path, names: str, operation: str
) -> None:
    server = ScriptedWandb(*(FakeRun.logging(name, rows_of(range(3))) for name in names))
    server.faults = [
        lambda request: httpx.ConnectError("x") if asking(operation)(request) else None,
    ]
    settings = Settings(base_url="https://api.test:443", api_key=KEY, entity="acme")
    with pytest.raises(NetworkError, match=r"^api\.test cannot be reached "):
        await pull_from(server, tmp_path / "b.zip", settings=settings)
    assert not (tmp_path / "b.zip").exists()


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        (
            "SSL_CERT_FILE",
            "missing.pem",
            (
                "the certificates to trust cannot be read: No such file or directory;"
                " check SSL_CERT_FILE and SSL_CERT_DIR"
            ),
        ),
        (
            "HTTPS_PROXY",
            "nonsense://user:secret@proxy.test",
            (
                "a proxy in the environment cannot be used;"
                " write HTTP_PROXY, HTTPS_PROXY and ALL_PROXY as http://HOST:PORT"
            ),
        ),
    ],
)
async def test_an_environment_that_cannot_be_used_is_a_usage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(PullLogsError) as caught:
        await pull(
            PROJECT, out=tmp_path / "b.zip", settings=Settings(base_url="https://api.test", api_key=KEY)
        )
    assert (type(caught.value), str(caught.value)) == (UsageError, message)


async def test_an_identity_token_that_the_server_repeats_is_not_shown(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("canary.canary.canary\n")
    server = ScriptedWandb()
    server.faults = [
        once(
            httpx.Response(401, json={"error": "bad token canary.canary.canary"}),
            when=lambda request: request.url.path == "/oidc/token",
        )
    ]
    settings = Settings(base_url="https://api.test", identity_token_file=token, entity="acme")
    with pytest.raises(PullLogsError) as caught:
        await pull_from(server, tmp_path / "b.zip", settings=settings)
    assert caught.value.message == "W&B at api.test refused the key: bad token (the key)"
