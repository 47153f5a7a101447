"""`pull-logs serve`: what it prints is all that an unmodified `wandb.Api()` needs to stay on this machine."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import RECORDED, ROOT

BUNDLE = RECORDED
SERVE = [sys.executable, "-m", "pull_logs", "serve", str(BUNDLE)]
COUNT = "import wandb; print(len(wandb.Api().runs('acme/digits')))"


def test_what_it_prints_points_the_sdk_at_it_with_a_cache_of_its_own(clean_environment: Path) -> None:
    with subprocess.Popen(
        SERVE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        lines: list[str] = []
        while not lines or not lines[-1].startswith("export no_proxy="):
            lines.append(process.stdout.readline())
        words = [shlex.split(line) for line in lines]
        assert {word[0] for word in words} == {"export"}
        printed = dict(word[1].split("=", 1) for word in words)
        cache = Path(printed["WANDB_CACHE_DIR"])
        assert clean_environment not in cache.parents
        done = subprocess.run(
            [sys.executable, "-c", COUNT],
            env={**os.environ, **printed},
            cwd=clean_environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (done.returncode, done.stdout) == (0, "16\n"), done.stderr
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    reported = f"serving on {printed['WANDB_BASE_URL']}; set these where wandb.Api() runs, stop with Ctrl-C\n"
    assert (process.returncode, out, err) == (0, "", reported)
    assert not cache.parent.exists()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "api.wandb.ai"])
def test_an_address_that_other_machines_reach_has_to_be_allowed(host: str) -> None:
    done = subprocess.run(
        [*SERVE, "--host", host], capture_output=True, text=True, check=False, timeout=30, cwd=ROOT
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"pull-logs: error: {host!r} is not a loopback address; other machines could read the bundle;"
        " allow that with --allow-remote, or allow_remote=True\n"
    )
