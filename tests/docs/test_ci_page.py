"""The workflow on docs/ci.md parses, needs no secret, and its commands exist; so do ours."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from checkout import ROOT
from page_examples import blocks_of

from pull_logs.cli.main import cli

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def page_workflow() -> str:
    (block,) = (block for block in blocks_of(ROOT / "docs" / "ci.md") if block.language == "yaml")
    return block.text


def steps(text: str) -> list[dict[str, Any]]:
    return [step for job in yaml.safe_load(text)["jobs"].values() for step in job["steps"]]


def commands(text: str) -> list[str]:
    lines = [line for step in steps(text) for line in step.get("run", "").splitlines()]
    return [re.split(r"\s+[>&]", line)[0] for line in lines if line.startswith("pull-logs ")]


def test_the_workflow_of_the_page_has_the_shape_of_one_and_no_secret() -> None:
    workflow = yaml.safe_load(page_workflow())
    assert {"name", "jobs"} < workflow.keys()
    assert workflow[True] == ["push", "pull_request"]  # YAML 1.1 reads the key `on` as a truth
    assert all(step.keys() & {"uses", "run"} for step in steps(page_workflow()))
    assert "secrets" not in page_workflow()
    assert "WANDB_API_KEY" not in page_workflow()
    assert {command.split()[1] for command in commands(page_workflow())} == {"verify", "exec", "serve"}


@pytest.mark.parametrize("line", commands(page_workflow()))
def test_every_command_of_the_workflow_parses(line: str) -> None:
    name, *words = shlex.split(line)[1:]
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    command.make_context(name, words)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_of_this_repository_has_the_least_rights_and_no_secret(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    assert all(step.keys() & {"uses", "run"} for step in steps(path.read_text()))
    assert "secrets." not in path.read_text()


def test_hooks_run_the_tools_of_the_environment() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert [repo["repo"] for repo in config["repos"]] == ["local"]
    assert {hook["language"] for repo in config["repos"] for hook in repo["hooks"]} == {"system"}
    assert {hook["id"] for repo in config["repos"] for hook in repo["hooks"]} == {
        "ruff-check",
        "ruff-format",
        "mypy",
        "plain-english",
    }
