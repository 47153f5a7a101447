"""Environments with packages that this project does not depend on, made once for the slow tests."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

import pytest

INSTALLED = "installed"
"""The release of the SDK that is installed with this project."""


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


def sdk_releases(*older: str) -> list[object]:
    """Parameters of a fixture: the installed SDK, and each of the older releases in the slow tests."""
    marks = [pytest.mark.slow, pytest.mark.timeout(1800)]
    return [INSTALLED, *(pytest.param(release, marks=marks) for release in older)]


def python_with_sdk(config: pytest.Config, release: str) -> Path:
    """The Python of an environment with a release of the SDK, made once in pytest's cache."""
    if release == INSTALLED:
        return Path(sys.executable)
    assert config.cache is not None
    folder = config.cache.mkdir("sdk-releases")
    return environment(folder, f"wandb-{release}", f"wandb=={release}", "pandas") / "python"
