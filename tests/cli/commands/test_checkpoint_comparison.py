"""Hundreds of checkpoints from the command line: `compare -c`, globs, folders, and files that are none."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from checkout import RECORDED, ROOT

import pull_logs as library
from pull_logs.rows.canonical import spell

BUNDLE = RECORDED
CHECKPOINTS = ROOT / "fixtures" / "digits" / "checkpoints"


def pull_logs(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pull_logs", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        cwd=ROOT,
    )


def reported(*words: str | Path) -> dict[str, Any]:
    done = pull_logs(*words, "--json", "--max-tokens", "0", "--no-hints")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def section(text: str, name: str) -> list[str]:
    lines = text.splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith(f"[{name}]"))
    end = next((index for index in range(start + 1, len(lines)) if lines[index].startswith("[")), None)
    return lines[start:end]


def test_compare_names_the_best_of_the_checkpoints_of_a_glob() -> None:
    words = ("compare", "-c", CHECKPOINTS / "*.pt", "-b", BUNDLE, "--best", "val/acc:max")
    text = pull_logs(*words)
    assert text.returncode == 0, text.stderr
    lines = section(text.stdout, "CHECKPOINTS")
    assert lines[0] == "[CHECKPOINTS] checkpoints=14 runs=14"
    assert lines[-1] == f"# best val/acc (max): {CHECKPOINTS}/cnn-lr0.1-s2.pt of run cnn1e1s2, 0.977778@263"
    assert lines[1] == (
        'checkpoint,run,step,epoch,val/acc,"val/acc final",val/loss,"val/loss final",'
        'val/worst_digit,"val/worst_digit final"'
    )
    assert len(lines) == 3 + 14
    answer = reported(*words)
    assert answer["best_checkpoint"]["file"] == f"{CHECKPOINTS}/cnn-lr0.1-s2.pt"
    assert answer["best_checkpoint"]["value"] == max(
        entry["at"]["val/acc"] for entry in answer["checkpoints"]
    )


def test_the_values_are_those_of_the_history_at_the_checkpoints_steps() -> None:
    answer = reported("compare", "-c", CHECKPOINTS, "-b", BUNDLE, "--select", "^val/acc$|^train/loss$")
    paths = {run["label"]: run["path"] for run in answer["runs"]}
    assert len(answer["checkpoints"]) == len(list(CHECKPOINTS.rglob("*.pt"))) == 30
    with library.open_bundle(BUNDLE) as bundle:
        for entry in answer["checkpoints"]:
            rows = list(bundle[paths[entry["run"]]].scan_history())
            for metric in ("val/acc", "train/loss"):
                before = [row for row in rows if metric in row and row["_step"] <= entry["step"]]
                after = [row for row in rows if metric in row]
                assert entry["at_step"][metric] == before[-1]["_step"]
                assert entry["at"][metric] == spell(before[-1][metric])
                assert entry["final"][metric] == spell(after[-1][metric])
    by_run: dict[str, list[int]] = {}
    for entry in answer["checkpoints"]:
        by_run.setdefault(entry["run"], []).append(entry["step"])
    assert all(steps == sorted(steps) for steps in by_run.values())


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A folder of two good checkpoints, one without a run, one damaged, one of a run that is elsewhere."""
    for name in ("cnn-lr0.1-s0.pt", "epoch-06/cnn-lr0.1-s0.pt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(CHECKPOINTS / name, tmp_path / name)
    torch.save({"step": 3}, tmp_path / "nameless.pt")
    (tmp_path / "damaged.pt").write_bytes(b"PK\x03\x04 cut off")
    torch.save({"wandb_run_path": "acme/digits/elsewhere"}, tmp_path / "elsewhere.pt")
    return tmp_path


def test_what_cannot_be_read_in_a_folder_is_reported_and_does_not_spoil_the_rest(mixed: Path) -> None:
    for pattern in (mixed, mixed / "**" / "*.pt"):
        answer = reported("compare", "-c", pattern, "-b", BUNDLE)
        assert [(entry["run"], entry["step"]) for entry in answer["checkpoints"]] == [
            ("cnn1e1s0", 131),
            ("cnn1e1s0", 263),
        ]
        assert answer["notes"][0] == (
            f"2 checkpoints were skipped: checkpoint '{mixed}/damaged.pt' is a damaged archive: "
            f"File is not a zip file; checkpoint '{mixed}/nameless.pt' names no run; it holds the keys 'step'"
        )
        assert answer["notes"][1].startswith(f"1 checkpoint was skipped: checkpoint '{mixed}/elsewhere.pt': ")


@pytest.mark.parametrize(("name", "code"), [("nameless.pt", 3), ("damaged.pt", 6), ("elsewhere.pt", 3)])
def test_named_alone_each_of_them_is_an_error_of_one_line(mixed: Path, name: str, code: int) -> None:
    done = pull_logs("compare", "-c", mixed, "-c", mixed / name, "-b", BUNDLE)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"pull-logs: error: checkpoint '{mixed / name}'")


