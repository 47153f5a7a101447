"""Whatever people read is written in plain English: no word of the glossary's left column is used."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from checkout import ROOT
from plain_english import PHRASES, Finding, files_under, phrases_in, phrases_in_file

from pull_logs.cli.main import cli

PAGES = [
    *(ROOT / f"{name}.md" for name in ("README", "SKILL", "CONTRIBUTING", "CHANGELOG", "SECURITY")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "benchmarks").glob("*.md")),
    *sorted((ROOT / "fixtures").glob("*.md")),
]
CODE = list(files_under([ROOT / "pull_logs"]))

ALLOWED: dict[str, tuple[str, ...]] = {
    # The name of a Unix user.
    "pull_logs/snapshot/privacy/patterns.py": (
        'r"|default|vscode|coder|ray|docker|app|appuser|conda|mambauser|sagemaker-user|nonroot|nobody",',
    ),
}
"""Lines of a file that may use a word, as they are, because another program or another's name has it."""


def kept(findings: list[Finding]) -> list[str]:
    return [
        str(finding)
        for finding in findings
        if finding.text not in ALLOWED.get(Path(finding.path).relative_to(ROOT).as_posix(), ())
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_page_is_in_plain_english(page: Path) -> None:
    found = kept(phrases_in_file(page))
    assert not found, "\n".join(found)


def test_messages_docstrings_comments_and_schemas_are_in_plain_english() -> None:
    found = [line for path in CODE for line in kept(phrases_in_file(path))]
    assert not found, f"{len(found)} uses\n" + "\n".join(found)


def helps() -> Iterator[tuple[str, str]]:
    """The help of each command, as it is printed."""
    context = click.Context(cli, info_name="pull-logs")
    yield "pull-logs", cli.get_help(context)
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        yield f"pull-logs {name}", command.get_help(click.Context(command, info_name=name, parent=context))


HELPS = dict(helps())


@pytest.mark.parametrize(("command", "text"), HELPS.items(), ids=list(HELPS))
def test_a_help_is_in_plain_english(command: str, text: str) -> None:
    found = [str(finding) for finding in phrases_in(text, path=f"{command} --help")]
    assert not found, "\n".join(found)


def test_every_allowed_line_is_there_and_needs_it() -> None:
    for name, lines in ALLOWED.items():
        texts = {finding.text for finding in phrases_in_file(ROOT / name)}
        assert set(lines) <= texts, name


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("the reason is told", "told, tells"),
        ("it tells which", "told, tells"),
        ("the whole file", "whole"),
        ("at that place", "place"),
        ("in places", "place"),
        ("the byte behind the last", "behind"),
        ("it stands in the header", "stands"),
        ("where it lies", "lies, lay"),
        ("listed anew", "anew"),
        ("asked in vain", "in vain"),
        ("the run heard of last", "heard of"),
        ("a row a run", "a row a run"),
        ("one request a run", "a row a run"),
        ("'x' is no number", "is no X"),
        ("it could not be had", "could not be had, asked"),
        ("W&B cannot be asked", "could not be had, asked"),
        ("rows at hand", "at hand"),
        ("heeds no glob", "heed"),
        ("let go of it", "let go of"),
        ("nobody vouches for it", "vouch"),
        ("the room it needs", "room"),
        ("the synchronous door", "door"),
        ("the floor below", "floor"),
        ("the map of the house", "house"),
        ("kept for ever", "for ever"),
    ],
)
def test_a_word_of_the_list_is_found_also_across_lines(text: str, phrase: str) -> None:
    assert phrase in {finding.phrase for finding in phrases_in(text)}
    assert phrase in {finding.phrase for finding in phrases_in(text.replace(" ", "\n"))}


@pytest.mark.parametrize(
    "text",
    [
        "a whole number", "it takes place", "sorted in place", "to six decimal places", "in place of the other",  # noqa: E501
        "behind a proxy", "FORMAT stands for one of them", "there is no run", "there are no rows", "is no longer needed",  # noqa: E501
        "is no more than 5", "is no larger than this", "lay out the rows", "the floor of the quotient", "replaced",  # noqa: E501
        "understands", "a run at a time", "an intelligent reader", "twice a second",
    ],
)  # fmt: skip
def test_ordinary_english_is_not_found(text: str) -> None:
    assert phrases_in(text) == []


def test_only_what_people_read_is_searched_in_code(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(
        '"""Fine.\n\nIt tells.\n"""\nwhole = told(place)  # this lies\n'
        'text = f"a {whole[0]!r} that stands {place}" "is\\n"\nname = ("could not "\n "be had")\n'
    )
    found = [(finding.line, finding.phrase) for finding in phrases_in_file(path)]
    assert found == [(3, "told, tells"), (5, "lies, lay"), (6, "stands"), (7, "could not be had, asked")]
    named = {finding.phrase for finding in phrases_in_file(path, names=True)} - PHRASES.keys()
    assert named == {"name whole", "name told", "name place"}


def test_the_glossary_may_name_the_words(tmp_path: Path) -> None:
    page = tmp_path / "CONTRIBUTING.md"
    page.write_text("# Plain English\n\n| told | shown |\n\nIt tells.\n\n# Other\n\n| whole | x |\n")
    assert [finding.line for finding in phrases_in_file(page)] == [5, 9]


def test_every_entry_of_the_list_is_in_the_glossary() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text().split("## Plain English")[1].split("\n## ")[0]
    left = " ".join(re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE)).lower()
    for words in PHRASES:
        for word in words.split(", "):
            stem = word.removeprefix("a ").split()[0].rstrip("s")
            assert stem in left, words
