"""The house keeps its plan: imports point one way, rooms export what they say, doors open fast."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pull_logs

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "pull_logs"
MODULES = sorted(PACKAGE.rglob("*.py"))

# What each room may import of the others (design, section 2).
ALLOWED = {
    "runs": {"errors"},
    "errors": set[str](),
    "snapshot": {"runs", "errors"},
    "analyze": {"snapshot", "runs", "errors"},
    "fetch": {"snapshot", "runs", "errors"},
    "sources": {"snapshot", "runs", "errors"},
    "replay": {"snapshot", "runs", "errors"},
    # What a replayed test asks for is pulled: the one place that needs both networks.
    "recording": {"fetch", "replay", "snapshot", "runs", "errors"},
    # An edge like the command line, for pytest.
    "pytest_plugin": {"recording", "fetch", "replay", "snapshot", "runs", "errors"},
    "cli": {"fetch", "replay", "sources", "analyze", "snapshot", "runs", "errors"},
}


def room_of(module: Path) -> str:
    relative = module.relative_to(PACKAGE)
    return relative.parts[0].removesuffix(".py")


def imported_rooms(module: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(module.read_text())):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
            if node.module == "pull_logs":
                names = [f"pull_logs.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "pull_logs" and len(parts) > 1:
                yield parts[1]


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(module: Path) -> None:
    room = room_of(module)
    if room in ("__init__", "__main__"):
        return
    strangers = {name for name in imported_rooms(module) if name != room and name not in ALLOWED[room]}
    assert not strangers


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_outgrows_its_reader(module: Path) -> None:
    assert len(module.read_text().splitlines()) <= 500


@pytest.mark.parametrize("room", ["", "fetch", "snapshot", "analyze", "replay", "sources"])
def test_every_exported_name_is_there_and_every_list_is_sorted(room: str) -> None:
    module = importlib.import_module(f"pull_logs.{room}".rstrip("."))
    assert list(module.__all__) == sorted(module.__all__)
    for name in module.__all__:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = module.no_such_name


def test_only_the_command_line_prints() -> None:
    printing = [
        str(module.relative_to(PACKAGE))
        for module in MODULES
        if room_of(module) != "cli"
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert printing == []


def loaded_by(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return set(done.stdout.split())


def test_help_loads_nothing_heavy() -> None:
    loaded = loaded_by("from pull_logs.cli.main import main; main(['--help'])")
    assert not loaded & {
        "wandb",
        "torch",
        "pandas",
        "numpy",
        "pyarrow",
        "httpx",
        "anyio",
        "starlette",
        "graphql",
        "rich",
    }


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = loaded_by("import pull_logs")
    assert not loaded & {
        "wandb",
        "torch",
        "pandas",
        "numpy",
        "pyarrow",
        "httpx",
        "anyio",
        "starlette",
        "click",
    }


@pytest.mark.parametrize("name", ["PullLogsError", "RunPath"])
def test_errors_and_values_come_without_loading_anything(name: str) -> None:
    assert hasattr(pull_logs, name)


def test_every_error_is_in_the_tree_and_has_an_exit_code() -> None:
    from pull_logs import errors

    classes = [
        item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, Exception)
    ]
    assert all(issubclass(cls, errors.PullLogsError) for cls in classes)
    exit_codes = {vars(errors)[cls.__name__].exit_code for cls in classes}
    tree = errors.__doc__ or ""
    for cls in classes:
        assert issubclass(cls, errors.PullLogsError)
        assert re.search(rf"\b{cls.__name__}\b", tree)
    assert exit_codes == {1, 2, 3, 4, 5, 6, 7}


def test_no_path_of_a_machine_is_tracked() -> None:
    texts = [path for path in ROOT.rglob("*") if path.suffix in {".py", ".md", ".toml", ".yml"}]
    places = re.compile(r"(?<![\w.])/(work|root|home/[a-z]+)/")
    own = [
        path for path in texts if not {".git", ".venv", "node_modules"} & set(path.relative_to(ROOT).parts)
    ]
    found = [
        str(path.relative_to(ROOT))
        for path in own
        if places.search(path.read_text()) and path.name != "test_house.py"
    ]
    assert [name for name in found if "test_" not in name] == []
