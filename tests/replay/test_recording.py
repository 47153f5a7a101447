"""`--wandb-record`: runs are pulled once, with real credentials, and from then on the bundle answers.

A replay server with a key of its own stands in for W&B.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from graphql import parse
from openfiles import refuse_open_files
from replay_support import bundle_run, plain_rows, world, write_runs
from trap import trap

from pull_logs.fetch import Settings
from pull_logs.recording import Recorder
from pull_logs.replay import ReplayServer, serve_bundle
from pull_logs.replay.graphql.query_names import Listing, QueryTarget, Sweep, query_targets
from pull_logs.replay.server import serve_open_bundles
from pull_logs.runs import RunPath
from pull_logs.snapshot import open_bundle

pytest_plugins = ["pytester"]

PLUGIN = ("-p", "pull_logs.pytest_plugin", "--strict-markers", "-W", "error")
KEY = "c0ffee" * 7

ASKING = """
import pytest, wandb

@pytest.mark.wandb_bundle("data/recorded.wandb.zip")
def test_runs_by_name_and_a_listing():
    api = wandb.Api()
    assert api.run("nano/plain01").config["lr"] == 0.1  # of the default entity
    assert len(list(api.run("acme/nano/plain01").scan_history())) == 2500
    rows = api.run("acme/nano/hist01").scan_history(keys=["_step", "loss"])
    assert [row["loss"] for row in rows][:2] == [0, 0.25]
    with pytest.raises(Exception, match="gone"):
        api.run("acme/nano/gone")
    runs = api.runs("acme/nano", filters={"config.lr": {"$lte": 0.01}})
    assert sorted(run.id for run in runs) == ["hist01", "odd01"]
"""


@pytest.fixture
def real(tmp_path: Path) -> Iterator[ReplayServer]:
    """What stands in for W&B."""
    with serve_bundle(write_runs(tmp_path, world()), api_key=KEY, any_key=False) as server:
        yield server


def held(path: Path) -> dict[str, str]:
    with open_bundle(path) as bundle:
        return {run.path.run_id: run.rows_hash for run in bundle.runs()}


def test_what_tests_ask_for_is_recorded_and_from_then_on_the_bundle_answers(
    pytester: pytest.Pytester, real: ReplayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile(test_inner=ASKING)
    recorded = pytester.path / "data" / "recorded.wandb.zip"
    monkeypatch.setenv("WANDB_BASE_URL", real.url)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    first = pytester.runpytest_subprocess(*PLUGIN, "--wandb-record", timeout=60)
    first.assert_outcomes(passed=1)
    (told,) = [line for line in first.outlines if line.startswith("--wandb-record: ")]
    assert told == (
        f"--wandb-record: 3 runs added to {recorded}: acme/nano/plain01, acme/nano/hist01, acme/nano/odd01;"
        f" see what they hold with `pull-logs audit {recorded}` before you share them"
    )
    originals = held(tmp_path / "runs.wandb.zip")
    assert held(recorded) == {name: originals[name] for name in ("plain01", "hist01", "odd01")}
    assert [path.name for path in recorded.parent.iterdir()] == ["recorded.wandb.zip"]
    assert real.requests["(signed out)"] == 0
    assert KEY.encode() not in recorded.read_bytes()

    with trap() as nobody:
        monkeypatch.setenv("WANDB_BASE_URL", nobody.url)
        pytester.runpytest_subprocess(*PLUGIN, timeout=60).assert_outcomes(passed=1)
        assert nobody.caught == []


class Recorded:
    """A bundle that is recorded into, and what answers meanwhile."""

    def __init__(self, server: ReplayServer, recorder: Recorder) -> None:
        self.server, self.recorder = server, recorder

    def ask(self, query: str, **variables: Any) -> Any:
        """The project's part of the answer, or the errors."""
        body = {"query": query, "variables": variables}
        auth = ("api", self.server.api_key)
        answer = httpx.post(f"{self.server.url}/graphql", json=body, auth=auth, timeout=30).json()
        return [error["message"] for error in answer["errors"]] if "errors" in answer else answer["data"]


