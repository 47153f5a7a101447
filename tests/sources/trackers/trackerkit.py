"""The recorded stores of other trackers, as files that their libraries would have."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

FILES = Path(__file__).parent / "recorded"
"""One training, logged at once by the real libraries; see fixtures/record_trackers.py."""


def database(file: Path, name: str) -> Path:
    """Make a database of a recorded one, which is stored as SQL."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript((FILES / f"{name}.sql").read_text())
    return file


def stores(folder: Path) -> dict[str, Path]:
    """Copy all stores to a folder; return the location of each."""
    for name in ("wandb", "tensorboard", "mlruns"):
        shutil.copytree(FILES / name, folder / name)
    return {
        "wandb": folder / "wandb",
        "tensorboard": folder / "tensorboard",
        "mlruns": folder / "mlruns",
        "mlflow": database(folder / "mlflow.db", "mlflow"),
        "trackio": database(folder / "trackio" / "oracle.db", "trackio/oracle"),
    }
