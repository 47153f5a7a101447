"""A mistyped command or option gets the right spelling, a misplaced one its index."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.cli.main import cli, main

CONTEXT = click.Context(cli, info_name="pull-logs")
COMMANDS = {name: cli.get_command(CONTEXT, name) for name in cli.list_commands(CONTEXT)}
EVERY = ", ".join(COMMANDS)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("comapre", "'comapre' is not a command; the nearest is 'compare'"),
        ("overveiw -b x", "'overveiw' is not a command; the nearest is 'overview'"),
        ("zzzz", f"'zzzz' is not a command; the commands are {EVERY}"),
        ("best.pt", "'best.pt' is not a command; write: pull-logs -c best.pt"),
        ("acme/nano/r1", "'acme/nano/r1' is not a command; write: pull-logs -r acme/nano/r1"),
        ("--shema", "`pull-logs` has no option '--shema'; the nearest is '--schema'"),
        ("--zzzz", "`pull-logs` has no option '--zzzz'; see `pull-logs --help`"),
        ("-b x --offlin", "`pull-logs` has no option '--offlin'; the nearest is '--offline'"),
        (
            "fetch --metric x",
            (
                "`pull-logs fetch` has no option '--metric'; the nearest is '--metrics'; "
                "or write: pull-logs compare --metric"
            ),
        ),
        ("info -y", "`pull-logs info` has no option '-y'; see `pull-logs info --help`"),
        (
            "compare -b x --schema",
            (
                "`pull-logs compare` has no option '--schema'; "
                "it is an option of the view, which has no command: pull-logs SOURCES --schema"
            ),
        ),
        (
            "compare -H",
            (
                "`pull-logs compare` has no option '-H'; "
                "it is an option of the view, which has no command: pull-logs SOURCES -H"
            ),
        ),
        (
            "--margin x compare",
            "`pull-logs` has no option '--margin'; write: pull-logs compare --margin",
        ),
        (
            "--seed x compare",
            "`pull-logs` has no option '--seed'; it is an option of 'compare', 'set verify', 'verify'",
        ),
        (
            "--group-by x compare",
            "`pull-logs` has no option '--group-by'; it is an option of 'compare', 'plot', 'report'",
        ),
        (
            "--redact",
            (
                "`pull-logs` has no option '--redact'; it is an option of 'audit', 'fetch', "
                "'import', 'merge', 'refresh' and 1 more"
            ),
        ),
        ("-b x compare", "-b is before the command 'compare'; write: pull-logs compare -b x"),
    ],
)
def test_the_error_says_what_to_write(words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words.split()) == 2
    assert capsys.readouterr() == ("", f"pull-logs: error: {message}\n")


def test_a_folder_is_a_run_and_one_with_a_manifest_is_shown_as_a_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my run").mkdir()
    assert main(["my run"]) == 2
    assert (
        capsys.readouterr().err
        == "pull-logs: error: 'my run' is not a command; write: pull-logs -r 'my run'\n"
    )
    (tmp_path / "my run" / "datapackage.json").touch()
    assert main(["my run"]) == 6
    assert capsys.readouterr().err == "pull-logs: error: 'my run' is damaged: 'FORMAT' is missing\n"
    assert main(["sweep.wandb.zip"]) == 3
    assert capsys.readouterr().err == "pull-logs: error: no file or folder at 'sweep.wandb.zip'\n"


@given(name=st.sampled_from(sorted(COMMANDS)), data=st.data())
def test_a_command_with_two_letters_swapped_is_recognised(name: str, data: st.DataObject) -> None:
    from pull_logs.cli.spelling import unknown_command

    at = data.draw(st.integers(0, len(name) - 2))
    typed = name[:at] + name[at + 1] + name[at] + name[at + 2 :]
    if typed in COMMANDS:
        return
    assert f"'{name}'" in (unknown_command(typed, list(COMMANDS)).hint or "")


OPTIONS = [
    (name, option)
    for name, command in COMMANDS.items()
    if command is not None
    for param in command.params
    if isinstance(param, click.Option)
    for option in param.opts
    if len(option) > 6
]


@given(where=st.sampled_from(OPTIONS), data=st.data())
def test_an_option_that_lacks_a_letter_is_recognised(where: tuple[str, str], data: st.DataObject) -> None:
    from pull_logs.cli.spelling import unknown_option

    name, option = where
    at = data.draw(st.integers(3, len(option) - 1))
    typed = option[:at] + option[at + 1 :]
    command = COMMANDS[name]
    assert command is not None
    context = click.Context(command, parent=CONTEXT, info_name=name)
    assert f"'{option}'" in (unknown_option(typed, context).hint or "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("cache", "prune", "--older-than", "x"),
            "'--older-than': 'x' is not a number; see `pull-logs cache prune --help`",
        ),
        (
            ("serve", "b.zip", "--port", "x"),
            "'--port': 'x' is not a whole number; see `pull-logs serve --help`",
        ),
    ],
)
def test_a_value_of_another_type_is_named_in_plain_words(
    words: Sequence[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert capsys.readouterr().err == f"pull-logs: error: Invalid value for {message}\n"


def test_a_file_that_does_not_exist_is_compared_with_its_neighbours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sweep.wandb.zip").touch()
    missing = tmp_path / "swep.wandb.zip"
    for words, shown in ((("info",), "at "), (("import", "-o", str(tmp_path / "i.zip")), "")):
        assert main([*words, str(missing)]) == 3
        text = f"no file or folder {shown}{str(missing)!r}; the nearest is 'sweep.wandb.zip'"
        assert capsys.readouterr().err == f"pull-logs: error: {text}\n"
