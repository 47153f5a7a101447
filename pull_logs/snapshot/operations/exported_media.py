"""The media, tables and artifacts of an export.

Tables are Parquet, whatever the format of the rows, and `media.parquet` is the index of a bundle with the
paths of the export. A file of an artifact is stored under its complete path encoded as one segment, as run
files are, so that no path of a stranger is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from pull_logs.runs import RunPath
from pull_logs.snapshot.format import (
    ARTIFACTS,
    MEDIA,
    MediaRecord,
    MediaWriter,
    content_member,
    file_members,
    member_folders,
    segments_of,
)
from pull_logs.snapshot.read import Artifact, Content, MediaFiles, MediaTables, Run, RunFile, media_records

ARTIFACT_FILES = "artifacts"
"""The folder of an export that has the files of artifacts."""


def export_artifacts(runs: Iterable[Run], folders: Mapping[RunPath, str], out: Path) -> dict[str, str]:
    """Write the records of the artifacts of runs, and the files of each artifact once.

    Args:
        runs: The runs.
        folders: The folder of each run in the export.
        out: The folder of the export.

    Returns:
        The path in the export of each content that was written, by its member in the bundle.

    Raises:
        BundleDamagedError: A bundle is damaged.
        OSError: A file cannot be written.
    """
    artifacts: dict[str, Artifact] = {}
    for run in runs:
        if run.artifacts is None:
            continue
        run.artifacts.table.save(out / folders[run.path] / ARTIFACTS, durable=False)
        for artifact in (*run.logged_artifacts(), *run.used_artifacts()):
            known = artifacts.get(artifact.path)
            if known is None or (artifact.has_all_files and not known.has_all_files):
                artifacts[artifact.path] = artifact
    written: dict[str, str] = {}
    for path, folder in _artifact_folders(artifacts).items():
        for name, content in _files(artifacts[path]).items():
            target = f"{folder}/{name}"
            (out / folder).mkdir(parents=True, exist_ok=True)
            content.save(out / target, durable=False)
            written.setdefault(content_member(content.record.hash), target)
    return written


def _artifact_folders(artifacts: Mapping[str, Artifact]) -> dict[str, str]:
    records = {path: one.record for path, one in artifacts.items()}
    collections = {
        path: RunPath(record.entity, record.project, record.collection) for path, record in records.items()
    }
    folders = member_folders(dict.fromkeys(collections.values()))
    found = {}
    for path, collection in collections.items():
        _, entity, project, name = folders[collection].split("/")
        name = name.replace("run=", "artifact=", 1)
        found[path] = f"{ARTIFACT_FILES}/{entity}/{project}/{name}/version={records[path].version}"
    return found


def _files(artifact: Artifact) -> dict[str, Content]:
    """Return the files of an artifact that its bundle has, each by the segment of its path."""
    if artifact.record.entries is None:
        return {}
    held = {path: one.content for path, one in artifact.entries.items() if one.content is not None}
    return {segment: held[path] for path, segment in segments_of(held).items()}


def export_media(
    runs: Sequence[Run], folders: Mapping[RunPath, str], out: Path, contents: Mapping[str, str]
) -> None:
    """Write the index of media and the tables of runs; nothing if no file is there that a value points to.

    Args:
        runs: The runs in path order.
        folders: The folder of each run in the export.
        out: The folder of the export.
        contents: The path in the export of each content of artifacts, by its member in the bundle.

    Raises:
        BundleDamagedError: A bundle is damaged.
        OSError: A file cannot be written.
    """
    if not any(run.files or run.artifacts is not None for run in runs):
        return
    found = False
    with (out / MEDIA).open("wb") as sink:
        writer = MediaWriter(sink)
        try:
            for run in runs:
                for record in _records(run, folders[run.path], partial(_write_table, out)):
                    found = found or record.file is not None or record.table is not None
                    writer.add([replace(record, file=contents.get(record.file or "", record.file))])
        except BaseException:
            with suppress(Exception):
                writer.close()  # otherwise pyarrow complains when it is collected
            raise
        writer.close()
    if not found:
        (out / MEDIA).unlink()


def _records(run: Run, folder: str, add: Callable[[str, bytes, int], object]) -> Iterable[MediaRecord]:
    artifacts = run.artifacts
    files: MediaFiles[RunFile, Content] = MediaFiles(
        run.files,
        lambda: () if artifacts is None else artifacts.records,
        lambda: () if artifacts is None else artifacts.contents,
    )
    members = file_members(folder, run.files) if run.files else {}
    batches = partial(run.batches, columns=())
    return media_records(run.path, batches, run.summary, files, MediaTables(folder, members, add))


def _write_table(out: Path, member: str, data: bytes, _rows: int) -> None:
    file = out / member
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
