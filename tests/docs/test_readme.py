"""The README and SKILL.md name every command and exit code, and every guarantee has its test."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
import quicktok
from checkout import RECORDED, ROOT
from page_examples import PAGES, blocks_of, steps_of
from pretrain import BUNDLE

from pull_logs.cli.main import cli, main

README = (ROOT / "README.md").read_text()
SKILL = (ROOT / "SKILL.md").read_text()
OUTPUT = (ROOT / "docs" / "output.md").read_text()


def all_commands() -> dict[str, click.Command]:
    context = click.Context(cli)
    found = {name: cli.get_command(context, name) for name in cli.list_commands(context)}
    return {name: command for name, command in found.items() if command is not None}


COMMANDS = all_commands()


def test_the_two_commands_are_what_they_were() -> None:
    """Users and CI copy them: one line each, to install and run, and to install and test."""
    blocks = [block.text for block in blocks_of(ROOT / "README.md") if block.language == "sh"]
    assert blocks == [
        "python -m pip install . && pull-logs demo\n",
        "python -m pip install -e '.[test]' && pytest\n",
    ]


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help_and_an_example_on_some_page(name: str) -> None:
    assert COMMANDS[name].help
    examples = [
        step.command
        for page in PAGES
        for block in blocks_of(page)
        if block.language == "console"
        for step in steps_of(block)
    ]
    assert any(re.search(rf"\bpull-logs {name}\b", example) for example in examples)


def flags_of(command: click.Command) -> set[str]:
    options = [param for param in command.params if isinstance(param, click.Option)]
    own = {spelling for option in options for spelling in (*option.opts, *option.secondary_opts)}
    below = command.commands.values() if isinstance(command, click.Group) and command is not cli else ()
    return own.union(*map(flags_of, below))


@pytest.mark.parametrize("page", [ROOT / "SKILL.md", *PAGES], ids=lambda page: page.name)
def test_every_flag_of_ours_that_a_page_names_exists(page: Path) -> None:
    known = flags_of(cli).union(*(flags_of(command) for command in COMMANDS.values()))
    foreign = {
        "--bind", "--extra", "--noconfirm", "--out", "--strict", "--wandb-record", "--hypothesis-seed", "--readers",  # noqa: E501
        "--seconds", "--trials", "--names", "--advice", "--check", "--update", "--help", "--no-hints",
        "--block-wandb", "--wandb-unused", "--edit-last", "--create-if-none", "--body-file",
        "--optimizer", "--delete",  # of a training script, and of the script on the page
        "--archiver", "--runs", "--add",  # of a benchmark, and of the fuzzer
        "--id",  # of `wandb sync`
        "--data-path", "--files-path",  # of neptune-exporter
        "--nworkers", "--nthreads", "--no-dashboard", "--death-timeout",  # of `dask worker`
        "--job-name", "--ntasks", "--cpus-per-task", "--mem-per-cpu", "--time",  # of SLURM
        "--ip-address", "--delimiter", "--fields",  # of `hostname` and `cut`
    }  # fmt: skip
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", page.read_text()))
    assert named - known - foreign == set()


def table(heading: str) -> list[list[str]]:
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def test_the_readme_links_every_page() -> None:
    pages = {file.relative_to(ROOT).as_posix() for file in (ROOT / "docs").rglob("*.md")}
    linked = set(re.findall(r"\]\((docs/[\w/-]+\.md)", (ROOT / "README.md").read_text("utf-8")))
    assert pages - linked == {"docs/index.md"}, "the first page of the site is the README's own"


def test_every_guarantee_names_a_test_that_exists() -> None:
    sources = {path.name: path.read_text() for path in (ROOT / "tests").rglob("test_*.py")}
    rows = table("What is guaranteed")
    assert len(rows) >= 10
    for guarantee, held in rows:
        names = re.findall(r"`(test_\w+)`", held)
        assert names, guarantee
        for name in names:
            assert any(f"def {name}(" in source for source in sources.values()), f"{guarantee}: no {name}"


def test_the_skill_is_short_and_has_its_front_matter() -> None:
    assert max(quicktok.get_encoding(name).count(SKILL) for name in ("o200k_base", "qwen3")) < 1500
    front = SKILL.split("---")[1]
    assert re.search(r"^name: wandb-pull-logs$", front, re.MULTILINE)
    description = re.search(r"^description: (.+)$", front, re.MULTILINE)
    assert description
    assert len(description[1]) <= 1024


@pytest.mark.parametrize("line", re.findall(r"`(pull-logs [a-z]+ [^`]+)`", SKILL))
def test_every_command_of_the_skill_parses(line: str) -> None:
    name, *words = shlex.split(line)[1:]
    if "SOURCES" not in words and name in COMMANDS and name != "exec":
        COMMANDS[name].make_context(name, words)


WORKFLOW = SKILL.split("## Workflow")[1].split("## ")[0]


@pytest.mark.parametrize("text", re.findall(r"`(-[^`]+|pull-logs [^`]+)`", WORKFLOW))
def test_everything_in_the_workflow_of_the_skill_runs(text: str) -> None:
    bundle = str(RECORDED if "val/acc" in text or "config.lr" in text else BUNDLE)
    if text in ("--max-rows N", "--max-tokens N"):
        text = text.replace("N", "1000")
    places = {"SOURCES": f"-b {bundle}", "STEP": "500", "RUN": "lc8s1", "B": bundle, "N": "3"}
    words = shlex.split(re.sub(rf"\b({'|'.join(places)})\b", lambda found: places[found[1]], text))
    if words[0] != "pull-logs":
        compares = {"--column", "--group-by", "--top", "--at", "--x"} & set(words)
        best = ["--sort", "val/loss:min"] if "--top" in words or "--at" in words else []
        words = ["pull-logs", *(["compare"] if compares else []), "-b", bundle, *words, *best]
    assert main(words[1:]) in ((0, 7) if "--assert" in words else (0,)), words


def test_the_skill_and_the_reference_have_the_same_exit_codes() -> None:
    line = SKILL.split("## Exit codes\n")[1].split("\n")[0]
    skill = {int(code) for code in re.findall(r"(?:^|· )(\d+) ", line)}
    section = OUTPUT.split("## Exit codes\n")[1]
    assert skill == {int(code) for code in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)}
    assert skill >= {0, 1, 2, 3, 4, 5, 6, 7, 130}
