"""`reconcile` as a user runs it: runs that the real SDK logged, and bundles and a server that lost rows."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from bundlekit import bundle_run, make_bundle
from jsonschema import Draft202012Validator
from logwriting import row, write_run_folder
from logwriting import run as run_record

from pull_logs.cli.main import main
from pull_logs.replay import serve_bundle
from pull_logs.snapshot import open_bundle
from pull_logs.sources import IgnoredCall, IgnoredCalls, ignored_calls, import_runs

Row = dict[str, Any]

SCHEMA = Draft202012Validator(
    json.loads((files("pull_logs") / "data" / "schemas" / "reconcile.json").read_text())
)

LOGGED = """
import sys, wandb
folder, run_id, steps = sys.argv[1], sys.argv[2], [int(word) for word in sys.argv[3:]]
settings = wandb.Settings(mode="offline", silent=True, console="off", x_disable_stats=True)
with wandb.init(
    project="proj", entity="team", id=run_id, dir=folder, resume="allow", config={"lr": 0.1},
    settings=settings,
) as run:
    run.define_metric("val/*", step_metric="epoch")
    for number, step in enumerate(steps):
        run.log({"loss": 1 / (number + 1), "val/acc": number / 8, "epoch": number // 2}, step=step)
"""
"""Logs a row at each step with the real SDK."""


def record(folder: Path, run_id: str, *steps: int) -> None:
    """One start of a run; each has a run folder of its own."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
    words = [sys.executable, "-c", LOGGED, str(folder), run_id, *map(str, steps)]
    subprocess.run(
        words,
        check=True,
        timeout=60,
        cwd=folder,
        env=environment | {"HOME": str(folder), "WANDB_ERROR_REPORTING": "false"},
    )


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that logged at earlier steps, and one that was started twice and went back by two steps."""
    folder = tmp_path_factory.mktemp("logs")
    record(folder, "back", 0, 1, 2, 3, 1, 4, 2, 5)
    record(folder, "twice", 0, 1, 2, 3, 4, 5)
    record(folder, "twice", 4, 5, 6, 7)
    return folder


@pytest.fixture(scope="module")
def imported(logs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("imported") / "local.wandb.zip"
    import_runs([logs], out=out)
    return out


def changed(
    imported: Path, out: Path, change: Callable[[str, list[Row]], list[Row]], **facts: Mapping[str, Any]
) -> Path:
    """The imported runs with other rows, and other facts of the run `twice`."""
    made = []
    with open_bundle(imported) as bundle:
        for run in bundle.runs():
            known = {name: getattr(run, name) for name in ("config", "summary", "created_at", "state")}
            other = facts if run.path.run_id == "twice" else {}
            rows = change(run.path.run_id, list(run.scan_history()))
            made.append(bundle_run(str(run.path), rows, **known | other))
    return make_bundle(out, made)


def reconciled(capsys: pytest.CaptureFixture[str], *words: object, code: int) -> tuple[str, str]:
    assert main(["reconcile", *map(str, words)]) == code
    out, err = capsys.readouterr()
    return out, err


def answer(capsys: pytest.CaptureFixture[str], *words: object, code: int = 7) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(reconciled(capsys, *words, "--json", code=code)[0])
    SCHEMA.validate(found)
    return found


def outcome(run: Mapping[str, Any]) -> dict[str, Any]:
    """The counts of a run that are not zero."""
    names = ("missing", "overwritten", "moved", "extra")
    calls = run["ignored"]["calls"] if run["ignored"] else 0
    counts = {name: run[name] for name in names} | {"ignored": calls}
    counts |= {name: len(run[name]) for name in ("config", "summary")}
    return {name: count for name, count in counts.items() if count}


def test_what_was_imported_is_equal_apart_from_calls_that_the_sdk_ignored(
    logs: Path, imported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, err = reconciled(capsys, logs, "-b", imported, code=7)
    assert out == (
        f"[RECONCILE] against={imported} equal=1 different=1 not_stored=0\n"
        "run,verdict,logged_rows,stored_rows,missing,overwritten,moved,extra,ignored,config,summary,stored_as\n"
        "team/proj/back,different,6,6,0,0,0,0,2,0,0,\n"
        "team/proj/twice,equal,8,8,0,0,0,0,0,0,0,\n"
        "[IGNORED_BY_SDK] calls=2\n"
        "run,step,current_step\n"
        "team/proj/back,1,3\n"
        "team/proj/back,2,4\n"
    )
    assert "steps 4 to 5 may be logged twice; of two values the later is kept\n" in err
    assert err.endswith("pull-logs: error: 1 of 2 logged runs differs from what is stored\n")
    out, err = reconciled(capsys, logs, "-b", imported, "-r", "twice", code=0)
    assert out.startswith(f"[RECONCILE] against={imported} equal=1 different=0 not_stored=0\n")


def test_each_row_that_did_not_arrive_is_reported_with_its_step(
    logs: Path, imported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def lose(run_id: str, rows: list[Row]) -> list[Row]:
        if run_id == "back":
            return rows
        kept = [row for row in rows if row["_step"] not in (1, 2)]
        kept[1] = kept[1] | {"loss": 0.125}  # step 3
        kept[-1] = kept[-1] | {"_step": 99}  # step 7
        return [*kept, {"_step": 100, "loss": 5}]

    bundle = changed(
        imported, tmp_path / "a.wandb.zip", lose, config={"lr": 0.2}, summary={"loss": float("nan")}
    )
    found = answer(capsys, logs, "-b", bundle, "-r", "twice")
    (run,) = found["runs"]
    assert (run["path"], run["stored"], run["equal"]) == ("team/proj/twice", "team/proj/twice", False)
    assert (run["logged_rows"], run["stored_rows"]) == (8, 7)
    assert run["ranges"] == [
        {"kind": "missing", "first_step": 1, "last_step": 2, "rows": 2, "shift": None},
        {"kind": "overwritten", "first_step": 3, "last_step": 3, "rows": 1, "shift": None},
        {"kind": "moved", "first_step": 7, "last_step": 7, "rows": 1, "shift": 92},
        {"kind": "extra", "first_step": 100, "last_step": 100, "rows": 1, "shift": None},
    ]
    assert run["keys"] == {"loss": 1}
    assert run["cells"] == [{"step": 3, "key": "loss", "logged": 0.25, "stored": 0.125}]
    assert run["config"] == [{"key": "lr", "change": "changed", "logged": 0.1, "stored": 0.2}]
    assert {"key": "loss", "change": "changed", "logged": 0.25, "stored": "NaN"} in run["summary"]
    assert (found["equal"], found["different"], found["not_stored"]) == (0, 1, 0)
    out, _ = reconciled(capsys, logs, "-b", bundle, "-r", "twice", code=7)
    assert (
        "[LOGGED_ROWS] ranges=4\n"
        "run,kind,first_step,last_step,rows,first_stored,last_stored\n"
        "team/proj/twice,missing,1,2,2,,\n"
        "team/proj/twice,overwritten,3,3,1,,\n"
        "team/proj/twice,moved,7,7,1,99,99\n"
        "team/proj/twice,extra,100,100,1,,\n"
        "[OVERWRITTEN] cells=1\n"
        "run,step,key,logged,stored\n"
        "team/proj/twice,3,loss,0.25,0.125\n"
        "[LOGGED_VALUES] differences="
    ) in out
    assert "team/proj/twice,config,lr,0.1,0.2\n" in out


def test_a_run_that_started_over_is_expected_after_its_old_rows_unless_told_otherwise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for hour, losses in ((1, (3, 2, 1)), (2, (3.5, 2.5))):
        rows = [row(step, loss=loss, _timestamp=3600.0 * hour + step) for step, loss in enumerate(losses)]
        start = run_record("over", start=3600 * hour)
        write_run_folder(tmp_path / "logs", f"run-19700101_0{hour}0000-over", [start, *rows])
    import_runs([tmp_path / "logs"], out=tmp_path / "a.wandb.zip", on_restart="overwrite")
    run = answer(capsys, tmp_path / "logs", "-b", tmp_path / "a.wandb.zip")["runs"][0]
    assert run["ranges"] == [
        {"kind": "missing", "first_step": 2, "last_step": 2, "rows": 1, "shift": None},
        {"kind": "overwritten", "first_step": 0, "last_step": 1, "rows": 2, "shift": None},
        {"kind": "moved", "first_step": 3, "last_step": 4, "rows": 2, "shift": -3},
    ]
    words = (tmp_path / "logs", "-b", tmp_path / "a.wandb.zip", "--on-restart", "overwrite")
    assert answer(capsys, *words, code=0)["equal"] == 1


def test_the_runs_at_wandb_are_compared_without_a_bundle(
    logs: Path,
    imported: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle = changed(
        imported, tmp_path / "a.wandb.zip", lambda run_id, rows: rows[1:] if run_id == "twice" else rows
    )
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with serve_bundle(bundle) as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        found = answer(capsys, logs)
    assert found["against"] == [server.url.partition("://")[2]]
    assert {run["path"]: outcome(run) for run in found["runs"]} == {
        "team/proj/back": {"ignored": 2},
        "team/proj/twice": {"missing": 1},
    }
    # A run that W&B does not have is one of which nothing arrived.
    with open_bundle(bundle) as opened:
        rows = list(opened["team/proj/back"].scan_history())
    one = make_bundle(tmp_path / "one.wandb.zip", [bundle_run("team/proj/back", rows)])
    with serve_bundle(one) as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        found = answer(capsys, logs)
    assert [(run["stored"], run["missing"]) for run in found["runs"]] == [("team/proj/back", 0), (None, 8)]
    assert (found["different"], found["not_stored"]) == (1, 1)
    assert reconciled(capsys, logs, "-b", one, code=7)[1].endswith(
        "pull-logs: error: 1 of 2 logged runs differs from what is stored, and 1 of 2 logged runs is not"
        " stored; --entity and --project name where the runs are, if they are stored elsewhere\n"
    )


def test_a_log_that_was_uploaded_under_another_id_is_compared_by_name(
    logs: Path, imported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_bundle(imported) as bundle:
        run = bundle["team/proj/back"]
        other = bundle_run(
            "team/elsewhere/new", list(run.scan_history()), config=run.config, summary=run.summary
        )
    make_bundle(tmp_path / "a.wandb.zip", [other, bundle_run("team/proj/else")])
    folder = next((logs / "wandb").glob("*-back"))
    found = answer(capsys, folder, "-b", tmp_path / "a.wandb.zip", "-r", "new")
    assert [(run["path"], run["stored"], outcome(run)) for run in found["runs"]] == [
        ("team/proj/back", "team/elsewhere/new", {"ignored": 2})
    ]
    out, _ = reconciled(capsys, folder, "-b", tmp_path / "a.wandb.zip", "-r", "new", code=7)
    assert "team/proj/back,different,6,6,0,0,0,0,2,0,0,team/elsewhere/new\n" in out
    _, err = reconciled(capsys, logs, "-b", tmp_path / "a.wandb.zip", "-r", "new", code=3)
    assert err.splitlines()[-1] == (
        "pull-logs: error: the logs have none of the runs 'new'; they have 'team/proj/back', "
        "'team/proj/twice'; name one run folder and one run to compare them whatever their ids"
    )


def test_a_log_that_may_belong_to_several_runs_is_refused(
    logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [bundle_run(f"team/{project}/back") for project in ("one", "two")]
    bundle = make_bundle(tmp_path / "a.wandb.zip", runs)
    folder = next((logs / "wandb").glob("*-back"))
    _, err = reconciled(capsys, folder, "-b", bundle, code=3)
    assert err == (
        "pull-logs: error: the log of 'team/proj/back' may belong to 2 runs: 'team/one/back', "
        "'team/two/back'; name one with -r entity/project/run_id, or the project of the log with --project\n"
    )
    assert answer(capsys, folder, "-b", bundle, "--project", "two")["runs"][0]["stored"] == "team/two/back"


def test_the_summary_of_a_killed_run_is_compared_without_what_was_derived(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_run_folder(
        tmp_path, "run-20261123_104251-kill", [run_record("kill"), row(0, loss=2), row(1, loss=1, acc=0.5)]
    )
    import_runs([folder], out=tmp_path / "a.wandb.zip")
    with open_bundle(tmp_path / "a.wandb.zip") as bundle:
        (run,) = bundle.runs()
        assert run.summary["_wandb"]["derived"] == ["acc", "loss"]
        rows = list(run.scan_history())
    cases: tuple[tuple[dict[str, Any], list[str]], ...] = (
        (dict(run.summary), []),
        ({"_step": 1, "_timestamp": 1001.0}, []),
        (
            {"_step": 1, "_timestamp": 1001.0, "acc": 0.5, "loss": 3, "_wandb": {"runtime": 1}},
            ["_wandb", "loss"],
        ),
    )
    for summary, differing in cases:
        make_bundle(tmp_path / "b.wandb.zip", [bundle_run(str(run.path), rows, summary=summary)])
        found = answer(capsys, folder, "-b", tmp_path / "b.wandb.zip", code=7 if differing else 0)
        assert [edit["key"] for edit in found["runs"][0]["summary"]] == differing


def test_ignored_calls_are_read_from_copies_once_and_from_old_logs_in_words(
    logs: Path, tmp_path: Path
) -> None:
    folder = next((logs / "wandb").glob("*-back"))
    expected = {
        "back": IgnoredCalls(
            count=2, first_step=1, last_step=2, examples=(IgnoredCall(1, 3), IgnoredCall(2, 4))
        )
    }
    assert ignored_calls([folder]) == expected
    shutil.copytree(folder, tmp_path / folder.name)
    assert ignored_calls([folder, tmp_path / folder.name]) == expected
    report = tmp_path / folder.name / "logs" / "debug-internal.log"
    report.write_text(
        "2023-07-18 09:17:59,760 WARNING HandlerThread:40897 [handler.py:handle_request_partial_history()]"
        " Step 583600 < 607500. Dropping entry: {'epoch': 208}.\n"
        '{"level":"WARN","msg":"handler: ignoring partial history record","step":"x","current":5}\n'
        '{"msg":"handler: ignoring partial history record"\n["handler: ignoring partial history record"]\n'
    )
    old = (IgnoredCall(583600, 607500),)
    assert ignored_calls([tmp_path / folder.name]) == {
        "back": IgnoredCalls(count=1, first_step=583600, last_step=583600, examples=old)
    }


def test_a_budget_cuts_the_text_and_json_is_complete(
    logs: Path, imported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = changed(
        imported,
        tmp_path / "a.wandb.zip",
        lambda _, rows: [row | {f"key{number}": row["_step"] for number in range(30)} for row in rows],
    )
    full, _ = reconciled(capsys, logs, "-b", bundle, "--max-tokens", "0", code=7)
    assert "# 150 more cells: --json has the first 100 of each run\n" in full
    short, _ = reconciled(capsys, logs, "-b", bundle, "--max-tokens", "400", code=7)
    assert len(short) < len(full) / 2
    assert "\nteam/proj/twice,different,8,8,0,8,0,0,0,0,0,\n" in short
    assert "[OVERWRITTEN] cells=420" in short
    assert sum(len(run["cells"]) for run in answer(capsys, logs, "-b", bundle)["runs"]) == 200
    _, err = reconciled(capsys, logs, "-b", bundle, "--json", "--max-tokens", "400", code=2)
    assert err == (
        "pull-logs: error: --max-tokens limits the text of reconcile; its JSON is always complete; "
        "leave out --max-tokens or --json\n"
    )


def test_a_folder_without_runs_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    _, err = reconciled(capsys, tmp_path / "empty", "-b", "a.wandb.zip", code=3)
    assert err.startswith(f"pull-logs: error: no W&B run in '{tmp_path / 'empty'}'")
