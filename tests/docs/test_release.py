"""A release: the version, what is in the archives, and the demo from a wheel in an empty environment."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest
from checkout import ROOT

import pull_logs


def script(path: Path) -> Any:
    """A script as a module; its folder is not searched, since it has a `pull_logs.py` too."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


release = script(ROOT / "scripts" / "release.py")

PACKAGE_FILES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "pull_logs").rglob("*")
    if path.is_file() and "__pycache__" not in path.parts
)


def test_the_version_is_the_newest_of_the_changelog() -> None:
    assert release.current_version() == pull_logs.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+(rc\d+)?", pull_logs.__version__)


def test_the_changelog_has_the_form_of_one() -> None:
    text = release.CHANGELOG.read_text()
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    assert all(
        re.fullmatch(r"\[\d+\.\d+\.\d+\] - (\d{4}-\d\d-\d\d|unreleased)", heading) for heading in headings[1:]
    )
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.+)$", text, re.MULTILINE)) <= kinds
    for heading in re.findall(r"^## \[(.+?)\]", text, re.MULTILINE):
        assert f"\n[{heading}]: https://github.com/" in text


@pytest.mark.parametrize(
    ("version", "changelog", "message"),
    [
        ('__version__ = "1.2.3"\n', "## [Unreleased]\n\n## [1.2.2] - 2026-01-01\n", "1.2.3.*1.2.2"),
        ('__version__ = "1.2.3"\n', "## [Unreleased]\n", "no version in .*changelog"),
        ("version = 1\n", "## [1.2.3] - 2026-01-01\n", "no version in .*version"),
    ],
)
def test_a_release_whose_versions_differ_is_refused(
    version: str, changelog: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in (("VERSION", version), ("CHANGELOG", changelog)):
        (tmp_path / name.lower()).write_text(text)
        monkeypatch.setattr(release, name, tmp_path / name.lower())
    with pytest.raises(release.ReleaseError, match=message):
        release.current_version()


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel and the source archive, built by the backend that is installed here."""
    files: list[Path] = release.build(tmp_path_factory.mktemp("dist"), "--no-isolation")
    return {"sdist" if file.suffix == ".gz" else "wheel": file for file in files}


def test_the_metadata_can_be_published(dist: dict[str, Path]) -> None:
    command = [sys.executable, "-m", "twine", "check", "--strict", *map(str, dist.values())]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_the_wheel_has_every_file_of_the_package_and_nothing_else(dist: dict[str, Path]) -> None:
    release.check_wheel(dist["wheel"])
    with zipfile.ZipFile(dist["wheel"]) as archive:
        names = sorted(name for name in archive.namelist() if name.startswith("pull_logs/"))
    assert names == sorted([*PACKAGE_FILES, "pull_logs/data/SKILL.md"])


def test_the_skill_of_the_wheel_is_that_of_the_checkout(dist: dict[str, Path]) -> None:
    """The checkout has one copy, which the command of an editable installation reads."""
    with zipfile.ZipFile(dist["wheel"]) as archive:
        assert archive.read("pull_logs/data/SKILL.md") == (ROOT / "SKILL.md").read_bytes()
    assert not (ROOT / "pull_logs" / "data" / "SKILL.md").exists()


def test_the_source_archive_has_the_sources_and_no_recordings(dist: dict[str, Path]) -> None:
    release.check_sdist(dist["sdist"])
    with tarfile.open(dist["sdist"]) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    assert set(PACKAGE_FILES) <= set(names)
    assert not [name for name in names if name.startswith("fixtures/digits/")]
    assert "docs/tutorial.md" in names


def test_an_archive_that_lacks_or_adds_something_is_refused(dist: dict[str, Path], tmp_path: Path) -> None:
    for name, content, message in (
        ("pull_logs/other.txt", "", "has no pull_logs/py.typed"),
        ("tests/conftest.py", "", "which is not part of the package"),
    ):
        changed = tmp_path / dist["wheel"].name
        with zipfile.ZipFile(dist["wheel"]) as old, zipfile.ZipFile(changed, "w") as new:
            for item in old.namelist():
                if item != "pull_logs/py.typed" or "no pull_logs" not in message:
                    new.writestr(item, old.read(item))
            new.writestr(name, content)
        with pytest.raises(release.ReleaseError, match=message):
            release.check_wheel(changed)


def run_demo(python: Path, folder: Path) -> str:
    """Run the demo with an environment's own command, away from the checkout."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("WANDB_", "PYTHON", "PULL_LOGS_"))
    }
    environment["HOME"] = str(folder)
    command = python.parent / "pull-logs"
    result = subprocess.run(
        [str(command), "demo"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert result.returncode == 0, result.stderr
    assert (folder / "demo.wandb.zip").is_file()
    return result.stdout


def environment_of(folder: Path, *, pip: bool) -> Path:
    """An environment without any package; its interpreter."""
    venv.create(folder, with_pip=pip, symlinks=True)
    return folder / "bin" / "python"


def test_the_demo_runs_from_an_installed_wheel(dist: dict[str, Path], tmp_path: Path) -> None:
    """The dependencies are those of this environment; the package itself comes from the wheel."""
    python = environment_of(tmp_path / "venv", pip=False)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(tmp_path / "venv")}))
    # A path in a .pth file is searched, but the .pth files in it are not read.
    others = [path for path in sys.path if Path(path).name in {"site-packages", "dist-packages"}]
    (site / "dependencies.pth").write_text("\n".join(others) + "\n")
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--no-deps",
        "--no-index",
        "--quiet",
    ]
    subprocess.run([*install, str(dist["wheel"])], check=True)
    where = subprocess.run(
        [str(python), "-c", "import pull_logs; print(pull_logs.__file__)"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert Path(where.stdout.strip()).is_relative_to(site)
    assert "[COMPARISON] runs=16 metrics=2" in run_demo(python, tmp_path)
    skill = [str(python.parent / "pull-logs"), "skill", "install", "--project", "--agent", "codex"]
    subprocess.run(skill, cwd=tmp_path, check=True)
    written = tmp_path / ".agents" / "skills" / "wandb-pull-logs" / "SKILL.md"
    assert written.read_bytes() == (ROOT / "SKILL.md").read_bytes()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_demo_runs_from_a_wheel_in_an_empty_environment(dist: dict[str, Path], tmp_path: Path) -> None:
    """With its dependencies as a user gets them: this one needs a package index."""
    python = environment_of(tmp_path / "venv", pip=True)
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", str(dist["wheel"])], check=True)
    assert "[COMPARISON] runs=16 metrics=2" in run_demo(python, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_release_command_builds_and_checks(tmp_path: Path) -> None:
    """In a copy of the checkout, because it writes `dist/`."""
    copy = tmp_path / "checkout"
    subprocess.run(["git", "clone", "--quiet", "--depth", "1", f"file://{ROOT}", str(copy)], check=True)
    result = subprocess.run(
        [sys.executable, "scripts/release.py"], cwd=copy, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert f"version {pull_logs.__version__} is ready" in result.stdout
