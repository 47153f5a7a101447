"""What docs/ci.md says is so: its workflow parses and needs no secret, its commands parse, its test passes."""

from __future__ import annotations

import re
import shlex
from typing import Any

import click
import pytest
import yaml
from checkout import ROOT

from pull_logs.cli.main import cli

pytest_plugins = ["pytester"]

PAGE = (ROOT / "docs" / "ci.md").read_text()


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def steps() -> list[dict[str, Any]]:
    (workflow,) = map(yaml.safe_load, blocks("yaml"))
    (job,) = workflow["jobs"].values()
    found: list[dict[str, Any]] = job["steps"]
    return found


def commands() -> list[str]:
    lines = [line for step in steps() for line in step.get("run", "").splitlines()]
    lines += [line for block in blocks("") for line in block.splitlines()]
    return [re.split(r"\s+[>&]", line)[0] for line in lines if line.startswith("pull-logs ")]


def test_the_workflow_has_the_shape_of_one_and_no_secret() -> None:
    (workflow,) = map(yaml.safe_load, blocks("yaml"))
    assert {"name", "jobs"} < workflow.keys()
    assert workflow[True] == ["push", "pull_request"]  # YAML 1.1 reads the key `on` as a truth
    assert all(step.keys() & {"uses", "run"} for step in steps())
    assert "secrets" not in "".join(blocks("yaml"))
    assert "WANDB_API_KEY" not in "".join(blocks("yaml"))


def test_the_page_shows_every_way_in() -> None:
    assert {command.split()[1] for command in commands()} == {"verify", "exec", "serve"}
    assert any("pytest" in step.get("run", "") for step in steps())


@pytest.mark.parametrize("line", commands())
def test_every_command_of_the_page_parses(line: str) -> None:
    name, *words = shlex.split(line)[1:]
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    command.make_context(name, words)


def test_the_test_of_the_page_passes(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the notebook's lines behind it: both with the recorded runs of this repository as the bundle."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    data = pytester.mkdir("data")
    (data / "runs.wandb.zip").write_bytes((ROOT / "fixtures" / "digits.wandb.zip").read_bytes())
    example = next(block for block in blocks("python") if "mark.wandb_bundle" in block)
    notebook = next(block for block in blocks("python") if "set_environment" in block)
    indented = notebook.replace("tests/data", "data").replace("\n", "\n    ")
    pytester.makepyfile(
        test_example=f"{example}\n\ndef test_notebook():\n    {indented}\n        assert len(runs) == 16\n"
    )
    result = pytester.runpytest_subprocess(
        "-p", "pull_logs.pytest_plugin", "--strict-markers", "-W", "error", timeout=60
    )
    result.assert_outcomes(passed=2)
