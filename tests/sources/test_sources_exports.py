"""The public names of the package, and what importing them loads."""

from __future__ import annotations

import subprocess
import sys

import pull_logs.sources


def test_the_public_names_are_these() -> None:
    assert dir(pull_logs.sources) == [
        "CheckpointRun",
        "CheckpointScan",
        "DEFAULT_ENTITY",
        "IgnoredCall",
        "IgnoredCalls",
        "ImportOptions",
        "ImportReport",
        "KINDS",
        "LocalImport",
        "Location",
        "OnRestart",
        "ReadOptions",
        "find_checkpoints",
        "ignored_calls",
        "import_locations",
        "import_runs",
        "kinds_at",
        "locate",
        "read_checkpoint",
        "read_run_dirs",
        "scan_checkpoints",
    ]
    assert all(hasattr(pull_logs.sources, name) for name in dir(pull_logs.sources))


def test_importing_the_public_names_loads_nothing_heavy() -> None:
    code = (
        "import sys; from pull_logs.sources import *; "
        "heavy = {'wandb', 'torch', 'numpy', 'pyarrow', 'pandas', 'google.protobuf'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
