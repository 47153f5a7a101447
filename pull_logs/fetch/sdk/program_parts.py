"""What the SDK reads of a run besides its rows: files, console log and artifacts (see `program`)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Any

LINES_IN_A_PART = 500

_CHANGED = frozenset({"history_step"})
"""The facts of artifacts of which the property is not what W&B reports."""

Answer = Iterator[dict[str, Any]]


def files(run: Any, names: list[str] | None) -> Answer:
    """Answer with the files of a run, all of them or those with these names."""
    for file in run.files(names=names or []):
        yield {
            "file": {
                "name": file.name,
                "sizeBytes": file.size,
                "md5": getattr(file, "md5", None),
                "mimetype": getattr(file, "mimetype", None),
            }
        }


def download(run: Any, name: str, folder: str) -> Answer:
    """Download a file of a run below a folder, and answer with its path."""
    for file in run.files(names=[name]):
        if file.name == name:
            with file.download(root=folder, replace=True) as opened:
                yield {"file": opened.name}
            return
    raise FileNotFoundError("it is no longer listed")


def console(run: Any) -> Answer:
    """Answer with the lines of the console log of a run.

    Raises:
        NotImplementedError: This release of the SDK does not read console logs.
    """
    if not hasattr(run, "console_logs"):
        raise NotImplementedError("the SDK reads console logs from release 0.29 on")
    lines = (line for line in run.console_logs())  # it starts over at each `iter`
    while part := list(islice(lines, LINES_IN_A_PART)):
        yield {"lines": list(map(_line, part))}


def _line(line: Any) -> dict[str, Any]:
    moment = line.timestamp
    return {
        "number": line.number,
        "timestamp": None if moment is None else moment.replace(tzinfo=None).isoformat(),
        "level": line.level,
        "label": line.label,
        "line": line.content,
    }


def artifacts(run: Any, *, used: bool) -> Answer:
    """Answer with the artifacts that a run logged or used, under the names of W&B's type `Artifact`."""
    for artifact in run.used_artifacts() if used else run.logged_artifacts():
        yield {"artifact": _artifact(artifact, used=used)}


def _artifact(artifact: Any, *, used: bool) -> dict[str, Any]:
    collection, _, version = artifact.source_name.partition(":v")
    owner = _project(artifact.source_entity, artifact.source_project)
    algorithm = getattr(artifact, "digest_algorithm", None)
    return {
        "id": artifact.id,
        "artifactSequence": {"name": collection, "project": owner},
        "versionIndex": int(version),
        "artifactType": {"name": artifact.type},
        "description": _fact(artifact, "description"),
        "metadata": artifact.metadata or None,
        "tags": [{"name": tag} for tag in artifact.tags],
        "aliases": [{"alias": alias} for alias in artifact.aliases],
        "historyStep": _fact(artifact, "history_step"),
        "state": artifact.state,
        "size": _fact(artifact, "size"),
        "digest": _fact(artifact, "digest"),
        "digestAlgorithm": getattr(algorithm, "value", algorithm),
        "commitHash": _fact(artifact, "commit_hash"),
        "fileCount": _fact(artifact, "file_count"),
        "createdAt": _fact(artifact, "created_at"),
        "updatedAt": _fact(artifact, "updated_at"),
        "createdBy": _creator(artifact) if used else None,
    }


def _fact(artifact: Any, name: str) -> Any:
    """Return a fact as W&B reports it; None where W&B reports nothing, or the SDK only something else.

    The private attribute has it. The property raises where W&B reports nothing, and that of the step gives
    the step before, which is not the reported one: it is left out rather than guessed.
    """
    with suppress(Exception):
        if hasattr(artifact, f"_{name}"):
            return getattr(artifact, f"_{name}")
        return None if name in _CHANGED else getattr(artifact, name)
    return None


def _creator(artifact: Any) -> dict[str, Any] | None:
    """Return the run that logged an artifact; None where the SDK, which loads the run, cannot do that."""
    with suppress(Exception):
        return _run(artifact.logged_by())
    return None


def _run(run: Any) -> dict[str, Any] | None:
    if run is None:
        return None
    return {"__typename": "Run", "name": run.id, "project": _project(run.entity, run.project)}


def _project(entity: str, name: str) -> dict[str, Any]:
    return {"name": name, "entity": {"name": entity}}


def query(api: Any, text: str, variables: dict[str, Any]) -> Answer:
    """Answer with the data of a GraphQL query, which the SDK sends.

    Raises:
        NotImplementedError: This release of the SDK has no such method, which is not documented.
    """
    send = getattr(getattr(api, "_service_api", None), "execute_graphql", None)
    if send is None:
        raise NotImplementedError("this release of the SDK sends no queries of others")
    yield {"data": send(text, variables)}


def manifest(api: Any, artifact: str, file: str) -> Answer:
    """Write the manifest of an artifact to a file."""
    content = api.artifact(artifact).manifest.to_manifest_json()
    with open(file, "w", encoding="ascii") as out:  # noqa: PTH123 - a path as text is all that is needed
        json.dump(content, out)
    yield {"file": file}


def entry(api: Any, artifact: str, path: str, folder: str) -> Answer:
    """Download a file of an artifact below a folder, and answer with its path."""
    found = api.artifact(artifact).get_entry(path)
    yield {"file": str(found.download(root=folder, skip_cache=True))}
