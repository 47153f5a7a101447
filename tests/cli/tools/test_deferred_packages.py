"""A deferred package is to its users what it is after an ordinary import."""

from __future__ import annotations

import builtins
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module, invalidate_caches
from itertools import count
from pathlib import Path
from threading import Barrier
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from pull_logs.cli.tools.deferred_packages import defer_packages, deferred_models

STATEMENTS = ["x = 1", "from .a import x", "from .a import y", "from . import a", "from .inner import x",
              "from . import inner", "import {top}.inner.b as b", "__all__ = ['x']", "y = 2"]  # fmt: skip
"""What an `__init__` has."""

INNER_STATEMENTS = ["x = 3", "from .b import x", "from . import b", "from ..a import x"]
"""What the `__init__` of a package in it has."""

USES = ["import {top}", "import {top}.a", "import {top}.inner", "import {top}.inner.b", "from {top} import x",
        "from {top} import y", "from {top} import a", "from {top} import inner", "from {top} import *",
        "from {top}.inner import x", "from {top}.inner import b", "import {top}; {top}.x",
        "import {top}; {top}.inner", "import {top}; {top}.inner.x", "import {top}; {top}.nothing",
        "import {top}; hasattr({top}, 'b')"]  # fmt: skip
"""What users of packages do."""

