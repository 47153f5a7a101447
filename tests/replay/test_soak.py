"""Fifty readers at once for a minute see every row as it is, and the server's memory stays flat."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from checkout import ROOT

SOAK = ROOT / "benchmarks" / "soak.py"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_fifty_readers_for_a_minute() -> None:
    done = subprocess.run(
        [sys.executable, str(SOAK), "--readers", "50", "--seconds", "60"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(done.stdout)
    assert (figures["wrong"], figures["errors"]) == ([], [])
