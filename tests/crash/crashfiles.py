"""The operations that write files and folders of other kinds than bundles."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click
import platformdirs
import pyarrow as pa
from bundlekit import make_bundle
from fakeruns import subjects, training
from operationkit import Operation, beside_temporary_folders, both, bundle, earlier, nothing, rich_runs

from pull_logs.cli.commands.archives.archive import _write_metrics
from pull_logs.cli.pulling.uploads import staged
from pull_logs.errors import MachineLimitError, NetworkError
from pull_logs.snapshot import disk, export_runs, open_bundle, storage, write_bundle
from pull_logs.snapshot.disk import new_file
from pull_logs.snapshot.storage import ObjectVersion
from pull_logs.snapshot.storage.upload import Uploaded


def _export(root: Path, *, force: bool = False) -> None:
    with open_bundle(root / "a.zip") as bundle:
        export_runs(bundle.runs(), root / "out", to="csv", force=force)


def _export_apart(root: Path) -> None:
    """Export where the system cannot exchange two names."""
    with patch.object(disk, "exchange", lambda _, __: False):
        _export(root, force=True)


def _export_refused(root: Path) -> None:
    """The new export does not get its name, so that the earlier one gets it again."""
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(self))
        return rename(self, target)

    with patch.object(Path, "rename", refuse):
        try:
            _export_apart(root)
        except MachineLimitError:
            if not (root / "out").exists():  # it could not be moved back either
                raise
            return
    raise AssertionError("the renaming was not refused")


def _export_before(root: Path) -> None:
    make_bundle(root / "before.zip")
    with open_bundle(root / "before.zip") as bundle:
        export_runs(bundle.runs(), root / "out", to="csv")


def _export_before_again(root: Path) -> None:
    with open_bundle(root / "before.zip") as bundle:
        export_runs(bundle.runs(), root / "out", to="csv", force=True)


def _media(root: Path) -> None:
    from pull_logs.interface.media import media_of_runs, save_media

    with open_bundle(root / "a.zip") as bundle:
        if not (root / "out").exists():
            save_media(media_of_runs(bundle.runs()), root / "out")


def _save(root: Path) -> None:
    with open_bundle(root / "a.zip") as bundle:
        bundle["acme/nano/3fk2a"].files["out.log"].save(root / "out.log")


def _download_artifact(root: Path) -> None:
    with open_bundle(root / "a.zip") as bundle:
        (artifact,) = bundle["acme/nano/3fk2a"].logged_artifacts()
        artifact.download(root / "out")


def _report(root: Path) -> None:
    from pull_logs.report import ReportOptions, write_report

    write_report(subjects(training()), root / "out.html", options=ReportOptions())


class _Answer:
    """The answer to an SQL query."""

    def batches(self) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        batch = pa.record_batch({"step": list(range(90)), "loss": [step / 8 for step in range(90)]})
        return batch.schema, iter([batch])


def _table(root: Path) -> None:
    from pull_logs.analyze.sql.table_file import write_table

    write_table(_Answer(), root / "out.parquet")  # type: ignore[arg-type]


def _skill(root: Path) -> None:
    from pull_logs.cli.commands.skills.installation import Installed, install

    install(Installed(root / "SKILL.md", "older"), "a skill\n" * 200)


def _new_skill(root: Path) -> None:
    from pull_logs.cli.commands.skills.installation import Installed, install

    install(Installed(root / "agent" / "skills" / "SKILL.md", "missing"), "a skill\n" * 200)


def _plot(root: Path) -> None:
    from matplotlib.figure import Figure

    from pull_logs.plots.figure import save_figure

    figure = Figure(figsize=(1, 1))
    figure.add_subplot().plot([1, 2, 3])
    save_figure(figure, root / "out.svg")


def _write_archive_metrics(root: Path) -> None:
    _write_metrics(root / "metrics.prom", "pull_logs_archive_runs 7\n" * 60)


_URL, OBJECT = "s3://bucket/runs.wandb.zip", "object.wandb.zip"
STAGED = f"cache/uploads/{hashlib.sha256(_URL.encode()).hexdigest()[:16]}"


def _staged(root: Path, *, refused: bool = False, more: int = 0) -> None:
    """Write a bundle to object storage, which is a file here that others wrote before."""
    target = root / OBJECT

    def version(*_: Any, **__: Any) -> ObjectVersion | None:
        if not target.exists():
            return None
        digest = hashlib.sha256(target.read_bytes()).hexdigest()
        return ObjectVersion(tag=digest, text=digest)

    def download(_: str, file: Path, **__: Any) -> None:
        with disk.disk_errors(file, hint=""):
            file.write_bytes(target.read_bytes())

    def upload(file: Path, *_: Any, **__: Any) -> Uploaded:
        if refused:
            raise NetworkError("unplugged")
        temp = target.with_name(".pull-logs-object")
        with disk.disk_errors(target, hint=""), new_file(target, temp=temp) as out:
            out.write(file.read_bytes())
        return Uploaded(_URL, file.stat().st_size, 0)

    with (
        patch.object(platformdirs, "user_cache_path", lambda *_, **__: root / "cache" / "uploads"),
        patch.object(storage, "object_version", version),
        patch.object(storage, "download_object", download),
        patch.object(storage, "upload_file", upload),
        patch.object(click, "echo"),
        staged(_URL, force=False) as local,
    ):
        if local.exists():
            with open_bundle(local) as opened:
                assert len(opened) == 2, "what is brought up to date is a bundle"
        write_bundle(local, rich_runs(more=more))


def _staged_and_refused(root: Path) -> None:
    try:
        _staged(root, refused=True, more=9)
    except NetworkError:
        return
    raise AssertionError("the upload was not refused")


def _lost(root: Path) -> None:
    """Remove the bundle that could not be uploaded, and not the note about it."""
    (root / STAGED / "runs.wandb.zip").unlink()


_SIDES = beside_temporary_folders
_TWO_EXPORTS = both(bundle("a.zip"), _export_before)
_export_over = partial(_export, force=True)
_staged_later = partial(_staged, more=9)


def _uploaded(name: str, *before: Callable[[Path], object]) -> Operation:
    return Operation(name, both(*before), _staged_later, kept=OBJECT, works_in="cache", left=".pull-logs-")


FILE_OPERATIONS = (
    Operation("export", bundle("a.zip"), _export, _export_over, "out", _SIDES),
    Operation("export-over-one", _TWO_EXPORTS, _export_over, None, "out", _SIDES),
    Operation("export-apart", _TWO_EXPORTS, _export_apart, None, "out", _SIDES, apart=True),
    Operation(
        "export-refused", _TWO_EXPORTS, _export_refused, _export_before_again, "out", _SIDES, apart=True
    ),
    Operation("media", bundle("a.zip"), _media, kept="out", relevant=_SIDES, left=".pull-logs-"),
    Operation("save", both(bundle("a.zip"), earlier("out.log")), _save, kept="out.log", left=".saving-"),
    Operation("artifact", bundle("a.zip"), _download_artifact, kept="out", partly=True, left=".saving-"),
    Operation("report", earlier("out.html"), _report, kept="out.html"),
    Operation("table", earlier("out.parquet"), _table, kept="out.parquet"),
    Operation("skill", earlier("SKILL.md"), _skill, kept="SKILL.md"),
    Operation("new-skill", nothing, _new_skill, kept="agent/skills/SKILL.md"),
    _uploaded("upload", bundle(OBJECT)),
    _uploaded("upload-again", bundle(OBJECT), _staged_and_refused),
    _uploaded("upload-lost", bundle(OBJECT), _staged_and_refused, _lost),
    Operation("upload-refused", nothing, _staged_and_refused, kept=STAGED, partly=True, left=".tmp"),
    Operation("metrics", earlier("metrics.prom"), _write_archive_metrics, kept="metrics.prom"),
    Operation("plot", earlier("out.svg"), _plot, kept="out.svg"),
)
