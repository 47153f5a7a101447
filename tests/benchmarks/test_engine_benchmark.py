"""`benchmarks/engine.py` runs: a small size, each question once on each engine, with the same bytes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from benchmarkkit import run_benchmark


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_benchmark_of_engines_measures_every_question_on_each(tmp_path: Path) -> None:
    printed = run_benchmark("engine.py", "--quick", "--repeats", "1", "--work", str(tmp_path), seconds=280)
    title, _, head, _, *lines = printed.splitlines()
    assert re.fullmatch(r"40 runs x 20 rows x 20 metrics, [0-9.]+ MB", title)
    assert head == "| question | 1 process | 2 processes | Dask, 2 workers | same bytes |"
    cell = r"[0-9.]+ s, [0-9.]+ s"
    assert len(lines) == 8
    for line in lines:
        assert re.fullmatch(rf"\| .+? \| {cell} \| {cell} \| {cell} \| yes \|", line), line
