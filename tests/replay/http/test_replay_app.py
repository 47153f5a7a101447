"""What the replay server answers over HTTP, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from replay_support import bundle_run, plain_rows, write_runs
from served_app import KEY, ask, client_of, open_world, refused
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from pull_logs.replay.graphql.documents import READ_ONLY
from pull_logs.replay.http.app import build_app
from pull_logs.rows.canonical import parse_json
from pull_logs.snapshot.read.bundle import Bundle, open_bundle

pytestmark = pytest.mark.anyio


SDK_RUN = """
query Run($project: String!, $entity: String!, $name: String!) {
  project(name: $project, entityName: $entity) { run(name: $name) { projectId ...RunFragment } }
}
fragment RunFragment on Run { id tags name displayName sweepName state config group jobType commit readOnly
  createdAt heartbeatAt description notes systemMetrics summaryMetrics historyLineCount user { name username }
  historyKeys }
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bundle]:
    with open_world(tmp_path_factory.mktemp("app")) as bundle:
        yield bundle


@pytest.fixture
def app(bundle: Bundle) -> Starlette:
    return build_app([bundle], api_key=KEY)


async def test_a_run_as_the_sdk_asks_for_it(app: Starlette) -> None:
    data = await ask(app, SDK_RUN, project="nano", entity="acme", name="plain01")
    run = data["project"]["run"]
    assert int(run["projectId"]) >= 0
    assert (run["name"], run["displayName"], run["createdAt"]) == (
        "plain01",
        "eager-fox-1",
        "2026-11-23T10:00:00Z",
    )
    config = json.loads(run["config"])
    assert config["lr"] == {"value": 0.1, "desc": None}
    assert config["_wandb"] == {"value": {"cli_version": "0.31.0"}, "desc": None}
    assert json.loads(run["summaryMetrics"])["bad"] == "NaN"
    assert run["user"] == {"name": "ada", "username": "ada"}
    assert run["historyKeys"]["lastStep"] == 2499
    assert run["historyKeys"]["keys"]["epoch"] == {"typeCounts": [{"type": "number", "count": 250}]}


async def test_many_aliased_runs_in_one_query(app: Starlette) -> None:
    names = ["plain01", "live01", "gone", *["hist01"] * 60]
    runs = "\n".join(
        f"r{at}: run(name: {json.dumps(name)}) {{ name historyLineCount historyKeys"
        ' parquetHistory(liveKeys: ["_step"]) { parquetUrls liveData }'
        " history(minStep: 0, maxStep: 2, samples: 2) }"
        for at, name in enumerate(names)
    )
    project = (await ask(app, f'{{ project(name: "nano", entityName: "acme") {{ {runs} }} }}'))["project"]
    assert project["r2"] is None
    assert [run["name"] for run in project.values() if run] == [name for name in names if name != "gone"]
    assert len(project["r0"]["parquetHistory"]["parquetUrls"]) == 1
    assert project["r0"]["parquetHistory"]["liveData"] == []
    live = project["r1"]["parquetHistory"]
    assert (live["parquetUrls"], live["liveData"][:2]) == ([], [{"_step": 0}, {"_step": 3}])
    assert [parse_json(row)["_step"] for row in project["r3"]["history"]] == [0, 1]


async def test_a_listing_with_everything_riding_along(app: Starlette) -> None:
    query = """query Runs($cursor: String) { project(name: "nano", entityName: "acme") { internalId readOnly
      runCount runs(first: 2, after: $cursor, order: "+created_at") {
        edges { cursor node { name config summaryMetrics systemMetrics historyKeys historyLineCount
          parquetHistory(liveKeys: ["_step"]) { parquetUrls liveData } } }
        pageInfo { endCursor hasNextPage } } } }"""
    names: list[str] = []
    cursor, more, count = None, True, 0
    while more:
        project = (await ask(app, query, cursor=cursor))["project"]
        names += [edge["node"]["name"] for edge in project["runs"]["edges"]]
        cursor, more = project["runs"]["edges"][-1]["cursor"], project["runs"]["pageInfo"]["hasNextPage"]
        assert cursor == project["runs"]["pageInfo"]["endCursor"]
        count = project["runCount"]
    assert names == ["plain01", "hist01", "odd01", "live01", "empty01"]
    assert count == 5


async def test_links_lead_to_the_host_that_was_asked(app: Starlette) -> None:
    query = (
        '{ project(name: "nano") { run(name: "plain01") { parquetHistory(liveKeys: []) { parquetUrls } } } }'
    )
    async with client_of(app, base_url="http://localhost:9999") as client:
        data = (await client.post("/graphql", json={"query": query})).json()["data"]
        (link,) = data["project"]["run"]["parquetHistory"]["parquetUrls"]
        assert link.startswith("http://localhost:9999/storage/")
        assert (await client.get(link)).status_code == 200