_NUMBERS = count()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield a folder that modules are imported from."""
    folder, known = tmp_path_factory.mktemp("packages"), set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield folder
    for name in set(sys.modules) - known:
        del sys.modules[name]


def package(folder: Path, outer: list[str], inner: list[str]) -> str:
    """Write a package with a package in it; return its name."""
    top = f"deferred_{next(_NUMBERS)}"
    (folder / top / "inner").mkdir(parents=True)
    for path, lines in (("__init__", outer), ("a", ["x = 'a'", "y = 'a'"]), ("inner/b", ["x = 'b'"])):
        (folder / top / f"{path}.py").write_text("\n".join(lines).format(top=top))
    (folder / top / "inner" / "__init__.py").write_text("\n".join(inner).format(top=f"{top}"))
    invalidate_caches()
    return top


def used(top: str, use: str) -> list[str]:
    """Return what a use leaves: names and values without the name of the package, or its error.

    Of `import *`, sub-modules are left out: a package that nobody used yet has bound none of those that its
    `__init__` imports from its parent.
    """
    names: dict[str, Any] = {}
    try:
        exec(use.format(top=top), names)
    except (ImportError, AttributeError) as exc:
        return [type(exc).__name__]
    return sorted(
        f"{name} {value.__name__ if isinstance(value, ModuleType) else value}".replace(top, "top")
        for name, value in names.items()
        if name != "__builtins__" and not ("*" in use and isinstance(value, ModuleType))
    )


def contents(module: ModuleType, top: str) -> list[str]:
    """Return the names in a module, without that of its package."""
    return sorted(name.replace(top, "top") for name in vars(module) if name != "__cached__")


@settings(max_examples=40, deadline=None)
@given(
    outer=st.lists(st.sampled_from(STATEMENTS), max_size=4),
    inner=st.lists(
        st.sampled_from(["x = 3", "from .b import x", "from . import b", "from ..a import x"]), max_size=2
    ),
    uses=st.lists(st.sampled_from(USES), min_size=1, max_size=5),
)
def test_users_see_what_they_see_after_an_ordinary_import(
    folder: Path, outer: list[str], inner: list[str], uses: list[str]
) -> None:
    ordinary, deferred = package(folder, outer, inner), package(folder, outer, inner)
    try:
        import_module(f"{ordinary}.inner")
    except ImportError:
        return
    defer_packages((deferred, f"{deferred}.inner"))
    import_module(f"{deferred}.inner.b")
    import_module(f"{ordinary}.inner.b")
    for use in uses:
        assert used(deferred, use) == used(ordinary, use), use
    pairs = [(sys.modules[f"{deferred}{name}"], sys.modules[f"{ordinary}{name}"]) for name in ("", ".inner")]
    assert not any(hasattr(module, "nothing") for pair in pairs for module in pair)  # executes those deferred
    for left, right in pairs:
        assert contents(left, deferred) == contents(right, ordinary)
        assert import_module(left.__name__) is left


def test_a_submodule_is_imported_without_executing_its_packages(folder: Path) -> None:
    top = package(folder, ["1 / 0"], ["1 / 0"])
    defer_packages((top, f"{top}.inner"))
    assert import_module(f"{top}.inner.b").x == "b"


def test_a_package_whose_execution_fails_is_executed_again(folder: Path) -> None:
    top = package(folder, ["import builtins", "x = builtins.deferred_value"], [])
    defer_packages([top])
    module = import_module(top)
    with pytest.raises(AttributeError, match="deferred_value"):
        _ = module.x
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builtins, "deferred_value", 7, raising=False)
        assert module.x == 7


def test_a_package_is_executed_once_by_threads(folder: Path) -> None:
    top = package(folder, ["from .a import x", "import sys", "sys.modules[__name__ + '.a'].times = []"], [])
    (folder / top / "__init__.py").write_text(
        "from .a import x\nfrom . import a\na.times.append(1)\nlast = 1\n"
    )
    (folder / top / "a.py").write_text("x = 'a'\ntimes = []\n")
    invalidate_caches()
    defer_packages([top])
    module, barrier = import_module(top), Barrier(4)

    def read() -> Any:
        barrier.wait()
        return module.last

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda _: read(), range(4))) == [1] * 4
    assert module.a.times == [1]


def test_a_getattr_of_the_package_itself_is_asked(folder: Path) -> None:
    top = package(folder, ["def __getattr__(name):", "    return name + '!'"], [])
    defer_packages([top])
    module = import_module(top)
    assert [module.one, module.two] == ["one!", "two!"]


def test_packages_that_are_imported_or_not_installed_are_left_alone(folder: Path) -> None:
    top = package(folder, ["x = 1"], ["x = 2"])
    ordinary = import_module(f"{top}.inner")
    defer_packages((top, f"{top}.inner", "not_installed_at_all", "not_installed_at_all.inner", f"{top}.a"))
    assert sys.modules[f"{top}.inner"] is ordinary
    assert "__getattr__" not in vars(sys.modules[top])
    assert "not_installed_at_all" not in sys.modules
    assert f"{top}.a" not in sys.modules


def test_models_that_are_defined_meanwhile_are_built_when_they_are_used() -> None:
    """What they accept, refuse and describe is that of a model that was built at once."""

    def node() -> type[BaseModel]:
        class Node(BaseModel):
            value: int
            name: str = "a"

        return Node

    common = dict(BaseModel.model_config)
    with deferred_models():
        deferred = node()
    assert dict(BaseModel.model_config) == common
    ordinary = node()
    assert (deferred.__pydantic_complete__, ordinary.__pydantic_complete__) == (False, True)
    assert deferred.model_json_schema() == ordinary.model_json_schema()
    assert deferred.model_validate({"value": "3"}).model_dump() == {"value": 3, "name": "a"}
    with pytest.raises(ValidationError, match="1 validation error for Node\nvalue\n  Field required"):
        deferred.model_validate({})


def test_a_deferred_model_is_built_by_threads_at_once() -> None:
    for _ in range(20):
        with deferred_models():

            class Leaf(BaseModel):
                value: int

            class Tree(BaseModel):
                leaves: list[Leaf]

        barrier = Barrier(4)

        def read(number: int, tree: type[Tree] = Tree, barrier: Barrier = barrier) -> list[int]:
            barrier.wait()
            return [leaf.value for leaf in tree.model_validate({"leaves": [{"value": number}]}).leaves]

        with ThreadPoolExecutor(4) as threads:
            assert list(threads.map(read, range(4))) == [[0], [1], [2], [3]]


SERVER_ALONE = """
import sys
from pull_logs.cli.tools import make_server
from pull_logs.interface import Sources
make_server(Sources(bundles=("b",)))
assert not {"mcp.client.client", "mcp.server.mcpserver", "cryptography", "numpy", "pandas"} & set(sys.modules)
import mcp, mcp.server
assert isinstance(mcp.Client, type) and isinstance(mcp.server.MCPServer, type)
import mcp.server.lowlevel.server
assert mcp.server.Server is mcp.server.lowlevel.server.Server
names = {}
exec("from mcp import *", names)
assert set(mcp.__all__) <= set(names), set(mcp.__all__) - set(names)
assert "__getattr__" not in vars(mcp) and "__getattr__" not in vars(mcp.server)
"""


def test_a_server_imports_no_clients_and_the_complete_package_is_there_afterwards() -> None:
    subprocess.run([sys.executable, "-c", SERVER_ALONE], check=True)
