"""The replay server on a port of its own, for a `with` block or until Ctrl-C."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Unpack

import uvicorn
from starlette.applications import Starlette

from pull_logs.errors import NetworkError, UsageError
from pull_logs.replay.environment import applied, variables
from pull_logs.replay.http import (
    LOOPBACK,
    AppOptions,
    OnQuery,
    RequestCounts,
    build_app,
    checked_host,
    checked_key,
    is_loopback,
    shown_authority,
)
from pull_logs.runs import RunPath
from pull_logs.snapshot import Bundle, open_bundle, temporary_folder

StrPath = str | os.PathLike[str]

_STOP_SECONDS = 2
_BACKLOG = 2048


@dataclass(frozen=True, slots=True)
class ReplayServer:
    """A server that is listening.

    Attributes:
        url: The value for `WANDB_BASE_URL`.
        api_key: The value for `WANDB_API_KEY`.
        requests: The requests so far, by operation.
        refused: How often clients tried to reach each other address with this server as their proxy.
        used: The runs that answers contained so far.
        folder: A temporary folder for the SDK's cache and settings, removed when the server stops.
    """

    url: str
    api_key: str = field(repr=False)
    requests: RequestCounts
    refused: RequestCounts
    used: AbstractSet[RunPath]
    folder: Path

    def environment(self) -> dict[str, str]:
        """Return the variables with which an unmodified `wandb.Api()` reads from this server only.

        The SDK's cache, configuration and data folders are in `folder`, `.netrc` is empty, and the SDK's
        service process uses this server as its proxy, which refuses any other address
        (see `environment.variables`).
        """
        return variables(self.url, self.api_key, self.folder, outside=os.environ)


class _Server(uvicorn.Server):
    """A uvicorn server that calls `on_start` when it is ready."""

    def __init__(
        self, app: Starlette, *, on_start: Callable[[], None], lifespan: Literal["on", "off"] = "off"
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http="h11",  # it passes on the address that a client requests of its proxy
                lifespan=lifespan,
                proxy_headers=False,  # the address of a client is that of its connection (see `keys`)
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=_STOP_SECONDS,
            )
        )
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then call `on_start`."""
        await super().startup(sockets=sockets)
        self._on_start()


@contextmanager
def serve_bundle(
    *paths: StrPath,
    host: str = LOOPBACK,
    port: int = 0,
    allow_remote: bool = False,
    set_environment: bool = False,
    **options: Unpack[AppOptions],
) -> Iterator[ReplayServer]:
    """Serve bundles from a thread while the block runs.

        with serve_bundle("runs.wandb.zip", set_environment=True):
            wandb.Api().runs("acme/nano")

    Args:
        paths: Bundles, or their unzipped folders.
        host: The address to listen on.
        port: The port; 0 picks a free one.
        allow_remote: Whether `host` may be an address that other machines can reach.
        set_environment: Whether `wandb.Api()` in this process reads from the server while the block runs;
            otherwise `ReplayServer.environment` returns the variables for a child process.
        options: See `AppOptions`; requests may always be sent to `host`.

    Yields:
        The server, ready to answer.

    Raises:
        UsageError: There are no paths, `host` is not loopback and `allow_remote` is false, or
            `shard_rows` is less than 1.
        NetworkError: The server cannot listen on the address.
        PullLogsError: A bundle cannot be opened.
    """
    with listen(host, port, allow_remote=allow_remote) as listening, ExitStack() as stack:
        app, server = _opened(stack, paths, listening, host=host, options=options)
        stack.enter_context(_running(app, listening, server.url))
        if set_environment:
            stack.enter_context(applied(server.environment()))
        yield server


@contextmanager
def serve_open_bundles(
    bundles: Sequence[Bundle], *, on_query: OnQuery | None = None, **options: Unpack[AppOptions]
) -> Iterator[ReplayServer]:
    """Serve bundles that are already open, and those that `on_query` returns, from a thread.

    Args:
        bundles: The bundles; possibly none at first.
        on_query: Called with the targets of each query before it is answered (see `build_app`).
        options: See `AppOptions`.

    Yields:
        The server, ready to answer.

    Raises:
        NetworkError: The server cannot listen on a port.
    """
    with ExitStack() as stack:
        listening = stack.enter_context(listen(LOOPBACK, 0, allow_remote=False))
        app = build_app(bundles, on_query=on_query, **_listening_on(LOOPBACK, (), options))
        server = _describe(stack, app, listening)
        stack.enter_context(_running(app, listening, server.url))
        yield server