async def test_a_history_window_ends_before_its_last_step_and_a_sampled_one_after(app: Starlette) -> None:
    query = """query Page($spec: JSONString!) { project(name: "nano") { run(name: "plain01") {
      history(minStep: 5, maxStep: 8, samples: 3) sampledHistory(specs: [$spec, $spec]) } } }"""
    spec = json.dumps({"keys": ["_step", "_step", "loss"], "minStep": 5, "maxStep": 8, "samples": 10})
    run = (await ask(app, query, spec=spec))["project"]["run"]
    assert [parse_json(row)["_step"] for row in run["history"]] == [5, 6, 7]
    first, second = run["sampledHistory"]
    assert first == second
    assert [row["_step"] for row in first] == [5, 6, 7, 8]
    assert set(first[0]) == {"_step", "loss"}


async def test_an_empty_operation_name_stands_for_none_and_the_right_one_is_counted(app: Starlette) -> None:
    await ask(app, "query GetDefaultEntity { viewer { id entity } }", operation="")
    await ask(app, "query A { viewer { id } } query B { viewer { entity } }", operation="B")
    await ask(app, "{ viewer { id } }", operation=None)
    assert app.state.requests.as_dict() == {"GetDefaultEntity": 1, "B": 1, "(unnamed)": 1}
    assert (app.state.requests["B"], app.state.requests.total) == (1, 3)


async def test_server_and_sweep_and_project_queries(app: Starlette) -> None:
    data = await ask(
        app,
        """{
        viewer {
          id entity username flags teams { edges { node { name } } } apiKeys { edges { node { id } } }
        }
        serverInfo { cliVersionInfo latestLocalVersionInfo { outOfDate } features { name isEnabled } }
        models(entityName: "acme", first: 1) {
          edges { node { name createdAt user { id } } } pageInfo { hasNextPage }
        }
        entity(name: "beta") { name }
        project(name: "nano", entityName: "acme") { readOnly totalSweeps
          sweep(sweepName: "sweep1") { __typename id name method state config createdAt runCount }
          gone: sweep(sweepName: "x") { id } sweeps { edges { node { name } } } } }""",
    )
    assert data["viewer"]["entity"] == "acme"
    assert [edge["node"]["name"] for edge in data["viewer"]["teams"]["edges"]] == ["acme", "beta"]
    assert data["serverInfo"] == {
        "cliVersionInfo": {},
        "latestLocalVersionInfo": None,
        "features": [{"name": "TOTAL_COUNT_IN_FILE_CONNECTION", "isEnabled": True}],
    }
    assert data["models"]["edges"][0]["node"] == {
        "name": "nano",
        "createdAt": "2026-11-23T10:00:00Z",
        "user": None,
    }
    assert data["models"]["pageInfo"] == {"hasNextPage": True}
    sweep = data["project"]["sweep"]
    assert (sweep["name"], sweep["state"], sweep["runCount"]) == ("sweep1", "FINISHED", 2)
    assert data["project"]["gone"] is None
    assert data["project"]["sweeps"]["edges"] == [{"node": {"name": "sweep1"}}]


async def test_a_miss_is_null_an_error_beside_it_and_a_log_line(
    app: Starlette, caplog: pytest.LogCaptureFixture
) -> None:
    query = '{ b: project(name: "nano") { run(name: "x") { id } } }'
    async with client_of(app) as client:
        answer = (await client.post("/graphql", json={"query": query})).json()
    sentence = (
        "the bundle 'runs.wandb.zip' has no run 'acme/nano/x', "
        "it has 'empty01', 'hist01', 'live01', 'odd01', 'plain01'"
    )
    adding = (
        "`pull-logs fetch -r acme/nano/x -o more.wandb.zip` downloads it, "
        "to be served with this bundle or merged into it"
    )
    assert answer == {
        "data": {"b": {"run": None}},
        "errors": [
            {
                "message": f"{sentence}; {adding}",
                "path": ["b", "run"],
                "extensions": {"code": "NOT_FOUND"},
            }
        ],
    }
    assert [record.getMessage() for record in caplog.records] == [sentence]


async def test_a_miss_under_another_name_is_null_alone(app: Starlette) -> None:
    query = """{
      a: project(name: "gone", entityName: "acme") { id }
      b: project(name: "nano") { c: run(name: "x") { id } }
    }"""
    assert await ask(app, query) == {"a": None, "b": {"c": None}}


async def test_a_metric_that_no_row_has_is_a_log_line(
    app: Starlette, caplog: pytest.LogCaptureFixture
) -> None:
    query = """query Q($s: JSONString!) {
      project(name: "nano") { run(name: "hist01") { sampledHistory(specs: [$s]) } }
    }"""
    data = await ask(app, query, s='{"keys": ["_step", "losss"]}')
    assert data["project"]["run"]["sampledHistory"] == [[]]
    assert [record.getMessage() for record in caplog.records] == [
        "run 'acme/nano/hist01' has no metric 'losss', the nearest is 'loss'"
    ]


async def test_a_very_long_name_of_nothing_is_answered_at_once(app: Starlette) -> None:
    query = "query Q($n: String!) { project(name: $n) { id } }"
    status, messages = await refused(app, query, n="x" * 500_000)
    assert (status, len(messages)) == (200, 1)


