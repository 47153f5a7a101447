"""Hundreds of checkpoints from the command line: `compare -c`, globs, folders, and files that are none."""

from __future__ import annotations

import json
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


def told(*words: str | Path) -> dict[str, Any]:
    done = pull_logs(*words, "--json", "--max-tokens", "0", "--no-hints")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def section(text: str, name: str) -> list[str]:
    lines = text.splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith(f"[{name}]"))
    end = next((place for place in range(start + 1, len(lines)) if lines[place].startswith("[")), None)
    return lines[start:end]


def test_compare_names_the_best_of_the_checkpoints_of_a_glob() -> None:
    words = ("compare", "-c", CHECKPOINTS / "*.pt", "-b", BUNDLE, "--best", "val/acc:max")
    text = pull_logs(*words)
    assert text.returncode == 0, text.stderr
    lines = section(text.stdout, "CHECKPOINTS")
    assert lines[0] == "[CHECKPOINTS] checkpoints=14 runs=14"
    assert lines[-1] == f"# best val/acc (max): {CHECKPOINTS}/cnn-lr0.1-s2.pt of run H, 0.977778@263"
    assert lines[1] == (
        'checkpoint,run,step,epoch,val/acc,"val/acc final",val/loss,"val/loss final",'
        'val/worst_digit,"val/worst_digit final"'
    )
    assert len(lines) == 3 + 14
    answer = told(*words)
    assert answer["best_checkpoint"]["file"] == f"{CHECKPOINTS}/cnn-lr0.1-s2.pt"
    assert answer["best_checkpoint"]["value"] == max(
        entry["at"]["val/acc"] for entry in answer["checkpoints"]
    )


def test_the_values_are_those_of_the_history_at_the_checkpoints_steps() -> None:
    answer = told("compare", "-c", CHECKPOINTS, "-b", BUNDLE, "--select", "^val/acc$|^train/loss$")
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
    """A folder of two good checkpoints, one that names no run, one damaged, one of a run that is elsewhere."""
    for name in ("cnn-lr0.1-s0.pt", "epoch-06/cnn-lr0.1-s0.pt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(CHECKPOINTS / name, tmp_path / name)
    torch.save({"step": 3}, tmp_path / "nameless.pt")
    (tmp_path / "damaged.pt").write_bytes(b"PK\x03\x04 cut off")
    torch.save({"wandb_run_path": "acme/digits/elsewhere"}, tmp_path / "elsewhere.pt")
    return tmp_path


def test_what_cannot_be_read_in_a_folder_is_told_and_does_not_spoil_the_rest(mixed: Path) -> None:
    for pattern in (mixed, mixed / "**" / "*.pt"):
        answer = told("compare", "-c", pattern, "-b", BUNDLE)
        assert [(entry["run"], entry["step"]) for entry in answer["checkpoints"]] == [("A", 131), ("A", 263)]
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
    assert [line.split(",")[1:4] for line in lines[2:4]] == [["A", "131", "6"], ["A", "263", "12"]]
    assert "# 2 checkpoints were skipped: " in done.stdout


def test_a_file_name_cannot_forge_a_section(tmp_path: Path) -> None:
    for number in range(2):
        file = tmp_path / f"a\n[RUNS] runs={number}.pt"
        shutil.copy(CHECKPOINTS / "cnn-lr0.1-s0.pt", file)
    done = pull_logs("compare", "-c", tmp_path, "-b", BUNDLE, "--best", "val/acc:max")
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("[RUNS]")] == ["[RUNS] runs=1"]


def test_a_small_budget_is_kept(tmp_path: Path) -> None:
    for tokens in (600, 1000, 3000):
        for words in ((), ("--json",)):
            done = pull_logs("compare", "-c", CHECKPOINTS, "-b", BUNDLE, "--max-tokens", str(tokens), *words)
            assert done.returncode == 0, done.stderr
            assert len(done.stdout.encode()) <= 3 * tokens
