"""`benchmarks/fetch.py` runs: small sizes, each side once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def test_the_benchmark_of_the_pull_measures_both_sides_and_prints_its_table(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "fetch.py"), "--quick", "--repeats", "1"]
    done = subprocess.run(
        [*command, "--only", "sparse-live", "--only", "many", "--json", str(results)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("### ")] == [
        "### sparse-live: 1 x 500 rows x 20 metrics, up to step 99,999, live",
        "### many: 300 x 20 rows x 5 metrics, exported",
    ]
    found = json.loads(results.read_text())
    assert {name: sorted(sides) for name, sides in found.items()} == {
        "sparse-live": ["loop", "ours"],
        "many": ["loop", "ours"],
    }
    sparse, many = found["sparse-live"]["ours"][0], found["many"]["ours"][0]
    assert (sparse["rows"], sparse["requests"] <= 8) == (500, True)
    assert (many["rows"], many["graphql"] / 300 <= 0.1) == (6000, True)
