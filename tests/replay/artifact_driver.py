"""Asks an unmodified `wandb.Api()` for artifacts and prints what it saw, as JSON.

Nothing of this project is imported. The plan comes as JSON on stdin.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import wandb


def attempt(action: Callable[[], Any]) -> Any:
    try:
        return action()
    except Exception as exc:  # noqa: BLE001 - what the SDK says is what the test looks at
        return {"error": f"{type(exc).__name__}: {exc}"}


def facts(artifact: wandb.Artifact) -> dict[str, Any]:
    return {
        "name": artifact.qualified_name,
        "type": artifact.type,
        "version": artifact.version,
        "aliases": sorted(artifact.aliases),
        "tags": artifact.tags,
        "description": artifact.description,
        "metadata": artifact.metadata,
        "digest": artifact.digest,
        "size": artifact.size,
        "files": artifact.file_count,
        "state": artifact.state,
        "id": artifact.id,
    }


def content(artifact: wandb.Artifact, folder: str) -> dict[str, str]:
    root = Path(artifact.download(root=folder, skip_cache=True))
    return {
        file.relative_to(root).as_posix(): file.read_bytes().hex()
        for file in sorted(root.rglob("*"))
        if file.is_file()
    }


def main() -> None:
    plan = json.load(sys.stdin)
    api, folder = wandb.Api(), plan["folder"]
    run = api.run(plan["run"])
    weights, data = api.artifact(plan["weights"]), api.artifact(plan["data"])
    seen = {
        "version": wandb.__version__,
        "logged": attempt(lambda: [facts(one) for one in run.logged_artifacts()]),
        "used": attempt(lambda: [facts(one) for one in run.used_artifacts()]),
        "weights": facts(weights),
        "data": facts(api.artifact(plan["data"], type="dataset")),
        "entries": {
            path: [entry.size, entry.digest, entry.ref] for path, entry in data.manifest.entries.items()
        },
        "recomputed": weights.digest,
        "downloaded": attempt(lambda: content(weights, f"{folder}/weights")),
        "verified": attempt(lambda: weights.verify(f"{folder}/weights")),
        "one": Path(data.get_entry("train.csv").download(f"{folder}/one")).read_bytes().hex(),
        "file": Path(api.artifact(plan["single"]).file(f"{folder}/single")).read_bytes().hex(),
        # `list` asks for the length, which the SDK answers only where the server reports it.
        "names": attempt(lambda: sorted(file.name for file in list(weights.files()))),
        "lengths": attempt(lambda: [len(list(api.run(plan["run"]).files())), len(weights.files())]),
        "logged_by": weights.logged_by().path,
        "logged_elsewhere": attempt(lambda: data.logged_by().path),
        "logged_by_nobody": attempt(lambda: api.artifact(plan["single"]).logged_by()),
        "used_by": sorted("/".join(user.path) for user in weights.used_by()),
        "types": sorted(kind.name for kind in api.artifact_types(plan["project"])),
        "collections": sorted(
            collection.name for collection in api.artifact_type("model", plan["project"]).collections()
        ),
        "versions": [one.version for one in api.artifacts("model", plan["collection"])],
        "exists": [api.artifact_exists(plan["weights"]), api.artifact_exists(f"{plan['weights']}x")],
        "missing": attempt(lambda: api.artifact(f"{plan['project']}/weight:v0").id),
    }
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    main()
