"""Bundles as arguments and with `-b`, folders and globs of them, and words that name nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import pytest
from bundlekit import bundle_run, make_bundle
from checkout import RECORDED
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.cli.main import cli, main
from pull_logs.errors import FileMissingError
from pull_logs.interface import find_bundles

CONTEXT = click.Context(cli, info_name="pull-logs")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with two bundles of a run each in `sweeps`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweeps").mkdir()
    make_bundle(tmp_path / "sweeps" / "a.wandb.zip", [bundle_run("acme/nano/a", config={"lr": 1, "seed": 0})])
    make_bundle(tmp_path / "sweeps" / "b.wandb.zip", [bundle_run("acme/nano/b", config={"lr": 2, "seed": 1})])
    (tmp_path / "sweeps" / "notes.txt").write_text("not a bundle")
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    """What a command prints: its answer, or its error."""
    assert main(words) == code, capsys.readouterr()
    out, err = capsys.readouterr()
    return out if code == 0 else err


A = "sweeps/a.wandb.zip"
B = "sweeps/b.wandb.zip"


@pytest.mark.parametrize("command", [["info"], ["overview"], ["compare"], ["verify"], ["audit"], []])
def test_a_bundle_is_an_argument_or_the_value_of_b(
    command: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert folder.is_dir()
    plain = said(capsys, *command, A)
    assert plain
    assert said(capsys, *command, "-b", A) == said(capsys, *command, f"--bundle={A}") == plain
    assert json.loads(said(capsys, *command, "--json", A)) == json.loads(said(capsys, *command, A, "--json"))


@pytest.mark.parametrize("words", [(A, B), ("-b", A, "-b", B), (A, "-b", B)])
def test_commands_of_several_bundles_take_them_in_both_ways(
    words: tuple[str, ...], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert json.loads(said(capsys, "diff", *words, "--json"))["command"] == "diff"
    assert main(["merge", *words, "-o", "c.wandb.zip"]) == 0
    capsys.readouterr()
    assert "runs=2" in said(capsys, "info", str(folder / "c.wandb.zip"))
    assert "runs=2" in said(capsys, "overview", *words)


def test_the_writers_take_b_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["subset", "-b", A, "-o", "s.wandb.zip"]) == 0
    assert main(["export", "-b", A, "-o", "plain"]) == 0
    capsys.readouterr()
    assert list((folder / "plain").rglob("*.parquet"))


@pytest.mark.parametrize("name", ["sweeps", "sweeps/*.wandb.zip", "sweeps/[ab].wandb.zip", "**/*.wandb.zip"])
@pytest.mark.parametrize("flag", [(), ("-b",)])
def test_a_folder_or_a_quoted_glob_is_all_its_bundles(
    name: str, flag: tuple[str, ...], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert folder.is_dir()
    found = json.loads(said(capsys, "compare", "--json", *flag, name))
    assert [run["path"] for run in found["runs"]] == ["acme/nano/a", "acme/nano/b"]
    shown = json.loads(said(capsys, *(flag or ("-b",)), name, "--schema", "--json"))
    assert [run["path"] for run in shown["runs"]] == ["acme/nano/a", "acme/nano/b"]


def test_the_view_takes_bundles_before_and_after_its_options(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert folder.is_dir()
    plain = said(capsys, "-b", A, "-b", B, "--schema")
    assert said(capsys, A, B, "--schema") == said(capsys, "--schema", A, B) == plain
    assert said(capsys, "sweeps", "--schema") == plain


def test_exec_takes_bundles_before_its_command(folder: Path) -> None:
    assert folder.is_dir()
    assert main(["exec", A, "--", sys.executable, "-c", "raise SystemExit(3)"]) == 3
    assert main(["exec", "-b", "sweeps", "--", sys.executable, "-c", "raise SystemExit(4)"]) == 4


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("info", 2, "Missing argument 'BUNDLE'; see `pull-logs info --help`"),
        ("info sweeps", 2, "info takes one bundle, and 2 were given; write: pull-logs info BUNDLE"),
        ("diff sweeps/a.wandb.zip", 2, "Missing argument 'NEW'; see `pull-logs diff --help`"),
        ("compare acme/nano/r1", 2, "'acme/nano/r1' is not a bundle; write: -r acme/nano/r1"),
        ("overview best.pt", 2, "'best.pt' is not a bundle; write: -c best.pt"),
        ("overview -b empty", 3, "the folder 'empty' has no bundles; bundles are called NAME.wandb.zip"),
        ("overview -b .", 3, "the folder '.' has no bundles; there are bundles in 'sweeps'"),
        ("overview -b sweeps/c*.zip", 3, "the glob 'sweeps/c*.zip' matches no bundle; the nearest are 'a.wandb.zip', 'b.wandb.zip'"),  # noqa: E501
        ("compare sweeps --ci bootstrp", 2, "Invalid value for '--ci': 'bootstrp' is not one of 't', 'bootstrap'; the nearest is 'bootstrap'"),  # noqa: E501
        ("export sweeps --format parqet -o x", 2, "Invalid value for '--format': 'parqet' is not one of 'parquet', 'csv', 'ndjson'; the nearest is 'parquet'"),  # noqa: E501
        ("compare sweeps --group-by lrr", 3, "--group-by 'lrr': no run has 'lrr'; the nearest are 'config.lr', 'config.seed', 'commit', 'group', 'user'"),  # noqa: E501
        ("compare sweeps --best los:min", 3, "--best 'los': no run has numbers of such a metric; the nearest are 'loss', 'note', 'pics', '_timestamp', 'acc'"),  # noqa: E501
        ("compare sweeps --group-by lr,seed", 2, "--group-by 'lr,seed': --group-by takes one name (only all-but: takes a list); write: --group-by lr --group-by seed"),  # noqa: E501
        ("compare sweeps --best loss:min,acc:max", 3, "--best 'loss:min,acc': --best takes one metric, not a list; write: --best loss; --select shows several"),  # noqa: E501
        ("compare sweeps --group-by all-but:seed,", 2, "--group-by 'all-but:seed,': a name is empty; write names with commas between them, as in --group-by all-but:seed,out_dir"),  # noqa: E501
    ],
)  # fmt: skip
def test_the_error_says_what_to_write(
    words: str, code: int, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "empty").mkdir()
    assert said(capsys, *words.split(), code=code) == f"pull-logs: error: {message}\n"


def test_a_path_that_exists_is_never_a_glob(tmp_path: Path) -> None:
    name = tmp_path / "lr[0.1]"
    name.mkdir()
    bundle = make_bundle(name / "a[1].wandb.zip", [bundle_run()])
    assert find_bundles([bundle, str(bundle)]) == [bundle]
    assert find_bundles([name]) == [bundle]


@given(st.sets(st.sampled_from("abcdef")), st.sets(st.sampled_from("abcdef")))
def test_each_bundle_of_a_folder_is_found_once(bundles: set[str], others: set[str]) -> None:
    with TemporaryDirectory() as text:
        folder = Path(text)
        for name in bundles:
            (folder / f"{name}.wandb.zip").touch()
        for name in others:
            (folder / f"{name}.zip").touch()
        expected = [folder / f"{name}.wandb.zip" for name in sorted(bundles)]
        if not expected:
            with pytest.raises(FileMissingError):
                find_bundles([folder])
            return
        assert (
            find_bundles([folder]) == find_bundles([f"{folder}/*.wandb.zip", folder, *expected]) == expected
        )


VALUES = [
    (name, option)
    for name in ("", *cli.list_commands(CONTEXT))
    for command in [cli.get_command(CONTEXT, name) if name else cli]
    if command is not None
    for param in command.params
    if isinstance(param, click.Option) and not param.is_flag and "--version" not in param.opts
    for option in param.opts
    if option not in ("-o", "--out", "--files")  # their commands say what they need
]


@pytest.mark.parametrize(("command", "option"), VALUES)
def test_no_option_of_any_command_takes_an_empty_value(
    command: str, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    message = f"pull-logs: error: {option} has an empty value; give it a value, or omit {option}\n"
    assert said(capsys, *([command] if command else []), option, "", code=2) == message
    if option.startswith("--"):
        assert said(capsys, *([command] if command else []), f"{option}=", code=2) == message


def test_an_empty_argument_is_refused_and_an_empty_word_of_a_command_is_not(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert folder.is_dir()
    empty = "pull-logs: error: an argument is empty; name something, or omit it\n"
    assert said(capsys, "info", "", code=2) == empty
    check = "import sys; raise SystemExit(5 if sys.argv[1:] == [''] else 1)"
    assert main(["exec", "-b", A, "--", sys.executable, "-c", check, ""]) == 5


def test_an_id_that_no_file_system_takes_as_a_path_is_a_run_that_is_not_there(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["-b", str(RECORDED), "-r", "e" * 700]) == 3
    assert capsys.readouterr().err.startswith("pull-logs: error: no run 'eee")
    assert main(["-b", str(RECORDED), "-r", "a\0b"]) == 2
    assert capsys.readouterr().err.startswith("pull-logs: error: 'a\\x00b' is not a run path; ")


def test_a_file_that_is_the_value_of_another_option_is_refused_with_that_option(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "best.pt").write_bytes(b"PK")
    (folder / "train.py").write_text("")
    for words, what, right in [
        (["-r", A], "run", f"-b {A}"),
        (["-c", A], "checkpoint", f"-b {A}"),
        (["-r", "best.pt"], "run", "-c best.pt"),
        (["-b", A, "-r", "best.pt"], "run", "-c best.pt"),
        (["-b", "best.pt"], "bundle", "-c best.pt"),
        (["best.pt"], "bundle", "-c best.pt"),
    ]:
        expected = f"pull-logs: error: {words[-1]!r} is not a {what}; write: {right}\n"
        assert said(capsys, "compare", *words, code=2) == expected
    assert said(capsys, "-r", "train.py", code=2) == (
        "pull-logs: error: the file 'train.py' is not the log of a run; name a run folder, its .wandb file,"
        " or a run by entity/project/run_id\n"
    )
    assert said(capsys, "-b", A, "-r", "train.py", code=3) == (
        f"pull-logs: error: no run 'train.py' in {A!r}; it has 'acme/nano/a'\n"
    )
