"""The options of the pytest plugin: default bundles, tests without one, recording in workers, unused runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from replay_support import bundle_run, plain_rows, world, write_runs

from pull_logs.replay import ConnectionWatch, ReplayServer, own_host, serve_bundle
from pull_logs.snapshot import open_bundle

pytest_plugins = ["pytester"]

PLUGIN = ("-p", "pull_logs.pytest_plugin", "--strict-markers", "-W", "error")
WORKERS = ("-p", "xdist", "-n", "2")
KEY = "c0ffee" * 7
BLOCKED = (
    "--block-wandb refuses W&B to this test, which names no bundle: mark it with"
    ' @pytest.mark.wandb_bundle("runs.wandb.zip", ...), or replace the call'
)


@pytest.fixture
def place(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a bundle of three runs and one of one run."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    (pytester.path / "data").mkdir()
    three = [bundle_run(f"acme/one/{name}", plain_rows(3)) for name in "abc"]
    write_runs(pytester.path, three).rename(pytester.path / "data" / "three.wandb.zip")
    write_runs(pytester.path, [bundle_run("acme/two/d", [])]).rename(pytester.path / "one.wandb.zip")
    return pytester.path


@pytest.fixture
def real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReplayServer]:
    """What stands in for W&B."""
    with serve_bundle(write_runs(tmp_path, world()), api_key=KEY, any_key=False) as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        yield server


def reported(result: pytest.RunResult, option: str) -> list[str]:
    return [line for line in result.outlines if line.startswith(f"{option}: ")]


DEFAULT = """
import os
import pytest

def ids(project):
    import wandb
    return sorted(run.id for run in wandb.Api().runs(project))

@pytest.mark.wandb_bundle
def test_marked():
    assert ids("acme/one") == ["a", "b", "c"]

@pytest.mark.wandb_bundle()
class TestMarked:
    def test_in_a_class(self):
        assert ids("acme/one") == ["a", "b", "c"]

    @pytest.mark.wandb_bundle("../one.wandb.zip")
    def test_that_names_its_own(self):
        assert ids("acme/two") == ["d"]
        with pytest.raises(Exception, match="has no project 'acme/one'"):
            ids("acme/one")

def test_with_the_fixture(wandb_bundle):
    assert ids("acme/one") == ["a", "b", "c"]
    assert os.environ["WANDB_BASE_URL"] == wandb_bundle.url

def test_unmarked():
    assert "WANDB_BASE_URL" not in os.environ
"""


def test_the_bundles_of_the_ini_file_are_the_default(pytester: pytest.Pytester, place: Path) -> None:
    pytester.makeini("[pytest]\nwandb_bundle = data/three.wandb.zip\n")
    (place / "inner").mkdir()
    (place / "inner" / "test_inner.py").write_text(DEFAULT)
    result = pytester.runpytest_subprocess(*PLUGIN, "inner", timeout=100)
    result.assert_outcomes(passed=5)


def test_every_test_may_use_the_default(pytester: pytest.Pytester, place: Path) -> None:
    (place / "pyproject.toml").write_text(
        "[tool.pytest.ini_options]\n"
        'wandb_bundle = ["data/three.wandb.zip", "one.wandb.zip"]\nusefixtures = ["wandb_bundle"]\n'
    )
    pytester.makepyfile(
        test_inner="""
        def test_both():
            import wandb
            assert [len(wandb.Api().runs(name)) for name in ("acme/one", "acme/two")] == [3, 1]
        """
    )
    pytester.runpytest_subprocess(*PLUGIN, timeout=60).assert_outcomes(passed=1)


BLOCK = """
import os, socket, subprocess, sys
import httpx, pytest

BLOCKED = {blocked!r}
BEFORE = dict(os.environ)

@pytest.fixture(autouse=True)
def restored():
    yield
    if "PYTEST_CURRENT_TEST" in os.environ:
        assert "WANDB_BASE_URL" in os.environ  # until the fixtures of the test are torn down

def test_the_sdk():
    import wandb
    named = lambda: wandb.Api(api_key="x" * 40)
    for call in (wandb.Api, wandb.login, lambda: wandb.init(project="p"), named):
        with pytest.raises(Exception) as found:
            call()
        assert BLOCKED in str(found.value)

def test_the_sdk_in_a_child_process():
    done = subprocess.run([sys.executable, "-c", "import wandb; wandb.Api()"], capture_output=True, text=True)
    assert done.returncode == 1
    assert BLOCKED in done.stderr