def serve_forever(
    paths: Sequence[StrPath],
    *,
    host: str = LOOPBACK,
    port: int = 0,
    allow_remote: bool = False,
    on_ready: Callable[[ReplayServer], None],
    **options: Unpack[AppOptions],
) -> None:
    """Serve bundles until Ctrl-C.

    Args:
        paths: Bundles, or their unzipped folders.
        host: The address to listen on.
        port: The port; 0 picks a free one.
        allow_remote: Whether `host` may be an address that other machines can reach.
        on_ready: Called once, when the server is ready.
        options: See `AppOptions`; requests may always be sent to `host`.

    Raises:
        UsageError: There are no paths, `host` is not loopback and `allow_remote` is false, or a host or key
            is not valid.
        NetworkError: The server cannot listen on the address.
        PullLogsError: A bundle cannot be opened.
    """
    with listen(host, port, allow_remote=allow_remote) as listening, ExitStack() as stack:
        app, server = _opened(stack, paths, listening, host=host, options=options)
        with suppress(KeyboardInterrupt):
            _Server(app, on_start=lambda: on_ready(server)).run(sockets=[listening])


def run_until_stopped(app: Starlette, listening: socket.socket, *, on_ready: Callable[[], None]) -> None:
    """Answer requests with an application, whose lifespan is run, until Ctrl-C.

    Args:
        app: The application.
        listening: A socket of `listen`.
        on_ready: Called once, when requests are answered.
    """
    with suppress(KeyboardInterrupt):
        _Server(app, on_start=on_ready, lifespan="on").run(sockets=[listening])


def _listening_on(host: str, hosts: Sequence[str], options: AppOptions) -> AppOptions:
    """Return the options of a server that listens on an address, and that the user gave other names."""
    local = is_loopback(host)
    if key := options.get("api_key"):
        checked_key(key)
    return {"any_key": local, "private_hosts": not local, **options, "hosts": (host, *hosts)}


@contextmanager
def _running(app: Starlette, listening: socket.socket, url: str) -> Iterator[None]:
    settled = threading.Event()
    runner = _Server(app, on_start=settled.set)

    def run() -> None:
        try:
            runner.run(sockets=[listening])
        finally:
            settled.set()

    thread = threading.Thread(target=run, name="pull-logs replay", daemon=True)
    thread.start()
    settled.wait()
    if not runner.started:
        raise NetworkError(f"the server on {url} did not start")
    try:
        yield
    finally:
        runner.should_exit = True
        thread.join()


def listen(host: str, port: int, *, allow_remote: bool = False) -> socket.socket:
    """Return a socket that listens on an address.

    Args:
        host: The address.
        port: The port; 0 picks a free one.
        allow_remote: Whether `host` may be an address that other machines can reach.

    Raises:
        UsageError: `host` is not loopback and `allow_remote` is false.
        NetworkError: The address is in use, or not one of this machine.
    """
    if not (allow_remote or is_loopback(host)):
        raise UsageError(
            f"{host!r} is not a loopback address",
            hint="other machines could read the bundle: allow that with --allow-remote, or allow_remote=True",
        )
    # The protocol is given because asyncio disables Nagle's algorithm only on sockets that name TCP.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(_BACKLOG)
    except OSError as exc:
        listening.close()
        raise NetworkError(f"cannot listen on {host}:{port}: {exc.strerror or exc}") from exc
    return listening


def _opened(
    stack: ExitStack, paths: Sequence[StrPath], listening: socket.socket, *, host: str, options: AppOptions
) -> tuple[Starlette, ReplayServer]:
    """Return what answers requests about bundles, which stay open until the stack is closed."""
    hosts = tuple(map(checked_host, options.get("hosts", ())))
    if not paths:
        raise UsageError("no bundle to serve", hint="name one or more .wandb.zip files")
    bundles = [stack.enter_context(open_bundle(path)) for path in paths]
    app = build_app(bundles, **_listening_on(host, hosts, options))
    return app, _describe(stack, app, listening, hosts)


def _describe(
    stack: ExitStack, app: Starlette, listening: socket.socket, hosts: Sequence[str] = ()
) -> ReplayServer:
    host, port = listening.getsockname()[:2]
    folder = stack.enter_context(temporary_folder())
    return ReplayServer(
        url=f"http://{shown_authority(host, port, hosts)}",
        api_key=app.state.api_key,
        requests=app.state.requests,
        refused=app.state.refused,
        used=app.state.used,
        folder=folder,
    )
