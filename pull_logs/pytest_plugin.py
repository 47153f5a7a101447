"""The pytest plugin: `@pytest.mark.wandb_bundle("runs.wandb.zip")` lets a bundle answer `wandb.Api()`.

pytest loads this module in every session of an environment that has this
package, so it imports nothing that a session without the marker does not need.

A bundle is named relative to the folder of the test file. From before the
fixtures of a marked test until after them, the environment names a replay
server over its bundles; servers are kept for the session, one a set of bundles.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pull_logs.replay import ReplayServer, SharedServers
    from pull_logs.replay.graphql import Named
    from pull_logs.runs import RunPath

MARKER = "wandb_bundle"
_FORM = f'@pytest.mark.{MARKER}("runs.wandb.zip", ...)'

_servers = pytest.StashKey["SharedServers"]()
_active = pytest.StashKey["ReplayServer"]()
_leaving = pytest.StashKey[ExitStack]()
_recording = pytest.StashKey["_Recording"]()

_PATIENCE = "600"
"""Seconds that the SDK waits for an answer while a run is pulled, where it would wait 19."""
_SHOWN = 5


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--wandb-record`."""
    parser.getgroup("wandb bundles").addoption(
        "--wandb-record",
        action="store_true",
        help="Pull the runs that marked tests ask for, and their bundles lack, with your W&B credentials.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and see to it that runs can be recorded before any test changes the environment."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(*paths): wandb.Api() reads these bundles, named relative to the test file's folder.",
    )
    if config.getoption("wandb_record"):
        config.stash[_recording] = _Recording(config)


class _Recording:
    """What a session that records knows: whom to ask, what was asked for, what was added to which bundle."""

    def __init__(self, config: pytest.Config) -> None:
        from pull_logs.errors import PullLogsError
        from pull_logs.fetch import load_settings

        if config.getoption("numprocesses", default=None) or hasattr(config, "workerinput"):
            raise pytest.UsageError("--wandb-record: bundles are recorded by one process; leave out -n")
        try:
            self.settings = load_settings()
            self.settings.require_key()
        except PullLogsError as exc:
            raise pytest.UsageError(f"--wandb-record: {exc}") from None
        self.asked: set[tuple[Path, Named]] = set()
        self.added: dict[Path, list[RunPath]] = {}

    @contextmanager
    def server(self, paths: Sequence[Path]) -> Iterator[ReplayServer]:
        """A server over bundles that adds to the first of them what is asked for."""
        from pull_logs.recording import Recorder
        from pull_logs.replay import serve_asking

        into, *others = paths
        with Recorder(into, others, settings=self.settings, requested=self.asked) as recorder:
            with serve_asking(recorder.bundles, on_ask=recorder.record, entity=recorder.entity()) as server:
                yield server
            if recorder.added:
                self.added.setdefault(into, []).extend(recorder.added)


@pytest.fixture
def wandb_bundle(request: pytest.FixtureRequest) -> ReplayServer:
    """The server that answers `wandb.Api()` in a marked test: its address, key and what it was asked."""
    server: ReplayServer | None = request.node.stash.get(_active, None)
    if server is None:
        raise _refusal(f"the fixture wandb_bundle names no bundle by itself; mark the test with {_FORM}")
    return server


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Let the bundles answer before any fixture of the test is set up, also those of its module."""
    marker = item.get_closest_marker(MARKER)
    if marker is not None:
        _enter(item, marker)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Tell, in the report of a test that fails, where W&B's code wanted to go besides the bundles."""
    server = item.stash.get(_active, None)
    if server is None:
        return (yield)
    before = server.refused.as_dict()
    try:
        return (yield)
    finally:
        for address, times in server.refused.as_dict().items():
            if times > before.get(address, 0):
                told = f"refused: W&B at {address}; while {MARKER} is active only bundles answer"
                item.add_report_section("call", MARKER, told)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """Put everything back after the last fixture of the test is torn down."""
    try:
        return (yield)
    finally:
        if _leaving in item.stash:
            item.stash[_leaving].close()
            del item.stash[_leaving], item.stash[_active]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Stop the servers: a worker of pytest-xdist may not live to be unconfigured."""
    if _servers in session.config.stash:
        session.config.stash[_servers].close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Tell which runs were recorded."""
    recording = config.stash.get(_recording, None)
    for path, added in sorted(recording.added.items()) if recording else ():
        shown = ", ".join(map(str, added[:_SHOWN])) + (", ..." if len(added) > _SHOWN else "")
        terminalreporter.write_line(
            f"--wandb-record: {len(added)} runs added to {path}: {shown};"
            f" see what they hold with `pull-logs audit {path}` before you share them"
        )


def _enter(item: pytest.Item, marker: pytest.Mark) -> None:
    from pull_logs.errors import PullLogsError
    from pull_logs.replay import applied

    paths = _paths(item, marker)
    recording = item.config.stash.get(_recording, None)
    with ExitStack() as stack:
        try:
            server = (
                _shared(item.config).serve(paths)
                if recording is None
                else stack.enter_context(recording.server(paths))
            )
        except PullLogsError as exc:
            raise _refusal(str(exc)) from None
        patience = {} if recording is None else {"WANDB_HTTP_TIMEOUT": _PATIENCE}
        stack.enter_context(applied(server.environment() | patience))
        item.stash[_leaving] = stack.pop_all()
    item.stash[_active] = server


def _shared(config: pytest.Config) -> SharedServers:
    """The servers of this session, none until a marked test needs one."""
    from pull_logs.replay import SharedServers

    return config.stash.setdefault(_servers, SharedServers())


def _paths(item: pytest.Item, marker: pytest.Mark) -> tuple[Path, ...]:
    """The bundles that a marker names."""
    names = marker.args
    if not names or marker.kwargs or not all(isinstance(name, str | os.PathLike) for name in names):
        raise _refusal(f"the marker {MARKER} takes paths of bundles and nothing else: {_FORM}")
    return tuple(item.path.parent / os.fspath(name) for name in names)


def _refusal(message: str) -> BaseException:
    """What ends the set-up of a test with one line."""
    return pytest.fail.Exception(f"{MARKER}: {message}", pytrace=False)
