"""`benchmarks/fetch.py` runs: small sizes, each side once."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from benchmarkkit import run_benchmark


def test_the_benchmark_of_the_pull_measures_both_sides_and_prints_its_table(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    words = ("--quick", "--repeats", "1", "--sdk", "--only", "sparse-live", "--json", str(results))
    printed = run_benchmark("fetch.py", *words)
    lines = [line for line in printed.splitlines() if line]
    assert lines[0] == "### sparse-live: 1 x 500 rows x 20 metrics, up to step 99,999, live"
    assert [line.split("|")[1].strip() for line in lines[3:6]] == ["bare", "loop", "ours"]
    assert re.match(
        r"[0-9.]+ times the bare requests, [0-9.]+ without start-up;"
        r" [0-9.]+ times faster than the SDK's loop \(aim: 20\); 2 requests, ",
        lines[6],
    )
    found = json.loads(results.read_text())["sparse-live"]
    assert {side: [one["rows"] for one in some] for side, some in found.items()} == {
        "bare": [500],
        "loop": [500],
        "ours": [500],
    }
    assert [one["requests"] for one in found["bare"]] == [2]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_scenario_runs_as_the_command_measures_it_without_options() -> None:
    """Bare requests are not measured where answers of 429 are part of the scenario."""
    printed = run_benchmark("fetch.py", "--quick", "--repeats", "1", seconds=500)
    sides: dict[str, list[str]] = {}
    for line in printed.splitlines():
        if line.startswith("### "):
            sides[line.removeprefix("### ").partition(":")[0]] = []
        elif line.startswith(("| bare ", "| ours ")):
            sides[list(sides)[-1]].append(line.split("|")[1].strip())
    both = ["bare", "ours"]
    assert sides == {
        "bulk": both,
        "long": both,
        "latency": both,
        "sparse-live": both,
        "many": both,
        "rate-limit": ["ours"],
        "memory": both,
    }
