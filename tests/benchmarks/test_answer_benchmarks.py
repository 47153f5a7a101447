"""`benchmarks/analyze.py` and `benchmarks/checkpoints.py` run: small sizes, each part once."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarkkit import run_benchmark


def output(name: str, *words: str) -> list[str]:
    return run_benchmark(name, "--quick", *words).splitlines()


def test_the_benchmark_of_answers_prints_every_part_with_its_aim(tmp_path: Path) -> None:
    expressions, stats, compare, memory = output("analyze.py", "--repeats", "1", "--work", str(tmp_path))
    number = r"[0-9.]+"
    assert re.fullmatch(
        rf"expressions: 20,000 rows, where and three evals: {number} ms, pandas {number} ms, "
        rf"{number} times \(aim: 3\)",
        expressions,
    )
    clock = rf"{number} s \({number}-{number}\), {number} s of processor"
    assert re.fullmatch(rf"stats: 20 runs x 2,000 rows x 20 metrics: {clock} \(aim: 1.5 s\)", stats)
    assert re.fullmatch(rf"compare: 100 runs x 20 rows x 5 metrics: {clock} \(aim: 3 s\)", compare)
    # A small difference of two peaks is of either sign.
    more = rf"-?{number} MB, -?{number} times"
    assert re.fullmatch(
        "memory: 50,000 rows x 20 metrics, minus the memory for one row, next to the columns in use of 8 MB: "
        rf"--stats {more}; compare {more} \(aim: 2\)",
        memory,
    )


def test_the_benchmark_of_checkpoints_reads_the_same_runs_by_both_ways() -> None:
    lines = output("checkpoints.py")
    assert [re.sub(r" \([0-9.]+ GB\)|: .*", "", line) for line in lines] == [
        "6 checkpoints, ours", "6 checkpoints, torch", "one of 10 GB, ours", "one of 10 GB, torch",
    ]  # fmt: skip


def test_the_benchmark_of_views_measures_every_view_and_duckdb(tmp_path: Path) -> None:
    title, _, *table = output("views.py", "--repeats", "1", "--work", str(tmp_path))
    assert re.fullmatch(r"40 runs x 20 rows x 20 metrics, [0-9.]+ MB", title)
    number = r"[0-9.]+"
    names = []
    for line in table[2:]:
        found = re.fullmatch(
            rf"\| (.+?) \| {number} s \({number}-{number}\) \| {number} s \| {number} MB \|", line
        )
        assert found, line
        names.append(found[1])
    assert names == [
        "overview, first", "overview, again", "--schema", "compare --best --top 5",
        "compare --group-by --best", "compare, all runs", "compare --at best", "compare --assert",
        "--stats of one metric", "the same, again", "the same, all runs", "no option", "info",
        "DuckDB, all metrics", "DuckDB, one metric",
    ]  # fmt: skip
