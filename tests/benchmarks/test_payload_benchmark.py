"""`benchmarks/payloads.py` and `benchmarks/compressed_texts.py` run: small sizes, every step of one set."""

from __future__ import annotations

from pathlib import Path

from benchmarkkit import run_benchmark


def test_the_benchmark_of_payloads_measures_each_step_and_leaves_nothing(tmp_path: Path) -> None:
    printed = run_benchmark("payloads.py", "--quick", "--only", "files", "--work", str(tmp_path))
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines()]
    assert rows[0][:5] == ["what", "step", "seconds", "CPU s", "requests"]
    assert [row[1] for row in rows[2:]] == ["fetch", "fetch again", "verify", "subset"]
    assert {row[0] for row in rows[2:]} == {"20 run files"}
    assert [int(row[4]) for row in rows[2:]][2:] == [0, 0]
    assert int(rows[2][4]) > 20 > int(rows[3][4]) > 0
    assert all(int(row[6]) > 20 for row in rows[2:])
    assert list(tmp_path.iterdir()) == []


def test_the_benchmark_of_texts_measures_each_set_twice() -> None:
    printed = run_benchmark("compressed_texts.py", "--quick")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines()][2:]
    assert [row[1] for row in rows] == ["as they are", "compressed"] * 3
    sizes = [float(row[2]) for row in rows]
    assert all(after < before / 2 for before, after in zip(sizes[::2], sizes[1::2], strict=True))
