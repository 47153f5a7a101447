"""What the server says of what the bundles do not hold: what was asked, what is near, how to add it.

The SDK shows the message of a GraphQL error to its user, so that whoever reads
a failed test finds the next command in it.
"""

from __future__ import annotations

import difflib
import logging
import shlex
from collections.abc import Iterable, Sequence
from itertools import islice

from pull_logs.errors import NotFoundError, ProjectNotFoundError, RunNotFoundError
from pull_logs.runs import RunPath

_LOG = logging.getLogger("pull_logs.replay")

_NEAREST = 3
_CLOSE = 0.6
_COMPARED = 200
"""Characters of an asked-for name that are compared with others; the rest only costs time."""

HELD = "runs with their config, summary, history, system metrics, metadata and files"


def run_missing(path: RunPath, *, held: str, runs: Sequence[RunPath], named: RunPath | None) -> NotFoundError:
    """The error for a run that is not there.

    Args:
        path: What was asked for.
        held: The bundles, as `of_bundles` says it.
        runs: The runs of its project.
        named: A run of the project that has the asked-for id as its display name.
    """
    if named is not None:
        near = f"but {str(named)!r} has that display name: ask for it by its id"
    else:
        near = _near(path.run_id, [run.run_id for run in runs], what=f"of the project's {len(runs)}")
    return _told(
        RunNotFoundError(f"{held} no run {str(path)!r}, {near}", hint=_adding(f"-r {shlex.quote(str(path))}"))
    )


def project_missing(entity: str, name: str, *, held: str, projects: Iterable[str]) -> NotFoundError:
    """The error for a project that is not there; `projects` are those that are, as `entity/project`."""
    asked, known = f"{entity}/{name}", sorted(projects)
    near = _near(asked, known, what=f"of its {len(known)}")
    return _told(
        ProjectNotFoundError(f"{held} no project {asked!r}, {near}", hint=_adding(f"-p {shlex.quote(asked)}"))
    )


def entity_missing(name: str, *, held: str, entities: Iterable[str]) -> NotFoundError:
    """The error for an entity of which nothing is there."""
    known = sorted(entities)
    near = _near(name, known, what=f"of its {len(known)}")
    adding = _adding(f"-p {shlex.quote(name)}/PROJECT")
    return _told(NotFoundError(f"{held} nothing of entity {name!r}, {near}", hint=adding))


def sweep_missing(project: str, name: str, *, held: str, sweeps: Iterable[str]) -> NotFoundError:
    """The error for a sweep of which no run is there."""
    asked, known = f"{project}/{name}", sorted(sweeps)
    near = _near(name, known, what=f"of the project's {len(known)}")
    adding = _adding(f"--sweep {shlex.quote(asked)}")
    return _told(NotFoundError(f"{held} no run of sweep {asked!r}, {near}", hint=adding))


def files_missing(path: RunPath, names: Sequence[str], *, held: str, files: Sequence[str]) -> NotFoundError:
    """The error for files that were named, none of which is there."""
    asked = ", ".join(map(repr, names[:_NEAREST]))
    near = _near(names[0], files, what=f"of the run's {len(files)}")
    command = f"pull-logs fetch -r {shlex.quote(str(path))} --files {shlex.quote(names[0])} -o more.wandb.zip"
    return _told(
        NotFoundError(
            f"{held} no file {asked} of run {str(path)!r}, {near}",
            hint=f"`{command}` pulls it, to be merged into this",
        )
    )


def field_missing(field: str, kind: str) -> str:
    """What is said of a field of W&B's schema that no bundle can answer."""
    return (
        f"Cannot query field {field!r} on type {kind!r}: this server replays a bundle, which holds {HELD}; "
        "for anything else ask W&B itself, or replace this call in the test"
    )


def note_unknown_keys(path: RunPath, keys: Iterable[str], known: Iterable[str]) -> None:
    """Log the metrics that were asked for and that no row of the run has.

    W&B answers such a question with no rows, and so does the server.
    """
    names = list(known)
    for key in keys:
        if key not in names:
            near = _near(key, names, what=f"of its {len(names)}")
            _LOG.warning("run %r has no metric %r, %s", str(path), key, near)


def of_bundles(names: Sequence[str]) -> str:
    """The subject of a miss: the bundles by their file names."""
    if not names:
        return "there is no bundle yet: it has"
    if len(names) == 1:
        return f"the bundle {names[0]!r} has"
    return f"the {len(names)} bundles ({_listed(names)}) have"


def _near(asked: str, known: Sequence[str], *, what: str) -> str:
    """What is held that is like what was asked for, else the first of all there is."""
    near = difflib.get_close_matches(asked[:_COMPARED], known, n=_NEAREST, cutoff=_CLOSE)
    if near:
        return f"the nearest {what} {'is' if len(near) == 1 else 'are'} {_listed(near)}"
    return f"it has {_listed(known)}" if known else "and none at all"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, islice(names, _NEAREST)))
    return shown if len(names) <= _NEAREST else f"{shown} and {len(names) - _NEAREST} more"


def _adding(source: str) -> str:
    return f"`pull-logs fetch {source} -o more.wandb.zip` pulls it, to be served beside or merged into this"


def _told(error: NotFoundError) -> NotFoundError:
    _LOG.warning("%s", error.message)
    return error
