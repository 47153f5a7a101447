"""The job script of docs/clusters.md: its syntax, and what it prints with stand-ins for SLURM."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import RECORDED, ROOT
from page_examples import blocks_of

BASH = shutil.which("bash")
pytestmark = pytest.mark.skipif(BASH is None, reason="a job script is run by bash")

SRUN = """#!/bin/bash
"$@" &
"$@" &
wait
"""
"""What SLURM does with `--ntasks=2`."""


def job_script() -> str:
    (block,) = [
        block
        for block in blocks_of(ROOT / "docs" / "clusters.md")
        if block.language == "bash" and block.text.startswith("#!/bin/bash")
    ]
    return block.text


def stand_in(folder: Path, name: str, text: str) -> None:
    file = folder / name
    file.write_text(text)
    file.chmod(0o755)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def test_the_job_script_is_valid() -> None:
    subprocess.run([BASH or "", "-n"], input=job_script(), text=True, check=True)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_job_script_prints_what_one_process_does_and_leaves_nothing(tmp_path: Path) -> None:
    stand_in(tmp_path, "srun", SRUN)
    stand_in(tmp_path, "hostname", "#!/bin/sh\necho 127.0.0.1 ::1\n")
    stand_in(tmp_path, "dask", f'#!/bin/sh\nexec {sys.executable} -m dask "$@"\n')
    port = free_port()
    programs = Path(sys.executable).parent
    paths = os.pathsep.join([str(tmp_path), str(programs), os.environ["PATH"]])
    variables = os.environ | {"PATH": paths, "PULL_LOGS_PORT": str(port)}
    job = subprocess.run(
        [BASH or "", "-s", str(RECORDED)],
        input=job_script(),
        env=variables,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    alone = subprocess.run(
        ["pull-logs", "compare", str(RECORDED), "--at", "40", "--best", "val/loss:min", "--no-hints"],
        env=variables,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (job.returncode, job.stdout) == (0, alone.stdout), job.stderr
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port)).close()
