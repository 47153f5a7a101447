"""Commands, options and the names of the bundles on the line are completed, in real shells too."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from bundlekit import bundle_run, make_bundle
from checkout import ROOT
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.cli.completion.names import names_in
from pull_logs.cli.completion.values import bundles_in
from pull_logs.cli.main import main

BUNDLE = "fixtures/digits.wandb.zip"


def completed(
    line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, word: int | None = None
) -> list[str]:
    """Return what bash is offered at the end of a line, or at one of its words."""
    words = re.findall(r"'[^']*'?|\S+", line) + ([""] if line.endswith(" ") else [])
    monkeypatch.setenv("COMP_WORDS", "\n".join(words))
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1 if word is None else word))
    monkeypatch.setenv("_PULL_LOGS_COMPLETE", "bash_complete")
    monkeypatch.chdir(ROOT)
    assert main([]) == 0
    found = capsys.readouterr()
    assert found.err == ""
    return found.out.split()


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("pull-logs ove", ["plain,overview"]),
        ("pull-logs compare --grou", ["plain,--group-by"]),
        (f"pull-logs -b {BUNDLE} -r cnn1e1", [f"plain,cnn1e1s{seed}" for seed in range(4)]),
        (f"pull-logs {BUNDLE} -r nan", ["plain,nan1e6s0"]),
        (f"pull-logs compare -b {BUNDLE} --best val/a", ["plain,val/acc"]),
        (f"pull-logs compare {BUNDLE} --metric train/", ["plain,train/acc", "plain,train/loss"]),
        (f"pull-logs plot {BUNDLE} --x ep", ["plain,epoch"]),
        (f"pull-logs compare -b {BUNDLE} --group-by config.se", ["plain,config.seed"]),
        (f"pull-logs overview -b {BUNDLE} --filter config.ep", ["plain,config.epochs"]),
        (f"pull-logs -b {BUNDLE} --filter sta", ["plain,state"]),
        (f"pull-logs -b {BUNDLE} --where val/l", ["plain,val/loss"]),
        (f"pull-logs -b {BUNDLE} --format mark", ["plain,markdown"]),
        ("pull-logs verify ", ["file,"]),
        ("pull-logs recon", ["plain,reconcile"]),
        ("pull-logs reconcile wan", ["file,wan"]),
        (f"pull-logs reconcile wandb -b {BUNDLE} -r nan", ["plain,nan1e6s0"]),
        ("pull-logs export -b fix", ["file,fix"]),
        ("pull-logs export -o fix", ["dir,fix"]),
        ("pull-logs fetch -p ac", []),
        ("pull-logs -b missing.wandb.zip --select v", []),
        ("pull-logs -b README.md --select v", []),
        ("pull-logs -b http://127.0.0.1:9/x.wandb.zip --select v", []),
    ],
)
def test_what_is_completed(
    line: str, found: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert completed(line, monkeypatch, capsys) == found


def test_the_bundle_may_be_named_after_the_cursor(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = f"pull-logs compare --best val/l -b {BUNDLE}"
    assert completed(line, monkeypatch, capsys, word=3) == ["plain,val/loss"]


def test_the_last_name_of_an_expression_is_completed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = f"pull-logs {BUNDLE} --filter 'config.lr<1&config.see"
    assert completed(line, monkeypatch, capsys) == ["plain,config.lr<1&config.seed"]


def test_no_history_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from pull_logs.snapshot import Run

    monkeypatch.setattr(Run, "_history", property(lambda _: pytest.fail("a history was read")))
    line = f"pull-logs -b {BUNDLE} --select val/l"
    assert completed(line, monkeypatch, capsys) == ["plain,val/loss"]


@given(st.lists(st.text(max_size=8), max_size=4, unique=True))
def test_no_name_that_a_shell_would_act_on_is_completed(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    path = tmp_path_factory.mktemp("names") / "x.wandb.zip"
    rows = [{"_step": 0, **dict.fromkeys([*names, "$(touch x)", "safe/name"], 1.0)}]
    make_bundle(path, [bundle_run("acme/nano/r1", rows)])
    found = names_in([str(path)], ["metric"])
    assert "safe/name" in found
    assert all(shlex.split(name) == [name] for name in found)
    assert not set("".join(found)) & set(" |&;<>()$`\\\"'*?[]#~{}!^,:=\n\t")


def test_the_words_of_a_line_that_name_bundles() -> None:
    words = ["compare", "-b", "one", "--bundle=two", "three.wandb.zip", "-o", "out.wandb.zip", "--best", "x"]
    assert bundles_in(words) == ["one", "two", "three.wandb.zip"]


def program(tmp_path: Path) -> dict[str, str]:
    """Return an environment in which `pull-logs` is this package, whatever is installed."""
    script = tmp_path / "pull-logs"
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m pull_logs "$@"\n')
    script.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "TERM": "dumb", "PS1": "> "}


def shell(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


BASH = ("bash", "--norc", "--noprofile", "-i")
ZSH = ("zsh", "-f", "-i")
START = {
    BASH: 'eval "$(pull-logs completion bash)"',
    ZSH: 'PROMPT="> "; autoload -U compinit; compinit -u -D; eval "$(pull-logs completion zsh)"',
}


@pytest.mark.parametrize("command", [BASH, ZSH], ids=["bash", "zsh"])
def test_a_shell_completes_at_the_prompt(command: tuple[str, ...], tmp_path: Path) -> None:
    path = shell(command[0])
    pexpect = pytest.importorskip("pexpect", reason="pexpect drives shells on POSIX alone")
    child = pexpect.spawn(
        path, list(command[1:]), cwd=str(ROOT), env=program(tmp_path), encoding="utf-8", dimensions=(40, 200)
    )
    child.sendline(f"{START[command]}; echo read''y")
    child.expect("ready")
    for typed, rest in (
        (f"compare -b {BUNDLE} --group-by config.opt", "imizer."),
        (f"compare -b {BUNDLE} --best val/l", "oss"),
        (f"-b {BUNDLE} -r mlp", "5e2s0"),
        (f"-b {BUNDLE} --filter 'config.lr > 1 and config.see", "d"),
        ("verify fixtures/digits.w", "andb.zip"),
    ):
        child.send(f"pull-logs {typed}\t")
        child.expect(f"{re.escape(typed)}[^a-z0-9.]*{re.escape(rest)}")
        child.send("\x15")  # clears the line
    child.close(force=True)


def test_fish_completes(tmp_path: Path) -> None:
    path = shell("fish")

    def offered(line: str) -> list[str]:
        script = f"pull-logs completion fish | source; complete -C {shlex.quote(line)}"
        done = subprocess.run(
            [path, "--no-config", "-c", script],
            capture_output=True, text=True, check=True, cwd=ROOT, env=program(tmp_path),
        )  # fmt: skip
        assert done.stderr == ""
        return done.stdout.split()

    assert offered(f"pull-logs compare -b {BUNDLE} --group-by config.se") == ["config.seed"]
    assert offered(f"pull-logs -b {BUNDLE} -r mlp") == ["mlp5e2s0"]
    assert offered("pull-logs -b missing.wandb.zip -r mlp") == []


def test_the_script_is_that_of_the_shell_of_the_user(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", "zsh"]) == 0
    asked = capsys.readouterr().out
    assert asked.startswith("#compdef pull-logs\n")
    monkeypatch.setenv("SHELL", "/usr/bin/zsh")
    assert main(["completion"]) == 0
    assert capsys.readouterr().out == asked
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    assert main(["completion"]) == 2
    assert capsys.readouterr().err == (
        "pull-logs: error: 'tcsh' is not a shell that completes; name bash, fish or zsh\n"
    )
