"""The workflow on docs/gates.md parses, needs no secret, and its commands do what the page says."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkout import ROOT
from page_examples import blocks_of

from pull_logs.cli.main import main

RUNS = ROOT / "fixtures" / "digits" / "wandb"
TRAIN = """\
import os, sys
from pathlib import Path
with Path("trained.txt").open("a") as file:
    print(os.environ["WANDB_MODE"], *sys.argv[1:], file=file)
"""


def workflow() -> dict[Any, Any]:
    (text,) = (
        block.text
        for block in blocks_of(ROOT / "docs" / "gates.md")
        if block.language == "yaml" and block.text.startswith("name:")
    )
    found: dict[Any, Any] = yaml.safe_load(text)
    assert "secrets" not in text
    assert "WANDB_API_KEY" not in text
    return found


def step(name: str) -> str:
    found = {each["name"]: each["run"] for each in workflow()["jobs"]["gate"]["steps"] if "run" in each}
    line: str = next(run for title, run in found.items() if title.startswith(name))
    return line


def in_shell(line: str, folder: Path, **environment: str) -> None:
    bin_folder = str(Path(sys.executable).parent)
    variables = {**os.environ, **environment, "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(["bash", "-ec", line], cwd=folder, env=variables, check=True, timeout=60)


def test_the_workflow_has_the_least_rights() -> None:
    found = workflow()
    assert found["permissions"] == {"contents": "read"}
    assert found[True] == "pull_request"  # YAML 1.1 reads the key `on` as a truth
    assert all(each.keys() & {"uses", "run"} for each in found["jobs"]["gate"]["steps"])


@pytest.mark.skipif(shutil.which("bash") is None, reason="the commands are for the shell of a runner")
def test_the_commands_train_gate_and_show_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(TRAIN)
    in_shell(step("Train"), tmp_path)
    trained = (tmp_path / "trained.txt").read_text().splitlines()
    assert trained == [f"offline --seed {seed}" for seed in range(5)]

    for side, rate in (("base", 1), ("wandb", 2)):
        for folder in RUNS.glob(f"*-cnn1e{rate}s*"):
            shutil.copytree(folder, tmp_path / side / folder.name)
    assert main(["import", "base", "-o", "baseline.wandb.zip"]) == 0
    assert main(step("Put the runs").split()[1:]) == 0
    capsys.readouterr()
    assert main(step("Test them").split()[1:]) == 7
    assert capsys.readouterr().err.startswith("pull-logs: error: val/loss:min: regression, new mean 0.2251, ")

    summary = tmp_path / "summary.md"
    in_shell(step("Show"), tmp_path, GITHUB_STEP_SUMMARY=str(summary))
    assert summary.read_text() == (tmp_path / "gate.md").read_text()
    assert "### Regression gate fails" in summary.read_text()