async def test_a_field_that_no_bundle_holds_is_named_with_what_is_there_instead(app: Starlette) -> None:
    status, messages = await refused(app, "{ viewer { shoeSize } project(name: 1) { id } }")
    assert status == 200
    assert messages == [
        (
            "Cannot query field 'shoeSize' on type 'User': this server replays a bundle, which holds runs "
            "with their config, summary, history, system metrics, console logs, metadata, files and "
            "artifacts; for anything else use W&B itself, or replace this call in the test"
        )
    ]


async def test_a_wrong_query_is_a_400(app: Starlette) -> None:
    status, messages = await refused(app, "{ project(name: 1) { id } }")
    assert (status, messages) == (400, ["String cannot represent a non string value: 1"])


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ("mutation M { deleteRun(id: 1) { ok } }", 200, READ_ONLY),
        ("subscription S { runs }", 200, READ_ONLY),
        ("{" + "a{" * 30 + "b" + "}" * 31, 400, "the document is nested deeper than 24 levels"),
        ("{" + " ".join(f"a{at}: viewer {{ id }}" for at in range(501)) + "}", 400, "more than 500 aliases"),
        (
            "{...f0}"
            + "".join(f"fragment f{at} on Query {{ ...f{at + 1} ...f{at + 1} }}" for at in range(19))
            + "fragment f19 on Query { viewer { id } }",
            400,
            "more than 20000 fields",
        ),
    ],
)  # fmt: skip
async def test_a_document_that_is_not_run(app: Starlette, query: str, status: int, message: str) -> None:
    assert await refused(app, query) == (status, [message])
    assert app.state.requests.as_dict() == {"(refused)": 1}


async def test_a_document_that_exhausts_the_parser(app: Starlette) -> None:
    status, messages = await refused(app, "{" + "a{" * 5000 + "b" + "}" * 5001)
    assert status == 400
    assert "nested too deep" in messages[0]


async def test_a_fragment_inside_itself_is_a_400(app: Starlette) -> None:
    status, messages = await refused(app, "{...f} fragment f on Query { viewer { id } ...f }")
    assert (status, messages) == (400, ["Cannot spread fragment 'f' within itself."])


async def test_a_wrong_argument_is_an_error_of_its_field(app: Starlette) -> None:
    query = """query Q($f: JSONString, $o: String, $c: String) { project(name: "nano") {
      runs(filters: $f, order: $o, after: $c) { edges { cursor } } } }"""
    for variables, message in (
        ({"f": "[1]"}, "a filter is [1], not an object"),
        ({"o": "+colour"}, "runs have no field 'colour'"),
        ({"c": "zzz"}, "'zzz' is not a cursor of this server"),
    ):
        status, messages = await refused(app, query, **variables)
        assert (status, len(messages)) == (200, 1)
        assert messages[0].startswith(message)


@pytest.mark.parametrize("spec", ["{", "[]", '{"minStep": "x"}'])
async def test_a_wrong_sampling_spec_is_an_error_of_its_field(app: Starlette, spec: str) -> None:
    query = """query Q($s: JSONString!) {
      project(name: "nano") { run(name: "plain01") { sampledHistory(specs: [$s]) } }
    }"""
    status, messages = await refused(app, query, s=spec)
    assert (status, len(messages)) == (200, 1)


async def test_pages_are_bounded(tmp_path: Path) -> None:
    runs = [bundle_run(f"acme/many/r{at:04}", []) for at in range(1003)]
    with open_bundle(write_runs(tmp_path, runs)) as bundle:
        query = """{
          project(name: "many") { runs(first: 5000) { edges { node { name } } pageInfo { hasNextPage } } }
        }"""
        found = (await ask(build_app([bundle], api_key=KEY), query))["project"]["runs"]
    assert (len(found["edges"]), found["pageInfo"]["hasNextPage"]) == (1000, True)


async def test_added_middleware_sees_what_the_guard_lets_through(bundle: Bundle) -> None:
    seen: list[str] = []

    class Spy:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            seen.append(scope["path"])
            await self.app(scope, receive, send)

    app = build_app([bundle], api_key=KEY, middleware=[Middleware(Spy)])
    await ask(app, "{ viewer { id } }")
    async with client_of(app, headers={"host": "evil.example"}) as client:
        await client.post("/graphql", json={})
    assert seen == ["/graphql"]


async def test_a_run_in_two_bundles_is_served_from_the_first(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paths = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        paths.append(write_runs(tmp_path / name, [bundle_run("acme/nano/r1", plain_rows(2), name=name)]))
    with open_bundle(paths[0]) as first, open_bundle(paths[1]) as second:
        app = build_app([first, second], api_key=KEY, entity="me")
        query = """{
          viewer { entity } project(name: "nano", entityName: "acme") { run(name: "r1") { displayName } }
        }"""
        data = await ask(app, query)
    assert data == {"viewer": {"entity": "me"}, "project": {"run": {"displayName": "first"}}}
    assert [record.getMessage() for record in caplog.records] == [
        "run 'acme/nano/r1' is in several bundles; the first of them serves it"
    ]
