"""The hosts that requests may be sent to, against DNS rebinding.

In DNS rebinding a web page gives its own public name the address of this server. So loopback, the names that
the user allows and, where other machines may reach the server, what no web page can be called: IP addresses,
names without a dot such as those of containers, and names below `.internal`. See docs/containers.md,
"Host names".
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from pull_logs.errors import UsageError

LOOPBACK = "127.0.0.1"
_LOOPBACK_NAMES = frozenset({"localhost", "ip6-localhost"})
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?", re.ASCII)
_PRIVATE = re.compile(r"[a-z0-9_-]+|[a-z0-9_.-]+\.internal", re.ASCII)
_WILDCARDS = {"0.0.0.0": socket.AF_INET, "::": socket.AF_INET6}  # noqa: S104 - the addresses for all interfaces
_ELSEWHERE = {socket.AF_INET: "198.51.100.1", socket.AF_INET6: "2001:db8::1"}
"""Addresses for documentation (RFC 5737, RFC 3849). Nothing is sent: the route to them is looked up."""


def is_loopback(host: str) -> bool:
    """Return whether a host, given without its port, is a loopback address or name."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() in _LOOPBACK_NAMES


def host_of(authority: str) -> str:
    """Return the host of `host:port`, in lower case and without brackets; empty if there is none."""
    try:
        return urlsplit(f"//{authority}").hostname or ""
    except ValueError:
        return ""


def port_of(authority: str) -> int | None:
    """Return the port of `host:port`, 80 if it names none; None if it is not valid."""
    try:
        return urlsplit(f"//{authority}").port or 80
    except ValueError:
        return None


def is_address(host: str) -> bool:
    """Return whether a host, without brackets, is an IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class AllowedHosts:
    """The hosts that requests may be sent to.

    Attributes:
        names: Names and addresses besides loopback, in lower case.
        ports: Ports besides that of the server under which a client may know it.
        private: Whether addresses and names of private networks are allowed too.
    """

    names: frozenset[str] = frozenset()
    ports: frozenset[int] = frozenset()
    private: bool = False

    @classmethod
    def of(cls, hosts: Iterable[str], *, private: bool = False) -> Self:
        """Return the hosts named by `NAME`, `NAME:PORT` or an address."""
        named = [(f"[{host}]" if is_address(host) and ":" in host else host) for host in hosts]
        ports = {port_of(host) for host in named if re.search(r":\d+$", host)} - {None}
        return cls(frozenset(map(host_of, named)), frozenset(port for port in ports if port), private)

    def allows(self, authority: str) -> bool:
        """Return whether requests may be sent to `host:port`."""
        host = host_of(authority)
        if is_loopback(host) or host in self.names:
            return True
        return self.private and (is_address(host) or _PRIVATE.fullmatch(host) is not None)


def checked_host(text: str) -> str:
    """Return `NAME` or `NAME:PORT` as it is.

    Raises:
        UsageError: It is a URL, a pattern or anything else.
    """
    if is_address(text):
        return text
    host = host_of(text)
    written = f"[{host}]" if is_address(host) and ":" in host else host
    named = text.lower().startswith(written) and (is_address(host) or _NAME.fullmatch(host))
    port = text[len(written) :]
    if not named or not re.fullmatch(r"(:\d{1,5})?", port, re.ASCII) or port_of(text) is None:
        raise UsageError(
            f"{text!r} is not the name of a host",
            hint="write the host as clients name it, NAME or NAME:PORT, without http:// and wildcards",
        )
    return text


def shown_authority(host: str, port: int, allowed: Iterable[str]) -> str:
    """Return the `host:port` under which clients reach a server that listens on an address.

    Args:
        host: The address on which it listens.
        port: The port on which it listens.
        allowed: Hosts that the user allowed, the first of which is used, with its port if it has one.
    """
    named = next(iter(allowed), None)
    if named is None:
        named = _own_address(_WILDCARDS[host]) if host in _WILDCARDS else host
    if is_address(named):
        return f"[{named}]:{port}" if ":" in named else f"{named}:{port}"
    return named if re.search(r":\d+$", named) else f"{named}:{port}"


def _own_address(family: socket.AddressFamily) -> str:
    """Return the address of this machine that others reach; loopback if it has no network."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((_ELSEWHERE[family], 9))
            return str(probe.getsockname()[0])
        except OSError:
            pass
    try:
        found = [str(entry[4][0]) for entry in socket.getaddrinfo(socket.gethostname(), None, family)]
    except OSError:
        found = []
    fallback = "::1" if family is socket.AF_INET6 else LOOPBACK
    return next((address for address in found if is_address(address) and not is_loopback(address)), fallback)
