"""Open, filter and look up in the catalogs of bundle sets of 10,000, 100,000 and 1,000,000 runs.

    python benchmarks/sets.py [RUNS ...]

Only the catalog is made, not the members. Each figure is of a new process: seconds of the clock, and the most
memory of the process. The catalogs are kept in the folder for temporary files, and made once.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pull_logs.snapshot import open_bundle_set
from pull_logs.snapshot.sets.catalog_file import write_tables
from pull_logs.snapshot.sets.catalog_schema import FIXED, GROUP_ROWS, schema_of
from pull_logs.snapshot.sets.leaf_counts import Counts, typed_keys

RUNS = (10_000, 100_000, 1_000_000)
PROJECT_RUNS, MEMBER_RUNS = 10_000, 500
FILTERS = {
    "filter on 1 number": "config.lr <= 1e-4",
    "filter on 3 values": 'config.lr <= 1e-3 and summary.val/acc > 0.99 and state == "finished"',
    "filter on a text": 'config.model.name == "gpt-3"',
    "filter on tags": 'tags contains "v2"',
    "filter on JSON": "config.rare > 10",
}
NUMBERS = (
    *("config.batch_size", "config.lr", "config.model.depth", "config.seed", "config.steps"),
    *("summary._runtime", "summary._step", "summary.train/loss", "summary.val/acc", "summary.val/loss"),
)
TEXTS = ("config.data.name", "config.model.name", "config.optimizer")


def counts_of(runs: int) -> Counts:
    """Return how many runs have each key; one in a thousand has a key whose values are of two kinds."""
    counts: Counts = {name: [runs, 0, 0, 0] for name in NUMBERS}
    counts |= {name: [0, runs, 0, 0] for name in TEXTS}
    rare = -(-runs // 1000)
    counts["config.rare"] = [rare - rare // 2, rare // 2, 0, 0]
    return counts


def tables_of(runs: int) -> Iterator[pa.Table]:
    """Iterate over the rows of a catalog."""
    generator = np.random.default_rng(7)
    schema = schema_of(typed_keys(counts_of(runs)))
    for start in range(0, runs, GROUP_ROWS):
        numbers = np.arange(start, min(start + GROUP_ROWS, runs))
        yield _table(numbers, generator, schema)


def _table(numbers: np.ndarray[Any, Any], generator: np.random.Generator, schema: pa.Schema) -> pa.Table:
    count = len(numbers)
    lr, acc, loss = 10 ** generator.uniform(-5, -1, count), generator.random(count), generator.random(count)
    configs, summaries, leaves = [], [], []
    for row, number in enumerate(numbers.tolist()):
        config: dict[str, Any] = {
            "batch_size": 32,
            "data": {"name": "fineweb"},
            "lr": float(lr[row]),
            "model": {"depth": 12, "name": f"gpt-{number % 7}"},
            "optimizer": "adamw",
            "seed": number % 10,
            "steps": 20_000,
        }
        if number % 1000 == 0:
            config["rare"] = number / 1000 if number % 2000 == 0 else "none"
        summary = {
            "_runtime": 3600.0,
            "_step": 20_000,
            "train/loss": float(loss[row]),
            "val/acc": float(acc[row]),
            "val/loss": 1.1 * float(loss[row]),
        }
        configs.append(json.dumps(config, sort_keys=True, separators=(",", ":")))
        summaries.append(json.dumps(summary, sort_keys=True, separators=(",", ":")))
        leaves.append(
            {f"config.{key}": value for key, value in config.items()}
            | {f"config.model.{key}": value for key, value in config["model"].items()}
            | {"config.data.name": "fineweb"}
            | {f"summary.{key}": value for key, value in summary.items()}
        )
    columns = {field.name: _column(field, numbers) for field in FIXED}
    columns |= {"config_json": pa.array(configs), "summary_json": pa.array(summaries)}
    for field in schema:
        if field.name not in columns:
            cells = [one.get(field.name) for one in leaves]
            number = pa.types.is_floating(field.type)
            fitting = [cell if isinstance(cell, (int, float)) is number else None for cell in cells]
            columns[field.name] = pa.array(fitting, field.type)
    return pa.table(columns, schema=schema)


def _column(field: pa.Field, numbers: np.ndarray[Any, Any]) -> pa.Array:
    texts: dict[str, Callable[[int], Any]] = {
        "entity": lambda _: "lab",
        "project": lambda number: f"project-{number // PROJECT_RUNS:04}",
        "run_id": lambda number: f"r{number % PROJECT_RUNS:05}{number * 2654435761 % 2**16:04x}",
        "name": lambda number: f"brisk-sun-{number}",
        "state": lambda number: "crashed" if number % 10 == 0 else "finished",
        "tags": lambda number: ["baseline", "v2"] if number % 100 == 0 else ["baseline"],
        "created_at": lambda number: f"2026-01-01T00:{number % 60:02}:00Z",
        "incomplete_reason": lambda _: "",
        "member": lambda number: f"m{number // MEMBER_RUNS:06}.wandb.zip",
        "bundle_id": lambda number: f"sha256:{number // MEMBER_RUNS:064x}",
        "content_id": lambda number: f"sha256:{number // MEMBER_RUNS:064x}",
        "history_hash": lambda number: f"sha256:{number * 6364136223846793005 % 2**256:064x}",
        "rows_hash": lambda number: f"sha256:{number * 2862933555777941757 % 2**256:064x}",
        "data_hash": lambda number: f"sha256:{number * 3202034522624059733 % 2**256:064x}",
        "complete": lambda _: True,
    }
    if field.name in texts:
        return pa.array(map(texts[field.name], numbers.tolist()), field.type)
    if field.type == pa.int64():
        return pa.array(numbers * 1000, field.type)
    return pa.array([None if field.nullable else ""] * len(numbers), field.type)


def measure(folder: Path, what: str) -> None:
    """Print the seconds and the memory of one figure, in this process."""
    import pyarrow.compute
    import pyarrow.parquet  # noqa: F401 - imported before the clock starts, as by any second question

    from pull_logs.analyze import rows_where

    opened = open_bundle_set(folder)
    path, run_id = opened.catalog.path_at(len(opened) // 2 + 17), ""
    run_id = path.run_id
    opened.close()
    start = time.perf_counter()
    with open_bundle_set(folder) as opened:
        if what in FILTERS:
            rows = rows_where(opened.catalog, FILTERS[what])
            assert rows is not None, what
            result = len(rows)
        elif what == "look up a path":
            result = opened[str(path)].config["steps"]
        elif what == "look up an id":
            result = opened[run_id].config["steps"]
        else:
            result = len(opened)
        seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak": peak, "result": result}))


def main() -> None:
    """Make the catalogs, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="*", type=int, default=RUNS)
    parser.add_argument("--measure", nargs=2, metavar=("FOLDER", "WHAT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(Path(arguments.measure[0]), arguments.measure[1])
        return
    for runs in arguments.runs:
        folder = Path(tempfile.gettempdir()) / f"pull-logs-set-{runs}"
        file = folder / "catalog-00000001.parquet"
        if not file.exists():
            folder.mkdir(exist_ok=True)
            write_tables(folder / "new", tables_of(runs), counts_of(runs))
            (folder / "new").rename(file)
        print(f"{runs:,} runs, catalog of {file.stat().st_size / 1e6:.1f} MB")
        for what in ("open", "look up a path", "look up an id", *FILTERS):
            words = [sys.executable, __file__, "--measure", str(folder), what]
            found = [
                json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
                for _ in range(3)
            ]
            best = min(found, key=lambda one: float(one["seconds"]))
            print(f"  {what:20} {1000 * best['seconds']:8.1f} ms {best['peak']:6.0f} MB  {best['result']:,}")


if __name__ == "__main__":
    main()
