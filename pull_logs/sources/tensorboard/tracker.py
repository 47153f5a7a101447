"""TensorBoard as a source: the event files of a folder are its runs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pull_logs.errors import DamageError, FileMissingError
from pull_logs.runs import Coverage, RunInfo
from pull_logs.snapshot import BundleRun
from pull_logs.sources.point_rows import renamed_note
from pull_logs.sources.stored_rows import store_rows
from pull_logs.sources.tensorboard.event_files import MergedRows, RunContent, RunReader
from pull_logs.sources.tensorboard.find import RunFolder, find_folders, has_event_name
from pull_logs.sources.tensorboard.hparams import PLUGIN, Hyperparameters
from pull_logs.sources.tensorboard.media_files import MediaWriter
from pull_logs.sources.times import utc_time
from pull_logs.sources.tracked_runs import Origin, ReadOptions, TrackedRun
from pull_logs.suggestions import counted, joined

NAME = "tensorboard"
_SESSION_FOLDER = re.compile(r"\d+(\.\d+)?")
"""The name of the folder that torch's `add_hparams` makes for a session: the time."""


@dataclass(slots=True)
class _Sessions:
    """The hyperparameters of all runs of a folder, which are read once.

    Attributes:
        folders: The folders of the runs.
    """

    folders: Sequence[RunFolder]
    _known: dict[str, Hyperparameters] = field(default_factory=dict)

    def of_run(self, name: str, own: Hyperparameters) -> Hyperparameters:
        """Return the hyperparameters of a run: its own, those of a folder above, or those of its session.

        TensorBoard looks for the metrics of a session in the folders below that of its hyperparameters. torch
        puts the hyperparameters into a folder below that of the metrics, whose name is a time.
        """
        if own.values:
            return own
        parts = name.split("/")
        above = ["/".join(parts[:end]) for end in range(len(parts) - 1, 0, -1)]
        for folder in self.folders:
            if folder.name in above and (found := self._read(folder)).values:
                return found
        below = [
            folder
            for folder in self.folders
            if folder.name.startswith(f"{name}/") and _SESSION_FOLDER.fullmatch(folder.name[len(name) + 1 :])
        ]
        sessions = [found for folder in below if (found := self._read(folder)).values]
        return sessions[0] if len(sessions) == 1 else own

    def _read(self, folder: RunFolder) -> Hyperparameters:
        if folder.name not in self._known:
            self._known[folder.name] = _hyperparameters(folder)
        return self._known[folder.name]


def _hyperparameters(folder: RunFolder) -> Hyperparameters:
    """Return the hyperparameters of a run, which are in the first records of its files."""
    from pull_logs.sources.tensorboard.events import read_event
    from pull_logs.sources.tensorboard.record_framing import RecordReader
    from pull_logs.sources.tensorboard.wire import WireError

    found = Hyperparameters()
    for file in folder.files:
        with file.open("rb") as source:
            for block in RecordReader(source):
                for start, end in zip(block.starts.tolist(), block.ends.tolist(), strict=True):
                    record = block.data[start:end]
                    if b"_hparams_/" not in record:
                        continue
                    try:
                        for value in read_event(record).values:
                            if value.plugin == PLUGIN:
                                found.add(value.plugin_data)
                    except WireError:
                        continue
                break
    return found


@dataclass(frozen=True, slots=True)
class TensorBoardRun:
    """A run of TensorBoard, not yet read."""

    folder: RunFolder
    sessions: _Sessions

    def read(self, scratch: Path, options: ReadOptions) -> TrackedRun:
        """Read it; see `FoundRun.read`.

        Raises:
            DamageError: None of its files has a valid record.
            OSError: A file cannot be read, or the scratch folder cannot be written.
        """
        media = MediaWriter(scratch / "media", options.files)
        parts = scratch / "parts"
        parts.mkdir()
        content = RunReader(parts, media).read(self.folder.files)
        if content.damages and not content.records:
            name, damage = content.damages[0]
            raise DamageError(
                f"{name!r} of the run {self.folder.name!r} has no valid record ({damage})",
                hint="name a folder with event files of TensorBoard",
            )
        merged = MergedRows(content.segments)
        rows = store_rows(merged.batches(), scratch / "rows")
        hparams = self.sessions.of_run(self.folder.name, content.hparams)
        reasons = [f"{name}: {damage}" for name, damage in content.damages]
        if content.unread:
            reasons.append(f"{counted(content.unread, 'record')} or values are not valid and were left out")
        run = BundleRun(
            info=self._info(content, hparams, rows.last, options),
            coverage=Coverage(
                received_rows=rows.rows,
                received_last_step=rows.last_step,
                complete=not reasons,
                reason="; ".join(reasons),
            ),
            batches=rows.batches,
            files=tuple(media.files.values()),
        )
        return TrackedRun(
            run, tuple(f"{run.info.path}: {note}" for note in _notes(content, merged, rows.last))
        )

    def _info(
        self, content: RunContent, hparams: Hyperparameters, last: Mapping[str, Any], options: ReadOptions
    ) -> RunInfo:
        name = self.folder.name
        group = name.rpartition("/")[0]
        state = "crashed" if content.torn else content.hparams.state or "finished"
        return RunInfo(
            path=options.path(self.folder.project, name),
            name=name,
            state=state,
            group=hparams.group or group or None,
            created_at=utc_time(content.first_time),
            heartbeat_at=utc_time(content.last_time),
            config=hparams.values,
            summary=last,
            metadata=Origin(
                NAME, content.version, name, {"writer": content.writer, "files": len(self.folder.files)}
            ).as_metadata(),
        )


def _notes(content: RunContent, merged: MergedRows, last: Mapping[str, Any]) -> list[str]:
    """Return what was damaged, repeated, renamed or left out."""
    notes = [f"{name}: {damage}" for name, damage in content.damages]
    if content.unread:
        notes.append(f"{counted(content.unread, 'record')} or values are not valid and were left out")
    if content.repeated:
        notes.append(
            f"{counted(content.repeated, 'value')} of {content.points} have a later value of the same tag and"
            " step, which is kept"
        )
    if merged.obsolete:
        notes.append(
            f"{counted(merged.obsolete, 'value')} of {content.points} were logged before the run was started"
            " again from an earlier step, and were left out"
        )
    if content.skipped:
        kinds = joined([f"{count} of {kind}" for kind, count in sorted(content.skipped.items())])
        notes.append(f"summaries that are not metrics were left out: {kinds}")
    return [*notes, *renamed_note(last, NAME)]


class TensorBoard:
    """The kind of source; see `RemoteTracker`."""

    name = NAME
    beside: frozenset[str] = frozenset()

    def reads(self, name: str) -> bool:
        """Return whether a file has the name of an event file."""
        return has_event_name(name)

    def recognizes(self, location: str) -> bool:
        """Return whether there are event files at a path."""
        path = Path(location)
        return path.exists() and bool(find_folders(path))

    def find(self, location: str) -> Sequence[TensorBoardRun]:
        """Return the runs of a folder, by name.

        Raises:
            FileMissingError: There is none.
        """
        folders = find_folders(Path(location))
        if not folders:
            raise FileMissingError(
                f"no event file of TensorBoard in {location!r}",
                hint="name a folder with files events.out.tfevents.*, or a folder above one",
            )
        sessions = _Sessions(folders)
        return [TensorBoardRun(folder, sessions) for folder in folders]
