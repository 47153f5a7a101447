"""Messages about what the bundles do not hold: what was requested, which names are near, how to add it.

The SDK shows the message of a GraphQL error to its user, so the reader of a failed test finds the next
command in it.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterable, Sequence
from itertools import islice

from pull_logs.errors import NotFoundError, ProjectNotFoundError, PullLogsError, RunNotFoundError
from pull_logs.runs import RunPath
from pull_logs.suggestions import did_you_mean, listed

_LOG = logging.getLogger("pull_logs.replay")

_MOST_BUNDLES = 3
_MOST_NOTES = 8

HELD = "runs with their config, summary, history, system metrics, console logs, metadata, files and artifacts"


class NotInBundleError(PullLogsError):
    """A kind of data that the bundle of a run does not have, whatever name it is requested by."""


def run_missing(
    path: RunPath, *, subject: str, runs: Sequence[RunPath], named: RunPath | None, imported: bool
) -> NotFoundError:
    """Return the error for a run that no bundle holds.

    Args:
        path: The requested run.
        subject: The bundles, as `of_bundles` describes them.
        runs: The runs of its project.
        named: A run of the project whose display name is the requested id.
        imported: Whether the runs of the project are on no server (see `Catalog.imported`).
    """
    if named is not None:
        near = f"but {str(named)!r} has that display name: request it by its id"
    elif not runs:
        near = "and no other run of that project"
    else:
        near = _near(path.run_id, [run.run_id for run in runs])
    hint = _hint(f"-r {shlex.quote(str(path))}", imported=imported)
    return _logged(RunNotFoundError(f"{subject} no run {str(path)!r}, {near}", hint=hint))


def project_missing(
    entity: str, name: str, *, subject: str, projects: Iterable[str], imported: bool
) -> NotFoundError:
    """Return the error for a project that no bundle holds; `projects` has the others, as `entity/project`."""
    project = f"{entity}/{name}"
    near = _near(project, sorted(projects))
    hint = _hint(f"-p {shlex.quote(project)}", imported=imported)
    return _logged(ProjectNotFoundError(f"{subject} no project {project!r}, {near}", hint=hint))


def entity_missing(name: str, *, subject: str, entities: Iterable[str], imported: bool) -> NotFoundError:
    """Return the error for an entity that has no run in the bundles."""
    near = _near(name, sorted(entities))
    hint = _hint(f"-p {shlex.quote(name)}/PROJECT", imported=imported)
    return _logged(NotFoundError(f"{subject} no run of entity {name!r}, {near}", hint=hint))


def sweep_missing(
    project: str, name: str, *, subject: str, sweeps: Iterable[str], imported: bool
) -> NotFoundError:
    """Return the error for a sweep that has no run in the bundles."""
    sweep = f"{project}/{name}"
    near = _near(name, sorted(sweeps))
    hint = _hint(f"--sweep {shlex.quote(sweep)}", imported=imported)
    return _logged(NotFoundError(f"{subject} no run of sweep {sweep!r}, {near}", hint=hint))


def files_missing(
    path: RunPath, names: Sequence[str], *, subject: str, files: Sequence[str], pointers: str | None
) -> NotFoundError:
    """Return the error for files requested by name, none of which the run has in its bundle.

    Args:
        path: The run.
        names: The requested names.
        subject: The bundles, as `of_bundles` describes them.
        files: The names of its files.
        pointers: For a run that is on no server, which of its values point to missing files.
    """
    near = _near(names[0], files)
    if pointers is None:
        hint = _download_hint(path, f"--files {shlex.quote(names[0])}", "it")
    else:
        command = f"pull-logs import RUN_DIR --files {shlex.quote(names[0])}"
        left = f"; the bundle lacks those of {pointers}" if pointers else ""
        hint = f"`{command}` copies files of the run folder{left}"
    return _logged(
        NotFoundError(f"{subject} no file {listed(names)} of run {str(path)!r}, {near}", hint=hint)
    )


def _download_hint(path: RunPath, option: str, what: str) -> str:
    """Return the advice to download what a bundle lacks of a run."""
    command = f"pull-logs fetch -r {shlex.quote(str(path))} {option} -o more.wandb.zip"
    return f"`{command}` downloads {what}, to be merged into this bundle"


def console_missing(path: RunPath, *, subject: str, imported: bool) -> NotFoundError:
    """Return the error for a console log that was requested of a bundle without any."""
    if imported:
        hint = "`pull-logs import RUN_DIR -o more.wandb.zip` copies that of a run folder which has one"
    else:
        hint = _download_hint(path, "--console", "that of the run")
    return NotFoundError(f"{subject} no console logs", hint=hint)


def artifacts_missing(path: RunPath, *, subject: str, imported: bool) -> NotInBundleError:
    """Return the error for artifacts that were requested of a bundle without any."""
    if imported:
        hint = "`pull-logs import RUN_DIR --artifacts logged -o more.wandb.zip` copies those of a run folder"
    else:
        hint = _download_hint(path, "--artifacts all", "those of the run")
    return NotInBundleError(f"{subject} no artifacts", hint=hint)


def artifact_missing(project: str, name: str, *, subject: str, names: Sequence[str]) -> NotFoundError:
    """Return the error for an artifact that no run of the bundles logged or used."""
    near = _near(name, names)
    hint = "`pull-logs fetch --artifacts all` of a run that logged or used it downloads it"
    return _logged(NotFoundError(f"{subject} no artifact {f'{project}/{name}'!r}, {near}", hint=hint))


def artifact_bytes_missing(artifact: str, entry: str, *, subject: str) -> NotFoundError:
    """Return the error for a file of an artifact of which a bundle has only the entry."""
    hint = "`pull-logs fetch --artifacts all` of a run that logged or used it downloads it"
    return _logged(NotFoundError(f"{subject} no bytes of file {entry!r} of artifact {artifact!r}", hint=hint))


def field_missing(field: str, kind: str) -> str:
    """Return the message for a field of W&B's schema that no bundle can answer."""
    return (
        f"Cannot query field {field!r} on type {kind!r}: this server replays a bundle, which holds {HELD}; "
        "for anything else use W&B itself, or replace this call in the test"
    )


