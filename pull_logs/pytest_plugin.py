"""The pytest plugin: with `@pytest.mark.wandb_bundle("runs.wandb.zip")`, a bundle answers `wandb.Api()`.

pytest loads this module in every session of an environment that has this package, so it imports nothing that
a session without the marker does not need.

A bundle is named relative to the folder of the test file. While a marked test and its fixtures run, the
environment names a replay server over its bundles. Servers are kept for the session, one per set of bundles.
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
    from pull_logs.replay.graphql import QueryTarget
    from pull_logs.runs import RunPath

MARKER = "wandb_bundle"
_FORM = f'@pytest.mark.{MARKER}("runs.wandb.zip", ...)'

_servers = pytest.StashKey["SharedServers"]()
_active = pytest.StashKey["ReplayServer"]()
_leaving = pytest.StashKey[ExitStack]()
_recording = pytest.StashKey["_Recording"]()

_PATIENCE = "600"
"""Seconds that the SDK waits for an answer while a run is downloaded; its default is 19."""
_SHOWN = 5


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--wandb-record`."""
    parser.getgroup("wandb bundles").addoption(
        "--wandb-record",
        action="store_true",
        help="Download runs that marked tests request and their bundles lack, with your W&B credentials.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker; read the W&B credentials for recording before a test changes the environment."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(*paths): wandb.Api() reads these bundles, named relative to the test file's folder.",
    )
    if config.getoption("wandb_record"):
        config.stash[_recording] = _Recording(config)


class _Recording:
    """The state of a session that records: settings, past requests, and the runs added to each bundle."""

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
        self.asked: set[tuple[Path, QueryTarget]] = set()
        self.added: dict[Path, list[RunPath]] = {}

    @contextmanager
    def server(self, paths: Sequence[Path]) -> Iterator[ReplayServer]:
        """Run a server over bundles that adds requested runs to the first of them."""
        from pull_logs.recording import Recorder
        from pull_logs.replay import serve_open_bundles

        into, *others = paths
        with Recorder(into, others, settings=self.settings, requested=self.asked) as recorder:
            with serve_open_bundles(
                recorder.bundles, on_query=recorder.record, entity=recorder.entity()
            ) as server:
                yield server
            if recorder.added:
                self.added.setdefault(into, []).extend(recorder.added)


@pytest.fixture
def wandb_bundle(request: pytest.FixtureRequest) -> ReplayServer:
    """Return the server that answers `wandb.Api()` in a marked test: its address, key and request counts."""
    server: ReplayServer | None = request.node.stash.get(_active, None)
    if server is None:
        raise _refusal(f"the fixture wandb_bundle names no bundle by itself; mark the test with {_FORM}")
    return server


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Set the environment before any fixture of the test is set up, those of its module included."""
    marker = item.get_closest_marker(MARKER)
    if marker is not None:
        _enter(item, marker)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Add the addresses that W&B's code tried to reach besides the server to the report of a failed test."""
    server = item.stash.get(_active, None)
    if server is None:
        return (yield)
    before = server.refused.as_dict()
    try:
        return (yield)
    finally:
        for address, times in server.refused.as_dict().items():
            if times > before.get(address, 0):
                section = f"refused: W&B at {address}; while {MARKER} is active only bundles answer"
                item.add_report_section("call", MARKER, section)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """Restore the environment after the last fixture of the test is torn down."""
    try:
        return (yield)
    finally:
        if _leaving in item.stash:
            item.stash[_leaving].close()
            del item.stash[_leaving], item.stash[_active]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Stop the servers; a worker of pytest-xdist may end before `pytest_unconfigure`."""
    if _servers in session.config.stash:
        session.config.stash[_servers].close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """List the runs that were recorded."""
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
    """Return the servers of this session, created when a marked test first needs one."""
    from pull_logs.replay import SharedServers

    return config.stash.setdefault(_servers, SharedServers())


def _paths(item: pytest.Item, marker: pytest.Mark) -> tuple[Path, ...]:
    """Return the bundles that a marker names."""
    names = marker.args
    if not names or marker.kwargs or not all(isinstance(name, str | os.PathLike) for name in names):
        raise _refusal(f"the marker {MARKER} takes paths of bundles and nothing else: {_FORM}")
    return tuple(item.path.parent / os.fspath(name) for name in names)


def _refusal(message: str) -> BaseException:
    """Return the exception that ends the set-up of a test with one line."""
    return pytest.fail.Exception(f"{MARKER}: {message}", pytrace=False)