@contextmanager
def recording(
    into: Path, real: ReplayServer, *, key: str = KEY, asked: set[tuple[Path, QueryTarget]] | None = None
) -> Iterator[Recorded]:
    settings = Settings(base_url=real.url, api_key=key)
    known = set() if asked is None else asked
    with (
        Recorder(into, (), settings=settings, requested=known) as recorder,
        serve_open_bundles(recorder.bundles, on_query=recorder.record, entity=recorder.entity()) as server,
    ):
        yield Recorded(server, recorder)


ONE = 'query Q($n: String!) { project(name: "nano", entityName: "acme") { run(name: $n) { displayName } } }'
SOME = """query Q($f: JSONString) { project(name: "nano", entityName: "acme") { runCount(filters: $f)
  runs(filters: $f, first: 1) { edges { node { name } } } } }"""
SWEPT = '{ project(name: "nano", entityName: "acme") { sweep(sweepName: "sweep1") { runCount } } }'


def test_runs_that_are_there_stay_as_they_are_to_the_byte(tmp_path: Path, real: ReplayServer) -> None:
    (tmp_path / "there").mkdir()
    there = bundle_run("acme/nano/plain01", plain_rows(3), name="as it was")
    into = write_runs(tmp_path / "there", [there])
    with recording(into, real) as recorded:
        assert recorded.server.requests.as_dict() == {}
        before = real.requests.total
        assert recorded.ask(ONE, n="plain01")["project"]["run"] == {"displayName": "as it was"}
        assert (real.requests.total, recorded.recorder.added) == (before, [])
        assert recorded.ask(ONE, n="hist01")["project"]["run"] == {"displayName": "zesty-owl-2"}
        assert recorded.ask(SOME, f="{}")["project"]["runCount"] == 5
    with open_bundle(into) as bundle:
        assert bundle["plain01"].name == "as it was"
        assert sorted(run.path.run_id for run in bundle.runs()) == [
            "empty01",
            "hist01",
            "live01",
            "odd01",
            "plain01",
        ]


def test_nothing_is_asked_for_twice(tmp_path: Path, real: ReplayServer) -> None:
    into, asked = tmp_path / "new" / "recorded.zip", set[tuple[Path, QueryTarget]]()
    questions: list[tuple[str, dict[str, str]]] = [
        (ONE, {"n": "plain01"}),
        (ONE, {"n": "gone"}),
        (SOME, {"f": '{"config.lr": {"$lte": 0.01}}'}),
        (SWEPT, {}),
    ]
    with recording(into, real, asked=asked) as recorded:
        answers = [recorded.ask(query, **variables) for query, variables in questions]
        assert answers[2]["project"] == {"runCount": 2, "runs": {"edges": [{"node": {"name": "hist01"}}]}}
        assert answers[3]["project"] == {"sweep": {"runCount": 2}}
    requests, content = real.requests.total, into.read_bytes()
    with recording(into, real, asked=asked) as recorded:
        again = [recorded.ask(query, **variables) for query, variables in questions]
        assert (again[0], again[2:]) == (answers[0], answers[2:])
        assert again[1][0].startswith(
            "the bundle 'recorded.zip' has no run 'acme/nano/gone', it has 'hist01', "
        )
        assert recorded.recorder.added == []
    assert (real.requests.total, into.read_bytes()) == (requests, content)


def test_queries_at_the_same_time_record_a_run_once(tmp_path: Path, real: ReplayServer) -> None:
    names = ["plain01", "hist01", "odd01", "live01"] * 4
    with recording(tmp_path / "recorded.zip", real) as recorded, ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda name: recorded.ask(ONE, n=name)["project"]["run"], names))
        assert None not in found
        assert sorted(path.run_id for path in recorded.recorder.added) == sorted(set(names))