def test_another_server_named_to_the_sdk():
    import wandb
    with pytest.raises(Exception, match="Failed to verify credentials"):
        wandb.Api(overrides={{"base_url": "https://api.wandb.ai"}})

@pytest.mark.parametrize("host", ["api.wandb.ai", "WANDB.ai.", "api.forge.coreweave.com", "wandb.example"])
def test_other_code(host):
    for reach in (
        lambda: socket.create_connection((host, 443), timeout=1),
        lambda: httpx.get(f"https://{{host}}/graphql", trust_env=False),
        lambda: socket.gethostbyname(host),
    ):
        with pytest.raises(pytest.fail.Exception) as found:
            reach()
        assert str(found.value).endswith(BLOCKED)
        assert str(found.value).lower().startswith(f"w&b at {{host.lower()}}".rstrip("."))

def test_other_hosts_are_reached():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
    assert socket.getaddrinfo("localhost", 80)

def test_offline_logging(tmp_path):
    import wandb
    with wandb.init(mode="offline", dir=tmp_path) as run:
        run.log({{"x": 1}})

@pytest.mark.wandb_bundle("data/three.wandb.zip")
def test_marked():
    import wandb
    assert len(wandb.Api().runs("acme/one")) == 3
    with pytest.raises(OSError):
        socket.create_connection(("wandb.example", 443), timeout=1)

def test_that_fails():
    import wandb
    wandb.Api()

def test_other_code_that_fails():
    try:
        httpx.get("https://api.wandb.ai", trust_env=False)
    except Exception:
        pass  # code under test may catch what it likes
"""


@pytest.mark.parametrize(
    ("ini", "options"),
    [("", ("--block-wandb",)), ("block_wandb = true\n", ()), ("", ("--block-wandb", *WORKERS))],
    ids=["option", "ini", "xdist"],
)
def test_tests_without_a_bundle_do_not_reach_wandb(
    pytester: pytest.Pytester,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    ini: str,
    options: tuple[str, ...],
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example")
    pytester.makeini(f"[pytest]\n{ini}")
    pytester.makepyfile(test_inner=BLOCK.format(blocked=BLOCKED))
    result = pytester.runpytest_subprocess(*PLUGIN, *options, timeout=100)
    result.assert_outcomes(passed=10, failed=2)
    assert any(line.startswith("E ") and line.endswith(BLOCKED) for line in result.outlines)
    assert any(line.endswith(f"Failed: W&B at api.wandb.ai: {BLOCKED}") for line in result.outlines)


@pytest.mark.parametrize(
    ("event", "arguments", "refused"),
    [
        ("socket.connect", (None, ("api.wandb.ai", 443)), "api.wandb.ai"),
        ("socket.connect", (None, ("wandb.example", 443)), "wandb.example"),
        ("socket.connect", (None, "/run/a.sock"), None),
        ("socket.connect", (None, ("notwandb.ai", 443)), None),
        ("socket.getaddrinfo", (b"API.WANDB.AI", 443), "API.WANDB.AI"),
        ("socket.getaddrinfo", (None, 443), None),
        ("open", ("api.wandb.ai", "r", 0), None),
    ],
)
def test_which_events_are_refused(event: str, arguments: tuple[object, ...], refused: str | None) -> None:
    watch = ConnectionWatch(LookupError, own_host=own_host("https://wandb.example:8443/a"))
    watch(event, arguments)  # it is not active yet
    watch.active = True
    if refused is None:
        watch(event, arguments)
        return
    with pytest.raises(LookupError, match=refused):
        watch(event, arguments)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "http://localhost:8080", "", "nonsense"])
def test_a_server_on_loopback_is_no_host_of_wandb(url: str) -> None:
    watch = ConnectionWatch(LookupError, own_host=own_host(url))
    watch.active = True
    for host in ("127.0.0.1", "localhost", ""):
        watch("socket.getaddrinfo", (host, 8080))


def test_without_the_option_nothing_is_refused(pytester: pytest.Pytester, place: Path) -> None:
    pytester.makepyfile(
        test_inner="""
        import os
        BEFORE = dict(os.environ)
        def test_unmarked():
            assert dict(os.environ) == BEFORE | {"PYTEST_CURRENT_TEST": os.environ["PYTEST_CURRENT_TEST"]}
        """
    )
    pytester.runpytest_subprocess(*PLUGIN, timeout=60).assert_outcomes(passed=1)


def test_blocked_tests_do_not_get_the_fixture(pytester: pytest.Pytester, place: Path) -> None:
    pytester.makepyfile(test_inner="def test_unmarked(wandb_bundle): ...")
    result = pytester.runpytest_inprocess(*PLUGIN, "--block-wandb")
    result.assert_outcomes(errors=1)
    assert any("the fixture wandb_bundle names no bundle by itself" in line for line in result.outlines)


READ = """
import pytest, wandb

