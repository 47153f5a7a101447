"""The architecture: layers import downwards, packages through their `__init__`, and none grows too large."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from checkout import ROOT

import pull_logs

PACKAGE = ROOT / "pull_logs"
MODULES = sorted(PACKAGE.rglob("*.py"))
PACKAGES = sorted(path.parent for path in MODULES if path.name == "__init__.py")

MOST_MODULES = 15
MOST_LINES = 500

ROOTS = frozenset({"_version", "errors", "run_fields", "runs", "suggestions", "system_errors"})
"""The modules of the root that everything may import."""

BELOW: Mapping[str, frozenset[str]] = {
    "rows": ROOTS,
    # Where tasks run; knows nothing of bundles.
    "executors": ROOTS,
    "frames": ROOTS | {"rows"},
    "snapshot": ROOTS | {"rows", "frames", "executors"},
    "analyze": ROOTS | {"rows", "frames", "executors", "snapshot"},
    "fetch": ROOTS | {"rows", "frames", "executors", "snapshot", "analyze"},
    "replay": ROOTS | {"rows", "frames", "executors", "snapshot", "analyze"},
    "sources": ROOTS | {"rows", "frames", "executors", "snapshot", "analyze"},
    # What a replayed test asks for is pulled: the one module that needs both networks.
    "recording": ROOTS | {"rows", "frames", "executors", "snapshot", "analyze", "fetch", "replay"},
    # An edge like the command line, for pytest.
    "pytest_plugin": ROOTS
    | {"rows", "frames", "executors", "snapshot", "analyze", "fetch", "replay", "recording"},
    # A bundle compared with its source.
    "proof": ROOTS | {"rows", "frames", "executors", "snapshot", "analyze", "fetch", "sources"},
    # What the commands answer, for Python and for the command line.
    "interface": ROOTS | {"rows", "frames", "executors", "snapshot", "analyze", "fetch", "sources"},
    # Curves as pictures and as text.
    "plots": ROOTS | {"rows", "frames", "executors", "snapshot", "analyze", "interface"},
    # Runs as a page to look at.
    "report": ROOTS | {"rows", "frames", "executors", "snapshot", "analyze", "interface"},
    "cli": ROOTS
    | {
        "rows",
        "frames",
        "executors",
        "snapshot",
        "analyze",
        "fetch",
        "replay",
        "sources",
        "interface",
        "report",
        "plots",
        "proof",
    },
    **{name: ROOTS - {name} for name in ROOTS},
}
"""What each part of the package may import of the others."""


def dotted(path: Path) -> str:
    """The name under which a module or a package is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {dotted(path): path for path in MODULES}


@dataclass(frozen=True)
class Import:
    """One name that a module imports from this package.

    Attributes:
        importer: The module that imports it.
        source: The module or package it is imported from; the module itself where a module is imported.
        name: The name.
        line: The line of the import.
    """

    importer: str
    source: str
    name: str
    line: int


def sources_of(path: Path) -> Iterator[Path]:
    """The files that say what a module imports: a package says it in its stub."""
    yield path
    if path.name == "__init__.py" and path.with_suffix(".pyi").exists():
        yield path.with_suffix(".pyi")


@cache
def exported(package: str) -> frozenset[str]:
    """The names that a package gives out."""
    stub = NAMES[package].with_suffix(".pyi")
    if NAMES[package].name != "__init__.py" or not stub.exists():
        return frozenset()
    tree = ast.parse(stub.read_text())
    return frozenset(
        alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    )


def imports_of(importer: str) -> Iterator[Import]:
    """What a module imports from this package, wherever in it and for whatever purpose."""
    for file in sources_of(NAMES[importer]):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom):
                base = f"{importer}.{node.module or ''}".rstrip(".") if node.level else node.module or ""
                if base.split(".")[0] != "pull_logs":
                    continue
                for alias in node.names:
                    inner = f"{base}.{alias.name}"
                    source = inner if inner in NAMES and alias.name not in exported(base) else base
                    yield Import(importer, source, alias.name, node.lineno)
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name.split(".")[0] == "pull_logs":
                        yield Import(importer, alias.name, "", node.lineno)


IMPORTS = [found for name in NAMES for found in imports_of(name)]


def part_of(name: str) -> str:
    """The part of the package that a module belongs to: a folder or a module of the root."""
    return f"{name}.".split(".")[1]


def package_of(name: str) -> str:
    """The package that a module is in; a package is in itself."""
    return name if NAMES[name].name == "__init__.py" else name.rpartition(".")[0]


def test_every_import_is_of_a_module_that_exists() -> None:
    assert [found for found in IMPORTS if found.source not in NAMES] == []
    assert len(IMPORTS) > len(NAMES)


def test_layers_import_downwards() -> None:
    parts = {part_of(name) for name in NAMES} - {"", "__main__"}
    assert parts == set(BELOW)
    upward = [
        f"{found.importer}:{found.line} imports {found.source}"
        for found in IMPORTS
        if (part := part_of(found.importer)) not in ("", "__main__")
        if part_of(found.source) != part and part_of(found.source) not in BELOW[part]
    ]
    assert upward == []


