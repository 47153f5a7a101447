"""No run is called safe to delete of which the bundle lacks anything, or of which anything was not asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from proofkit import asked, complete_run, pulled, verdict_of
from scripted_wandb import SETTINGS, FakeRun, ScriptedWandb

from pull_logs.errors import SignInError
from pull_logs.proof import PARTS, AskOptions, prove_against_wandb
from pull_logs.snapshot.format import ConsoleLine


@pytest.mark.parametrize("live", [False, True])
def test_a_run_of_which_the_bundle_has_everything_is_safe_with_few_requests(
    tmp_path: Path, *, live: bool
) -> None:
    server = ScriptedWandb(*(complete_run(f"r{number:02}", live=live) for number in range(20)))
    bundle = pulled(server, tmp_path / "b.wandb.zip")
    server.requests.clear()
    proof = asked(server, bundle)
    assert [run.reasons for run in proof.runs] == [()] * 20
    assert {run.verdict for run in proof.runs} == {"safe"}
    assert server.count("RunInventories") == 4
    assert server.count("RunFiles") == server.count("RunOutputArtifacts") == 0
    assert proof.requests == len(server.requests) < 4 * 20
    parts = {part.part: part for part in proof.runs[0].parts}
    assert tuple(parts) == PARTS
    assert (parts["rows"].wandb, parts["rows"].bundle) == (21, 21)
    assert (parts["last step"].wandb, parts["last step"].bundle) == (41, 41)
    assert (parts["files"].wandb, parts["console"].wandb, parts["system metrics"].wandb) == (2, 12, 5)
    for name in ("facts", "config", "summary", "values", "system metrics", "console"):
        assert parts[name].digest == parts[name].wandb_digest is not None
    assert parts["files"].digest is not None


Fault = Callable[[FakeRun], object]


def _row(index: int, **cells: Any) -> Fault:
    """Change the cells of a live row."""

    def change(run: FakeRun) -> None:
        run.live[index] = {**run.live[index], **cells}

    return change


def _add_row(run: FakeRun, step: int) -> None:
    run.live.append({"_step": step, "m0": 0.5})
    run.live.sort(key=lambda row: int(row["_step"]))
    run.lines = len(run.live)
    run.last_step = max(run.last_step or 0, step)


def _drop_row(run: FakeRun, index: int) -> None:
    run.live.pop(index)
    run.lines = len(run.live)


def _set(**fields: Any) -> Fault:
    def change(run: FakeRun) -> None:
        for name, value in fields.items():
            setattr(run, name, value)

    return change


def _file(file: str, **reported: Any) -> Fault:
    return lambda run: run.reported.__setitem__(file, reported)


def _console(index: int, text: str) -> Fault:
    return lambda run: run.console.__setitem__(index, replace(run.console[index], text=text))


FAULTS: Mapping[str, tuple[Fault, str]] = {
    "a row more at the end": (
        lambda run: _add_row(run, 99),
        "W&B has 22 rows and the bundle has 21",
    ),
    "a row more in the middle": (lambda run: _add_row(run, 7), "W&B has 22 rows and the bundle has 21"),
    "a row less": (lambda run: _drop_row(run, 3), "W&B has 20 rows and the bundle has 21"),
    "a row at another step": (
        _row(3, _step=7),
        "its rows differ: 1 not in the bundle, 1 not on W&B",
    ),
    "a value changed": (
        _row(3, m1=9.25),
        "its rows differ: 1 with other values; step 6, 'm1': 4 here, 9.25 on W&B",
    ),
    "a value of another kind": (
        _row(20, ok=1),
        "its rows differ: 1 with other values; step 41, 'ok': true here, 1 on W&B",
    ),
    "a value for NaN": (
        _row(20, m0=0.5),
        "its rows differ: 1 with other values; step 41, 'm0': \"NaN\" here, 0.5 on W&B",
    ),
    "the last digit of a large integer": (
        _row(20, big=2**60 + 1),
        f"its rows differ: 1 with other values; step 41, 'big': {2**60} here, {2**60 + 1} on W&B",
    ),
    "a metric more": (
        _row(0, new=1.5),
        "its rows differ: 1 with other values; step 0, 'new': nothing here, 1.5 on W&B",
    ),
    "a metric that no row has": (
        _set(keys={"gone/deep": 3}),
        "W&B names 1 metric that no row has: 'gone/deep'",
    ),
    "more values of a metric": (
        _set(keys={"m1": 25}),
        "W&B has more values of 'm1' (25 on W&B, 20 here)",
    ),
    "no row count": (_set(lines=None), "W&B does not report how many rows it has"),
    "no last step": (_set(last_step=None), "W&B's last step is none and the bundle's is 41"),
    "a later last step": (_set(last_step=50), "W&B's last step is 50 and the bundle's is 41"),
    "a config value": (
        _set(config={"lr": 0.2, "opt": {"name": "adam"}}),
        "its config differs in 'lr'",
    ),
    "a nested config value": (
        _set(config={"lr": 0.1, "opt": {"name": "sgd"}}),
        "its config differs in 'opt.name'",
    ),
    "a summary value": (
        _set(summary={"loss": None, "best": {"step": 3}}),
        "its summary differs in 'loss'",
    ),
    "a note": (_set(extra={"notes": "keep this"}), "these facts differ on W&B: notes"),
    "a tag and a name": (
        _set(extra={"tags": ["a", "b"], "displayName": "x"}),
        "these facts differ on W&B: name, tags",
    ),
    "a heartbeat": (
        _set(extra={"heartbeatAt": "2026-01-02T09:00:00Z"}),
        "these facts differ on W&B: heartbeat_at",
    ),
    "a system metric more": (
        lambda run: run.events.append({"_timestamp": 1.8e9, "system.cpu": 1.0}),
        "its system metrics differ: 6 rows on W&B and 5 here",
    ),
    "a system metric changed": (
        lambda run: run.events.__setitem__(2, {"_timestamp": 1.7e9 + 2, "system.cpu": 7.0}),
        "its system metrics differ: 5 rows on W&B and 5 here",
    ),
    "a file more": (
        lambda run: run.files.__setitem__("model.pt", b"x"),
        "1 of 3 files are not in the bundle: 'model.pt'",
    ),
    "a file changed": (
        lambda run: run.files.__setitem__("output.log", b"one\ntwi\n"),
        "1 file differs: 'output.log'",
    ),
    "a file of another size": (_file("output.log", sizeBytes=9), "1 file differs: 'output.log'"),
    "a file without an MD5": (
        _file("output.log", md5=None),
        "W&B reports no MD5 of 1 file: 'output.log'",
    ),
    "a file without a name": (
        _file("output.log", name=None),
        "1 entry of W&B's list of files cannot be read",
    ),
    "a console line more": (
        lambda run: run.console.append(ConsoleLine(number=12, text="x")),
        "1 of 13 console lines are not in the bundle",
    ),
    "a console line changed": (_console(4, "other"), "its console lines differ"),
    "no count of console lines": (
        _set(console_count="many"),
        "W&B does not report how many console lines it has",
    ),
    "an artifact": (
        _set(logged_artifacts=1),
        "1 artifact that it logged is not in the bundle",
    ),
    "used artifacts": (
        _set(used_artifacts=3),
        "3 artifacts that it used are not in the bundle",
    ),
    "no count of artifacts": (
        _set(logged_artifacts=None),
        "W&B does not report how many artifacts it logged",
    ),
    "it runs again": (_set(state="running"), "W&B has it as running, so it may still log"),
    "it waits": (_set(state="pending"), "W&B has it as pending, so it may still log"),
    "a state that is not known": (
        _set(state="hibernating"),
        "W&B has it in the state 'hibernating', which is not known",
    ),
}


@pytest.fixture(scope="module")
def pulled_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    server = ScriptedWandb(complete_run(live=True), complete_run("other"))
    return pulled(server, tmp_path_factory.mktemp("pulled") / "b.wandb.zip")


@pytest.mark.parametrize("name", FAULTS)
def test_whatever_the_bundle_lacks_makes_the_run_not_safe(pulled_once: Path, name: str) -> None:
    fault, reason = FAULTS[name]
    run = complete_run(live=True)
    fault(run)
    proof = asked(ScriptedWandb(run, complete_run("other")), pulled_once)
    assert [item.verdict for item in proof.runs] == ["not safe", "safe"]
    assert reason in proof.runs[0].reasons


def _without_row(run: FakeRun, index: int) -> None:
    _drop_row(run, index)
    run.last_step = int(run.live[-1]["_step"])


def _without_file(run: FakeRun, index: int) -> None:
    del run.files[sorted(run.files)[index]]


EACH: Mapping[str, tuple[Callable[[FakeRun, int], object], Callable[[FakeRun], int]]] = {
    "row": (_without_row, lambda run: len(run.live)),
    "file": (_without_file, lambda run: len(run.files)),
    "console line": (lambda run, index: run.console.pop(index), lambda run: len(run.console)),
    "system row": (lambda run, index: run.events.pop(index), lambda run: len(run.events)),
}
"""What removes one item of a run, and how many there are."""


@pytest.mark.parametrize("kind", EACH)
def test_each_single_item_that_the_bundle_lacks_makes_the_run_not_safe(tmp_path: Path, kind: str) -> None:
    remove, count = EACH[kind]
    total = count(complete_run(live=True))
    runs = [complete_run(f"r{index:02}", live=True) for index in range(total + 1)]
    for index, run in enumerate(runs[:-1]):
        remove(run, index)
    bundle = pulled(ScriptedWandb(*runs), tmp_path / "b.wandb.zip")
    complete = [complete_run(f"r{index:02}", live=True) for index in range(total + 1)]
    proof = asked(ScriptedWandb(*complete), bundle)
    assert total > 1
    assert [item.verdict for item in proof.runs] == [*["not safe"] * total, "safe"]


@pytest.mark.parametrize("name", ["a row more at the end", "a value changed", "an artifact"])
def test_without_the_rows_no_run_is_safe(pulled_once: Path, name: str) -> None:
    run = complete_run(live=True)
    FAULTS[name][0](run)
    server = ScriptedWandb(run, complete_run("other"))
    proof = asked(server, pulled_once, compare_rows=False)
    assert proof.paths("safe") == []
    assert server.operations() == ["RunInventories"]
    assert "its rows were counted and not compared (--quick)" in proof.runs[1].reasons


LACKING: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "system metrics": ({"system": False}, "its system metrics are not in the bundle"),
    "console lines": ({"console": False}, "12 of 12 console lines are not in the bundle"),
    "files": (
        {"files": ["*.log"]},
        "1 of 2 files are not in the bundle: 'media/images/a.png'",
    ),
    "metrics": ({"metrics": "m0"}, "the bundle keeps only the metrics that match 'm0'"),
}


@pytest.mark.parametrize("what", LACKING)
def test_a_pull_of_less_is_not_safe(tmp_path: Path, what: str) -> None:
    options, reason = LACKING[what]
    server = ScriptedWandb(complete_run())
    bundle = pulled(server, tmp_path / "b.wandb.zip", **options)
    assert reason in verdict_of(server, bundle).reasons


def test_an_incomplete_run_is_not_safe_and_a_refresh_makes_it_safe(tmp_path: Path) -> None:
    server = ScriptedWandb(complete_run(live=True, lines=30))
    bundle = pulled(server, tmp_path / "b.wandb.zip")
    reasons = verdict_of(server, bundle).reasons
    assert "it is incomplete in the bundle: W&B promised 30 rows and 21 arrived" in reasons
    server.runs["a"].lines = 21
    assert verdict_of(server, pulled(server, bundle)).verdict == "safe"


def test_a_run_that_is_gone_is_said_to_be_gone_and_is_not_listed_as_safe(tmp_path: Path) -> None:
    server = ScriptedWandb(complete_run(), complete_run("b"))
    bundle = pulled(server, tmp_path / "b.wandb.zip")
    del server.runs["b"]
    proof = asked(server, bundle)
    assert [run.verdict for run in proof.runs] == ["safe", "gone"]
    assert [str(path) for path in proof.paths("safe")] == ["acme/nano/a"]


def test_a_project_that_is_not_shown_makes_no_run_safe_or_gone(tmp_path: Path) -> None:
    server = ScriptedWandb(complete_run())
    bundle = pulled(server, tmp_path / "b.wandb.zip")
    server.project = "renamed"
    proof = verdict_of(server, bundle)
    assert (proof.verdict, proof.parts) == ("not safe", ())
    why = "project 'acme/nano' does not exist, or this key has no access to it"
    assert proof.reasons == (f"it could not be requested: {why}",)


def test_a_denied_question_makes_the_run_not_safe(tmp_path: Path) -> None:
    server = ScriptedWandb(complete_run())
    bundle = pulled(server, tmp_path / "b.wandb.zip")
    denied = {"errors": [{"message": "permission denied"}], "data": None}
    server.faults.append(
        lambda request: httpx.Response(403, json=denied) if "run" in str(request.content) else None
    )
    assert verdict_of(server, bundle).reasons == (
        "it could not be requested: no permission at api.test: permission denied",
    )


def test_a_refused_key_ends_the_proof(tmp_path: Path) -> None:
    server = ScriptedWandb(complete_run())
    bundle = pulled(server, tmp_path / "b.wandb.zip")
    server.faults.append(lambda _request: httpx.Response(401, json={"error": "user is not logged in"}))
    with pytest.raises(SignInError, match=r"^W&B at api\.test refused the key"):
        asked(server, bundle)


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        ("outputArtifacts", "how many artifacts it logged could not be requested: api.test answered 400"),
        ("inputArtifacts", "how many artifacts it used could not be requested: api.test answered 400"),
        ("logLineCount", "how many console lines it has could not be requested: api.test answered 400"),
        ("events(", "whether it has system metrics could not be requested: api.test answered 400"),
        ("files(", "which files it has could not be requested: api.test answered 400"),
    ],
)
def test_a_part_that_the_server_refuses_is_asked_alone_and_then_not_safe(
    tmp_path: Path, refused: str, reason: str
) -> None:
    server = ScriptedWandb(complete_run())
    bundle = pulled(server, tmp_path / "b.wandb.zip")
    server.refused_fields = (refused,)
    found = verdict_of(server, bundle)
    assert found.verdict == "not safe"
    assert [text for text in found.reasons if text.startswith(reason)] == [f"{reason}: Cannot query field"]


def test_the_queries_of_the_sdk_prove_the_same_where_several_runs_are_refused(tmp_path: Path) -> None:
    server = ScriptedWandb(complete_run(), complete_run("b", live=True))
    bundle = pulled(server, tmp_path / "b.wandb.zip")
    server.refused_fields = ("r0:",)
    proof = asked(server, bundle)
    assert [run.reasons for run in proof.runs] == [(), ()]
    assert server.count("RunOutputArtifacts") == server.count("RunInputArtifacts") == 4


def test_many_files_are_listed_in_pages(tmp_path: Path) -> None:
    files = {f"f{number:03}.txt": str(number).encode() for number in range(230)}
    server = ScriptedWandb(complete_run(files=files))
    bundle = pulled(server, tmp_path / "b.wandb.zip")
    proof = verdict_of(server, bundle)
    assert proof.reasons == ()
    server.runs["a"].files["f229.txt"] = b"other"
    assert verdict_of(server, bundle).reasons == ("1 file differs: 'f229.txt'",)


def test_a_run_that_goes_on_while_its_rows_are_read_is_not_safe(tmp_path: Path) -> None:
    server = ScriptedWandb(complete_run())
    bundle = pulled(server, tmp_path / "b.wandb.zip")

    def go_on(request: httpx.Request) -> None:
        if request.url.host == "storage.test":
            server.runs["a"].state = "running"

    server.faults.append(go_on)
    assert verdict_of(server, bundle).reasons == (
        "W&B has it as running, so it may still log",
        "these facts differ on W&B: state",
    )


def test_a_run_whose_rows_cannot_be_read_again_is_not_safe(tmp_path: Path) -> None:
    server = ScriptedWandb(complete_run())
    bundle = pulled(server, tmp_path / "b.wandb.zip")
    server.faults.append(lambda request: httpx.Response(404) if request.url.host == "storage.test" else None)
    (reason,) = verdict_of(server, bundle).reasons
    assert reason.startswith("its rows could not be read again: exported file 'a-0' could not be downloaded")


def test_runs_of_another_w_and_b_are_not_asked_for(tmp_path: Path) -> None:
    server = ScriptedWandb(complete_run())
    bundle = pulled(server, tmp_path / "b.wandb.zip")
    server.requests.clear()
    options = AskOptions(
        settings=replace(SETTINGS, base_url="https://other.test"), transport=server.transport
    )
    (run,) = prove_against_wandb(bundle, options=options).runs
    assert run.reasons == ("it was downloaded from api.test, and other.test was asked",)
    assert server.requests == []


def test_an_answer_about_another_run_proves_nothing(tmp_path: Path) -> None:
    server = ScriptedWandb(complete_run(), complete_run("b"))
    bundle = pulled(server, tmp_path / "b.wandb.zip")
    server.runs["a"].extra = {"name": "b"}
    found = verdict_of(server, bundle)
    assert found.reasons == ("it could not be requested: W&B answered with run acme/nano/b for acme/nano/a",)
