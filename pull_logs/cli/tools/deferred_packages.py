"""Parts of the packages of a server that are made when they are first used, not when they are imported.

`mcp/__init__` and `mcp/server/__init__` import clients, a second server and their libraries, which take a
third of the time in which a server starts and are not used by it. `importlib.util.LazyLoader` cannot leave
them out, as the import of a sub-module uses an attribute of its package and so executes it.

The types of the protocol are hundreds of pydantic models in three versions. A session uses a few of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec, module_from_spec
from threading import RLock
from types import ModuleType
from typing import Any


def defer_packages(names: Iterable[str]) -> None:
    """Make packages importable without executing their `__init__`.

    Each package is complete for whoever uses it: a name that is missing from it executes its `__init__`,
    once, in the same module (PEP 562). A package that is imported already, or that is not installed, is left
    as it is.

    Args:
        names: The names of the packages, each after its parent.
    """
    for name in names:
        if name not in sys.modules:
            _defer(name)


def _defer(name: str) -> None:
    parent, _, child = name.rpartition(".")
    if parent and parent not in sys.modules:
        return
    spec = find_spec(name)
    if spec is None or spec.loader is None or spec.submodule_search_locations is None:
        return
    package = module_from_spec(spec)
    package.__dict__["__getattr__"] = _missing_name(package, spec.loader.exec_module)
    sys.modules[name] = package
    if parent:
        setattr(sys.modules[parent], child, package)


def _missing_name(package: ModuleType, execute: Callable[[ModuleType], object]) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package that is not executed yet."""
    lock, executing = RLock(), False

    def find(name: str) -> Any:
        nonlocal executing
        with lock:
            members = package.__dict__
            if members.get("__getattr__") is find and not executing:
                executing = True
                try:
                    execute(package)
                finally:
                    executing = False
                if members.get("__getattr__") is find:
                    del members["__getattr__"]
            if name in members:
                return members[name]
        if "__getattr__" in members and members["__getattr__"] is not find:
            return members["__getattr__"](name)
        raise AttributeError(f"module {package.__name__!r} has no attribute {name!r}", name=name, obj=package)

    return find


@contextmanager
def deferred_models() -> Iterator[None]:
    """Build the validators of pydantic models that are defined meanwhile when a model is first used.

    Models inherit `defer_build` of pydantic's configuration from their bases, so that setting it at their
    common base is enough. A model is the same once it is used. Without pydantic nothing happens.
    """
    try:
        from pydantic import BaseModel
    except ImportError:
        yield
        return
    common = BaseModel.model_config
    BaseModel.model_config = common | {"defer_build": True}
    try:
        yield
    finally:
        BaseModel.model_config = common
