"""Serves the tools to a client of the Model Context Protocol, over stdin and stdout or over HTTP.

Both forms of the protocol that the `mcp` package knows are answered: with a handshake (revision 2025-11-25
and earlier) and without one (2026-07-28).
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from pull_logs._version import __version__
from pull_logs.cli.tools.deferred_packages import defer_packages, deferred_models
from pull_logs.cli.tools.definitions import INSTRUCTIONS, TOOLS, Tool
from pull_logs.cli.tools.questions import Answered, ask, prepare_answers
from pull_logs.errors import PullLogsError, UsageError
from pull_logs.suggestions import did_you_mean, shortened

if TYPE_CHECKING:
    import mcp_types
    from anyio import Event
    from mcp.server.context import ServerRequestContext
    from mcp.server.lowlevel import Server

    from pull_logs.interface import Sources

NAME = "pull-logs"
_LOOPBACK = "127.0.0.1"
_SECONDS_OF_AN_ANSWER = 0.05
"""How long the answer to a listing of the tools has until it competes with imports."""

_LONGEST_ERROR = 1_500
"""The most characters of an error, some of which names from a bundle can make long."""


@dataclass(frozen=True, slots=True)
class HttpAddress:
    """Where a server is reached over HTTP.

    Attributes:
        port: The port on the loopback interface.
    """

    port: int

    @property
    def url(self) -> str:
        """The URL of the endpoint."""
        return f"http://{_LOOPBACK}:{self.port}/mcp"


def make_server(
    sources: Sources, *, workers: int = 0, on_listed: Callable[[], object] = lambda: None
) -> Server[Any]:
    """Return a server that answers questions about runs.

    Calls are answered one after another, in a thread, so that the server answers other messages meanwhile.

    Args:
        sources: The bundles and local run folders; they are opened for each call, so that a bundle that was
            refreshed is read as it is now.
        workers: How many other processes a call may start to be faster.
        on_listed: Called when a client has asked for the tools.

    Raises:
        UsageError: The `mcp` package is not installed.
    """
    defer_packages(("mcp", "mcp.server"))
    try:
        with deferred_models():
            from mcp.server.lowlevel import Server
    except ImportError as exc:
        raise UsageError(
            "the MCP server needs the mcp package", hint="pip install 'wandb-pull-logs[mcp]'"
        ) from exc
    import anyio

    one_at_a_time = anyio.CapacityLimiter(1)

    async def call(
        _: ServerRequestContext[Any], params: mcp_types.CallToolRequestParams
    ) -> mcp_types.CallToolResult:
        question = partial(_result, params.name, params.arguments or {}, sources, workers)
        return await anyio.to_thread.run_sync(question, limiter=one_at_a_time)

    async def list_tools(
        _: ServerRequestContext[Any], __: mcp_types.PaginatedRequestParams | None
    ) -> mcp_types.ListToolsResult:
        on_listed()
        return _list_tools()

    return Server(
        NAME,
        version=__version__,
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call,
    )


def _list_tools() -> mcp_types.ListToolsResult:
    import mcp_types

    return mcp_types.ListToolsResult(tools=[_described(tool) for tool in TOOLS.values()])


def _described(tool: Tool) -> mcp_types.Tool:
    import mcp_types

    return mcp_types.Tool(
        name=tool.name,
        description=tool.description,
        input_schema=tool.input_schema,
        output_schema=tool.output_schema,
        annotations=mcp_types.ToolAnnotations(read_only_hint=True, open_world_hint=False),
    )


def _result(
    name: str, arguments: Mapping[str, Any], sources: Sources, workers: int
) -> mcp_types.CallToolResult:
    """Return the answer of a call, or what is wrong with it as the command line reports it."""
    import mcp_types

    try:
        answered = _answered(name, arguments, sources, workers)
    except PullLogsError as exc:
        text = mcp_types.TextContent(text=_message(exc))
        return mcp_types.CallToolResult(content=[text], is_error=True)
    return mcp_types.CallToolResult(
        content=[mcp_types.TextContent(text=answered.text)], structured_content=answered.structured
    )


def _answered(name: str, arguments: Mapping[str, Any], sources: Sources, workers: int) -> Answered:
    if name not in TOOLS:
        raise UsageError(
            f"there is no tool {name!r}", hint=did_you_mean(name, TOOLS) or f"there are {', '.join(TOOLS)}"
        )
    return ask(name, arguments, sources, workers=workers)


def _message(exc: PullLogsError) -> str:
    """Return an error as text in which nothing of a bundle forges a line or fills the context of an agent."""
    from pull_logs.cli.render import inline

    return "\n".join(inline(shortened(line, most=_LONGEST_ERROR)) for line in str(exc).split("\n")[:3])


def serve_stdio(sources: Sources, *, workers: int = 0, report: Callable[[Exception], object]) -> None:
    """Answer the client on stdin and stdout until it closes stdin.

    What answers need is imported once the tools were listed, so that neither that nor the first call waits
    for it.

    Args:
        sources: The bundles and local run folders.
        workers: How many other processes a call may start to be faster.
        report: Called if the sources cannot be opened; each call reports the same.

    Raises:
        UsageError: The `mcp` package is not installed.
    """
    import anyio

    anyio.run(partial(_answer_stdio, sources, workers=workers, report=report))


async def _answer_stdio(sources: Sources, *, workers: int, report: Callable[[Exception], object]) -> None:
    import anyio

    listed = anyio.Event()
    with _without_collections():
        server = make_server(sources, workers=workers, on_listed=listed.set)
        from mcp.server.stdio import stdio_server

        from pull_logs.cli.tools.open_requests import OpenRequests

    async with stdio_server() as (messages, answers), anyio.create_task_group() as tasks:
        tasks.start_soon(_prepare, listed, sources, report)
        requests = OpenRequests(messages, answers)
        await server.run(requests.messages, requests.answers, server.create_initialization_options())
        tasks.cancel_scope.cancel()


async def _prepare(listed: Event, sources: Sources, report: Callable[[Exception], object]) -> None:
    """Import what answers need and open the sources, in a thread, once the tools were listed."""
    import anyio

    await listed.wait()
    await anyio.sleep(_SECONDS_OF_AN_ANSWER)
    try:
        await anyio.to_thread.run_sync(prepare_answers, sources, abandon_on_cancel=True)
    except Exception as exc:  # noqa: BLE001 - calls report it, and the next bundle may be well
        report(exc)


@contextmanager
def _without_collections() -> Iterator[None]:
    """Search for no garbage while modules are imported, and never in what they made: all of it is kept."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


def serve_http(server: Server[Any], *, port: int, on_ready: Callable[[HttpAddress], None]) -> None:
    """Answer clients over HTTP on the loopback interface until the process is stopped.

    Requests whose `Host` or `Origin` is not that of this machine are refused.

    Args:
        server: The server.
        port: The port; 0 picks a free one.
        on_ready: Called once, when requests are answered.

    Raises:
        NetworkError: The server cannot listen on the port.
    """
    from pull_logs.replay import listen, run_until_stopped

    app = server.streamable_http_app(host=_LOOPBACK)
    with listen(_LOOPBACK, port) as listening:
        address = HttpAddress(port=listening.getsockname()[1])
        run_until_stopped(app, listening, on_ready=partial(on_ready, address))
