"""Files of metrics as a source: `metrics.csv`, `metrics.jsonl`, `trainer_state.json`, and others by name.

A file is a run. Its name is that of its folder, or of the file if the file has a name of its own; its project
is the folder above. Checkpoints of one training have the same run, of which the latest is taken.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pull_logs.errors import DataError, FileMissingError
from pull_logs.runs import Coverage, RunInfo
from pull_logs.snapshot import BundleRun
from pull_logs.sources.metric_files.parsing import STEP_NAMES, ParsedFile, parse_file, shown
from pull_logs.sources.row_batches import merged_batches
from pull_logs.sources.stored_rows import store_rows
from pull_logs.sources.times import utc_time
from pull_logs.sources.tracked_runs import Origin, ReadOptions, TrackedRun, state_of_torn
from pull_logs.suggestions import counted

NAME = "metric-files"
_STATE = "trainer_state.json"
_FOUND = frozenset({"metrics.csv", "metrics.jsonl", "metrics.ndjson", _STATE})
"""The names of files that are found in folders; others are named themselves."""

_CHECKPOINT = re.compile(r"checkpoint-(\d+)")
_SETTINGS = "hparams.yaml"
_MOST_HEADER = 2**16


@dataclass(frozen=True, slots=True)
class FileRun:
    """A file of metrics, not yet read.

    Attributes:
        file: The file.
        project: The name of the folder above the run.
        name: The name of the run.
        older: The number of earlier checkpoints of the same training.
    """

    file: Path
    project: str
    name: str
    older: int = 0

    def read(self, scratch: Path, options: ReadOptions) -> TrackedRun:
        """Read it; see `FoundRun.read`.

        Raises:
            DataError: A line is not valid.
        """
        parsed = parse_file(self.file)
        rows = store_rows(merged_batches(parsed.rows), scratch / "rows")
        run = BundleRun(
            info=self._info(parsed, rows.last, options),
            coverage=Coverage(
                received_rows=rows.rows,
                received_last_step=rows.last_step,
                complete=not parsed.torn,
                reason=parsed.torn,
            ),
            batches=rows.batches,
        )
        notes = [parsed.torn] if parsed.torn else []
        if self.older:
            notes.append(f"{counted(self.older, 'earlier checkpoint')} of the same training were left out")
        return TrackedRun(run, tuple(f"{run.info.path}: {note}" for note in notes))

    def _info(self, parsed: ParsedFile, last: Mapping[str, Any], options: ReadOptions) -> RunInfo:
        times = [time for row in parsed.rows if isinstance(time := row.get("_timestamp"), (int, float))]
        return RunInfo(
            path=options.path(self.project, self.name),
            name=self.name,
            state=state_of_torn(torn=bool(parsed.torn)),
            created_at=utc_time(min(times, default=None)),
            heartbeat_at=utc_time(max(times, default=None)),
            config={**_settings(self.file.with_name(_SETTINGS)), **parsed.config},
            summary=last,
            metadata=Origin(NAME, None, self.name, {"format": parsed.format}).as_metadata(),
        )


def _settings(file: Path) -> dict[str, Any]:
    """Return the hyperparameters that Lightning writes beside `metrics.csv`.

    Raises:
        DataError: The file is not valid.
    """
    import yaml

    if not file.is_file():
        return {}
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
        return json.loads(json.dumps(found)) if isinstance(found, dict) else {}
    except (yaml.YAMLError, ValueError, TypeError) as exc:
        line = getattr(getattr(exc, "problem_mark", None), "line", None)
        where = "" if line is None else f", line {line + 1}"
        raise DataError(
            f"{shown(file)!r}{where} is not plain YAML",
            hint="remove what is not a number, a text, a list or a mapping",
        ) from exc


class MetricFiles:
    """The kind of source; see `RemoteTracker`."""

    name = NAME
    beside = frozenset({_SETTINGS})

    def reads(self, name: str) -> bool:
        """Return whether a file is one of those that are found in folders."""
        return name in _FOUND

    def recognizes(self, location: str) -> bool:
        """Return whether there are files of metrics at a path."""
        return any(_files(Path(location)))

    def find(self, location: str) -> Sequence[FileRun]:
        """Return the runs at a path, by project and name.

        Raises:
            FileMissingError: There is none.
        """
        path = Path(location)
        files = [path] if path.is_file() else list(_files(path))
        if not files:
            raise FileMissingError(
                f"no file of metrics in {location!r}",
                hint=f"name a file, or a folder above {', '.join(sorted(_FOUND))}",
            )
        runs: dict[tuple[Path, str], list[FileRun]] = {}
        for file in files:
            folder, run = _run_of(file)
            runs.setdefault((folder, run.name), []).append(run)
        return [_latest(found) for _, found in sorted(runs.items())]


def _files(path: Path) -> Iterator[Path]:
    """Yield the files of metrics at and below a path."""
    if path.is_file():
        if _has_steps(path):
            yield path
        return
    for top, folders, files in os.walk(path):
        folders.sort()
        for name in sorted(_FOUND.intersection(files)):
            if _has_steps(file := Path(top) / name):
                yield file


def _has_steps(file: Path) -> bool:
    """Return whether the start of a file has a step, in the form that its name promises."""
    with file.open("rb") as source:
        start = source.read(_MOST_HEADER).decode("utf-8-sig", errors="replace")
    if file.suffix == ".json":
        return file.name == _STATE
    line = start.partition("\n")[0].strip()
    if file.suffix in (".jsonl", ".ndjson"):
        try:
            found = json.loads(line)
        except ValueError:
            return False
        return isinstance(found, dict) and any(name in found for name in STEP_NAMES)
    return file.suffix == ".csv" and bool({name.strip('"') for name in line.split(",")} & set(STEP_NAMES))


def _run_of(file: Path) -> tuple[Path, FileRun]:
    """Return the run of a file, and the folder above it."""
    resolved = file.resolve()
    if resolved.name not in _FOUND:
        return resolved.parent, FileRun(file, resolved.parent.name, resolved.stem)
    folder = resolved.parent
    if resolved.name == _STATE and _CHECKPOINT.fullmatch(folder.name):
        folder = folder.parent
    return folder.parent, FileRun(file, folder.parent.name, folder.name)


def _latest(runs: Sequence[FileRun]) -> FileRun:
    """Return the latest of the checkpoints of one training: a state in the folder itself is the last."""

    def rank(run: FileRun) -> float:
        match = _CHECKPOINT.fullmatch(run.file.resolve().parent.name)
        return float(match[1]) if match else float("inf")

    latest = max(runs, key=rank)
    return FileRun(latest.file, latest.project, latest.name, len(runs) - 1)
