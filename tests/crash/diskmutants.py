"""Each call that makes something durable, left out; and each renaming, in another order."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from checkout import ROOT
from crashkit import VARIANTS, Judge, Recording
from diskmodel import Disk, RefusedError, State
from diskrecord import Event, Site, changes

DISK = "snapshot/disk.py"
EXCHANGE = "exchange"
_RENAMING = ("rename", "replace", "link", "hardlink_to", "symlink_to")


def _waiting(source: str) -> frozenset[str]:
    """The functions of a module that call `os.fsync`, or one of those that do."""
    functions = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    used = {
        one.name: {node.id for node in ast.walk(one) if isinstance(node, ast.Name)}
        | {node.attr for node in ast.walk(one) if isinstance(node, ast.Attribute)}
        for one in functions
    }
    found, before = {"fsync"}, 0
    while len(found) > before:
        before = len(found)
        found |= {name for name, names in used.items() if names & found}
    return frozenset(found - {"fsync"})


DURABLE = _waiting((ROOT / "pull_logs" / DISK).read_text("utf-8"))
"""The functions of `pull_logs.snapshot.disk` that wait for the disk."""

_MAY_HAVE = re.compile(
    rf"\b({'|'.join(DURABLE)})\b|\bexchange\(|\.(rename|replace|link|hardlink_to)\([a-z_.]+[,)]"
)


@dataclass(frozen=True, order=True)
class Call:
    """A call in the source.

    Attributes:
        module: The module, relative to the package.
        function: The function that makes it.
        name: The function that waits for the disk; or what renames: `exchange`, or a method such as `replace`
            with what it renames.
        first: Its first line, or that of the `with` that it belongs to.
        last: Its last line.
    """

    module: str
    function: str
    name: str
    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.module} {self.function}: {self.name}"

    @property
    def renames(self) -> bool:
        """Whether it gives a file another name."""
        return "." in self.name or self.name == EXCHANGE

    def covers(self, site: Site) -> bool:
        return site[0] == self.module and self.first <= site[1] <= self.last


def calls_in(source: str, module: str) -> Iterator[Call]:
    """The calls that wait for the disk, and those that give a file or folder another name."""
    stack: list[tuple[ast.AST, str, int]] = [(ast.parse(source), "", 0)]
    while stack:
        node, function, start = stack.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            function = node.name
        if isinstance(node, ast.Call):
            first, last = start or node.lineno, node.end_lineno or node.lineno
            for name in _names(node):
                yield Call(module, function, name, first, last)
        # The block of a `with` ends on its first line.
        lines = {id(item): node.lineno for item in node.items} if isinstance(node, ast.With) else {}
        inner = isinstance(node, ast.withitem)
        stack += [
            (child, function, lines.get(id(child), start if inner else 0))
            for child in ast.iter_child_nodes(node)
        ]


def _names(node: ast.Call) -> Iterator[str]:
    """What a call does: also through an executor, whose `submit` and `map` take a function."""
    durable = {word.arg: word.value for word in node.keywords}.get("durable")
    if isinstance(durable, ast.Constant) and durable.value is False:
        return
    for word in (node.func, *node.args):
        if isinstance(word, ast.Name) and word.id in DURABLE:
            yield word.id
    if isinstance(node.func, ast.Name) and node.func.id == EXCHANGE:
        yield EXCHANGE
    if isinstance(node.func, ast.Attribute) and node.func.attr in _RENAMING and not node.keywords:
        of_system = ast.unparse(node.func.value) == "os"
        plain = len(node.args) == (2 if of_system else 1)
        if plain and not isinstance(node.args[0], ast.Constant | ast.Dict):
            yield ast.unparse(node.func)


def calls() -> list[Call]:
    """All of them in the package."""
    package = ROOT / "pull_logs"
    found = set()
    for file in package.rglob("*.py"):
        source = file.read_text("utf-8")
        if _MAY_HAVE.search(source):
            found |= set(calls_in(source, file.relative_to(package).as_posix()))
    return sorted(found)


def without(events: Sequence[Event], call: Call) -> list[Event] | None:
    """The recorded calls if this one waited for nothing; None if it was not made."""
    kept = [one for one in events if one.kind != "fsync" or not any(map(call.covers, one.sites))]
    return kept if len(kept) < len(events) else None


def moved(trace: Sequence[Event], call: Call, *, later: bool) -> list[Event] | None:
    """The recorded calls with a renaming on the other side of its neighbour; None if it has none.

    The neighbour is the nearest wait for the disk, or another call that makes, names, reads or removes one of
    the two names, what is in them or a folder that contains them. Waits that follow each other are one
    neighbour.
    """
    found = list(trace)
    order = range(len(found) - 1, -1, -1) if later else range(len(found))
    step, changed = 1 if later else -1, False
    for at in order:
        event = found[at]
        if event.kind not in ("rename", "link", "exchange") or not _is_made_by(event, call):
            continue
        to = at + step
        while 0 <= to < len(found) and not _is_neighbour(found[to], event, call):
            to += step
        if not 0 <= to < len(found):
            continue
        while found[to].kind == "fsync" and 0 <= to + step < len(found) and found[to + step].kind == "fsync":
            to += step
        found.insert(to, found.pop(at))
        changed = True
    return found if changed else None


def _is_made_by(event: Event, call: Call) -> bool:
    return any(map(call.covers, event.sites[:1]))


def _is_neighbour(other: Event, event: Event, call: Call) -> bool:
    if other.kind == "fsync":
        return True
    if other.kind in ("write", "truncate") or _is_made_by(other, call):
        return False
    return any(
        f"{left}/".startswith(f"{right}/") or f"{right}/".startswith(f"{left}/")
        for left in (event.path, event.target)
        for right in (other.path, other.target)
        if right
    )


def is_refused(recording: Recording, trace: Sequence[Event]) -> bool:
    """Whether the system would refuse one of these calls, so that any test that makes them fails."""
    disk = Disk(recording.before, recording.operation.copied)
    try:
        for event in trace:
            disk.apply(event)
    except RefusedError:
        return True
    return False


def mutants(trace: Sequence[Event], call: Call) -> dict[str, list[Event]]:
    """The recorded calls as they would be if the call in the source were left out, or in another order."""
    if call.renames:
        made = {"earlier": moved(trace, call, later=False), "later": moved(trace, call, later=True)}
    else:
        made = {"without": without(trace, call)}
    return {how: changed for how, changed in made.items() if changed is not None}


def failing_state(
    judge: Judge, trace: Sequence[Event], *, most_reruns: int = 0, every: int = 1
) -> State | None:
    """The first state that is wrong, of every n-th; None if none is.

    Commands are run again only if nothing is wrong without that, and at most so many.
    """
    events = changes(trace)
    count = (len(events) + 1) * VARIANTS
    for state in judge.recording.states(events, range(0, count, every)):
        if judge.problem(state, rerun=False):
            return state
    # Before the first call that is missing or moved, the states are those of the source.
    pairs = enumerate(zip(events, judge.recording.events, strict=False))
    first = next((at for at, (left, right) in pairs if left is not right), len(events)) * VARIANTS
    limit = judge.reruns + most_reruns
    soon = min(first + 8 * VARIANTS, count)
    again = [*range(first, soon, 2), *range(soon, count, max(1, (count - soon) // 400))]
    for state in judge.recording.states(events, again):
        if judge.reruns >= limit:
            break
        if judge.problem(state):
            return state
    return None
