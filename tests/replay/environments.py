"""Environments with packages that this project does not depend on, made once for the slow tests."""

from __future__ import annotations

import subprocess
import venv
from pathlib import Path


def environment(folder: Path, name: str, *packages: str) -> Path:
    """The folder of an environment's commands; it is made now unless it is there."""
    home = folder / name
    done = home / "complete"
    if not done.exists():
        venv.create(home, with_pip=True, clear=True)
        subprocess.run(
            [home / "bin" / "python", "-m", "pip", "install", "--quiet", *packages], check=True, timeout=1500
        )
        done.touch()
    return home / "bin"
