"""`import`: a bundle of local W&B run folders, and of the runs of other trackers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pull_logs.cli.bundle_paths import FILE_OUT
from pull_logs.cli.options import force_option
from pull_logs.cli.pulling import (
    ENTITY,
    FILES,
    MAX_FILE_SIZE,
    MEDIA,
    ON_RESTART,
    PROJECT,
    check_file_options,
    count_display,
    uploads,
)
from pull_logs.cli.render import print_seal_report
from pull_logs.cli.sharing import check_for_sharing, redact_option, write_without
from pull_logs.sources import KINDS
from pull_logs.suggestions import incomplete_text

if TYPE_CHECKING:
    from pull_logs.sources import ImportReport


@click.command("import")
@click.argument("folders", nargs=-1, required=True, metavar="PATH...")
@click.option("-o", "--out", required=True, type=FILE_OUT, metavar="FILE", help="The bundle to write.")
@click.option(
    "--from",
    "kind",
    type=click.Choice(KINDS),
    help="The kind of the runs; by default it is known from what is at each path.",
)
@ENTITY
@PROJECT
@ON_RESTART
@FILES
@MEDIA
@MAX_FILE_SIZE
@click.option(
    "--artifacts",
    type=click.Choice(["logged", "references"]),
    help="Artifacts that the runs logged, with the files that are still staged here, or without files.",
)
@click.option(
    "--follow-links",
    is_flag=True,
    help="With --files: copy files that are symbolic links, as wandb.save makes them.",
)
@force_option
@redact_option
@click.option(
    "--strict", is_flag=True, help="Exit with 4 if a run is incomplete; the bundle is written nevertheless."
)
@uploads
def import_command(
    folders: tuple[str, ...],
    out: Path,
    kind: str | None,
    *,
    entity: str | None,
    project: str | None,
    on_restart: Any,
    files: tuple[str, ...],
    media: tuple[str, ...],
    max_file_size: int | None,
    artifacts: str | None,
    follow_links: bool,
    force: bool,
    redact: bool,
    strict: bool,
) -> None:
    """Make a bundle of local W&B run folders, or of the runs of TensorBoard and other trackers."""
    check_file_options((*files, *media), max_file_size, follow_links=follow_links)
    from pull_logs.cli.render import inline
    from pull_logs.errors import IncompleteError
    from pull_logs.snapshot import ArtifactSelection, select_files
    from pull_logs.snapshot.privacy import KINDS
    from pull_logs.snapshot.write import check_bundle_output
    from pull_logs.sources import ImportOptions, ReadOptions, import_locations, locate

    selection = select_files(files, max_file_size, media=media)
    options = ImportOptions(
        read=ReadOptions(entity, project, selection),
        on_restart=on_restart,
        artifacts=ArtifactSelection(artifacts) if artifacts else None,
        follow_links=follow_links,
    )

    def write(path: Path, *, force: bool = True) -> ImportReport:
        with count_display("logs", ending="writing the bundle") as hook:
            locations = [locate(folder, kind) for folder in folders]
            return import_locations(locations, out=path, options=options, force=force, progress=hook)

    target = check_bundle_output(out, force=force)  # before anything is read
    if redact:
        report, seal = write_without(KINDS, out, write, target=target, force=force)
    else:
        report = write(out, force=force)
        seal = check_for_sharing(report.seal)
    for note in report.notes:
        click.echo(f"pull-logs: note: {inline(note)}", err=True)
    print_seal_report(seal)
    if strict and seal.incomplete:
        raise IncompleteError(incomplete_text(len(seal.incomplete), seal.runs))