def test_another_package_is_imported_through_its_init() -> None:
    reaching = [
        f"{found.importer}:{found.line} imports {found.name} from {found.source}"
        for found in IMPORTS
        if NAMES[found.source].name != "__init__.py"  # a module, not a package
        if (holder := package_of(found.source)) not in ("pull_logs", "pull_logs.rows")
        if package_of(found.importer) != holder and not package_of(found.importer).startswith(f"{holder}.")
    ]
    assert reaching == []


def cycles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """The groups of modules that import each other, in one step or in several."""
    reached = {name: set(found) for name, found in graph.items()}
    for middle in graph:
        for name, found in reached.items():
            if middle in found:
                reached[name] = found | reached[middle]
    groups = {
        tuple(sorted(other for other in graph if other in found and name in reached[other]))
        for name, found in reached.items()
        if name in found
    }
    return sorted(list(group) for group in groups)


def test_a_cycle_is_found() -> None:
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a", "e"}, "e": set()}) == [["b", "c"]]


def test_no_modules_import_each_other() -> None:
    graph: dict[str, set[str]] = {name: set() for name in NAMES}
    for found in IMPORTS:
        if found.source != found.importer:
            graph[found.importer].add(found.source)
    assert cycles(graph) == []


@pytest.mark.parametrize("folder", PACKAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_folder_has_more_modules_than_a_reader_keeps_in_mind(folder: Path) -> None:
    modules = [path.name for path in folder.glob("*.py") if path.name != "__init__.py"]
    assert len(modules) <= MOST_MODULES


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_outgrows_its_reader(module: Path) -> None:
    assert len(module.read_text().splitlines()) <= MOST_LINES


STUBBED = [dotted(folder / "__init__.py") for folder in PACKAGES if (folder / "__init__.pyi").exists()]


@pytest.mark.parametrize("package", STUBBED)
def test_every_exported_name_exists(package: str) -> None:
    module = importlib.import_module(package)
    assert set(dir(module)) == exported(package)
    for name in dir(module):
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match=f"^No {package} attribute no_such_name$"):
        _ = module.no_such_name


MODULE_OF = {
    "google-crc32c": "google_crc32c",
    "graphql-core": "graphql",
    "protobuf": "google",
    "pyyaml": "yaml",
}
"""The top module of a distribution whose name differs."""


FILES_OF = {"uplot-python": "report/charting.py"}
"""The distributions whose files are read instead of imported, and the module that reads them."""


def test_every_dependency_is_imported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {re.split(r"[<>=!~\[; ]", line)[0] for line in project["dependencies"]}
    imported = {
        name.split(".")[0]
        for module in MODULES
        for node in ast.walk(ast.parse(module.read_text()))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    unused = {name for name in named if MODULE_OF.get(name, name) not in imported}
    assert unused == set(FILES_OF)
    for name, reader in FILES_OF.items():
        assert f'"{name}"' in (PACKAGE / reader).read_text()


def test_only_the_command_line_prints() -> None:
    printing = [
        str(module.relative_to(PACKAGE))
        for module in MODULES
        if part_of(dotted(module)) != "cli"
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert printing == []


def test_parquet_is_read_in_threads_of_this_process_only() -> None:
    """What `rows.arrow.open_parquet` says of the threads of pyarrow holds for each file that is opened."""
    opening = {
        str(module.relative_to(PACKAGE))
        for module in MODULES
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in {"ParquetFile", "pq.ParquetFile", "pq.ParquetDataset", "pq.read_table"}
    }
    assert opening == {"rows/arrow.py"}


def loaded_by(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return set(done.stdout.split())


HEAVY = {"wandb", "torch", "pandas", "numpy", "pyarrow", "httpx", "anyio", "starlette", "graphql", "rich"}


def test_help_loads_nothing_heavy() -> None:
    assert not loaded_by("from pull_logs.cli.main import main; main(['--help'])") & HEAVY


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert not loaded_by("import pull_logs") & {*HEAVY, "click"}


@pytest.mark.parametrize("name", ["PullLogsError", "RunPath"])
def test_errors_and_values_come_without_loading_anything_heavy(name: str) -> None:
    assert not loaded_by(f"from pull_logs import {name}") & {*HEAVY, "click"}
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
        assert re.search(rf"\b{cls.__name__}\b", tree)
    assert exit_codes == {1, 2, 3, 4, 5, 6, 7, 8}


def test_no_path_of_a_machine_is_tracked() -> None:
    texts = [path for path in ROOT.rglob("*") if path.suffix in {".py", ".md", ".toml", ".yml"}]
    paths = re.compile(r"(?<![\w.])/(work|root|home/[a-z]+)/")
    made = {".git", ".venv", ".pytest_cache", "node_modules"}
    own = [path for path in texts if not made & set(path.relative_to(ROOT).parts)]
    found = [
        str(path.relative_to(ROOT))
        for path in own
        if paths.search(path.read_text()) and path.name != "test_architecture.py"
    ]
    assert [name for name in found if "test_" not in name] == []
