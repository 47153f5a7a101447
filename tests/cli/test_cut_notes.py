"""What a token budget of the command line cuts, and what the notes about it advise."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
from itertools import pairwise
from pathlib import Path

import click
import pytest
from bundlekit import bundle_run, make_bundle
from checkout import RECORDED, ROOT
from consolekit import console_of, printed

from pull_logs.cli.main import cli, main
from pull_logs.cli.render.tokens import count_tokens
from pull_logs.snapshot.format import record_of
from pull_logs.snapshot.privacy.file_scrubber import TextFile

PRETRAIN = str(ROOT / "fixtures/pretrain.wandb.zip")
BEST = ("compare", "-b", PRETRAIN, "--best", "val/loss", "--top", "30")
BY_COMMAND: dict[str, tuple[tuple[str, ...], ...]] = {
    "show": (
        ("-b", PRETRAIN),
        ("-b", PRETRAIN, "-H"),
        ("-b", PRETRAIN, "--schema", "--stats"),
        ("-b", PRETRAIN, "--meta"),
    ),
    "overview": (("overview", "-b", PRETRAIN),),
    "compare": (
        BEST,
        ("compare", "-b", PRETRAIN, "--select", "."),
        (*BEST, "--group-by", "config.optimizer.name"),
        (*BEST, "--effect", "val/loss"),
    ),
    "info": (("info", PRETRAIN),),
    "logs": (("logs", "{leaky}"),),
    "media": (("media", "{leaky}"),),
    "sql": (("sql", "-b", PRETRAIN, "SELECT * FROM history"),),
    "audit": (("audit", "{leaky}"),),
    "diff": (("diff", str(RECORDED), PRETRAIN),),
    "reconcile": (("reconcile", str(ROOT / "fixtures/digits"), "-b", str(RECORDED)),),
}
"""Questions whose answers do not fit into the smallest budget."""

PAGE = TextFile(record_of("media/html/page.html", [b"<p>"]), b"<p>")
POINTER = {"_type": "html-file", "path": PAGE.record.name, "size": 3}
COMPLETE_AS_JSON = frozenset({"audit", "diff", "reconcile"})
QUESTIONS = [words for listed in BY_COMMAND.values() for words in listed]
REQUESTS = {"--schema": "SCHEMA", "--stats": "STATS", "--meta": "META"}


@pytest.fixture(scope="module")
def leaky(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bundle with many findings, many lines of console output, and many pointers to a file."""
    runs = [
        dataclasses.replace(
            bundle_run(
                f"acme/nano/r{number}",
                [{"_step": step, "loss": 1.0, "page": POINTER} for step in range(9)],
                config={f"owner_{key}": f"jo.doe{key}@corp.co.uk" for key in range(5)},
            ),
            console=console_of(printed(20)),
            files=[PAGE],
        )
        for number in range(9)
    ]
    return make_bundle(tmp_path_factory.mktemp("cut") / "leaky.wandb.zip", runs)


def test_every_command_with_a_budget_is_questioned_here() -> None:
    with click.Context(cli) as context:
        commands = {name: cli.get_command(context, name) for name in cli.list_commands(context)}
    having = {
        name
        for name, command in commands.items()
        if command is not None and any(param.name == "max_tokens" for param in command.params)
    }
    assert having | {"show"} == BY_COMMAND.keys()


