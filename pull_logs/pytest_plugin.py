"""The pytest plugin: with `@pytest.mark.wandb_bundle("runs.wandb.zip")`, a bundle answers `wandb.Api()`.

pytest loads this module in every session of an environment that has this package, so it imports nothing that
a session without the marker and the options does not need.

A bundle is named relative to the folder of the test file; a marker without arguments, and the fixture
`wandb_bundle`, use the bundles of the ini file. While such a test and its fixtures run, the environment names
a replay server over its bundles. Servers are kept for the session, one per set of bundles. With
`--block-wandb` every other test finds a server that refuses it. Under pytest-xdist each worker sends what it
recorded and which runs it read to the process that prints the report.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pull_logs.replay import ConnectionWatch, ReplayServer, SharedServers
    from pull_logs.replay.graphql import QueryTarget
    from pull_logs.runs import RunPath

MARKER = "wandb_bundle"
_FORM = f'@pytest.mark.{MARKER}("runs.wandb.zip", ...)'

_BLOCKED = (
    "--block-wandb refuses W&B to this test, which names no bundle: mark it with"
    f" {_FORM}, or replace the call"
)

_servers = pytest.StashKey["SharedServers"]()
_active = pytest.StashKey["ReplayServer"]()
_leaving = pytest.StashKey[ExitStack]()
_recording = pytest.StashKey["_Recording"]()
_blocking = pytest.StashKey["_Blocking"]()
_session = pytest.StashKey["_SessionReport"]()
_OUTPUT = "pull_logs"

_PATIENCE = "600"
"""Seconds that the SDK waits for an answer while a run is downloaded; its default is 19."""
_SHOWN = 5


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options and the settings of the ini file."""
    group = parser.getgroup("wandb bundles")
    group.addoption(
        "--wandb-record",
        action="store_true",
        help="Download runs that marked tests request and their bundles lack, with your W&B credentials.",
    )
    group.addoption(
        "--block-wandb",
        action="store_true",
        default=None,
        help="Refuse W&B to tests without a bundle.",
    )
    group.addoption(
        "--wandb-unused",
        action="store_true",
        help="List the runs of the bundles in use that no test read.",
    )
    parser.addini(
        MARKER, "Bundles for markers without arguments and for the fixture.", type="paths", default=[]
    )
    parser.addini("block_wandb", "Refuse W&B to tests without a bundle.", type="bool", default=False)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker; read the W&B settings before a test changes the environment."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(*paths): wandb.Api() reads these bundles, named relative to the test file's folder; "
        "without paths, those of the ini file.",
    )
    config.stash[_session] = _SessionReport()
    if config.getoption("wandb_record"):
        config.stash[_recording] = _Recording(config)
    if config.getoption("block_wandb") or config.getini("block_wandb"):
        config.stash[_blocking] = _Blocking()


class _SessionReport:
    """What the tests of a session read and recorded, in this process and in the workers of pytest-xdist."""

    def __init__(self) -> None:
        self.read: dict[str, set[str]] = {}
        self.added: dict[str, list[str]] = {}

    def add_read(self, paths: Sequence[Path], runs: Iterable[RunPath]) -> None:
        """Note bundles that were in use, and the runs that were read from them."""
        found = set(map(str, runs))
        for path in paths:
            self.read.setdefault(str(path.resolve()), set()).update(found)

    def to_json(self) -> dict[str, object]:
        """Return what a worker sends."""
        return {"read": {path: sorted(runs) for path, runs in self.read.items()}, "added": self.added}

    def add_worker(self, sent: Mapping[str, Any]) -> None:
        """Add what a worker sent."""
        for path, runs in sent["read"].items():
            self.read.setdefault(path, set()).update(runs)
        for path, added in sent["added"].items():
            self.added.setdefault(path, []).extend(added)

    def lines(self, *, unused: bool) -> Iterator[str]:
        """Yield the lines of the report."""
        from pull_logs.suggestions import counted

        for path, added in sorted(self.added.items()):
            yield (
                f"--wandb-record: {counted(len(added), 'run')} added to {path}: {_listed(added)};"
                f" see what they hold with `pull-logs audit {path}` before you share them"
            )
        for path, runs in sorted(self.read.items()) if unused else ():
            held = _runs_of(path)
            left = [run for run in held if run not in runs]
            which = f": {_listed(left)}" if left else ""
            yield f"--wandb-unused: {len(left)} of {len(held)} runs of {path} were not read{which}"


