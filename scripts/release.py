#!/usr/bin/env python3
"""Build a release and check it: `python scripts/release.py`.

Removes `dist/`, builds the wheel and the source archive, has twine check their metadata, and
verifies what is in them. Nothing is uploaded. See docs/releasing.md, "Release".
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHANGELOG = ROOT / "CHANGELOG.md"
VERSION = ROOT / "pull_logs" / "_version.py"

IN_WHEEL = (
    "pull_logs/py.typed",
    "pull_logs/__init__.pyi",
    "pull_logs/data/SKILL.md",
    "pull_logs/data/digits.wandb.zip",
    "pull_logs/data/schemas/show.json",
)
"""Files besides modules that an installed package needs."""

NOT_IN_SDIST = ("fixtures/digits/", "docs/site/", ".hypothesis/")
"""Folders that a source archive does not have."""

MOST_BYTES = 5 << 20


class ReleaseError(Exception):
    """A release that must not be published."""


def current_version() -> str:
    """Return the version of the package, which must be the newest in the changelog.

    Raises:
        ReleaseError: They differ, or one of them has none.
    """
    code = re.search(r'^__version__ = "([^"]+)"$', VERSION.read_text(encoding="utf-8"), re.MULTILINE)
    newest = re.search(r"^## \[(\d[^\]]*)\] - ", CHANGELOG.read_text(encoding="utf-8"), re.MULTILINE)
    if code is None or newest is None:
        raise ReleaseError(f"no version in {VERSION if code is None else CHANGELOG}")
    if code[1] != newest[1]:
        raise ReleaseError(f"{VERSION} has version {code[1]}, and the newest in {CHANGELOG} is {newest[1]}")
    return code[1]


def check_wheel(wheel: Path) -> None:
    """Verify that a wheel has what an installed package needs.

    Raises:
        ReleaseError: Files are missing, or it has others.
    """
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    missing = [name for name in IN_WHEEL if name not in names]
    if missing:
        raise ReleaseError(f"{wheel.name} has no {', '.join(missing)}")
    strange = [name for name in names if not name.startswith(("pull_logs/", "wandb_pull_logs-"))]
    if strange:
        raise ReleaseError(f"{wheel.name} has {strange[0]}, which is not part of the package")
    _check_size(wheel)


def check_sdist(sdist: Path) -> None:
    """Verify that a source archive has the sources only.

    Raises:
        ReleaseError: It has other files, or lacks some.
    """
    with tarfile.open(sdist) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    unwanted = [name for name in names if name.startswith(NOT_IN_SDIST)]
    if unwanted:
        raise ReleaseError(f"{sdist.name} has {unwanted[0]}")
    for needed in ("CHANGELOG.md", "LICENSE", "README.md", "pyproject.toml", "tests/conftest.py"):
        if needed not in names:
            raise ReleaseError(f"{sdist.name} has no {needed}")
    _check_size(sdist)


def _check_size(file: Path) -> None:
    if file.stat().st_size > MOST_BYTES:
        raise ReleaseError(f"{file.name} has {file.stat().st_size / 1e6:.1f} MB, which is more than expected")


def build(dist: Path, *options: str) -> list[Path]:
    """Build the wheel and the source archive into a folder.

    Args:
        dist: The folder.
        options: More options of `python -m build`.
    """
    command = [sys.executable, "-m", "build", "--outdir", str(dist), *options, str(ROOT)]
    subprocess.run(command, check=True)  # noqa: S603 - the tools of this environment
    return sorted(dist.iterdir())


def main() -> int:
    """Build and check a release; return 1 if something is wrong."""
    dist = ROOT / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    try:
        version = current_version()
        files = build(dist)
        command = [sys.executable, "-m", "twine", "check", "--strict", *map(str, files)]
        subprocess.run(command, check=True)  # noqa: S603 - the tools of this environment
        for file in files:
            (check_wheel if file.suffix == ".whl" else check_sdist)(file)
    except (ReleaseError, subprocess.CalledProcessError) as exc:
        sys.stderr.write(f"release: error: {exc}\n")
        return 1
    sys.stdout.write(f"release: version {version} is ready: {', '.join(file.name for file in files)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
