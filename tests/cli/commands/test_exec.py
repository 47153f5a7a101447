"""`pull-logs exec`: the command is the user's own, and so are its streams, its signals and its exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from checkout import RECORDED, ROOT

from pull_logs.cli.main import main

BUNDLE = RECORDED
EXEC = [sys.executable, "-m", "pull_logs", "exec", "-b", str(BUNDLE)]

READ = """
import json, os, sys, wandb
api = wandb.Api()
print(json.dumps({
    "argv": sys.argv[1:],
    "runs": len(api.runs("acme/digits")),
    "rows": len(list(api.run("acme/digits/cnn1e2s0").scan_history())),
    "environment": {
        name: value for name, value in os.environ.items() if name.startswith(("WANDB_", "OPENBLAS_"))
    },
}))
sys.exit(7)
"""

LOG_IN = """
import wandb
key = "f00dfeed" * 5
assert wandb.login(key=key)
assert wandb.login(key="wandb_v1_" + "A" * 60, relogin=True, verify=True)
for api in (wandb.Api(), wandb.Api(api_key=key)):
    print(len(api.runs("acme/digits")), len(list(api.run("acme/digits/cnn1e2s0").scan_history())))
"""

SIGNALLED = """
import signal, sys, time
seen = []
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda number, frame: seen.append(number))
print("ready", flush=True)
while not seen:
    time.sleep(0.01)
time.sleep(0.2)
print(*map(int, seen), flush=True)
sys.exit(3)
"""


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=ROOT,
        env={**os.environ, **environment},
    )


def test_the_sdk_of_a_command_reads_the_bundle_and_everything_passes_through() -> None:
    hostile = {
        "WANDB_BASE_URL": "http://127.0.0.1:1",
        "WANDB_API_KEY": "f00dfeed" * 5,
        "WANDB_IDENTITY_TOKEN_FILE": "token",
        "WANDB_ENTITY": "real",
        "WANDB_SERVICE": "3-1-unix-/nowhere/socket",
    }
    done = run(*EXEC, "--", sys.executable, "-c", READ, "-b", "x", "--json", **hostile)
    assert (done.returncode, done.stderr) == (7, "")
    reported = json.loads(done.stdout)
    assert (reported["argv"], reported["runs"], reported["rows"]) == (["-b", "x", "--json"], 16, 264)
    environment = reported["environment"]
    assert environment["WANDB_BASE_URL"].startswith("http://127.0.0.1:")
    assert environment["WANDB_BASE_URL"] != hostile["WANDB_BASE_URL"]
    assert environment["WANDB_API_KEY"] != hostile["WANDB_API_KEY"]
    assert not {"WANDB_IDENTITY_TOKEN_FILE", "WANDB_ENTITY", "OPENBLAS_NUM_THREADS"} & environment.keys()
    assert not Path(environment["WANDB_CACHE_DIR"]).parent.exists()


def test_a_script_that_logs_in_with_a_key_of_its_own_reads_the_bundle() -> None:
    done = run(*EXEC, "--", sys.executable, "-c", LOG_IN)
    assert (done.returncode, done.stdout, done.stderr) == (0, "16 264\n16 264\n", "")


@pytest.mark.parametrize(("script", "code"), [("exit 130", 130), ("kill -9 $$", 137)])
def test_the_exit_code_is_that_of_the_command(script: str, code: int) -> None:
    done = run(*EXEC, "sh", "-c", script)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (
            [*EXEC, "--", "no-such-command"],
            3,
            (
                "the command 'no-such-command' does not exist; write: pull-logs exec -b BUNDLE "
                "-- COMMAND ARGUMENTS"
            ),
        ),
        ([*EXEC, "--", "./README.md"], 2, "'./README.md' cannot be run: Permission denied"),
        (
            [*EXEC[:-1], "gone.wandb.zip", "--", "true"],
            3,
            "no file or folder at 'gone.wandb.zip'",
        ),
        (
            [*EXEC[:-2], "--", "true"],
            2,
            "Missing option '-b' / '--bundle'; see `pull-logs exec --help`",
        ),
        (EXEC, 2, "Missing argument '-- COMMAND...'; see `pull-logs exec --help`"),
        (
            [*EXEC[:3], "-b", str(BUNDLE), "exec", "--", "true"],
            2,
            f"-b is before the command 'exec'; write: pull-logs exec -b {BUNDLE}",
        ),
    ],
)
def test_what_cannot_be_run_is_one_line(words: list[str], code: int, message: str) -> None:
    done = run(*words)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", f"pull-logs: error: {message}\n")


def test_other_addresses_that_a_command_asked_for_are_reported_at_its_end() -> None:
    script = (
        "import httpx, os; print(httpx.get('http://api.example/', proxy=os.environ['WANDB_HTTP_PROXY']).text)"
    )
    done = run(*EXEC, "--", sys.executable, "-c", script)
    assert done.stdout == '{"error":"this server does not answer for host \'api.example\'"}\n'
    assert done.stderr == "pull-logs: refused: W&B at api.example; only bundles answer here\n"


def start(**options: Any) -> subprocess.Popen[str]:
    words = [*EXEC, "--", sys.executable, "-c", SIGNALLED]
    return subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, **options
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_the_command_which_decides(number: signal.Signals) -> None:
    with start(start_new_session=True, stdin=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (3, f"{int(number)}\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such terminals")
def test_ctrl_c_in_a_terminal_reaches_the_command_once() -> None:
    import fcntl
    import pty
    import termios

    master, slave = pty.openpty()
    take_over = lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # noqa: E731 - runs between fork and exec
    with start(start_new_session=True, stdin=slave, preexec_fn=take_over) as process:
        os.close(slave)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        os.write(master, b"\x03")
        out, err = process.communicate(timeout=30)
    os.close(master)
    assert (process.returncode, out, err) == (3, "2\n", "")


def test_a_command_without_dashes_before_it_is_refused_with_them(capsys: pytest.CaptureFixture[str]) -> None:
    for words, written in (
        (["a.wandb.zip", "python", "-c", "print(1)"], "a.wandb.zip -- python -c 'print(1)'"),
        (["a.wandb.zip"], "a.wandb.zip -- COMMAND"),
    ):
        assert main(["exec", *words]) == 2
        assert capsys.readouterr().err == (
            f"pull-logs: error: exec has no -- before the command; write: pull-logs exec {written}\n"
        )