def note_unknown_keys(path: RunPath, keys: Iterable[str], known: Iterable[str]) -> None:
    """Log each requested metric that no row of the run has.

    W&B answers such a request with no rows, and so does the server.
    """
    names = frozenset(known)
    unknown = (key for key in keys if key not in names)
    for key in islice(unknown, _MOST_NOTES):
        _LOG.warning("run %r has no metric %r, %s", str(path), key, _near(key, sorted(names)))


def of_bundles(names: Sequence[str]) -> str:
    """Return the beginning of a message about something missing: the bundles by their file names."""
    if not names:
        return "there is no bundle yet: it has"
    if len(names) == 1:
        return f"the bundle {names[0]!r} has"
    return f"the {len(names)} bundles ({listed(names, most=_MOST_BUNDLES)}) have"


def _near(requested: str, known: Sequence[str]) -> str:
    """Return the names most like the requested one, or the first of all names where none is like it."""
    return did_you_mean(requested, known, otherwise=f"it has {listed(known)}" if known else "and none at all")


def _hint(source: str, *, imported: bool) -> str:
    if imported:
        return (
            "it holds runs that were imported and are on no server: "
            "`pull-logs import RUN_DIR -o more.wandb.zip` imports another, to be served with this bundle or "
            "merged into it"
        )
    return (
        f"`pull-logs fetch {source} -o more.wandb.zip` downloads it, to be served with this bundle "
        "or merged into it"
    )


def _logged(error: NotFoundError) -> NotFoundError:
    _LOG.warning("%s", error.message)
    return error
