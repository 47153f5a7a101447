"""The hosts that a server answers for: what a foreign web page can be called is refused, nothing else."""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from replay_support import world, write_runs

from pull_logs.errors import UsageError
from pull_logs.replay import serve_bundle
from pull_logs.replay.http import hosts
from pull_logs.replay.http.hosts import AllowedHosts, checked_host, shown_authority

ASK = {"query": "{ viewer { id } }"}
labels = st.from_regex(r"[a-z][a-z0-9-]{0,8}[a-z0-9]", fullmatch=True)
addresses = st.ip_addresses().map(lambda found: f"[{found}]" if found.version == 6 else str(found))
ports = st.sampled_from(["", ":80", ":8080"])


def other_address() -> str:
    """Return the address of this machine besides loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 9))
        except OSError:
            pytest.skip("this machine has no network besides loopback")
        return str(probe.getsockname()[0])


@given(labels, labels, st.sampled_from(["com", "example", "local", "dev", "internal.evil"]), ports)
def test_no_public_name_is_answered_for_unless_it_was_allowed(a: str, b: str, top: str, port: str) -> None:
    public = f"{a}.{b}.{top}"
    for private in (False, True):
        assert not AllowedHosts.of([], private=private).allows(public + port)
        assert not AllowedHosts.of([f"{b}.{top}", f"x.{public}"], private=private).allows(public + port)
        assert AllowedHosts.of([public], private=private).allows(public.upper() + port)


@given(st.one_of(addresses, labels, labels.map("host.{}.internal".format)), ports)
def test_addresses_and_private_names_are_answered_for_where_others_may_connect(host: str, port: str) -> None:
    assert AllowedHosts.of([], private=True).allows(host + port)
    assert AllowedHosts.of([host]).allows(host + port)
    if host.strip("[]") != "localhost" and not hosts.is_loopback(host):
        assert not AllowedHosts.of([]).allows(host + port)


@given(st.text(max_size=30))
def test_nothing_that_a_client_sends_breaks_the_check(authority: str) -> None:
    for private in (False, True):
        allowed = AllowedHosts.of([], private=private).allows(authority)
        assert not (allowed and "." in authority and authority.endswith((".com", ".example")))


@pytest.mark.parametrize(
    "text", ["replay", "Replay.example", "replay:8080", "192.0.2.7", "[fd00::2]:80", "fd00::2", "a_b"]
)
def test_a_host_as_it_is_written(text: str) -> None:
    assert checked_host(text) == text


@pytest.mark.parametrize(
    "text",
    ["", "http://a", "*", "*.a", "a/", "a:", "a b", "u@a", "a:x", "a:99999", "-a"],
)
def test_what_is_not_a_host(text: str) -> None:
    with pytest.raises(UsageError) as found:
        checked_host(text)
    assert str(found.value) == (
        f"{text!r} is not the name of a host; write the host as clients name it, NAME or NAME:PORT, "
        "without http:// and wildcards"
    )


@pytest.mark.parametrize(
    ("host", "allowed", "shown"),
    [
        ("127.0.0.1", [], "127.0.0.1:9"),
        ("::1", [], "[::1]:9"),
        ("192.0.2.7", [], "192.0.2.7:9"),
        ("0.0.0.0", ["replay", "other"], "replay:9"),
        ("0.0.0.0", ["localhost:9000"], "localhost:9000"),
        ("::", ["fd00::2"], "[fd00::2]:9"),
    ],
)
def test_the_address_that_is_printed(host: str, allowed: list[str], shown: str) -> None:
    assert shown_authority(host, 9, allowed) == shown


@pytest.mark.parametrize(
    ("found", "shown"), [(["192.0.2.77"], "192.0.2.77"), (["127.0.1.1"], "127.0.0.1"), ([], "127.0.0.1")]
)
def test_without_a_route_the_address_is_that_of_its_name(
    monkeypatch: pytest.MonkeyPatch, found: list[str], shown: str
) -> None:
    def no_route(*_: object) -> None:
        raise OSError(101, "Network is unreachable")

    def look_up(*_: object) -> list[tuple[object, ...]]:
        if not found:
            raise socket.gaierror(-2, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in found]

    monkeypatch.setattr(socket.socket, "connect", no_route)
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert shown_authority("0.0.0.0", 9, []) == f"{shown}:9"


def test_a_server_for_other_machines_is_reached_by_the_address_that_it_gives(tmp_path: Path) -> None:
    address = other_address()
    with serve_bundle(write_runs(tmp_path, world()), host="0.0.0.0", allow_remote=True) as server:
        assert server.url.startswith(f"http://{address}:")
        assert not ipaddress.ip_address(address).is_loopback
        assert address in server.environment()["NO_PROXY"].split(",")
        for host, status in (
            (None, 200),
            ("replay:8080", 200),
            ("host.docker.internal", 200),
            ("192.168.1.7:8080", 200),
            ("evil.example", 403),
            ("host.docker.internal.evil.example", 403),
        ):
            headers = {"host": host} if host else {}
            answer = httpx.post(
                f"{server.url}/graphql", json=ASK, auth=("api", server.api_key), headers=headers
            )
            assert answer.status_code == status, host


def test_a_server_behind_another_port_answers_as_a_proxy_for_itself(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    path = write_runs(tmp_path, world())
    with serve_bundle(
        path, host="0.0.0.0", port=port, allow_remote=True, hosts=["replay.example:9000"]
    ) as server:
        assert server.url == "http://replay.example:9000"
        with httpx.Client(proxy=f"http://127.0.0.1:{port}", trust_env=False) as client:
            for url, status in ((server.url, 200), ("http://replay.example:9001", 403)):
                answer = client.post(f"{url}/graphql", json=ASK, auth=("api", server.api_key))
                assert answer.status_code == status
        assert server.refused.as_dict() == {"replay.example:9001": 1}