def test_the_default_entity_of_an_empty_bundle_is_that_of_the_user(
    tmp_path: Path, real: ReplayServer
) -> None:
    with recording(tmp_path / "recorded.zip", real) as recorded:
        assert recorded.ask("{ viewer { entity } }") == {"viewer": {"entity": "acme"}}


def test_what_cannot_be_pulled_is_an_error_that_says_so(tmp_path: Path, real: ReplayServer) -> None:
    (tmp_path / "there").mkdir()
    there = write_runs(tmp_path / "there", [bundle_run("acme/nano/r1", [])])
    with recording(there, real, key="d" * 40) as recorded:
        (message,) = recorded.ask(ONE, n="plain01")
        assert "refused" in message
        assert "d" * 40 not in message
    with recording(there, real) as recorded:
        (message,) = recorded.ask(SOME, f='{"$xor": []}')
        assert message.startswith("'$xor' is not an operator of W&B's filters")
    assert sorted(held(there)) == ["r1"]


@pytest.mark.parametrize("options", [(), ("-p", "xdist", "-n", "2")], ids=["one process", "xdist"])
def test_a_session_that_cannot_record_does_not_start(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", "")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    result = pytester.runpytest_subprocess(*PLUGIN, "--wandb-record", *options, timeout=60)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    message = "no API key for http://127.0.0.1:9; sign in with `wandb login` or set WANDB_API_KEY"
    assert result.stderr.str().strip() == f"ERROR: --wandb-record: {message}"


P = 'project(name: "nano", entityName: "acme")'


@pytest.mark.parametrize(
    ("query", "variables", "expected"),
    [
        (f'{{ {P} {{ run(name: "r1") {{ id }} }} }}', {}, {RunPath("acme", "nano", "r1")}),
        ('{ project(name: "nano") { run(name: "r1") { id } } }', {}, {RunPath("me", "nano", "r1")}),
        (
            (
                "query Q($p: String!, $e: String, $n: String!)"
                " { project(name: $p, entityName: $e) { a: run(name: $n) { id }"
                ' b: run(name: "r2") { id } } }'
            ),
            {"p": "nano", "n": "r1"},
            {RunPath("me", "nano", "r1"), RunPath("me", "nano", "r2")},
        ),
        (
            (
                f"query Q($f: JSONString) {{ {P}"
                " { runCount(filters: $f) runs(filters: $f) { totalCount } } }"
            ),
            {"f": '{"state":"finished"}'},
            {Listing("acme", "nano", '{"state":"finished"}')},
        ),
        (f"{{ {P} {{ runs {{ totalCount }} }} }}", {}, {Listing("acme", "nano")}),
        (
            (
                f'query Q($s: String = "s1") {{ {P} {{ ...F }} }}'
                " fragment F on Project { ... on Project { sweep(sweepName: $s) { id } } }"
            ),
            {},
            {Sweep("acme", "nano", "s1")},
        ),
        (f"{{ {P} {{ id }} viewer {{ id }} }}", {}, set()),
        ("{ project { run(name: 3) { id } } }", {"name": 3}, set()),
    ],
)
def test_what_a_query_asks_for(query: str, variables: Mapping[str, Any], expected: set[QueryTarget]) -> None:
    assert query_targets(parse(query), None, variables, entity="me") == expected


def test_only_the_operation_that_is_run_counts() -> None:
    one, two = (f'query Q{name} {{ {P} {{ run(name: "{name}") {{ id }} }} }}' for name in "ab")
    assert query_targets(parse(one + two), "Qb", {}, entity="me") == {RunPath("acme", "nano", "b")}


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are found in /proc")
def test_recording_goes_on_where_no_open_file_can_be_replaced(
    tmp_path: Path, real: ReplayServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_open_files(monkeypatch)
    into = tmp_path / "recorded.zip"
    with recording(into, real) as recorded:
        for name in ("plain01", "hist01", "odd01"):
            assert recorded.ask(ONE, n=name)["project"]["run"] is not None
            assert name in held(into)
    assert sorted(held(into)) == ["hist01", "odd01", "plain01"]