def test_the_bare_view_shows_a_run_of_several_checkpoints_once(mixed: Path) -> None:
    done = pull_logs("-c", mixed, "-b", BUNDLE, "--select", "^val/acc$")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("[HISTORY]") == 1
    assert section(done.stdout, "RUNS")[0].startswith("[RUNS] runs=1")
    lines = section(done.stdout, "CHECKPOINTS")
    assert [line.split(",")[1:4] for line in lines[2:4]] == [
        ["cnn1e1s0", "131", "6"],
        ["cnn1e1s0", "263", "12"],
    ]
    assert "# 2 checkpoints were skipped: " in done.stdout


def test_a_file_name_cannot_forge_a_section(tmp_path: Path) -> None:
    for number in range(2):
        file = tmp_path / f"a\n[RUNS] runs={number}.pt"
        shutil.copy(CHECKPOINTS / "cnn-lr0.1-s0.pt", file)
    done = pull_logs("compare", "-c", tmp_path, "-b", BUNDLE, "--best", "val/acc:max")
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("[RUNS]")] == [
        f"[RUNS] runs=1 project=acme/digits source={BUNDLE}"
    ]


def test_a_small_budget_is_kept(tmp_path: Path) -> None:
    for tokens in (600, 1000, 3000):
        for words in ((), ("--json",)):
            done = pull_logs("compare", "-c", CHECKPOINTS, "-b", BUNDLE, "--max-tokens", str(tokens), *words)
            assert done.returncode == 0, done.stderr
            assert len(done.stdout.encode()) <= 3 * tokens


@pytest.mark.parametrize(
    ("scope", "keys"),
    [
        ({"cfg": {"project": "detector-paper"}}, "'cfg.project'"),
        ({"project": "detector-paper"}, "'project'"),
        ({"cfg": {"project": "detector-paper", "entity": "lab"}}, "'cfg.project' and 'cfg.entity'"),
        ({"args": {"team": "red"}}, "'args.team'"),
    ],
)
def test_a_guessed_project_never_hides_a_unique_id(tmp_path: Path, scope: dict[str, Any], keys: str) -> None:
    with library.open_bundle(BUNDLE) as bundle:
        run = next(bundle.runs()).path
    file = tmp_path / "last.pt"
    torch.save({"wandb_id": run.run_id, **scope}, file)
    done = pull_logs("-c", file, "-b", BUNDLE, "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert [entry["path"] for entry in answer["runs"]] == [str(run)]
    notes = [note["message"] if isinstance(note, dict) else note for note in answer["notes"]]
    note = next(
        note for note in [*notes, *done.stderr.splitlines()] if f"checkpoint {str(file)!r} names" in note
    )
    assert f"{keys} in it was ignored and the run was looked up by its id: {str(run)!r}" in note


def test_a_project_that_is_certain_is_not_ignored(tmp_path: Path) -> None:
    with library.open_bundle(BUNDLE) as bundle:
        run = next(bundle.runs()).path
    for scope in ({"wandb_project": "other"}, {"wandb": {"project": "other"}}):
        file = tmp_path / "last.pt"
        torch.save({"wandb_id": run.run_id, **scope}, file)
        done = pull_logs("-c", file, "-b", BUNDLE)
        assert (done.returncode, done.stdout) == (3, "")
        assert f"no run 'other/{run.run_id}'" in done.stderr


def test_an_entity_without_a_project_is_an_entity(tmp_path: Path) -> None:
    with library.open_bundle(BUNDLE) as bundle:
        run = next(bundle.runs()).path
    file = tmp_path / "last.pt"
    torch.save({"wandb_id": run.run_id, "wandb_entity": run.entity}, file)
    done = pull_logs("-c", file, "-b", BUNDLE)
    assert done.returncode == 0, done.stderr
    torch.save({"wandb_id": run.run_id, "wandb_entity": "lab"}, file)
    done = pull_logs("-c", file, "-b", BUNDLE)
    assert done.returncode == 3
    assert f"has no run with the id {run.run_id!r} of the entity 'lab'" in done.stderr


class Shell:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("exit 1",)


def test_a_refused_file_with_a_sidecar_is_answered_with_a_warning(tmp_path: Path) -> None:
    with library.open_bundle(BUNDLE) as bundle:
        run = next(bundle.runs()).path
    file = tmp_path / "last.pt"
    torch.save({"x": Shell()}, file)
    (tmp_path / "wandb_run_path").write_text(str(run))
    done = pull_logs("-c", file, "-b", BUNDLE)
    assert done.returncode == 0, done.stderr
    what = f"checkpoint '{file}' would run posix.system when loaded; nothing was run; do not load it"
    assert what in done.stdout + done.stderr


def test_a_run_that_only_a_folder_names_is_reported_as_such(tmp_path: Path) -> None:
    with library.open_bundle(BUNDLE) as bundle:
        run = next(bundle.runs()).path
    file = tmp_path / f"run-20240101_120000-{run.run_id}" / "files" / "last.pt"
    file.parent.mkdir(parents=True)
    torch.save({"x": 1}, file)
    done = pull_logs("-c", file, "-b", BUNDLE)
    assert done.returncode == 0, done.stderr
    what = f"the run of 1 checkpoint is known only from the names of folders (folder): '{file}'"
    assert what in done.stdout + done.stderr