@pytest.mark.wandb_bundle("data/three.wandb.zip")
def test_one():
    assert wandb.Api().run("acme/one/a").state == "finished"

@pytest.mark.wandb_bundle("data/three.wandb.zip", "one.wandb.zip")
def test_two():
    api = wandb.Api()
    assert len(api.runs("acme/one", filters={"displayName": "run acme/one/c"})) == 1
    assert api.run("acme/two/d").id == "d"
    with pytest.raises(Exception, match="no run 'acme/two/e'"):
        api.run("acme/two/e")
"""


@pytest.mark.parametrize("options", [(), (*WORKERS, "--dist", "each"), WORKERS], ids=["one", "each", "two"])
def test_runs_that_no_test_read_are_listed(
    pytester: pytest.Pytester, place: Path, options: tuple[str, ...]
) -> None:
    pytester.makepyfile(test_inner=READ)
    result = pytester.runpytest_subprocess(*PLUGIN, "--wandb-unused", *options, timeout=100)
    assert result.ret == 0
    assert reported(result, "--wandb-unused") == [
        f"--wandb-unused: 1 of 3 runs of {place}/data/three.wandb.zip were not read: acme/one/b",
        f"--wandb-unused: 0 of 1 runs of {place}/one.wandb.zip were not read",
    ]


def test_only_the_bundles_in_use_and_the_first_runs_are_listed(
    pytester: pytest.Pytester, place: Path
) -> None:
    many = [bundle_run(f"acme/many/r{at}", []) for at in range(9)]
    write_runs(place, many).rename(place / "many.wandb.zip")
    pytester.makepyfile(
        test_inner="""
        import pytest
        @pytest.mark.wandb_bundle("many.wandb.zip")
        def test_nothing(wandb_bundle): ...
        @pytest.mark.skip
        @pytest.mark.wandb_bundle("one.wandb.zip")
        def test_skipped(): ...
        """
    )
    result = pytester.runpytest_inprocess(*PLUGIN, "--wandb-unused")
    assert reported(result, "--wandb-unused") == [
        f"--wandb-unused: 9 of 9 runs of {place}/many.wandb.zip were not read: "
        + ", ".join(f"acme/many/r{at}" for at in range(5))
        + ", ..."
    ]


RECORD = """
import pytest, wandb

@pytest.mark.wandb_bundle("data/recorded.wandb.zip")
@pytest.mark.parametrize("name", ["plain01", "hist01", "odd01", "live01"] * 2)
def test_by_name(name):
    assert wandb.Api().run(f"acme/nano/{name}").id == name

@pytest.mark.wandb_bundle("data/recorded.wandb.zip")
@pytest.mark.parametrize("again", range(4))
def test_a_listing(again):
    assert len(wandb.Api().runs("acme/nano", filters={"config.lr": {"$lte": 0.01}})) == 2
"""


def test_workers_record_into_one_bundle_and_each_run_is_added_once(
    pytester: pytest.Pytester, place: Path, real: ReplayServer, tmp_path: Path
) -> None:
    pytester.makepyfile(test_inner=RECORD)
    recorded = place / "data" / "recorded.wandb.zip"
    result = pytester.runpytest_subprocess(*PLUGIN, *WORKERS, "--wandb-record", timeout=100)
    result.assert_outcomes(passed=12)
    (line,) = reported(result, "--wandb-record")
    assert line.startswith(f"--wandb-record: 4 runs added to {recorded}: ")
    names = ["hist01", "live01", "odd01", "plain01"]
    assert sorted(line.partition(f"{recorded}: ")[2].partition(";")[0].split(", ")) == [
        f"acme/nano/{name}" for name in names
    ]
    with open_bundle(recorded) as new, open_bundle(tmp_path / "runs.wandb.zip") as old:
        assert [run.path.run_id for run in new.runs()] == names
        assert all(run.rows_hash == old[str(run.path)].rows_hash for run in new.runs())
    assert sorted(path.name for path in recorded.parent.iterdir()) == [
        "recorded.wandb.zip",
        "three.wandb.zip",
    ]
    before = real.requests.total
    pytester.runpytest_subprocess(*PLUGIN, *WORKERS, timeout=100).assert_outcomes(passed=12)
    assert real.requests.total == before
