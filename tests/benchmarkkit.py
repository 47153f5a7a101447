"""How tests run a benchmark: as its page says, in a process of its own, from the checkout."""

from __future__ import annotations

import os
import subprocess
import sys

from checkout import ROOT


def run_benchmark(name: str, *words: str, seconds: float = 110) -> str:
    """Return what a program of `benchmarks` printed; it may take so many seconds, and must succeed."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / name), *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
