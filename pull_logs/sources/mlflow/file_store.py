"""MLflow's file store: `mlruns/EXPERIMENT/RUN/` with `meta.yaml`, `params/`, `metrics/` and `tags/`.

A file of `metrics/` has one line per value: the time in milliseconds, the number, and the step.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pull_logs.errors import DamageError
from pull_logs.sources.local_files import CopiedFiles
from pull_logs.sources.mlflow.artifacts import local_artifacts
from pull_logs.sources.mlflow.stores import StoredRun, Value

if TYPE_CHECKING:
    from pull_logs.snapshot import FileSelection

_META = "meta.yaml"
_STATUSES: Mapping[Any, str] = {1: "RUNNING", 2: "SCHEDULED", 3: "FINISHED", 4: "FAILED", 5: "KILLED"}


def experiments_at(path: Path) -> list[Path]:
    """Return the folders of the experiments of a store, of one experiment, or of the experiment of a run.

    Raises:
        OSError: The folder cannot be read.
    """
    if not path.is_dir():
        return []
    for top in (path, path / "mlruns"):
        meta = _meta(top)
        if "experiment_id" in meta and "run_id" not in meta and "run_uuid" not in meta:
            return [top]
        if not top.is_dir():
            continue
        found = [
            folder for folder in sorted(top.iterdir()) if folder.is_dir() and "experiment_id" in _meta(folder)
        ]
        found = [folder for folder in found if "run_id" not in _meta(folder)]
        if found:
            return found
    return []


def run_at(path: Path) -> list[Path]:
    """Return a path if it is the folder of one run."""
    meta = _meta(path)
    return [path] if "run_id" in meta or "run_uuid" in meta else []


def _meta(folder: Path) -> dict[str, Any]:
    """Return the content of `meta.yaml`; empty without one that is a mapping."""
    import yaml

    try:
        text = (folder / _META).read_text(encoding="utf-8")
        found = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}


@dataclass(slots=True)
class FileStore:
    """A file store; see `Store`.

    Attributes:
        path: The store, an experiment of it, or a run of it.
    """

    path: Path
    _folders: dict[str, Path] = field(default_factory=dict)
    _lost: dict[str, list[str]] = field(default_factory=dict)

    version = None

    def runs(self) -> tuple[list[StoredRun], int]:
        """Return the runs that are not deleted, and the number of those that are.

        Raises:
            DamageError: A run has no valid `meta.yaml`.
        """
        found: list[StoredRun] = []
        deleted = 0
        for folder, experiment in self._run_folders():
            meta = _meta(folder)
            run_id = str(meta.get("run_id") or meta.get("run_uuid") or "")
            if not run_id:
                raise DamageError(
                    f"the run {folder.name!r} has no valid {_META}",
                    hint="restore the file, or remove the run",
                )
            if meta.get("lifecycle_stage") == "deleted" or experiment.get("lifecycle_stage") == "deleted":
                deleted += 1
                continue
            self._folders[run_id] = folder
            found.append(_stored_run(folder, meta, str(experiment.get("name", folder.parent.name))))
        return sorted(found, key=lambda run: (run.started or 0, run.run_id)), deleted

    def _run_folders(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        if alone := run_at(self.path):
            yield alone[0], _meta(alone[0].parent)
            return
        for experiment in experiments_at(self.path):
            for folder in sorted(experiment.iterdir()):
                if folder.is_dir() and (folder / _META).is_file() and not (folder / "traces").is_dir():
                    yield folder, _meta(experiment)

    def values(self, run: StoredRun) -> Iterator[Value]:
        """Yield all values of a run, by step."""
        lost = self._lost[run.run_id] = []
        found = [
            value
            for key, file in _files(self._folders[run.run_id] / "metrics")
            for value in _metric_values(key, file, lost)
        ]
        yield from sorted(found, key=lambda value: (value.step, value.time, value.key))

    def promised(self, run: StoredRun) -> None:  # noqa: ARG002 - see Store
        """Return nothing: a file store does not say how many values it has."""
        return

    def lost(self, run: StoredRun) -> list[str]:
        """Return the lines that are not valid."""
        return self._lost.get(run.run_id, [])

    def artifacts(self, run: StoredRun, selection: FileSelection, scratch: Path) -> CopiedFiles:
        """Copy the selected artifacts of a run from its folder, or from where its facts say that they are."""
        return local_artifacts(run, self._folders[run.run_id].resolve().parent.parent, selection, scratch)


def _stored_run(folder: Path, meta: Mapping[str, Any], experiment: str) -> StoredRun:
    run_id = str(meta.get("run_id") or meta.get("run_uuid"))
    tags = _texts(folder / "tags")
    status = meta.get("status")
    return StoredRun(
        run_id=run_id,
        name=str(meta.get("run_name") or tags.get("mlflow.runName") or run_id),
        experiment=experiment,
        status=_STATUSES.get(status, str(status)),
        started=_time(meta.get("start_time")),
        ended=_time(meta.get("end_time")),
        user=str(meta.get("user_id") or "") or None,
        params=_texts(folder / "params"),
        tags=tags,
        artifacts=str(meta.get("artifact_uri") or f"{folder.resolve().parent.name}/{run_id}/artifacts"),
    )


def _time(value: object) -> int | None:
    return value if type(value) is int else None


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files of a folder, by their names, which may have slashes."""
    for top, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            path = Path(top) / name
            yield path.relative_to(folder).as_posix(), path


def _texts(folder: Path) -> dict[str, str]:
    return {name: path.read_text(encoding="utf-8", errors="replace") for name, path in _files(folder)}


def _metric_values(key: str, file: Path, lost: list[str]) -> Iterator[Value]:
    """Yield the values of a file; a line that is not valid is added to `lost`."""
    text = file.read_text(encoding="utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        parts = line.split()
        try:
            # Versions before 1.0 wrote no step.
            value = Value(key, int(parts[2]) if len(parts) > 2 else 0, int(parts[0]), float(parts[1]))
        except (ValueError, IndexError):
            lost.append(
                f"metrics/{key}, line {number}: {line.strip()[:60]!r} is not a time, a number and a step"
            )
            continue
        if not line.endswith("\n"):
            lost.append(f"metrics/{key}, line {number}: the last line is torn off")
            continue
        yield value
