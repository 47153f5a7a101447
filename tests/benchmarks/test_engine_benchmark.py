"""`benchmarks/engine.py` runs: a small size, each question once on each engine, with the same bytes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import ROOT


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_benchmark_of_engines_measures_every_question_on_each(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            str(ROOT / "benchmarks" / "engine.py"),
            "--quick",
            "--repeats",
            "1",
            "--work",
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    title, _, head, _, *lines = done.stdout.splitlines()
    assert re.fullmatch(r"40 runs x 20 rows x 20 metrics, [0-9.]+ MB", title)
    assert head == "| question | 1 process | 2 processes | Dask, 2 workers | same bytes |"
    cell = r"[0-9.]+ s, [0-9.]+ s"
    assert len(lines) == 8
    for line in lines:
        assert re.fullmatch(rf"\| .+? \| {cell} \| {cell} \| {cell} \| yes \|", line), line
