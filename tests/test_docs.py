"""What the README and SKILL.md say is so: commands parse, figures are bounded, code runs."""

from __future__ import annotations

import re
import shlex
import zipfile
from pathlib import Path

import click
import duckdb
import polars as pl
import pytest
from checkout import RECORDED, ROOT

import pull_logs
from pull_logs.cli.main import cli

BUNDLE = RECORDED
README = (ROOT / "README.md").read_text()
SKILL = (ROOT / "SKILL.md").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()


def all_commands() -> dict[str, click.Command]:
    context = click.Context(cli)
    found = {name: cli.get_command(context, name) for name in cli.list_commands(context)}
    return {name: command for name, command in found.items() if command is not None}


COMMANDS = all_commands()


def commands(text: str) -> list[str]:
    """Every `pull-logs ...` line of the code blocks, comments and shell plumbing taken off."""
    lines = [line for block in re.findall(r"```\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    found = [
        line[line.index("pull-logs ") :] for line in lines if re.match(r"(uv run |.*&& )?pull-logs ", line)
    ]
    return [re.split(r"\s+#|\s+> \w|\s+&", line)[0].strip() for line in found]


@pytest.mark.parametrize("line", commands(README) + commands(OPERATIONS))
def test_every_command_of_the_readme_parses(line: str) -> None:
    words = shlex.split(line)[1:]
    name = next((word for word in words if word in COMMANDS), None)
    if name is None:
        cli.make_context("pull-logs", words)
    else:
        COMMANDS[name].make_context(name, words[words.index(name) + 1 :])


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help_and_stands_in_the_readme(name: str) -> None:
    assert COMMANDS[name].help
    assert f"pull-logs {name}" in README


def flags_of(command: click.Command) -> set[str]:
    return {option for param in command.params if isinstance(param, click.Option) for option in param.opts}


def test_every_flag_that_the_skill_names_exists() -> None:
    known = flags_of(cli).union(*(flags_of(command) for command in COMMANDS.values()))
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", SKILL))
    assert named - known == set()


def test_the_skill_is_short_and_has_its_front_matter() -> None:
    assert len(SKILL.encode()) / 3 < 1500
    front = SKILL.split("---")[1]
    assert re.search(r"^name: wandb-pull-logs$", front, re.MULTILINE)
    description = re.search(r"^description: (.+)$", front, re.MULTILINE)
    assert description
    assert len(description[1]) <= 1024


def test_exit_codes_are_told_alike_in_readme_and_skill() -> None:
    for text in (README, SKILL):
        assert "4 incomplete data under `--strict`" in text
        assert "5 sign-in or network" in text


def test_duckdb_reads_an_unzipped_bundle_with_the_readme_line(tmp_path: Path) -> None:
    with zipfile.ZipFile(BUNDLE) as archive:
        archive.extractall(tmp_path / "sweep")
    found = re.search(r"```sql\n(.*?)```", README, re.DOTALL)
    assert found
    query = found[1].replace("sweep/", f"{tmp_path}/sweep/")
    best = dict(duckdb.sql(query).fetchall())
    with pull_logs.open_bundle(BUNDLE) as bundle:
        for run in bundle.runs():
            expected = max(row["val/acc"] for row in run.scan_history(keys=["val/acc"]))
            assert best[run.path.run_id] == expected


def test_polars_and_pandas_read_a_history_without_us(tmp_path: Path) -> None:
    with zipfile.ZipFile(BUNDLE) as archive:
        name = next(item for item in archive.namelist() if "run=cnn1e2s0/history" in item)
        archive.extract(name, tmp_path)
    with pull_logs.open_bundle(BUNDLE) as bundle:
        frame = bundle["cnn1e2s0"].history(columns=["train/loss"])
    assert pl.read_parquet(tmp_path / name)["train/loss"].to_list() == frame["train/loss"].tolist()


def test_the_python_of_the_readme_says_what_the_library_has() -> None:
    found = re.search(r"```python\nimport pull_logs\n(.*?)```", README, re.DOTALL)
    assert found
    for name in re.findall(r"pull_logs\.(\w+)", found[1]):
        assert name in dir(pull_logs)