class _Blocking:
    """The server that refuses tests without a bundle, started when the first of them runs."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._server: ReplayServer | None = None
        self._watch: ConnectionWatch | None = None
        self._base_url = os.environ.get("WANDB_BASE_URL", "")

    @contextmanager
    def refusing(self) -> Iterator[ReplayServer]:
        """Refuse W&B while the block runs."""
        from pull_logs.replay import applied

        server, watch = self._started()
        with applied(server.environment()):
            watch.active = True
            try:
                yield server
            finally:
                watch.active = False

    def _started(self) -> tuple[ReplayServer, ConnectionWatch]:
        from pull_logs.replay import ConnectionWatch, own_host, serve_refusal

        if self._server is None or self._watch is None:
            self._server = self._stack.enter_context(serve_refusal(_BLOCKED))
            self._watch = ConnectionWatch(_blocked, own_host=own_host(self._base_url))
            sys.addaudithook(self._watch)
        return self._server, self._watch

    def close(self) -> None:
        """Stop the server."""
        self._stack.close()


class _Recording:
    """The settings and past requests of a session that records."""

    def __init__(self, config: pytest.Config) -> None:
        from pull_logs.errors import PullLogsError
        from pull_logs.fetch import load_settings

        try:
            self.settings = load_settings()
            self.settings.require_key()
        except PullLogsError as exc:
            raise pytest.UsageError(f"--wandb-record: {exc}") from None
        self._report = config.stash[_session]
        self._asked: set[tuple[Path, QueryTarget]] = set()

    @contextmanager
    def server(self, paths: Sequence[Path]) -> Iterator[ReplayServer]:
        """Run a server over bundles that adds requested runs to the first of them."""
        from pull_logs.recording import Recorder
        from pull_logs.replay import serve_open_bundles

        into, *others = paths
        with Recorder(into, others, settings=self.settings, requested=self._asked) as recorder:
            with serve_open_bundles(
                recorder.bundles, on_query=recorder.record, entity=recorder.entity()
            ) as server:
                yield server
            self._report.add_read(paths, server.used)
            if recorder.added:
                self._report.added.setdefault(str(into), []).extend(map(str, recorder.added))


@pytest.fixture
def wandb_bundle(request: pytest.FixtureRequest) -> ReplayServer:
    """Return the server that answers `wandb.Api()` in a marked test: its address, key and request counts."""
    server: ReplayServer | None = request.node.stash.get(_active, None)
    if server is None:
        raise _refusal(
            f"the fixture {MARKER} names no bundle by itself; mark the test with {_FORM},"
            f" or name one as {MARKER} in the ini file"
        )
    return server


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Set the environment before any fixture of the test is set up, those of its module included."""
    paths = _paths(item)
    if paths:
        item.stash[_active] = _enter(item, _serving(item.config, paths))
    elif _blocking in item.config.stash:
        _enter(item, item.config.stash[_blocking].refusing())


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
            del item.stash[_leaving]
        if _active in item.stash:
            del item.stash[_active]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Stop the servers; a worker of pytest-xdist may end before `pytest_unconfigure`."""
    stash = session.config.stash
    report = stash[_session]
    if _servers in stash:
        for paths, used in stash[_servers].used().items():
            report.add_read(paths, used)
        stash[_servers].close()
    if _blocking in stash:
        stash[_blocking].close()
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[_OUTPUT] = report.to_json()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add what a worker of pytest-xdist sent; one that crashed sent nothing."""
    sent = getattr(node, "workeroutput", {}).get(_OUTPUT)
    if sent is not None:
        node.config.stash[_session].add_worker(sent)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """List the runs that were recorded, and those that were not read."""
    for line in config.stash[_session].lines(unused=config.getoption("wandb_unused")):
        terminalreporter.write_line(line)


@contextmanager
def _serving(config: pytest.Config, paths: Sequence[Path]) -> Iterator[ReplayServer]:
    """Serve bundles, with the environment of this process set for them, while the block runs."""
    from pull_logs.replay import applied

    recording = config.stash.get(_recording, None)
    with ExitStack() as stack:
        if recording is None:
            server, patience = _shared(config).serve(paths), {}
        else:
            server = stack.enter_context(recording.server(paths))
            patience = {"WANDB_HTTP_TIMEOUT": _PATIENCE}
        stack.enter_context(applied(server.environment() | patience))
        yield server


def _enter(item: pytest.Item, serving: AbstractContextManager[ReplayServer]) -> ReplayServer:
    """Enter the block of a test, to be left after its teardown, and return the server."""
    from pull_logs.errors import PullLogsError

    with ExitStack() as stack:
        try:
            server = stack.enter_context(serving)
        except PullLogsError as exc:
            raise _refusal(str(exc)) from None
        item.stash[_leaving] = stack.pop_all()
    return server


def _shared(config: pytest.Config) -> SharedServers:
    """Return the servers of this session, created when a marked test first needs one."""
    from pull_logs.replay import SharedServers

    return config.stash.setdefault(_servers, SharedServers())


def _paths(item: pytest.Item) -> tuple[Path, ...]:
    """Return the bundles of a test: those of its marker, or the default ones if it names none."""
    marker = item.get_closest_marker(MARKER)
    default = tuple(map(Path, item.config.getini(MARKER)))
    if marker is None:
        return default if MARKER in getattr(item, "fixturenames", ()) else ()
    names = marker.args
    if marker.kwargs or not all(isinstance(name, str | os.PathLike) for name in names):
        raise _refusal(f"the marker {MARKER} takes paths of bundles and nothing else: {_FORM}")
    if not (names or default):
        raise _refusal(
            f"the marker {MARKER} names no bundle, and neither does {MARKER} in the ini file: {_FORM}"
        )
    return tuple(item.path.parent / os.fspath(name) for name in names) or default


def _runs_of(path: str) -> list[str]:
    """Return the runs of a bundle; none if it cannot be read any more."""
    from pull_logs.errors import PullLogsError
    from pull_logs.snapshot import open_bundle

    try:
        with open_bundle(path) as bundle:
            return [str(run.path) for run in bundle.runs()]
    except PullLogsError:
        return []


def _listed(runs: Sequence[str]) -> str:
    return ", ".join(runs[:_SHOWN]) + (", ..." if len(runs) > _SHOWN else "")


def _blocked(host: str) -> BaseException:
    """Return the exception that ends a test which reaches for a host of W&B."""
    return pytest.fail.Exception(f"W&B at {host}: {_BLOCKED}", pytrace=True)


def _refusal(message: str) -> BaseException:
    """Return the exception that ends the set-up of a test with one line."""
    return pytest.fail.Exception(f"{MARKER}: {message}", pytrace=False)