@pytest.mark.parametrize("words", QUESTIONS, ids=" ".join)
def test_a_note_about_a_cut_never_advises_an_answer_without_limit(
    words: tuple[str, ...], leaky: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    budgets = [["--max-tokens", "300"]]
    if words[0] not in COMPLETE_AS_JSON:
        budgets.append(["--max-tokens", "600", "--json"])
    for budget in budgets:
        assert main([*(word.format(leaky=leaky) for word in words), *budget]) == 0
        out, err = capsys.readouterr()
        assert "cut to " in out
        assert not re.search(r"--max-tokens[ =]*0", out + err)


@pytest.mark.parametrize("option", REQUESTS)
@pytest.mark.parametrize("bundle", [str(RECORDED), PRETRAIN])
def test_the_smallest_budget_shows_some_of_the_section_that_was_requested(
    option: str, bundle: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-b", bundle, option, "--max-tokens", "300", "--no-hints"]) == 0
    text = capsys.readouterr().out
    assert count_tokens(text) <= 300
    lines = text.splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith(f"[{REQUESTS[option]}] "))
    assert len([line for line in lines[start + 1 :] if not line.startswith(("#", "["))]) >= 2
    assert main(["-b", bundle, option, "--max-tokens", "600", "--json", "--no-hints"]) == 0
    records = json.loads(capsys.readouterr().out)[REQUESTS[option].lower()]
    assert next(iter(records.values()))


@pytest.mark.parametrize("words", QUESTIONS, ids=" ".join)
def test_what_nothing_is_left_of_says_how_much_there_was_and_how_to_see_it(
    words: tuple[str, ...], leaky: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*(word.format(leaky=leaky) for word in words), "--max-tokens", "300"]) == 0
    lines = capsys.readouterr().out.splitlines()
    remedy = "# --section NAME shows a section of which nothing is left"
    assert (lines[-1] == remedy) == any(
        re.fullmatch(r"# cut to (nothing|0 of \d+ \w+)", line) for line in lines
    )
    for before, line in pairwise(lines):
        if line == "# cut to nothing":  # what was cut is the heading alone
            assert before.startswith(("[", "#"))
    if words[0] not in COMPLETE_AS_JSON:
        assert main([*(word.format(leaky=leaky) for word in words), "--max-tokens", "600", "--json"]) == 0
        notes = json.loads(capsys.readouterr().out)["notes"]
        for note in notes:
            assert not note.startswith("cut to nothing") or note.endswith("; --max-tokens N shows more")


@pytest.mark.parametrize("command", sorted(COMPLETE_AS_JSON))
def test_a_budget_cuts_the_text_of_audit_and_diff_and_their_json_is_complete(
    command: str, leaky: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word.format(leaky=leaky) for word in BY_COMMAND[command][0]]
    assert main([*words, "--max-tokens", "300"]) == 0
    short = capsys.readouterr().out
    assert count_tokens(short) <= 300
    assert main([*words, "--max-tokens", "0"]) == 0
    full = capsys.readouterr().out
    assert "cut to " not in full
    heading, shown = full.splitlines()[0], short.splitlines()[0]
    assert heading.split()[-2:] == shown.split()[-2:]  # the counts of all; paths may be shortened
    assert main([*words, "--max-tokens", "299"]) == 2
    assert capsys.readouterr().err == (
        "pull-logs: error: --max-tokens 299 is too small for any answer; "
        "give at least 300, or 0 for no limit\n"
    )
    assert main([*words, "--json", "--max-tokens", "600"]) == 2
    assert capsys.readouterr().err == (
        f"pull-logs: error: --max-tokens limits the text of {command}; its JSON is always complete; "
        "leave out --max-tokens or --json\n"
    )


TABLES = {"CONFIG", "SUMMARY", "META", "COMPARISON", "CONFIG_DIFF"}
LABELS = {"key", "metric", "value", "run", "members"}
"""Columns that a note about a cut does not count."""


@pytest.mark.parametrize("bundle", [str(RECORDED), PRETRAIN])
@pytest.mark.parametrize("tokens", [300, 700, 1500])
@pytest.mark.parametrize(
    "words",
    [
        ["-H"],
        ["-H", "--filter", "config.seed == 0"],
        ["--meta", "--filter", "config.seed == 0"],
        ["--unfold", "--select", ".", "--filter", "config.seed < 2"],
    ],
)
def test_a_note_about_cut_columns_counts_those_that_are_shown(
    words: list[str], tokens: int, bundle: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-b", bundle, *words, "--max-tokens", str(tokens)]) == 0
    for section in capsys.readouterr().out.split("\n[")[1:]:
        heading, *lines = section.splitlines()
        names = next(csv.reader(lines[:1]), [])
        noun = "columns" if names[:1] == ["run"] else "runs"
        found = re.search(rf"([1-9]\d*) of (\d+) {noun}\b", lines[-1]) if lines[-1:] else None
        if found is None or heading.partition("]")[0] not in TABLES:
            continue
        assert len([name for name in names if name not in LABELS]) == int(found[1]), section
        if noun == "runs":
            assert f" runs={found[2]} " in f"{heading} "
