"""A pull with the SDK gives the bundle of the ordinary pull, and is used when W&B rejects a query."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import wandb
from artifactkit import Version, artifacts_of, reference
from consolekit import console_of, printed
from replay_support import FILES, SWEEP_CONFIG, bundle_run, plain_rows, write_runs
from scripted_wandb import QUICK
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pull_logs.cli.main import main
from pull_logs.errors import (
    NetworkError,
    ProjectNotFoundError,
    RunNotFoundError,
    ServerError,
    SignInError,
    UsageError,
)
from pull_logs.fetch import (
    PullOptions,
    PullProgress,
    PullReport,
    RetryPolicy,
    RunFilter,
    Selection,
    Settings,
    pull_sync,
)
from pull_logs.fetch.api import RejectedQueryError, UnknownFieldError
from pull_logs.fetch.api.connection import USER_AGENT
from pull_logs.replay import serve_bundle
from pull_logs.runs import RunReference
from pull_logs.snapshot import BundleRun, open_bundle, verify_bundle

PROJECT = Selection(projects=("acme/nano",))
EVERYTHING: dict[str, Any] = {"system": True, "console": True, "artifacts": "all", "files": ("*",)}

WEIGHTS = Version(
    {"w.bin": bytes(range(256)) * 400, "nested/é.txt": b"text", "empty": b""},
    aliases=("best", "latest"),
    tags=("t",),
    description="the weights",
    metadata={"acc": 0.5, "deep": [1, {"x": None}]},
    history_step=3,
    commit_hash="abc",
    digest_algorithm="MANIFEST_MD5",
    client_ids=("c1", "c2"),
)
POINTING = [
    {
        "_step": 2500 + at,
        "table": {
            "_type": "table-file",
            "path": f"media/table/{name}.table.json",
            "artifact_path": f"wandb-client-artifact://{client_id}/nested/é.txt",
        },
    }
    for at, (client_id, name) in enumerate([("c2", "two"), ("c1", "one"), ("gone", "none")])
]
"""Rows that point to an artifact by ids that the SDK gave it, and to one that W&B does not have."""

DATA = Version(
    {"train.csv": b"a,b\n"},
    name="data",
    project="sets",
    type="dataset",
    metadata={"rows": 1},
    references=[reference("big", "s3://b/k")],
    logged_by="acme/other/only01",
    digest_algorithm="MANIFEST_MD5",
)
ODD = [1.5, "text", True, 2**62 + 1, [1, "a", None], {"_type": "image-file", "path": "x.png"}, -math.inf]


def the_runs() -> list[BundleRun]:
    facts: dict[str, Any] = {"user": "ada", "heartbeat_at": "2026-11-23T12:00:00Z"}
    return [
        dataclasses.replace(
            bundle_run(
                "acme/nano/plain01",
                [*plain_rows(2500), *POINTING],
                name="eager-fox-1",
                tags=("prod", "v2"),
                group="g1",
                job_type="train",
                sweep="sweep1",
                sweep_config=SWEEP_CONFIG,
                notes="a note",
                commit="abc123",
                created_at="2026-11-23T10:00:00Z",
                config={"lr": 0.1, "opt": {"name": "adam"}, "a.b": [1, None], "big": 2**62 + 1},
                config_internal={"_wandb": {"cli_version": "0.31.0"}, "wandb_version": 1},
                summary={"loss": 0.25, "bad": math.nan, "val": {"acc": 0.5}},
                system_summary={"system.cpu": 12.5},
                system=[{"_timestamp": 1.7e9 + at, "_runtime": at, "system.cpu": at / 2} for at in range(40)],
                files=FILES,
                console=console_of(printed(1200)),
                **facts,
            ),
            artifacts=artifacts_of([WEIGHTS], [DATA]),
        ),
        bundle_run(
            "acme/nano/odd01",
            [{"_step": 3 * at, "odd": ODD[at % len(ODD)], "nan": math.nan} for at in range(40)],
            created_at="2026-11-23T10:00:02Z",
            state="crashed",
            **facts,
        ),
        bundle_run(
            "acme/nano/live01",
            plain_rows(1200, stride=3),
            created_at="2026-11-23T10:00:03.25Z",
            state="running",
            **facts,
        ),
        bundle_run("acme/nano/empty01", [], created_at="2026-11-23T10:00:04Z", state="failed"),
        bundle_run("acme/other/only01", plain_rows(5), created_at="2026-11-22T10:00:00Z"),
    ]


Reject = Callable[[str], bool]


class Changed:
    """ASGI middleware: a W&B that does not know a field any more, for which only the SDK was changed."""

    def __init__(self, app: ASGIApp, *, reject: Reject, answer: dict[str, Any], status: int) -> None:
        self.app, self.reject, self.answer, self.status = app, reject, answer, status

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope.get("headers", ()))
        if scope["type"] != "http" or headers.get(b"user-agent") != USER_AGENT.encode():
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive)
        body = await request.body()
        if self.reject(body.decode()):
            await JSONResponse(self.answer, status_code=self.status)(scope, receive, send)
            return

        bodies = [body]

        async def again() -> Message:
            # The body once: an answer that is streamed waits for a disconnect in a loop.
            if not bodies:
                return await receive()
            return {"type": "http.request", "body": bodies.pop(), "more_body": False}

        await self.app(scope, again, send)


def unknown(field: str) -> dict[str, Any]:
    return {"errors": [{"message": f'Cannot query field "{field}" on type "Run".'}], "data": None}


@contextmanager
def serving(folder: Path, **changed: Any) -> Iterator[Settings]:
    middleware = [Middleware(Changed, **changed)] if changed else []
    with serve_bundle(write_runs(folder, the_runs()), middleware=middleware) as server:
        yield Settings(base_url=server.url, api_key=server.api_key)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with serving(tmp_path_factory.mktemp("server")) as found:
        yield found


def pull_into(out: Path, settings: Settings, selection: Selection = PROJECT, **options: Any) -> PullReport:
    chosen = PullOptions(**{"concurrency": 2, "policy": QUICK, **options})
    return pull_sync(selection, out=out, settings=settings, options=chosen)


def hashes_in(path: Path) -> dict[str, list[Any]]:
    """What each run of a bundle has, by hashes."""
    with open_bundle(path) as bundle:
        return {
            run.path.run_id: [
                run.rows_hash,
                run.system_rows_hash,
                run.files_hash,
                run.console_hash,
                run.artifacts_hash,
                run.coverage,
                run.sweep_config,
            ]
            for run in bundle.runs()
        }


def ways_in(path: Path) -> set[str | None]:
    with open_bundle(path) as bundle:
        return {run.via for run in bundle.runs()}


def hows(report: PullReport) -> set[str]:
    return {outcome.how for outcome in report.runs}


@dataclasses.dataclass(frozen=True)
class Both:
    """A project read in both ways, into the bundles `a.zip` and `b.zip` of a folder."""

    folder: Path
    ordinary: PullReport
    slow: PullReport


@pytest.fixture(scope="module")
def both(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Both:
    folder = tmp_path_factory.mktemp("both")
    ordinary = pull_into(folder / "a.zip", settings, via="graphql", **EVERYTHING)
    # One process of the SDK: starting another takes longer than all that it reads here.
    slow = pull_into(folder / "b.zip", settings, via="sdk", **{**EVERYTHING, "concurrency": 1})
    return Both(folder, ordinary, slow)


SDK = f"sdk {wandb.__version__}"


def test_every_kind_of_data_is_that_of_the_ordinary_pull(both: Both) -> None:
    ordinary, slow = both.ordinary, both.slow
    assert (ordinary.incomplete, slow.incomplete) == ((), ())
    assert hashes_in(both.folder / "a.zip") == hashes_in(both.folder / "b.zip")
    assert slow.seal.content_id == ordinary.seal.content_id
    assert (ordinary.via, slow.via, slow.requests) == ("graphql", "sdk", 0)
    assert slow.rows_received == sum(outcome.rows for outcome in slow.runs)
    assert slow.notes[0] == "the runs were read with the W&B SDK"
    verify_bundle(both.folder / "b.zip")
    assert (ways_in(both.folder / "a.zip"), ways_in(both.folder / "b.zip")) == ({None}, {SDK})


def test_the_ids_by_which_rows_point_to_artifacts_are_known_to_the_sdk_too(both: Both) -> None:
    for name in ("a.zip", "b.zip"):
        with open_bundle(both.folder / name) as bundle:
            (weights,) = bundle["plain01"].logged_artifacts()
            assert weights.record.client_ids == ("c1", "c2")
            (data,) = bundle["plain01"].used_artifacts()
            assert data.record.client_ids == ()


def test_a_bundle_that_the_sdk_read_is_updated_without_it(
    both: Both, settings: Settings, tmp_path: Path
) -> None:
    out = Path(shutil.copy(both.folder / "b.zip", tmp_path))
    again = pull_into(out, settings, via="graphql")
    # What read a run is not a change of the run.
    assert (hows(again), ways_in(out)) == ({"copied"}, {SDK})
    assert again.seal.content_id == both.ordinary.seal.content_id


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_sdk_updates_a_bundle_that_was_read_without_it(
    both: Both, settings: Settings, tmp_path: Path
) -> None:
    out = Path(shutil.copy(both.folder / "a.zip", tmp_path))
    other = pull_into(out, settings, via="sdk")
    assert (hows(other), ways_in(out)) == ({"copied"}, {None})
    assert other.seal.content_id == both.ordinary.seal.content_id


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "field",
    [
        "historyLineCount",  # of the listing
        "history(minStep",  # of the rows of a run, when others may be complete
        "directUrl",  # of its files
        "logLines",
        "outputArtifacts",
    ],
)
def test_a_field_that_the_server_does_not_know_any_more_is_read_with_the_sdk(
    field: str, settings: Settings, tmp_path: Path
) -> None:
    pull_into(tmp_path / "a.zip", settings, **EVERYTHING)
    said: list[str] = []
    with serving(tmp_path, reject=lambda text: field in text, answer=unknown("x"), status=400) as changed:
        report = pull_sync(
            PROJECT,
            out=tmp_path / "b.zip",
            settings=changed,
            options=PullOptions(policy=QUICK, concurrency=2, **EVERYTHING),
            announce=said.append,
        )
        host = changed.host
    rejected = f'{host} answered 400: Cannot query field "x" on type "Run".'
    slower = f"W&B rejected a query, so the W&B SDK reads the runs, which is slower: {rejected}"
    assert said == [f"{slower} (--via graphql forbids that)"]
    assert report.notes[0].startswith("W&B rejected a query, and the runs were read with the W&B SDK: ")
    assert (report.via, report.incomplete) == ("sdk", ())
    assert hashes_in(tmp_path / "a.zip") == hashes_in(tmp_path / "b.zip")
    with open_bundle(tmp_path / "a.zip") as one, open_bundle(tmp_path / "b.zip") as other:
        assert [run.info.config for run in one.runs()] == [run.info.config for run in other.runs()]


def test_the_switch_is_announced_and_graphql_forbids_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["fetch", "-r", "acme/other/only01", "-o", "b.wandb.zip"]
    changed = {"reject": lambda text: "historyLineCount" in text, "answer": unknown("x"), "status": 400}
    with serving(tmp_path, **changed) as settings:
        monkeypatch.setenv("WANDB_BASE_URL", settings.base_url)
        monkeypatch.setenv("WANDB_API_KEY", str(settings.api_key))
        code = main([*words, "--via", "graphql"])
        refused = capsys.readouterr().err
        assert (code, Path("b.wandb.zip").exists()) == (5, False)
        rejected = f'{settings.host} answered 400: Cannot query field "x" on type "Run".'
        assert refused == (
            f"pull-logs: error: {rejected}; `pull-logs fetch --via sdk` reads with the W&B SDK instead\n"
        )
        code = main([*words, "--report-json", "r.json"])
        said = capsys.readouterr().err
    assert code == 0
    assert said.startswith(
        "pull-logs: warning: W&B rejected a query, so the W&B SDK reads the runs, which is slower:"
        f" {rejected} (--via graphql forbids that)\n"
    )
    assert (
        f"pull-logs: note: W&B rejected a query, and the runs were read with the W&B SDK: {rejected}\n"
        in said
    )
    report = json.loads(Path("r.json").read_text())
    assert (report["via"], report["runs"][0]["rows"]) == ("sdk", 5)
    assert ways_in(Path("b.wandb.zip")) == {f"sdk {wandb.__version__}"}


@pytest.mark.parametrize(
    ("status", "answer", "error"),
    [
        (401, {"error": "unknown key"}, SignInError),
        (403, {"errors": [{"message": "permission denied"}]}, SignInError),
        (429, {"error": "too many requests"}, NetworkError),
        (400, {"errors": [{"message": "query is too complex"}]}, RejectedQueryError),
        (404, {"error": "not found"}, ServerError),
    ],
)
def test_no_other_refusal_is_a_reason_to_switch(
    status: int, answer: dict[str, Any], error: type[Exception], tmp_path: Path
) -> None:
    with (
        serving(tmp_path, reject=lambda _: True, answer=answer, status=status) as settings,
        pytest.raises(error) as caught,
    ):
        pull_into(tmp_path / "b.zip", settings, policy=RetryPolicy(attempts=1))
    assert not isinstance(caught.value, UnknownFieldError)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_interrupted_pull_continues_and_what_is_missing_is_named(
    settings: Settings, tmp_path: Path
) -> None:
    out, done = tmp_path / "b.zip", set[int]()

    def interrupt(state: PullProgress) -> None:
        done.add(state.runs_done)
        if state.runs_done == 2:
            raise KeyboardInterrupt

    selection = Selection(projects=("acme/nano",), runs=(RunReference("nope", "nano", "acme"),))
    options = PullOptions(via="sdk", concurrency=2)
    with pytest.raises(KeyboardInterrupt):
        pull_sync(selection, out=out, settings=settings, options=options, progress=interrupt)
    report = pull_sync(selection, out=out, settings=settings, options=options)
    assert {outcome.path.run_id: outcome.reason for outcome in report.incomplete} == {
        "nope": "run 'acme/nano/nope' does not exist"
    }
    assert "resumed" in hows(report)
    ordinary = pull_into(tmp_path / "a.zip", settings)
    assert report.seal.content_id == ordinary.seal.content_id


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_sweeps_filters_metrics_and_misspelt_projects(settings: Settings, tmp_path: Path) -> None:
    swept = Selection(sweeps=("acme/nano/sweep1",))
    keep = RunFilter(
        text="state", holds=lambda info: info.state != "running", prefilter={"state": "finished"}
    )
    kept = Selection(projects=("nano",), filter=keep)
    for number, (selection, options) in enumerate([(swept, {}), (kept, {"metrics": "^loss$"})]):
        ordinary = pull_into(tmp_path / f"a{number}.zip", settings, selection, **options)
        slow = pull_into(tmp_path / f"b{number}.zip", settings, selection, via="sdk", **options)
        assert slow.seal.content_id == ordinary.seal.content_id
        assert [outcome.path for outcome in slow.runs] == [outcome.path for outcome in ordinary.runs]
    with pytest.raises(ProjectNotFoundError, match="project 'acme/nanno' does not exist"):
        pull_into(tmp_path / "c.zip", settings, Selection(projects=("acme/nanno",)), via="sdk")
    with pytest.raises(RunNotFoundError, match="sweep acme/nano/sweep9 has no runs"):
        pull_into(tmp_path / "c.zip", settings, Selection(sweeps=("acme/nano/sweep9",)), via="sdk")


def test_an_unknown_way_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match=r"^via is 'rest', not one of 'auto', 'graphql', 'sdk'$"):
        PullOptions(via="rest")
