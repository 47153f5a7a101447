"""The objects in a pickle that are not built, and the calls that loading it would make.

Some functions are in harmless pickles and in attacks alike; what they would do with their arguments decides.
Python 3.11.0 to 3.11.3 pickle a member of an enum as `getattr(Class, "NAME")`, and all versions pickle bound
methods, and before protocol 4 also classes inside classes, in this form.
"""

from __future__ import annotations

from dataclasses import dataclass

from pull_logs.sources.checkpoints.pickle_globals import (
    is_class_name,
    is_dangerous,
    is_dangerous_global,
    is_special,
)

_CALLED_METHODS = frozenset({"__call__", "__getitem__", "__contains__", "__len__", "__iter__", "__next__"})
"""Special methods that give no access to other objects."""

_PURE = ("operator.", "_operator.")


@dataclass(slots=True, eq=False)
class Inert:
    """A placeholder for an object that loading the pickle would import, call or fetch.

    Attributes:
        name: The dotted name of the global; empty for a persistent object.
        args: The arguments of the call; None for the global itself.
        state: The argument of its `__setstate__`.
        items: The items set by key (subclasses of dict).
        elements: The appended elements (subclasses of list).
    """

    name: str
    args: object = None
    state: object = None
    items: dict[object, object] | None = None
    elements: list[object] | None = None


@dataclass(slots=True, eq=False)
class Judged(Inert):
    """A function that is dangerous only with some arguments."""


@dataclass(slots=True, eq=False)
class Attribute(Inert):
    """The result of `getattr`.

    Attributes:
        of_class: Whether it is a member of a class by its name, so that calling it builds an object. What a
            call of another attribute does is unknown: `Thread(...).start`.
    """

    of_class: bool = False


def judged(target: Judged, args: object) -> Inert | str:
    """Return the result of a call of a function that is judged by its arguments.

    Returns:
        The placeholder of the result, or the dotted name of what the call would reach, to be refused.
    """
    if target.name == "functools.reduce":
        function = args[0] if isinstance(args, tuple) and args else None
        pure = type(function) is Inert and function.args is None and function.name.startswith(_PURE)
        return Inert(target.name, args) if pure else target.name
    if not isinstance(args, tuple) or len(args) != 2 or not isinstance(args[1], str):
        return target.name
    return _attribute(args[0], args[1])


def _attribute(owner: object, name: str) -> Attribute | str:
    if isinstance(owner, Inert) and owner.name and owner.args is None and owner.state is None:
        dotted = f"{owner.name}.{name}"
        module, _, last = owner.name.rpartition(".")
        if is_dangerous(dotted) or is_dangerous_global(module, f"{last}.{name}"):
            return dotted
        return Attribute(dotted, of_class=is_class_name(last))
    of = owner.name if isinstance(owner, Inert) else type(owner).__name__
    dotted = f"{of}().{name}"
    return dotted if is_special(name) and name not in _CALLED_METHODS else Attribute(dotted)


def reaches_unknown(target: object, *, builds: bool = False) -> str | None:
    """Return the name of an attribute that a call runs although it is unknown; None if there is none.

    Args:
        target: What is called: an attribute, or a `functools.partial` of one.
        builds: Whether only the `__new__` of the target is called, which needs a class.
    """
    if isinstance(target, Judged):
        return target.name
    if isinstance(target, Attribute):
        return None if builds or target.of_class else target.name
    if isinstance(target, Inert) and target.name == "functools.partial":
        for held in (target.args, target.state):
            function = held
            while isinstance(function, tuple) and function:
                function = function[0]
            if isinstance(function, Inert) and (found := reaches_unknown(function)) is not None:
                return found
    return None
