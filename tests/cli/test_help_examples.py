"""Each `--help` ends with examples, and each of them runs."""

from __future__ import annotations

import dataclasses
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from bundlekit import bundle_run, make_bundle
from checkout import RECORDED, ROOT
from consolekit import console_of, printed

from pull_logs.cli.commands import EXAMPLES
from pull_logs.cli.main import cli, main
from pull_logs.replay import ReplayServer, serve_bundle
from pull_logs.snapshot import BundleRun, add_bundles, open_store
from pull_logs.snapshot.format import record_of
from pull_logs.snapshot.privacy.file_scrubber import TextFile

RUN_ELSEWHERE = {
    "mcp": "it answers until its client ends; tests/cli/tools/test_mcp_server.py runs it",
    "serve": "it serves until it is stopped; tests/cli/commands/test_serve.py runs it",
}
CODES = {
    "pull-logs diff old.wandb.zip new.wandb.zip --exit-code": 1,
    "pull-logs reconcile wandb/ --entity acme --project nano": 7,  # the server has other runs
    "pull-logs verify sweep.wandb.zip --against wandb --list": 7,  # its runs were not downloaded from a W&B
}


PAGE = TextFile(record_of("media/html/page.html", [b"<p>"]), b"<p>")


def run_of(number: int, *, rate: float = 0.1) -> BundleRun:
    rows = [
        {
            "_step": step,
            "_runtime": 10.0 * step,
            "val/loss": 4 / (step + 1) + number % 4 / 50 + rate / 10,
            "train/loss": 3 / (step + 1) + number % 4 / 60 + rate / 9,
            "val/acc": 1 - 1 / (step + 2) - number % 4 / 90 - rate / 20,
        }
        for step in range(0, 200, 5)
    ]
    config = {
        "lr": rate if number % 2 else rate / 10,
        "seed": number // 4,
        "dataset": ("digits", "letters")[number % 4 // 2],
        "optimizer": ("adam", "sgd")[number % 2],
        "num_params": 1000 * (number + 1),
    }
    summary: dict[str, Any] = {
        name: rows[-1][name] for name in ("val/loss", "train/loss", "val/acc", "_runtime")
    }
    summary["val/page"] = {"_type": "html-file", "path": PAGE.record.name}
    name = "3fk2a" if number == 0 else f"run{number:02d}"
    made = bundle_run(f"acme/nano/{name}", rows, config=config, summary=summary)
    return dataclasses.replace(made, console=console_of(printed(5, text="error {}")), files=[PAGE])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("examples")
    runs = [run_of(number) for number in range(16)]
    for name in ("sweep", "suite", "new", "base", "nano"):
        make_bundle(path / f"{name}.wandb.zip", runs)
    make_bundle(path / "old.wandb.zip", runs[:9])
    add_bundles(open_store(path / "lab", create=True), [path / "old.wandb.zip"], keep=True)
    shutil.copytree(ROOT / "fixtures" / "digits" / "wandb", path / "wandb")
    shutil.copy(RECORDED, path / "digits.wandb.zip")
    (path / "eval.py").write_text("import wandb\nprint(wandb.Api)\n")
    return path


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ReplayServer]:
    with serve_bundle(folder / "sweep.wandb.zip") as running:
        yield running


@pytest.fixture
def work(folder: Path, server: ReplayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in a copy of the folder, with the server as W&B."""
    shutil.copytree(folder, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("COLUMNS", "200")
    for variable, value in server.environment().items():
        monkeypatch.setenv(variable, value)


def commands(command: click.Command = cli, name: str = "") -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        for word in command.list_commands(click.Context(command)):
            found = command.get_command(click.Context(command), word)
            assert found is not None
            yield from commands(found, f"{name} {word}".strip())


def test_each_command_has_examples_and_no_other() -> None:
    assert {name for name, _ in commands()} == set(EXAMPLES)
    assert all(EXAMPLES.values())


@pytest.mark.parametrize("name", sorted(set(EXAMPLES) - set(RUN_ELSEWHERE)))
@pytest.mark.usefixtures("work")
def test_the_examples_of_the_help_run(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    if name == "refresh":  # a bundle that was fetched
        assert main(["fetch", "-p", "acme/nano", "-o", "nano.wandb.zip", "--force"]) == 0
    assert main([*name.split(), "--help"]) == 0
    shown = capfd.readouterr().out.partition("Examples:")[2]
    lines = [line.strip() for line in shown.splitlines() if line.strip()]
    assert lines == [re.sub(" +", " ", f"pull-logs {name} {words}").strip() for words in EXAMPLES[name]]
    for line in lines:
        assert main(shlex.split(line)[1:]) == CODES.get(line, 0), capfd.readouterr().err
